//! Payload settings of a rule's streams, in `[streams.NAME]` or behind `CREATE STREAM`.

use std::ops::Range;
use std::sync::Arc;

use super::Placed;
use crate::event::payload::{Columns, Csv, Empty, Format, List, Payload};
use tidemill_base::text::{FileError, nearest};

/// Columns that a rule may name.
const COLUMNS_MAX: usize = 1_000;

/// The settings given, each with its place.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) format: Option<Placed<String>>,
    pub(super) delimiter: Option<Placed<String>>,
    pub(super) columns: Option<Placed<Vec<String>>>,
    pub(super) list: Option<Placed<String>>,
    pub(super) empty: Option<Placed<String>>,
}

impl Given {
    /// Checks it. `fail` makes an error of a place and a sentence.
    pub(super) fn check(
        &self,
        fail: &dyn Fn(&Range<usize>, String) -> FileError,
    ) -> Result<Payload, FileError> {
        let mut format = match &self.format {
            None => Format::default(),
            Some(given) => Format::named(&given.value).ok_or_else(|| {
                fail(
                    &given.span,
                    unknown("payload", &given.value, &Format::NAMES),
                )
            })?,
        };
        if let Format::Csv(csv) = &mut format {
            self.check_csv(csv, fail)?;
        } else {
            let delimiter = self
                .delimiter
                .as_ref()
                .map(|given| (&given.span, "delimiter"));
            let columns = self.columns.as_ref().map(|given| (&given.span, "columns"));
            if let Some((span, key)) = delimiter.or(columns) {
                let message = format!("{key}: needs payload = \"csv\"");
                return Err(fail(span, message));
            }
        }
        let list = match &self.list {
            None => List::default(),
            Some(given) if !format.has_lists() => {
                let message = format!(
                    "list: a payload that is {:?} holds no list of rows; leave it out",
                    format.name()
                );
                return Err(fail(&given.span, message));
            }
            Some(given) => match given.value.to_ascii_lowercase().as_str() {
                "rows" => List::Rows,
                "value" => List::Value,
                other => {
                    return Err(fail(
                        &given.span,
                        unknown("list", other, &["rows", "value"]),
                    ));
                }
            },
        };
        let empty = match &self.empty {
            None => Empty::default(),
            Some(given) => match given.value.to_ascii_lowercase().as_str() {
                "skip" => Empty::Skip,
                "row" => Empty::Row,
                "dead_letter" => Empty::DeadLetter,
                other => {
                    let known = ["skip", "row", "dead_letter"];
                    return Err(fail(&given.span, unknown("empty", other, &known)));
                }
            },
        };
        Ok(Payload {
            format,
            list,
            empty,
        })
    }

    fn check_csv(
        &self,
        csv: &mut Csv,
        fail: &dyn Fn(&Range<usize>, String) -> FileError,
    ) -> Result<(), FileError> {
        if let Some(given) = &self.delimiter {
            let mut chars = given.value.chars();
            csv.delimiter = match (chars.next(), chars.next()) {
                (Some(one), None) if !matches!(one, '"' | '\r' | '\n') => one,
                _ => {
                    let message = "delimiter: it is one character, and no quote; write \",\", \";\" or \"\\t\"";
                    return Err(fail(&given.span, message.to_owned()));
                }
            };
        }
        if let Some(given) = &self.columns {
            let names = &given.value;
            let twice = (1..).zip(names).find(|(n, name)| {
                let mut later = names.iter().skip(*n);
                later.any(|other| other == *name)
            });
            if names.is_empty() || names.len() > COLUMNS_MAX {
                let message = format!("columns: 1 to {COLUMNS_MAX} names");
                return Err(fail(&given.span, message));
            }
            if let Some((_, name)) = twice {
                let message = format!("columns: {name:?} stands twice");
                return Err(fail(&given.span, message));
            }
            csv.columns =
                Columns::Named(names.iter().map(|name| Arc::from(name.as_str())).collect());
        }
        Ok(())
    }
}

fn unknown(key: &str, value: &str, known: &[&str]) -> String {
    let near = nearest(value, known.iter().copied());
    let hint = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    format!("{key} {value:?}: there are {}{hint}", known.join(", "))
}
