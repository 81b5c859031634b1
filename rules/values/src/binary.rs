//! Values as bytes, for state and for the rows of windows: short, the same bytes for the same
//! value, and read back without trust. A version byte comes first, then one value; see
//! `docs/formats.md`.

use std::sync::Arc;

use crate::map::{MAP_BYTES, entry_weight};
use crate::value::{LIST_BYTES, SHARED_BYTES, SLOT_BYTES};
use crate::{Budget, Map, Value};

/// The first byte of every encoded value.
const VERSION: u8 = 1;

/// Nesting limit of lists and objects: deeper than JSON input may be, so that a function may still
/// wrap it.
pub const NESTING_MAX: usize = 192;

/// Size limit of one encoded value, in bytes.
pub const ENCODED_BYTES_MAX: usize = 4 << 20;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const DATETIME: u8 = 5;
const TEXT: u8 = 6;
const BYTES: u8 = 7;
const LIST: u8 = 8;
const MAP: u8 = 9;
const WIDE: u8 = 10;

/// Why a value cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Lists and objects lie too deep in each other.
    #[error("nested more than {NESTING_MAX} deep")]
    TooDeep,
    /// The value is too long.
    #[error("more than {ENCODED_BYTES_MAX} bytes")]
    TooLong,
}

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A later version wrote them.
    #[error("version {0} of values is not known here")]
    Version(u8),
    /// They end too early.
    #[error("the bytes end inside a value")]
    Short,
    /// Something follows the value.
    #[error("bytes follow the value")]
    Rest,
    /// A type that does not exist.
    #[error("no type of value has the number {0}")]
    Tag(u8),
    /// A number, text or object that the encoder would have written otherwise.
    #[error("not written as values are")]
    Malformed,
    /// Lists and objects lie too deep in each other.
    #[error("nested more than {NESTING_MAX} deep")]
    TooDeep,
    /// The value is too long.
    #[error("more than {ENCODED_BYTES_MAX} bytes")]
    TooLong,
    /// The fuel does not cover reading it.
    #[error("out of fuel")]
    OutOfFuel,
    /// It takes more memory than there is for it.
    #[error("more bytes of values than a call may hold")]
    NoRoom,
}

/// A value as bytes.
///
/// # Errors
///
/// If it is nested too deep or too long.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends a value as bytes to `out`; on an error `out` is as it was.
///
/// # Errors
///
/// If it is nested too deep or too long.
pub fn encode_into(value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(VERSION);
    let written = write(value, 0, start + ENCODED_BYTES_MAX, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Reads a value that [`encode`] wrote. Never panics, whatever the bytes are, and takes memory in
/// proportion to their number.
///
/// # Errors
///
/// If they are anything else.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    decode_within(bytes, &mut { Budget::PLENTY }, &mut Names::default())
}

/// The same, paid as far as it goes. Names that were read before are not made anew.
///
/// # Errors
///
/// If they are anything else, or cost more than there is.
pub fn decode_within(
    bytes: &[u8],
    budget: &mut Budget,
    names: &mut Names,
) -> Result<Value, DecodeError> {
    if bytes.len() > ENCODED_BYTES_MAX {
        return Err(DecodeError::TooLong);
    }
    let mut rest = bytes;
    match byte(&mut rest)? {
        VERSION => {}
        other => return Err(DecodeError::Version(other)),
    }
    let value = read(&mut rest, 0, &mut Paid { budget, names })?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Rest)
    }
}

fn write(value: &Value, depth: usize, end: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if depth > NESTING_MAX {
        return Err(EncodeError::TooDeep);
    }
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(number) => {
            out.push(INT);
            write_number(zigzag(*number), out);
        }
        Value::Wide(number) => {
            out.push(WIDE);
            write_number(*number, out);
        }
        Value::Float(number) => {
            out.push(FLOAT);
            let number = if number.is_nan() { f64::NAN } else { *number };
            out.extend(number.to_bits().to_le_bytes());
        }
        Value::Datetime(ms) => {
            out.push(DATETIME);
            write_number(zigzag(*ms), out);
        }
        Value::Text(text) => {
            out.push(TEXT);
            write_run(text.as_bytes(), out);
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            write_run(bytes, out);
        }
        Value::List(values) => {
            out.push(LIST);
            write_number(values.len() as u64, out);
            for value in values.iter() {
                write(value, depth + 1, end, out)?;
            }
        }
        Value::Map(map) => {
            out.push(MAP);
            write_number(map.len() as u64, out);
            for (name, value) in map.iter() {
                write_run(name.as_bytes(), out);
                write(value, depth + 1, end, out)?;
            }
        }
    }
    if out.len() > end {
        return Err(EncodeError::TooLong);
    }
    Ok(())
}

fn write_run(bytes: &[u8], out: &mut Vec<u8>) {
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers of either sign become small: 0, -1, 1, -2 are 0, 1, 2, 3.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Names that were read before, which most rows have in common.
#[derive(Debug, Default)]
pub struct Names {
    /// By length and last byte; one that is not found is made anew, and takes the place.
    known: Vec<Option<Arc<str>>>,
}

impl Names {
    /// Places for names.
    const PLACES: usize = 256;

    /// A name, the same one as before where it is known.
    pub fn shared(&mut self, name: &str) -> Arc<str> {
        if self.known.is_empty() {
            self.known.resize(Self::PLACES, None);
        }
        let bytes = name.as_bytes();
        let mark = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
        let place = bytes.len() * 31 + mark(bytes.first()) * 7 + mark(bytes.last());
        let Some(known) = self.known.get_mut(place % Self::PLACES) else {
            return name.into();
        };
        match known {
            Some(same) if **same == *name => same.clone(),
            _ => known.insert(name.into()).clone(),
        }
    }
}

/// Fuel of a value that is read.
const READ_FUEL: u64 = 16;
/// Fuel of one that is long, beside it.
const LONG_FUEL: u64 = 100;
/// Fuel of a name that is read with it.
const NAME_FUEL: u64 = 200;

/// Budget and names by which reading is paid for.
struct Paid<'a> {
    budget: &'a mut Budget,
    names: &'a mut Names,
}

impl Paid<'_> {
    fn pay(&mut self, fuel: u64, bytes: usize) -> Result<(), DecodeError> {
        self.budget
            .spend(fuel)
            .map_err(|_| DecodeError::OutOfFuel)?;
        self.budget.hold(bytes).map_err(|_| DecodeError::NoRoom)
    }
}

fn read(rest: &mut &[u8], depth: usize, paid: &mut Paid<'_>) -> Result<Value, DecodeError> {
    if depth > NESTING_MAX {
        return Err(DecodeError::TooDeep);
    }
    paid.pay(READ_FUEL, 0)?;
    Ok(match byte(rest)? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(unzigzag(read_number(rest)?)),
        FLOAT => {
            let bits = u64::from_le_bytes(*rest.split_first_chunk().ok_or(DecodeError::Short)?.0);
            *rest = rest.get(8..).unwrap_or_default();
            let number = f64::from_bits(bits);
            if number.is_nan() && bits != f64::NAN.to_bits() {
                return Err(DecodeError::Malformed);
            }
            // A value kept by an earlier version may be NaN.
            Value::float(number)
        }
        WIDE => match Value::whole(read_number(rest)?) {
            Value::Int(_) => return Err(DecodeError::Malformed),
            wide => wide,
        },
        DATETIME => Value::Datetime(unzigzag(read_number(rest)?)),
        TEXT => {
            let text = read_text(rest)?;
            paid.pay(LONG_FUEL + text.len() as u64 / 8, SHARED_BYTES + text.len())?;
            Value::Text(text.into())
        }
        BYTES => {
            let run = read_run(rest)?;
            paid.pay(LONG_FUEL + run.len() as u64 / 8, SHARED_BYTES + run.len())?;
            Value::Bytes(run.into())
        }
        LIST => {
            let count = read_count(rest, 1)?;
            paid.pay(LONG_FUEL, LIST_BYTES + count * SLOT_BYTES)?;
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                values.push(read(rest, depth + 1, paid)?);
            }
            Value::list(values)
        }
        MAP => {
            let count = read_count(rest, 2)?;
            paid.pay(LONG_FUEL, MAP_BYTES)?;
            let mut map = Map::new();
            for _ in 0..count {
                let name = read_text(rest)?;
                paid.pay(NAME_FUEL + name.len() as u64 / 2, 16)?;
                let name = paid.names.shared(name);
                if Arc::strong_count(&name) <= 2 {
                    paid.pay(0, entry_weight(&name) - 16)?;
                }
                map.insert(name, read(rest, depth + 1, paid)?);
            }
            if map.len() != count {
                return Err(DecodeError::Malformed);
            }
            Value::map(map)
        }
        other => return Err(DecodeError::Tag(other)),
    })
}

fn byte(rest: &mut &[u8]) -> Result<u8, DecodeError> {
    let (first, others) = rest.split_first().ok_or(DecodeError::Short)?;
    *rest = others;
    Ok(*first)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(read_run(rest)?).map_err(|_| DecodeError::Malformed)
}

fn read_run<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = read_count(rest, 1)?;
    let (run, others) = rest.split_at_checked(len).ok_or(DecodeError::Short)?;
    *rest = others;
    Ok(run)
}

/// A number of things of which each takes at least `each` bytes: more than can follow are refused
/// before memory is taken for them.
fn read_count(rest: &mut &[u8], each: usize) -> Result<usize, DecodeError> {
    let count = usize::try_from(read_number(rest)?).map_err(|_| DecodeError::Short)?;
    if count > rest.len() / each {
        return Err(DecodeError::Short);
    }
    Ok(count)
}

fn read_number(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(rest)?;
        let part = u64::from(next & 0x7f);
        if shift == 63 && part > 1 {
            return Err(DecodeError::Malformed);
        }
        number |= part << shift;
        if next < 0x80 {
            // A last byte of nothing would be a second way to write the same number.
            return if next == 0 && shift > 0 {
                Err(DecodeError::Malformed)
            } else {
                Ok(number)
            };
        }
    }
    Err(DecodeError::Malformed)
}

#[cfg(test)]
mod tests;
