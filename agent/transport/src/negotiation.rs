//! The version of MQTT to try next. Pure.
//!
//! Only a broker's explicit answer lowers the version, and only for the next connection: a broker
//! that restarts closes connections, or is silent, just like one that does not know a version. A
//! session resumed in another version by mistake would bring messages without the properties that
//! identified them.

use super::link::Version;
use super::trouble::Trouble;

use serde::Deserialize;

/// The MQTT version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    /// The highest version the broker accepts; 5 is tried first.
    #[serde(rename = "auto")]
    Auto,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// Silently ended connections in a row after which the version may be the reason.
const HINT_AFTER: u32 = 3;

/// State of the version negotiation with a broker.
#[derive(Debug)]
pub struct Negotiation {
    /// Tried first with each connection.
    preferred: Version,
    version: Version,
    /// The configuration leaves no choice.
    fixed: bool,
    /// Connections in a row that ended before the broker had sent anything.
    wordless: u32,
}

impl Negotiation {
    /// `preferred` is tried first if the configuration leaves the version open.
    pub fn new(protocol: Protocol, preferred: Version) -> Self {
        let (version, fixed) = match protocol {
            Protocol::Auto => (preferred, false),
            Protocol::V5 => (Version::V5, true),
            Protocol::V311 => (Version::V311, true),
        };
        Self {
            preferred: version,
            version,
            fixed,
            wordless: 0,
        }
    }

    /// The version to connect with, or that the broker took.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The broker took the connection in this version.
    pub fn accepted(&mut self) {
        self.wordless = 0;
    }

    /// A connection that the broker had taken is gone.
    pub fn ended(&mut self) {
        self.version = self.preferred;
    }

    /// The broker did not get as far as taking the connection. Returns whether the other version is
    /// to be tried now.
    pub fn failed(&mut self, trouble: &Trouble) -> bool {
        self.wordless = if trouble.may_be_version() {
            self.wordless.saturating_add(1)
        } else {
            0
        };
        let refused = !self.fixed && *trouble == Trouble::VersionRefused;
        let other = refused && self.version == self.preferred;
        self.version = match (other, self.preferred) {
            (false, preferred) => preferred,
            (true, Version::V5) => Version::V311,
            (true, Version::V311) => Version::V5,
        };
        other
    }

    /// `true` if it is worth saying that the broker may not know MQTT 5, and does not say so.
    pub fn may_be_version(&self) -> bool {
        self.version == Version::V5 && self.wordless >= HINT_AFTER
    }
}

#[cfg(test)]
mod tests {
    use Trouble::{Closed, Credentials, Silent, VersionRefused};

    use super::*;

    fn away() -> Trouble {
        Trouble::Unreachable("connection refused".to_owned())
    }

    fn check(protocol: Protocol, troubles: &[Trouble], expected: Version) {
        let mut negotiation = Negotiation::new(protocol, Version::V5);
        for trouble in troubles {
            negotiation.failed(trouble);
        }
        assert_eq!(negotiation.version(), expected, "{protocol:?} {troubles:?}");
    }

    #[test]
    fn only_the_brokers_word_lowers_the_version() {
        check(Protocol::Auto, &[], Version::V5);
        check(Protocol::Auto, &[VersionRefused], Version::V311);
        check(Protocol::Auto, &[Closed, Closed, Closed], Version::V5);
        check(Protocol::Auto, &[Silent, Silent, Silent], Version::V5);
        check(Protocol::Auto, &[Closed, VersionRefused], Version::V311);
        check(Protocol::Auto, &[away(), away(), away()], Version::V5);
        check(Protocol::Auto, &[Credentials, Credentials], Version::V5);
        check(Protocol::V5, &[VersionRefused, VersionRefused], Version::V5);
        check(Protocol::V311, &[Closed, VersionRefused], Version::V311);
    }

    #[test]
    fn the_next_connection_asks_for_5_again() {
        let mut negotiation = Negotiation::new(Protocol::Auto, Version::V5);
        assert!(negotiation.failed(&VersionRefused), "now");
        negotiation.accepted();
        assert_eq!(negotiation.version(), Version::V311);
        negotiation.ended();
        assert_eq!(negotiation.version(), Version::V5);
        // The lower version failed too: for another reason, or for the same.
        for trouble in [Closed, VersionRefused] {
            assert!(negotiation.failed(&VersionRefused));
            assert!(!negotiation.failed(&trouble), "that would be a tight loop");
            assert_eq!(negotiation.version(), Version::V5);
        }
    }

    #[test]
    fn a_broker_that_only_hangs_up_is_a_reason_to_speak_of_versions() {
        let mut negotiation = Negotiation::new(Protocol::Auto, Version::V5);
        let mut said = |trouble| {
            negotiation.failed(&trouble);
            negotiation.may_be_version()
        };
        assert!(!said(Closed) && !said(Silent) && said(Closed));
        assert!(!said(away()) && !said(Closed));
        negotiation.accepted();
        assert!(!negotiation.may_be_version());
        let mut old = Negotiation::new(Protocol::V311, Version::V5);
        for _ in 0..9 {
            old.failed(&Closed);
        }
        assert!(!old.may_be_version());
    }
}
