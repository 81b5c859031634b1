//! Short texts of fixed capacity, and decimal numbers read and written without the formatting machinery of
//! `core`, which would cost more flash than the rest of the device's end.

/// A text of at most `N` bytes; what does not fit is left out, so each user's `N` is its longest text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    pub(crate) fn number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut rest = number;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.bytes(digits.get(10 - count..).unwrap_or_default());
    }

    pub(crate) fn hex(&mut self, number: u32) {
        for place in (0..8).rev() {
            let digit = (number >> (4 * place) & 15) as u8;
            self.byte(if digit < 10 {
                b'0' + digit
            } else {
                b'A' + digit - 10
            });
        }
    }
}

/// Reads a decimal number that is nothing but digits and fits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u32> {
    u32::try_from(long_decimal(digits)?).ok()
}

/// Reads a decimal number of up to 64 bits.
pub(crate) fn long_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// Reads eight hex digits of either case.
pub(crate) fn hex(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        number = number << 4 | u32::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read_to_their_ends() {
        for number in [0, 7, 10, 4_294_967_295] {
            let mut text = Text::<10>::new();
            text.number(number);
            assert_eq!(decimal(text.as_bytes()), Some(number));
        }
        for wrong in [
            &b""[..],
            b"+1",
            b"1 ",
            b"4294967296",
            b"99999999999999999999999",
        ] {
            assert_eq!(decimal(wrong), None, "{wrong:?}");
        }
        let mut text = Text::<8>::new();
        text.hex(0xCBF4_3926);
        assert_eq!(text.as_bytes(), b"CBF43926");
        assert_eq!(hex(b"cbf43926"), Some(0xCBF4_3926));
        assert_eq!(hex(b"cbf4392g"), None);
    }
}
