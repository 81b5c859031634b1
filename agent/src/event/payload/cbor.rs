//! CBOR (RFC 8949): one value, or a list of rows. Tags are followed if there is a value of their
//! meaning; others are ignored.

use bytes::Bytes;
use tidemill_values::{Value, float16};

use super::Rows;
use super::input::{Flaw, Input, float, moment, name, object, rows_of, whole};

/// A head of which the length comes in pieces, up to a break.
const INDEFINITE: u8 = 31;
/// The byte that ends what has no length.
const BREAK: u8 = 0xff;

/// Types of values: the upper three bits of a head.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const LIST: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
}

/// Tags that are followed (RFC 8949, section 3.4, and IANA's registry).
mod tag {
    pub(super) const DATE_TEXT: u64 = 0;
    pub(super) const EPOCH: u64 = 1;
    pub(super) const BIG: u64 = 2;
    pub(super) const BIG_NEGATIVE: u64 = 3;
    pub(super) const DECIMAL: u64 = 4;
    pub(super) const BIG_FLOAT: u64 = 5;
    pub(super) const TEXT_REFERENCE: u64 = 25;
    pub(super) const SHARED_REFERENCE: u64 = 29;
    pub(super) const UUID: u64 = 37;
}

/// `true` if a tag changes the meaning of the value behind it.
fn means_something(tag: u64) -> bool {
    let numbers = tag::DATE_TEXT..=tag::BIG_FLOAT;
    let others = [tag::TEXT_REFERENCE, tag::SHARED_REFERENCE, tag::UUID];
    numbers.contains(&tag) || others.contains(&tag)
}

/// The value that a message is.
pub(super) fn value(payload: &[u8]) -> Result<Value, Flaw> {
    let mut input = Input::new(payload);
    let value = read(&mut input, 0)?;
    input.end()?;
    Ok(value)
}

/// The elements of a list, which are rows; whatever else a message holds is one row.
pub(super) fn rows(payload: &Bytes) -> Result<Rows, Flaw> {
    let mut input = Input::new(payload);
    let mut head = head(&mut input)?;
    // Tags that say nothing of values: that this is CBOR, or a set.
    while head.major == major::TAG && !means_something(head.argument) {
        head = self::head(&mut input)?;
    }
    if head.major != major::LIST {
        return Ok(Rows::One);
    }
    let mut elements = Elements::new(&input, &head, 1)?;
    let more = |input: &mut Input<'_>| elements.more(input);
    rows_of(payload, input, (more, read), major::LIST << 5 | 1)
}

/// The head of a value.
struct Head {
    at: usize,
    major: u8,
    info: u8,
    /// The head's argument; 0 if the length is not known.
    argument: u64,
}

fn head(input: &mut Input<'_>) -> Result<Head, Flaw> {
    let at = input.at();
    let first = input.byte()?;
    let info = first & 0x1f;
    let argument = match info {
        ..24 => info.into(),
        24 => u8::from_be_bytes(input.bytes()?).into(),
        25 => u16::from_be_bytes(input.bytes()?).into(),
        26 => u32::from_be_bytes(input.bytes()?).into(),
        27 => u64::from_be_bytes(input.bytes()?),
        INDEFINITE => 0,
        _ => return Err(Flaw::new(at, format!("no value begins with {first:#04x}"))),
    };
    let major = first >> 5;
    let has_length = matches!(major, major::UNSIGNED | major::NEGATIVE | major::TAG);
    if info == INDEFINITE && (has_length || first == BREAK) {
        return Err(Flaw::new(at, format!("no value begins with {first:#04x}")));
    }
    Ok(Head {
        at,
        major,
        info,
        argument,
    })
}

fn read(input: &mut Input<'_>, depth: usize) -> Result<Value, Flaw> {
    let head = head(input)?;
    input.value(head.at, depth)?;
    Ok(match head.major {
        major::UNSIGNED => whole(head.argument),
        major::NEGATIVE => negative(u128::from(head.argument)),
        major::BYTES => Value::bytes(string(input, &head)?.concat()),
        major::TEXT => text(input, &head)?,
        major::LIST => list(input, &head, depth)?,
        major::MAP => map(input, &head, depth)?,
        major::TAG => tagged(input, &head, depth)?,
        _ => simple(&head)?,
    })
}

/// -1 less the number.
fn negative(number: u128) -> Value {
    match i64::try_from(number) {
        Ok(number) => Value::Int(-1 - number),
        Err(_) => float(-as_float(number.saturating_add(1))),
    }
}

#[allow(clippy::cast_precision_loss, reason = "the nearest float is asked for")]
fn as_float(number: u128) -> f64 {
    number as f64
}

/// The pieces of bytes or of a text: one, or as many as there are up to a break.
fn string<'a>(input: &mut Input<'a>, head: &Head) -> Result<Vec<&'a [u8]>, Flaw> {
    if head.info != INDEFINITE {
        return Ok(vec![input.take(head.argument)?]);
    }
    let mut pieces = Vec::new();
    while input.peek() != Some(BREAK) {
        let piece = self::head(input)?;
        if piece.major != head.major || piece.info == INDEFINITE {
            let why = "a piece of a string that is none";
            return Err(Flaw::new(piece.at, why));
        }
        input.value(piece.at, 0)?;
        pieces.push(input.take(piece.argument)?);
    }
    input.byte()?;
    Ok(pieces)
}

fn text(input: &mut Input<'_>, head: &Head) -> Result<Value, Flaw> {
    if head.info != INDEFINITE {
        return Ok(Value::text(input.text(head.argument)?));
    }
    let bytes = string(input, head)?.concat();
    let text = String::from_utf8(bytes);
    text.map(Value::text)
        .map_err(|_| Flaw::new(head.at, "a text is not UTF-8"))
}

/// Elements that are still to come: a number of them, or all up to a break.
enum Elements {
    Count(usize),
    UpToBreak,
}

impl Elements {
    fn new(input: &Input<'_>, head: &Head, each: usize) -> Result<Self, Flaw> {
        if head.info == INDEFINITE {
            return Ok(Self::UpToBreak);
        }
        input.count(head.at, head.argument, each).map(Self::Count)
    }

    /// Tells whether one more follows.
    fn more(&mut self, input: &mut Input<'_>) -> Result<bool, Flaw> {
        match self {
            Self::Count(0) => Ok(false),
            Self::Count(left) => {
                *left -= 1;
                Ok(true)
            }
            Self::UpToBreak if input.peek() == Some(BREAK) => {
                input.byte()?;
                Ok(false)
            }
            Self::UpToBreak => Ok(true),
        }
    }
}

fn list(input: &mut Input<'_>, head: &Head, depth: usize) -> Result<Value, Flaw> {
    let mut elements = Elements::new(input, head, 1)?;
    let mut values = Vec::new();
    while elements.more(input)? {
        values.push(read(input, depth + 1)?);
    }
    Ok(Value::list(values))
}

fn map(input: &mut Input<'_>, head: &Head, depth: usize) -> Result<Value, Flaw> {
    let mut elements = Elements::new(input, head, 2)?;
    let mut entries = Vec::new();
    while elements.more(input)? {
        let at = input.at();
        let key = read(input, depth + 1)?;
        let key = name(&key).ok_or_else(|| Flaw::new(at, "a list or a map is no name"))?;
        entries.push((key, read(input, depth + 1)?));
    }
    Ok(object(entries))
}

/// A value with a tag in front, which says what it means.
fn tagged(input: &mut Input<'_>, head: &Head, depth: usize) -> Result<Value, Flaw> {
    let (at, tag) = (head.at, head.argument);
    let refers = matches!(tag, tag::TEXT_REFERENCE | tag::SHARED_REFERENCE);
    if refers {
        let why = format!("tag {tag} refers to another value, which is not supported");
        return Err(Flaw::new(at, why));
    }
    let value = read(input, depth + 1)?;
    let wrong = |wanted: &str| Flaw::new(at, format!("tag {tag} is about {wanted}"));
    match (tag, &value) {
        (tag::DATE_TEXT, Value::Text(text)) => {
            let date = chrono::DateTime::parse_from_rfc3339(text);
            let date = date.map_err(|_| wrong("a date such as 2024-05-01T08:30:00Z"))?;
            moment(at, Some(date.timestamp_millis()))
        }
        (tag::DATE_TEXT, _) => Err(wrong("a date such as 2024-05-01T08:30:00Z")),
        (tag::EPOCH, Value::Int(seconds)) => moment(at, seconds.checked_mul(1_000)),
        (tag::EPOCH, Value::Float(seconds)) => moment(at, milliseconds(*seconds)),
        (tag::EPOCH, Value::Null) => Ok(Value::Null),
        (tag::EPOCH, _) => Err(wrong("a number of seconds")),
        (tag::BIG | tag::BIG_NEGATIVE, Value::Bytes(bytes)) => big(bytes, tag == tag::BIG_NEGATIVE)
            .ok_or_else(|| Flaw::new(at, "a number beyond the range of floats")),
        (tag::BIG | tag::BIG_NEGATIVE, _) => Err(wrong("the bytes of a number")),
        (tag::DECIMAL | tag::BIG_FLOAT, Value::List(parts)) => match &parts[..] {
            [Value::Int(exponent), mantissa] => scaled(tag, *exponent, mantissa)
                .ok_or_else(|| wrong("an exponent and a number, within the range of floats")),
            _ => Err(wrong("an exponent and a number")),
        },
        (tag::DECIMAL | tag::BIG_FLOAT, _) => Err(wrong("an exponent and a number")),
        (tag::UUID, Value::Bytes(bytes)) => uuid(bytes).ok_or_else(|| wrong("16 bytes")),
        _ => Ok(value),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "seconds that are cut are of no credible year"
)]
fn milliseconds(seconds: f64) -> Option<i64> {
    let ms = libm::round(seconds * 1_000.0);
    ms.is_finite().then_some(ms as i64)
}

/// A number of any length, the highest byte first, or -1 less it: whole as far as that goes, else its
/// nearest float; `None` beyond the range of floats.
fn big(bytes: &[u8], is_negative: bool) -> Option<Value> {
    /// No float has more bits before the point.
    const BYTES_MAX: usize = 128;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes
        .get(zeros..)
        .filter(|bytes| bytes.len() <= BYTES_MAX)?;
    let (high, low) = bytes.split_at(bytes.len().min(16));
    let number = high
        .iter()
        .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let value = match (u64::try_from(number), is_negative) {
        (Ok(number), false) if low.is_empty() => whole(number),
        (_, true) if low.is_empty() => negative(number),
        _ => {
            // Lower digits count only if the upper ones lie halfway between two floats.
            let is_more = is_negative || low.iter().any(|byte| *byte != 0);
            let scale = i32::try_from(low.len() * 8).ok()?;
            let size = libm::ldexp(as_float(number | u128::from(is_more)), scale);
            float(if is_negative { -size } else { size })
        }
    };
    (!value.is_null()).then_some(value)
}

/// A number times a power of ten, or of two; `None` beyond the range of floats.
fn scaled(tag: u64, exponent: i64, mantissa: &Value) -> Option<Value> {
    let number: f64 = match (tag, mantissa) {
        (tag::DECIMAL, Value::Int(mantissa)) => format!("{mantissa}e{exponent}").parse().ok()?,
        (tag::DECIMAL, Value::Float(mantissa)) => {
            mantissa * libm::pow(10.0, clamped(exponent).into())
        }
        (tag::BIG_FLOAT, mantissa) => libm::ldexp(mantissa.as_number()?, clamped(exponent)),
        _ => return None,
    };
    number.is_finite().then_some(Value::Float(number))
}

fn clamped(exponent: i64) -> i32 {
    /// Beyond it every number is 0 or infinite.
    const EXPONENT_MAX: i64 = 4_000;
    i32::try_from(exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX)).unwrap_or_default()
}

fn uuid(bytes: &[u8]) -> Option<Value> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part));
    let parts: Option<Vec<&str>> = parts.into_iter().collect();
    Some(Value::text(parts?.join("-")))
}

/// Decodes a simple value: a Boolean, null or a float.
fn simple(head: &Head) -> Result<Value, Flaw> {
    let bits = head.argument;
    Ok(match head.info {
        20 => Value::Bool(false),
        21 => Value::Bool(true),
        // `null` and `undefined`.
        22 | 23 => Value::Null,
        25 => float(u16::try_from(bits).map_or(f64::NAN, float16)),
        26 => float(u32::try_from(bits).map_or(f64::NAN, |bits| f32::from_bits(bits).into())),
        27 => float(f64::from_bits(bits)),
        _ => {
            let why = format!("the simple value {bits} has no meaning");
            return Err(Flaw::new(head.at, why));
        }
    })
}
