//! Completion of data messages: names in place of aliases, and the types that a message leaves to
//! the birth.

use bytes::Bytes;

use super::data_type::DataType;
use super::is_state;
use super::metric::{Metric, field};
use super::wire::{Fields, put_bytes, put_number, put_varint};
use crate::event::payload::input::Flaw;

/// Bytes of a message with its names: short aliases may stand for long names, each many times.
const BYTES_MAX: usize = 4 << 20;

/// A metric as its birth described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth<'a> {
    /// The number that stands for the metric's name from then on.
    pub alias: Option<u64>,
    /// Name of the metric.
    pub name: &'a str,
    /// The type of its values.
    pub data_type: DataType,
}

/// Store of the births heard so far.
pub trait Known {
    /// Name and type of the metric of an alias.
    fn by_alias(&self, alias: u64) -> Option<(&str, DataType)>;

    /// The type of a metric without an alias.
    fn by_name(&self, name: &str) -> Option<DataType>;
}

/// Why a message cannot be made complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// Not a message of Sparkplug B.
    Flaw(Flaw),
    /// No birth announced this alias.
    UnknownAlias(u64),
    /// Too long with its names.
    TooLong,
}

impl From<Flaw> for ResolveError {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// The metrics of a birth.
///
/// # Errors
/// When it is no message of Sparkplug B, or a metric has no name.
pub fn births(payload: &[u8]) -> Result<Vec<Birth<'_>>, Flaw> {
    let mut births = Vec::new();
    let mut fields = Fields::new(payload);
    while let Some(found) = fields.next()? {
        if found.number != super::field::METRIC {
            continue;
        }
        super::room(&found, births.len())?;
        let metric = Metric::read(&found)?;
        births.push(Birth {
            alias: metric.alias,
            name: metric.named()?,
            data_type: metric.data_type().unwrap_or(DataType::numbered(0)),
        });
    }
    Ok(births)
}

/// A message in which each metric has its name, and its type if that matters; the message itself if
/// it is complete.
///
/// # Errors
/// When it is no message of Sparkplug B, or a birth was not heard.
pub fn resolve(payload: &Bytes, known: &impl Known) -> Result<Bytes, ResolveError> {
    if is_state(payload) {
        return Ok(payload.clone());
    }
    let mut out = Vec::new();
    let mut copied = 0;
    let mut metrics = 0;
    let mut fields = Fields::new(payload);
    while let Some(found) = fields.next()? {
        if found.number != super::field::METRIC {
            continue;
        }
        metrics += 1;
        super::room(&found, metrics - 1)?;
        let metric = Metric::read(&found)?;
        let (name, data_type) = match (metric.name, metric.alias) {
            (Some(name), _) => (None, known.by_name(name)),
            (None, Some(alias)) => {
                let told = known.by_alias(alias);
                let (name, data_type) = told.ok_or(ResolveError::UnknownAlias(alias))?;
                (Some(name), Some(data_type))
            }
            (None, None) => (None, None),
        };
        let data_type = data_type.filter(|told| metric.data_type().is_none() && told.number() > 0);
        if name.is_none() && data_type.is_none() {
            continue;
        }
        let mut added = Vec::new();
        if let Some(name) = name {
            put_bytes(field::NAME, name.as_bytes(), &mut added);
        }
        if let Some(data_type) = data_type {
            put_number(field::DATA_TYPE, data_type.number().into(), &mut added);
        }
        let content = found.bytes()?;
        out.extend_from_slice(payload.get(copied..found.whole.start).unwrap_or_default());
        put_varint(u64::from(super::field::METRIC) << 3 | 2, &mut out);
        put_varint((content.len() + added.len()) as u64, &mut out);
        // Of a field that stands twice the last counts: an empty name in the message would.
        out.extend_from_slice(content);
        out.extend_from_slice(&added);
        copied = found.whole.end;
        if out.len() > BYTES_MAX {
            return Err(ResolveError::TooLong);
        }
    }
    if out.is_empty() {
        return Ok(payload.clone());
    }
    out.extend_from_slice(payload.get(copied..).unwrap_or_default());
    if out.len() > BYTES_MAX {
        return Err(ResolveError::TooLong);
    }
    Ok(out.into())
}
