//! What a rule says about the times of its events, in `[streams.NAME]` or behind `CREATE STREAM`.

use std::ops::Range;

use super::{Placed, check_pointer};
use crate::text::{FileError, nearest};
use crate::timestamp::{Format, Timestamp, Unit};
use crate::zone::Zone;

/// What is given, each with its place.
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
                ("zone", &self.zone),
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
        if let Some(zone) = &self.zone {
            timestamp.zone = Some(Zone::named(&zone.value).ok_or_else(|| {
                let known = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai"];
                let near = nearest(&zone.value, known);
                let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
                let message = format!(
                    "zone {:?}: it is no name of the time zone database, such as Europe/Berlin{hint}",
                    zone.value
                );
                fail(&zone.span, message)
            })?);
        }
        Ok(Some(timestamp))
    }
}
