//! Which version of MQTT to try next. Pure.

use super::link::Version;
use super::trouble::Trouble;

pub use crate::config::Protocol;

/// A broker that does not know a version may just close the connection. So does one that restarts:
/// only so many closed connections in a row are taken for an answer.
const HINTS_MAX: u32 = 2;

/// Remembers what worked and what did not.
#[derive(Debug)]
pub(crate) struct Negotiation {
    version: Version,
    fixed: bool,
    hints: u32,
}

impl Negotiation {
    /// `preferred` is tried first where the configuration leaves it open.
    pub(crate) fn new(protocol: Protocol, preferred: Version) -> Self {
        let (version, fixed) = match protocol {
            Protocol::Auto => (preferred, false),
            Protocol::V5 => (Version::V5, true),
            Protocol::V311 => (Version::V311, true),
        };
        Self {
            version,
            fixed,
            hints: 0,
        }
    }

    /// The version to connect with.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The broker took the connection: this version is kept from now on.
    pub(crate) fn accepted(&mut self) {
        self.fixed = true;
    }

    /// The broker did not get as far as taking the connection. Returns whether the other version is
    /// to be tried now.
    pub(crate) fn failed(&mut self, trouble: &Trouble) -> bool {
        if self.fixed {
            return false;
        }
        if *trouble == Trouble::VersionRefused {
            self.hints = HINTS_MAX;
        } else if trouble.may_be_version() {
            self.hints += 1;
        }
        let switch = self.hints >= HINTS_MAX;
        if switch {
            self.hints = 0;
            self.version = match self.version {
                Version::V5 => Version::V311,
                Version::V311 => Version::V5,
            };
        }
        switch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocol: Protocol, troubles: &[Trouble], expected: Version) {
        let mut negotiation = Negotiation::new(protocol, Version::V5);
        for trouble in troubles {
            negotiation.failed(trouble);
        }
        assert_eq!(negotiation.version(), expected, "{protocol:?} {troubles:?}");
    }

    #[test]
    fn refusals_and_silence_lead_to_the_other_version() {
        use Trouble::{Closed, Credentials, VersionRefused};
        let away = || Trouble::Unreachable("connection refused".to_owned());
        check(Protocol::Auto, &[], Version::V5);
        check(Protocol::Auto, &[VersionRefused], Version::V311);
        check(Protocol::Auto, &[Closed], Version::V5);
        check(Protocol::Auto, &[Closed, Closed], Version::V311);
        check(
            Protocol::Auto,
            &[Closed, Closed, Closed, Closed],
            Version::V5,
        );
        check(Protocol::Auto, &[away(), away(), away()], Version::V5);
        check(Protocol::Auto, &[Credentials, Credentials], Version::V5);
        check(Protocol::V5, &[VersionRefused, VersionRefused], Version::V5);
        check(Protocol::V311, &[Closed, Closed], Version::V311);
    }

    #[test]
    fn what_worked_is_kept() {
        let mut negotiation = Negotiation::new(Protocol::Auto, Version::V5);
        negotiation.accepted();
        assert!(!negotiation.failed(&Trouble::VersionRefused));
        assert_eq!(negotiation.version(), Version::V5);
    }
}
