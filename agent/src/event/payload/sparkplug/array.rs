//! Lists of values as the bytes of one: the lowest byte first, booleans eight a byte, texts each with a
//! zero behind it.

use tidemill_values::Value;

use super::data_type::{DataType, INT8_ARRAY};
use super::wire::Field;
use crate::event::payload::input::{Budget, Flaw, float, whole};

/// Element type of a list, in the order of the type numbers.
#[derive(Debug, Clone, Copy)]
enum Of {
    Signed(usize),
    Unsigned(usize),
    Float,
    Double,
    Boolean,
    Text,
    Moment,
}

const KINDS: [Of; 13] = [
    Of::Signed(1),
    Of::Signed(2),
    Of::Signed(4),
    Of::Signed(8),
    Of::Unsigned(1),
    Of::Unsigned(2),
    Of::Unsigned(4),
    Of::Unsigned(8),
    Of::Float,
    Of::Double,
    Of::Boolean,
    Of::Text,
    Of::Moment,
];

/// The elements of bytes, if they are of the type of a list.
pub(super) fn elements(
    data_type: DataType,
    found: &Field<'_>,
    budget: &mut Budget,
) -> Result<Option<Vec<Value>>, Flaw> {
    let kind = data_type.number().checked_sub(INT8_ARRAY);
    let Some(kind) = kind.and_then(|place| KINDS.get(place as usize)) else {
        return Ok(None);
    };
    let (bytes, at) = (found.bytes()?, found.content);
    let width = match kind {
        Of::Signed(width) | Of::Unsigned(width) => *width,
        Of::Float => 4,
        Of::Double | Of::Moment => 8,
        Of::Boolean => return booleans(bytes, at, budget).map(Some),
        Of::Text => return texts(bytes, at, budget).map(Some),
    };
    if !bytes.len().is_multiple_of(width) {
        let why = format!("{} bytes are no {}", bytes.len(), data_type.name());
        return Err(Flaw::new(at, why));
    }
    budget.take(at, bytes.len() / width)?;
    let number = |bytes: &[u8]| {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        bytes.iter().rev().fold(0, add)
    };
    let value = |bytes: &[u8]| {
        let number = number(bytes);
        match kind {
            Of::Signed(width) => {
                let above = 64 - 8 * width;
                Value::Int((number << above).cast_signed() >> above)
            }
            Of::Float => {
                let bits = u32::try_from(number).unwrap_or_default();
                float(f32::from_bits(bits).into())
            }
            Of::Double => float(f64::from_bits(number)),
            Of::Moment => super::time(number),
            _ => whole(number),
        }
    };
    Ok(Some(bytes.chunks_exact(width).map(value).collect()))
}

/// A list of Booleans: their number in four bytes, then a bit for each, the highest of a byte
/// first.
fn booleans(bytes: &[u8], at: usize, budget: &mut Budget) -> Result<Vec<Value>, Flaw> {
    let wrong = |what: String| Flaw::new(at, what);
    let (count, bits) = bytes
        .split_first_chunk()
        .ok_or_else(|| wrong(format!("{} bytes are no BooleanArray", bytes.len())))?;
    let count = u32::from_le_bytes(*count) as usize;
    if count > bits.len().saturating_mul(8) {
        return Err(wrong(format!(
            "{count} truth values cannot stand in {} bytes",
            bits.len()
        )));
    }
    budget.take(at, count)?;
    let all = bits
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte << bit & 0x80 != 0));
    Ok(all.take(count).map(Value::Bool).collect())
}

fn texts(bytes: &[u8], at: usize, budget: &mut Budget) -> Result<Vec<Value>, Flaw> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Flaw::new(at + error.valid_up_to(), "a text is not UTF-8"))?;
    // The last one may go without its zero.
    let text = text.strip_suffix('\0').unwrap_or(text);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    budget.take(at, text.split('\0').count())?;
    Ok(text.split('\0').map(Value::text).collect())
}
