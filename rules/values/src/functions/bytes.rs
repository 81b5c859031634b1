//! Functions that look into bytes: numbers of either byte order at a place, and fields of bits.

use super::arguments::{bytes, count, only_text, whole};
use super::table::scalar;
use crate::ops::byte;
use crate::{Context, FnError, Function, Price, Value};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        1201,
        "byte_at",
        "bytes, place",
        "the byte there, 0 to 255; the same as `bytes[place]`",
        |_, args| {
            let place = args.get(1).unwrap_or(&Value::Null);
            Ok(byte(bytes(args, 0)?, place)?)
        },
    ).price(Price::flat(200)),
    scalar(
        1202,
        "unpack",
        "bytes, type[, place]",
        "the number of that type which begins at `place`, at 0 if not said",
        unpack,
    ).price(Price::flat(200)),
    scalar(
        1203,
        "bits",
        "bytes, first, count",
        "the whole number, never below 0, that so many bits make from bit `first` on; bit 0 is the highest of the first byte",
        bits,
    ).price(Price::flat(200)),
    scalar(
        1204,
        "bit_at",
        "x, place",
        "whether bit `place` of a whole number is set; bit 0 is the lowest, bit 63 the highest",
        |_, args| {
            let number = whole(args, 0)?;
            let place = count(args, 1)?;
            if place > 63 {
                return Err(FnError::argument(args, 1, "a whole number from 0 to 63"));
            }
            Ok(Value::Bool(number >> place & 1 == 1))
        },
    ).price(Price::flat(200)),
];

/// A number as bytes hold it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Packed {
    family: Family,
    bits: u32,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    Signed,
    Unsigned,
    Float,
}

impl Packed {
    /// The type of a name such as `int16be`. A single byte has no order, all others have to say theirs.
    fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (family, rest) = [
            ("int", Family::Signed),
            ("uint", Family::Unsigned),
            ("float", Family::Float),
        ]
        .into_iter()
        .find_map(|(prefix, family)| Some((family, name.strip_prefix(prefix)?)))?;
        let (bits, order) = match rest.strip_suffix("be").or(rest.strip_suffix("le")) {
            Some(bits) => (bits, rest.get(bits.len()..)),
            None => (rest, None),
        };
        let (bits, has_order) = match (family, bits) {
            (Family::Signed | Family::Unsigned, "8") => (8, false),
            (_, "16") => (16, true),
            (Family::Signed | Family::Unsigned, "24") => (24, true),
            (_, "32") => (32, true),
            (_, "64") => (64, true),
            _ => return None,
        };
        (order.is_some() == has_order).then_some(Self {
            family,
            bits,
            big_endian: order != Some("le"),
        })
    }

    /// The number that these bytes hold, as many as the type has.
    fn read(self, bytes: &[u8]) -> Value {
        let push = |raw: u64, byte: &u8| raw << 8 | u64::from(*byte);
        let raw = if self.big_endian {
            bytes.iter().fold(0, push)
        } else {
            bytes.iter().rev().fold(0, push)
        };
        match (self.family, self.bits) {
            (Family::Unsigned, _) => Value::whole(raw),
            (Family::Signed, bits) => {
                let above = 64 - bits;
                Value::Int((raw << above).cast_signed() >> above)
            }
            (Family::Float, 16) => Value::float(float16(raw as u16)),
            (Family::Float, 32) => Value::float(f32::from_bits(raw as u32).into()),
            (Family::Float, _) => Value::float(f64::from_bits(raw)),
        }
    }
}

fn unpack(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let bytes = bytes(args, 0)?;
    let name = only_text(args, 1)?;
    let packed = Packed::named(name).ok_or_else(|| {
        let wanted = "int8, uint8, or int, uint or float with its bits and be or le, as in int16be";
        FnError::argument(args, 1, wanted)
    })?;
    let place = match args.len() {
        2 => 0,
        _ => whole(args, 2)?,
    };
    let wanted = packed.bits as usize / 8;
    let begin = match place {
        ..0 => place.saturating_add(bytes.len() as i64), // No bytes are more than memory.
        _ => place,
    };
    let begin = usize::try_from(begin).ok();
    begin
        .and_then(|begin| bytes.get(begin..begin.checked_add(wanted)?))
        .map(|found| packed.read(found))
        .ok_or_else(|| {
            let there = bytes.len();
            let name = name.to_ascii_lowercase();
            FnError::Failed(format!(
                "{name} at {place} takes {wanted} bytes, of {there} in all"
            ))
        })
}

fn bits(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let bytes = bytes(args, 0)?;
    let (first, count) = (count(args, 1)?, count(args, 2)?);
    if count > 64 {
        return Err(FnError::argument(args, 2, "a whole number from 0 to 64"));
    }
    let end = first.checked_add(count);
    let end = end.filter(|end| *end <= bytes.len() * 8).ok_or_else(|| {
        let there = bytes.len() * 8;
        FnError::Failed(format!("{count} bits at {first}, of {there} in all"))
    })?;
    let touched = bytes.get(first / 8..end.div_ceil(8)).unwrap_or_default();
    let raw = touched
        .iter()
        .fold(0_u128, |raw, byte| raw << 8 | u128::from(*byte));
    // 64 bits touch nine bytes at most, so that nothing was shifted out.
    let below = (8 - end % 8) % 8;
    let mask = (1_u128 << count) - 1;
    Ok(Value::whole((raw >> below & mask) as u64))
}

/// A float of 16 bits: 1 of sign, 5 of exponent, 10 of fraction.
pub fn float16(raw: u16) -> f64 {
    let exponent = i32::from(raw >> 10 & 0x1f);
    let fraction = f64::from(raw & 0x3ff);
    let size = match exponent {
        0 => libm::ldexp(fraction, -24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => libm::ldexp(fraction + 1024.0, exponent - 25),
    };
    if raw & 0x8000 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_a_wider_float_says_they_are() {
        for (raw, expected) in [
            (0x0000, 0.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(float16(raw), expected, "{raw:#06x}");
        }
        assert!(float16(0x7e00).is_nan());
        assert!(float16(0x8000).is_sign_negative());
    }

    #[test]
    fn a_type_says_its_order_exactly_where_it_has_one() {
        for name in [
            "int8",
            "UINT8",
            "int24le",
            "uint64be",
            "Float16LE",
            "float32be",
        ] {
            assert!(Packed::named(name).is_some(), "{name}");
        }
        for name in [
            "",
            "int",
            "int8be",
            "int16",
            "uint32xe",
            "float8",
            "float24be",
            "int128be",
            "i16be",
        ] {
            assert_eq!(Packed::named(name), None, "{name}");
        }
    }
}
