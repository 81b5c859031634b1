//! MessagePack: one value, or a list of rows. The extension of moments is followed; of all others only
//! the bytes are taken.

use bytes::Bytes;
use tidemill_values::Value;

use super::Rows;
use super::input::{Flaw, Input, float, moment, name, object, rows_of, whole};

/// The extension whose bytes are a moment.
const TIMESTAMP: i8 = -1;

/// The value that a message is.
pub(super) fn value(payload: &[u8]) -> Result<Value, Flaw> {
    let mut input = Input::new(payload);
    let value = read(&mut input, 0)?;
    input.end()?;
    Ok(value)
}

/// The elements of a list, which are rows; whatever else a message holds is one row.
pub(super) fn rows(payload: &Bytes) -> Result<Rows, Flaw> {
    /// The head of a list of one.
    const LIST_OF_ONE: u8 = 0x91;
    let mut input = Input::new(payload);
    if !is_list(&input) {
        return Ok(Rows::One);
    }
    let Head::List(count) = head(&mut input)? else {
        return Ok(Rows::One);
    };
    let mut left = input.count(0, count, 1)?;
    let more = |_: &mut Input<'_>| {
        let more = left > 0;
        left = left.saturating_sub(1);
        Ok(more)
    };
    rows_of(payload, input, (more, read), LIST_OF_ONE)
}

fn is_list(input: &Input<'_>) -> bool {
    let first = input.peek();
    first.is_some_and(|first| matches!(first, 0x90..=0x9f | 0xdc | 0xdd))
}

/// The head of a value.
enum Head {
    /// The value itself.
    Value(Value),
    /// Text of this many bytes.
    Text(u64),
    /// Binary data of this many bytes.
    Bytes(u64),
    /// A list of this many values.
    List(u64),
    /// A map of this many names and values.
    Map(u64),
    /// An extension type of this many bytes.
    Extension(u64),
}

fn head(input: &mut Input<'_>) -> Result<Head, Flaw> {
    let at = input.at();
    let first = input.byte()?;
    Ok(match first {
        0x00..=0x7f => Head::Value(whole(first.into())),
        0x80..=0x8f => Head::Map((first & 0x0f).into()),
        0x90..=0x9f => Head::List((first & 0x0f).into()),
        0xa0..=0xbf => Head::Text((first & 0x1f).into()),
        0xc0 => Head::Value(Value::Null),
        0xc1 => return Err(Flaw::new(at, "no value begins with 0xc1")),
        0xc2 => Head::Value(Value::Bool(false)),
        0xc3 => Head::Value(Value::Bool(true)),
        0xc4 => Head::Bytes(u8::from_be_bytes(input.bytes()?).into()),
        0xc5 => Head::Bytes(u16::from_be_bytes(input.bytes()?).into()),
        0xc6 => Head::Bytes(u32::from_be_bytes(input.bytes()?).into()),
        0xc7 => Head::Extension(u8::from_be_bytes(input.bytes()?).into()),
        0xc8 => Head::Extension(u16::from_be_bytes(input.bytes()?).into()),
        0xc9 => Head::Extension(u32::from_be_bytes(input.bytes()?).into()),
        0xca => Head::Value(float(f32::from_be_bytes(input.bytes()?).into())),
        0xcb => Head::Value(float(f64::from_be_bytes(input.bytes()?))),
        0xcc => Head::Value(whole(u8::from_be_bytes(input.bytes()?).into())),
        0xcd => Head::Value(whole(u16::from_be_bytes(input.bytes()?).into())),
        0xce => Head::Value(whole(u32::from_be_bytes(input.bytes()?).into())),
        0xcf => Head::Value(whole(u64::from_be_bytes(input.bytes()?))),
        0xd0 => Head::Value(Value::Int(i8::from_be_bytes(input.bytes()?).into())),
        0xd1 => Head::Value(Value::Int(i16::from_be_bytes(input.bytes()?).into())),
        0xd2 => Head::Value(Value::Int(i32::from_be_bytes(input.bytes()?).into())),
        0xd3 => Head::Value(Value::Int(i64::from_be_bytes(input.bytes()?))),
        0xd4..=0xd8 => Head::Extension(1 << (first - 0xd4)),
        0xd9 => Head::Text(u8::from_be_bytes(input.bytes()?).into()),
        0xda => Head::Text(u16::from_be_bytes(input.bytes()?).into()),
        0xdb => Head::Text(u32::from_be_bytes(input.bytes()?).into()),
        0xdc => Head::List(u16::from_be_bytes(input.bytes()?).into()),
        0xdd => Head::List(u32::from_be_bytes(input.bytes()?).into()),
        0xde => Head::Map(u16::from_be_bytes(input.bytes()?).into()),
        0xdf => Head::Map(u32::from_be_bytes(input.bytes()?).into()),
        0xe0..=0xff => Head::Value(Value::Int(first.cast_signed().into())),
    })
}

fn read(input: &mut Input<'_>, depth: usize) -> Result<Value, Flaw> {
    let at = input.at();
    let head = head(input)?;
    input.value(at, depth)?;
    Ok(match head {
        Head::Value(value) => value,
        Head::Text(len) => Value::text(input.text(len)?),
        Head::Bytes(len) => Value::bytes(input.take(len)?),
        Head::List(count) => {
            let count = input.count(at, count, 1)?;
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(read(input, depth + 1)?);
            }
            Value::list(values)
        }
        Head::Map(count) => {
            let count = input.count(at, count, 2)?;
            let mut entries = Vec::new();
            for _ in 0..count {
                let at = input.at();
                let key = read(input, depth + 1)?;
                let key = name(&key).ok_or_else(|| Flaw::new(at, "a list or a map is no name"))?;
                entries.push((key, read(input, depth + 1)?));
            }
            object(entries)
        }
        Head::Extension(len) => {
            let kind = i8::from_be_bytes(input.bytes()?);
            let bytes = input.take(len)?;
            match kind {
                TIMESTAMP => timestamp(at, bytes)?,
                _ => Value::bytes(bytes),
            }
        }
    })
}

/// A moment: 32 bits of seconds; 30 bits of nanoseconds and 34 of seconds; or 32 and 64 of them.
fn timestamp(at: usize, bytes: &[u8]) -> Result<Value, Flaw> {
    let wrong = || Flaw::new(at, "a moment has 4, 8 or 12 bytes");
    let (seconds, nanoseconds) = match bytes.len() {
        4 => (
            u32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).into(),
            0,
        ),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?);
            let seconds = both & ((1 << 34) - 1);
            (seconds.cast_signed(), both >> 34)
        }
        12 => {
            let (nanoseconds, seconds) = bytes.split_first_chunk().ok_or_else(wrong)?;
            let seconds = seconds.try_into().map_err(|_| wrong())?;
            let nanoseconds = u32::from_be_bytes(*nanoseconds);
            (i64::from_be_bytes(seconds), nanoseconds.into())
        }
        _ => return Err(wrong()),
    };
    let ms = nanoseconds / 1_000_000;
    let ms = seconds
        .checked_mul(1_000)
        .and_then(|all| all.checked_add_unsigned(ms));
    moment(at, ms)
}
