//! Numbers as they cross the border: one bit pattern for NaN, and the shortest JSON text.

/// The one NaN that guests and the world ever see, so that the same inputs give the same bits on
/// every CPU.
#[inline]
pub(super) fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

/// A number's JSON text, without an allocation.
pub(super) struct NumberText {
    bytes: [u8; 32],
    len: usize,
}

impl NumberText {
    /// The shortest text that reads back as the same number; `null` for NaN and infinities.
    pub(super) fn new(value: f64) -> Self {
        let mut bytes = [0; 32];
        let mut rest = &mut bytes[..];
        serde_json::to_writer(&mut rest, &value)
            .expect("no number of 64 bits takes more than 25 bytes");
        let free = rest.len();
        let mut text = Self {
            len: bytes.len() - free,
            bytes,
        };
        if text.as_bytes().ends_with(b".0") {
            text.len -= 2;
        }
        if let Some(plus) = text.as_bytes().iter().position(|byte| *byte == b'+') {
            text.bytes.copy_within(plus + 1.., plus);
            text.len -= 1;
        }
        text
    }

    /// The text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_their_shortest_form() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (50.0, "50"),
            (-12.5, "-12.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (-1.7976931348623157e308, "-1.7976931348623157e308"),
            (9007199254740993.0, "9007199254740992"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            let written = NumberText::new(value);
            assert_eq!(std::str::from_utf8(written.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn every_nan_is_the_same_nan() {
        let odd = f64::from_bits(0xfff8_dead_beef_0001);
        assert_eq!(canonical(odd).to_bits(), 0x7ff8_0000_0000_0000);
        assert_eq!(canonical(-0.0).to_bits(), (-0.0_f64).to_bits());
    }
}
