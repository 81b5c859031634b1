//! Moments as documents have them: RFC 3339 in UTC, to the second.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The form, which is the only one that is read.
const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";

/// A moment in seconds since 1970, between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(DateTime<Utc>);

impl Moment {
    /// The moment so many seconds after 1970.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        let moment = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
        let latest = DateTime::from_timestamp(LATEST, 0)?;
        (moment <= latest).then_some(Self(moment))
    }

    /// Reads `2026-12-01T09:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
        let moment = Self::from_seconds(u64::try_from(moment.timestamp()).ok()?)?;
        (moment.to_string() == text).then_some(moment)
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.timestamp()
    }
}

/// The last second of the year 9999.
const LATEST: i64 = 253_402_300_799;

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.format(FORM).fmt(f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom("a moment is written in UTC, such as 2026-12-01T09:00:00Z")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_one_form() {
        let text = "2026-12-01T09:00:00Z";
        assert_eq!(Moment::parse(text).unwrap().to_string(), text);
        assert_eq!(Moment::parse(text).unwrap().seconds(), 1_796_115_600);
        for wrong in [
            "2026-12-01T09:00:00+00:00",
            "2026-12-01T10:00:00+01:00",
            "2026-12-01T09:00:00.0Z",
            "2026-12-01t09:00:00Z",
            "2026-12-01T09:00:00",
            "2026-13-01T09:00:00Z",
            "1969-12-31T23:59:59Z",
            "",
        ] {
            assert_eq!(Moment::parse(wrong), None, "{wrong}");
        }
        assert!(Moment::from_seconds(u64::MAX).is_none());
        assert!(Moment::from_seconds(253_402_300_800).is_none());
    }
}
