//! Time settings of a rule's streams, in `[streams.NAME]` or behind `CREATE STREAM`.

use std::ops::Range;

use super::{IDLE_MS, Placed, check_pointer};
use crate::event::timestamp::{Format, Timestamp, Unit};
use crate::event::zone::Zone;
use tidemill_base::text::{FileError, duration_ms, nearest};

/// The settings given, each with its place.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) pointer: Option<Placed<String>>,
    pub(super) unit: Option<Placed<String>>,
    pub(super) format: Option<Placed<String>>,
    pub(super) zone: Option<Placed<String>>,
}

impl Given {
    /// Checks it. `fail` makes an error of a place and a sentence.
    pub(super) fn check(
        &self,
        fail: &dyn Fn(&Range<usize>, String) -> FileError,
    ) -> Result<Option<Timestamp>, FileError> {
        let Some(pointer) = &self.pointer else {
            let others = [
                ("timestamp_unit", &self.unit),
                ("timestamp_format", &self.format),
            ];
            let given = others
                .into_iter()
                .find_map(|(key, given)| Some((key, given.as_ref()?)));
            return match given {
                None => Ok(None),
                Some((key, given)) => {
                    let message = format!(
                        "{key}: needs to know where the time stands; write timestamp = \"/ts\""
                    );
                    Err(fail(&given.span, message))
                }
            };
        };
        check_pointer(&pointer.value)
            .map_err(|why| fail(&pointer.span, format!("timestamp: {why}")))?;
        let mut timestamp = Timestamp::at(pointer.value.clone());
        if let Some(unit) = &self.unit {
            timestamp.unit = Unit::named(&unit.value).ok_or_else(|| {
                let message = format!(
                    "timestamp_unit {:?}: there are {}",
                    unit.value,
                    Unit::NAMES.join(", ")
                );
                fail(&unit.span, message)
            })?;
        }
        if let Some(format) = &self.format {
            let checked = Format::new(&format.value)
                .map_err(|why| fail(&format.span, format!("timestamp_format: {why}")))?;
            timestamp.format = Some(checked);
        }
        if let Some(zone) = self.zone(fail)? {
            timestamp.zone = Some(zone.clone());
        }
        Ok(Some(timestamp))
    }

    /// The zone, which is one of texts without an offset and of windows of days, weeks and months.
    pub(super) fn zone(
        &self,
        fail: &dyn Fn(&Range<usize>, String) -> FileError,
    ) -> Result<Option<&'static Zone>, FileError> {
        let Some(zone) = &self.zone else {
            return Ok(None);
        };
        let found = Zone::interned(&zone.value).ok_or_else(|| {
            let near = nearest(&zone.value, Zone::names());
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            let message = format!(
                "zone {:?}: it is no name of the time zone database, such as Europe/Berlin{hint}",
                zone.value
            );
            fail(&zone.span, message)
        })?;
        Ok(Some(found))
    }
}

/// The error of a timestamp outside of `/self`, if messages are one value each.
pub(super) fn beside(
    timestamp: Option<&Timestamp>,
    format: &crate::event::payload::Format,
) -> Option<String> {
    let pointer = &timestamp?.pointer;
    let is_beside = format.is_bare() && !pointer.eq_ignore_ascii_case("/self");
    is_beside.then(|| {
        format!(
            "timestamp: a message that is {:?} is one value: the time can only stand in /self, not in {pointer}",
            format.name()
        )
    })
}

/// The longest that something may wait for events.
const WAIT_MS_MAX: u64 = 7 * 86_400_000;

/// The settings of waiting for events, each with its place.
#[derive(Debug, Default)]
pub(super) struct Waits {
    pub(super) lateness: Option<Placed<String>>,
    pub(super) allowed_late: Option<Placed<String>>,
    pub(super) idle: Option<Placed<String>>,
}

impl Waits {
    /// The first that is given, with its place.
    pub(super) fn first(&self) -> Option<(&'static str, &Range<usize>)> {
        let all = [
            ("lateness", &self.lateness),
            ("allowed_late", &self.allowed_late),
            ("idle", &self.idle),
        ];
        let mut given = all.into_iter();
        given.find_map(|(key, given)| Some((key, &given.as_ref()?.span)))
    }

    /// Lateness, how late an event may still count, and when a source is idle, in milliseconds.
    pub(super) fn check(
        &self,
        fail: &dyn Fn(&Range<usize>, String) -> FileError,
    ) -> Result<(i64, i64, u64), FileError> {
        let duration = |key: &str, given: &Option<Placed<String>>, default: u64, min: u64| {
            let Some(given) = given else {
                return Ok(default);
            };
            let refuse = |why| fail(&given.span, format!("{key}: {why}"));
            match duration_ms(&given.value) {
                Ok(ms) if (min..=WAIT_MS_MAX).contains(&ms) => Ok(ms),
                Ok(_) => Err(refuse(format!("it lasts from {min}ms to 7 days"))),
                Err(why) => Err(refuse(why)),
            }
        };
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Ok((
            signed(duration("lateness", &self.lateness, 0, 0)?),
            signed(duration("allowed_late", &self.allowed_late, 0, 0)?),
            duration("idle", &self.idle, IDLE_MS, 10)?,
        ))
    }
}
