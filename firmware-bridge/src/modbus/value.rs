//! Values of registers: every type, every order of bytes, and the number as JSON.

use super::{Address, Area, Read};
use std::fmt::Write as _;

/// Types of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits without a sign.
    U16,
    /// 16 bits with a sign.
    I16,
    /// 32 bits without a sign.
    U32,
    /// 32 bits with a sign.
    I32,
    /// 64 bits without a sign.
    U64,
    /// 64 bits with a sign.
    I64,
    /// A floating-point number of 32 bits.
    F32,
    /// A floating-point number of 64 bits.
    F64,
}

impl Kind {
    /// Bytes of it, two a register.
    pub fn bytes(self) -> u8 {
        match self {
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// The place that each byte on the wire has in the value: `ABCD` is highest byte first, `CDAB` lowest word first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order(Vec<u8>);

impl Order {
    /// The standard's order.
    pub fn highest_first(bytes: u8) -> Self {
        Self((0..bytes).collect())
    }

    /// Reads letters, of which `A` stands for the highest byte; `None` unless each of so many stands there once.
    pub fn read(letters: &str, bytes: u8) -> Option<Self> {
        let places = letters.bytes().map(|letter| letter.wrapping_sub(b'A'));
        let places: Vec<u8> = places.collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..bytes).then_some(Self(places))
    }

    /// Puts bytes from the wire in place, eight at most; the last one is the lowest.
    fn value(&self, wire: impl Iterator<Item = u8>) -> u64 {
        let last = self.0.len().saturating_sub(1);
        let parts = self.0.iter().zip(wire).map(|(place, byte)| {
            let shift = last.saturating_sub(usize::from(*place)) * 8;
            u64::from(byte) << shift
        });
        parts.fold(0, |value, part| value | part)
    }

    /// `true` if the two bytes of each register are swapped.
    fn is_swapped(&self) -> bool {
        self.0.first() != Some(&0)
    }
}

/// The way from a unit's number to the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The factor.
    pub factor: f64,
    /// A number added to the product.
    pub offset: f64,
}

impl Scale {
    fn of(self, number: f64) -> f64 {
        // A tenth is no binary fraction, but a division by ten is exact to the last bit: 3 becomes 0.3.
        let divisor = (1.0 / self.factor).round();
        let is_division = self.factor.abs() < 1.0 && (divisor * self.factor - 1.0).abs() < 1e-12;
        let scaled = if is_division {
            number / divisor
        } else {
            number * self.factor
        };
        scaled + self.offset
    }
}

/// Forms of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// A coil, a discrete input, or a bit of a register; 0 is the lowest.
    Bit(u8),
    /// A number.
    Number {
        /// Its type.
        kind: Kind,
        /// Its bytes' order.
        order: Order,
        /// What becomes of it.
        scale: Option<Scale>,
    },
    /// Characters, two a register, up to the first zero.
    Text {
        /// Characters at most.
        bytes: u8,
        /// The order of two.
        order: Order,
    },
}

/// A value of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name in the event.
    pub name: String,
    /// The table that it is in.
    pub area: Area,
    /// Its first register or bit.
    pub at: Address,
    /// Its form.
    pub form: Form,
}

impl Field {
    /// Registers or bits that it takes.
    pub fn count(&self) -> u16 {
        match &self.form {
            Form::Bit(_) => 1,
            Form::Number { kind, .. } => u16::from(kind.bytes() / 2),
            Form::Text { bytes, .. } => u16::from(bytes.div_ceil(2)),
        }
    }

    /// The value as JSON, from an answer whose first item lies so far before it; `None` if the answer ends before it
    /// does.
    pub fn json(&self, read: &Read, skip: usize) -> Option<String> {
        let count = usize::from(self.count());
        let registers = match read {
            Read::Bits(bits) => return Some(bits.get(skip)?.to_string()),
            Read::Registers(registers) => registers.get(skip..skip + count)?,
        };
        let wire = registers.iter().flat_map(|register| register.to_be_bytes());
        Some(match &self.form {
            Form::Bit(bit) => (registers.first()? >> bit & 1 == 1).to_string(),
            Form::Number { kind, order, scale } => number(*kind, order.value(wire), *scale),
            Form::Text { bytes, order } => {
                let mut characters: Vec<u8> = wire.collect();
                if order.is_swapped() {
                    characters
                        .chunks_exact_mut(2)
                        .for_each(|pair| pair.swap(0, 1));
                }
                characters.truncate(usize::from(*bytes));
                text(&characters)
            }
        })
    }
}

fn number(kind: Kind, bits: u64, scale: Option<Scale>) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the value has no more bits than its type"
    )]
    let (word, half) = (bits as u32, bits as u16);
    match kind {
        Kind::U16 | Kind::U32 | Kind::U64 => whole(bits.into(), scale),
        Kind::I16 => whole(half.cast_signed().into(), scale),
        Kind::I32 => whole(word.cast_signed().into(), scale),
        Kind::I64 => whole(bits.cast_signed().into(), scale),
        Kind::F32 => {
            // By its shortest digits, so that 21.6 stays 21.6 in 64 bits.
            let single = f32::from_bits(word).to_string();
            floating(single.parse().unwrap_or(f64::NAN), scale)
        }
        Kind::F64 => floating(f64::from_bits(bits), scale),
    }
}

fn whole(number: i128, scale: Option<Scale>) -> String {
    match scale {
        None => number.to_string(),
        #[allow(
            clippy::cast_precision_loss,
            reason = "a scaled number is one of 64 bits with a fraction"
        )]
        Some(_) => floating(number as f64, scale),
    }
}

fn floating(number: f64, scale: Option<Scale>) -> String {
    let number = scale.map_or(number, |scale| scale.of(number));
    if !number.is_finite() {
        return "null".to_owned();
    }
    let mut out = String::new();
    // Writing to a String does not fail. Very large and very small ones have hundreds of digits otherwise.
    let _ = if number != 0.0 && !(1e-6..1e17).contains(&number.abs()) {
        write!(out, "{number:e}")
    } else {
        write!(out, "{number}")
    };
    out
}

fn text(characters: &[u8]) -> String {
    let end = characters.iter().position(|byte| *byte == 0);
    let characters = characters.get(..end.unwrap_or(characters.len()));
    let text = String::from_utf8_lossy(characters.unwrap_or_default());
    // Texts always can be written.
    serde_json::to_string(text.trim_end()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(form: Form) -> Field {
        Field {
            name: "x".to_owned(),
            area: Area::Holding,
            at: Address(0),
            form,
        }
    }

    #[track_caller]
    fn check(kind: Kind, letters: &str, registers: &[u16], expected: &str) {
        let order = Order::read(letters, kind.bytes()).unwrap();
        let form = Form::Number {
            kind,
            order,
            scale: None,
        };
        let json = field(form).json(&Read::Registers(registers.to_vec()), 0);
        assert_eq!(json.as_deref(), Some(expected), "{kind:?} {letters}");
    }

    #[test]
    fn every_type_is_read_in_every_order_of_words() {
        check(Kind::U16, "AB", &[0xFFFE], "65534");
        check(Kind::U16, "BA", &[0xFEFF], "65534");
        check(Kind::I16, "AB", &[0xFFFE], "-2");
        check(Kind::I16, "BA", &[0xFEFF], "-2");
        for (letters, registers) in [
            ("ABCD", [0x1122, 0x3344]),
            ("CDAB", [0x3344, 0x1122]),
            ("BADC", [0x2211, 0x4433]),
            ("DCBA", [0x4433, 0x2211]),
        ] {
            check(Kind::U32, letters, &registers, &0x1122_3344_u32.to_string());
        }
        check(Kind::I32, "CDAB", &[0xFFFF, 0xFFFF], "-1");
        check(Kind::F32, "ABCD", &[0x41AC, 0xCCCD], "21.6");
        check(Kind::F32, "CDAB", &[0xCCCD, 0x41AC], "21.6");
        check(Kind::F32, "BADC", &[0xAC41, 0xCDCC], "21.6");
        check(Kind::F32, "DCBA", &[0xCDCC, 0xAC41], "21.6");
        let long = 0x1122_3344_5566_7788_u64.to_string();
        for (letters, registers) in [
            ("ABCDEFGH", [0x1122, 0x3344, 0x5566, 0x7788]),
            ("GHEFCDAB", [0x7788, 0x5566, 0x3344, 0x1122]),
            ("BADCFEHG", [0x2211, 0x4433, 0x6655, 0x8877]),
            ("HGFEDCBA", [0x8877, 0x6655, 0x4433, 0x2211]),
            ("CDABGHEF", [0x3344, 0x1122, 0x7788, 0x5566]),
        ] {
            check(Kind::U64, letters, &registers, &long);
        }
        check(Kind::I64, "ABCDEFGH", &[0xFFFF; 4], "-1");
        check(Kind::U64, "ABCDEFGH", &[0xFFFF; 4], &u64::MAX.to_string());
        let bits = (-0.1_f64).to_bits().to_be_bytes();
        let words: Vec<u16> = bits
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect();
        check(Kind::F64, "ABCDEFGH", &words, "-0.1");
    }

    #[test]
    fn an_order_has_each_letter_once() {
        for letters in ["AA", "A", "ABC", "AC", "ab", ""] {
            assert_eq!(Order::read(letters, 2), None, "{letters}");
        }
        assert_eq!(Order::read("ABCD", 2), None);
    }

    #[test]
    fn numbers_that_json_does_not_have_are_null() {
        check(Kind::F32, "ABCD", &[0x7FC0, 0], "null");
        check(Kind::F32, "ABCD", &[0x7F80, 0], "null");
        check(Kind::F64, "ABCDEFGH", &[0xFFF0, 0, 0, 0], "null");
        check(Kind::F32, "ABCD", &[0x7F7F, 0xFFFF], "3.4028235e38");
        check(Kind::F32, "ABCD", &[0, 1], "1e-45");
        check(Kind::F32, "ABCD", &[0, 0], "0");
    }

    #[test]
    fn a_scale_leaves_no_digits_behind() {
        let scaled = |register: u16, factor: f64, offset: f64| {
            let form = Form::Number {
                kind: Kind::I16,
                order: Order::highest_first(2),
                scale: Some(Scale { factor, offset }),
            };
            field(form)
                .json(&Read::Registers(vec![register]), 0)
                .unwrap()
        };
        assert_eq!(scaled(3, 0.1, 0.0), "0.3");
        assert_eq!(scaled(65_533, 0.1, 0.0), "-0.3");
        assert_eq!(scaled(2_313, 0.01, -40.0), "-16.87");
        assert_eq!(scaled(7, 1.0, 273.15), "280.15");
        assert_eq!(scaled(7, 2.5, 0.0), "17.5");
        assert_eq!(scaled(7, -0.001, 0.0), "-0.007");
    }

    #[test]
    fn bits_and_texts_are_read() {
        let bit = |bit| field(Form::Bit(bit)).json(&Read::Registers(vec![0b1000]), 0);
        assert_eq!(
            (bit(3).as_deref(), bit(2).as_deref()),
            (Some("true"), Some("false"))
        );
        let coils = Read::Bits(vec![false, true]);
        assert_eq!(field(Form::Bit(0)).json(&coils, 1).as_deref(), Some("true"));
        assert_eq!(field(Form::Bit(0)).json(&coils, 2), None);
        let text = |letters: &str, bytes: u8, registers: &[u16]| {
            let order = Order::read(letters, 2).unwrap();
            let form = Form::Text { bytes, order };
            field(form)
                .json(&Read::Registers(registers.to_vec()), 0)
                .unwrap()
        };
        assert_eq!(text("AB", 5, &[0x4142, 0x4344, 0x4546]), "\"ABCDE\"");
        assert_eq!(text("BA", 6, &[0x4142, 0x4344, 0x2020]), "\"BADC\"");
        assert_eq!(text("AB", 4, &[0x4100, 0x4344]), "\"A\"");
        assert_eq!(text("AB", 4, &[0x22FF, 0x0A00]), "\"\\\"\u{FFFD}\"");
    }

    #[test]
    fn an_answer_that_ends_early_has_no_value() {
        let form = Form::Number {
            kind: Kind::U32,
            order: Order::highest_first(4),
            scale: None,
        };
        assert_eq!(field(form).json(&Read::Registers(vec![1, 2]), 1), None);
    }
}
