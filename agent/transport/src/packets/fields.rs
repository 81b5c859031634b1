//! Values of MQTT one after the other: numbers, byte strings, lengths of one to four bytes.

/// Bytes of the longest length field.
pub(super) const LENGTH_BYTES_MAX: usize = 4;

/// Takes values from the front of a piece of a packet; `None` if the piece is too short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not taken yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn two_bytes(&mut self) -> Option<u16> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*number))
    }

    pub(super) fn four_bytes(&mut self) -> Option<u32> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*number))
    }

    /// A byte string behind its length.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let mut fields = *self;
        let length = usize::from(fields.two_bytes()?);
        let taken = fields.take(length)?;
        *self = fields;
        Some(taken)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of one to four bytes, seven bits each, the lowest first.
    pub(super) fn length(&mut self) -> Option<usize> {
        let (number, end) = length(self.rest, 0)?;
        self.rest = self.rest.get(end..)?;
        Some(number)
    }
}

/// The length at this place, and its end; `None` if the length is incomplete or too long.
pub(super) fn length(bytes: &[u8], place: usize) -> Option<(usize, usize)> {
    let bytes = bytes.get(place..)?;
    let mut length = 0;
    for (index, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((length, place + index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_cut_is_not_taken() {
        let mut fields = Fields::new(&[0, 3, b'a', b'b']);
        assert_eq!(fields.bytes(), None);
        assert_eq!(fields.two_bytes(), Some(3));
        assert_eq!(fields.four_bytes(), None);
        assert_eq!(fields.take(2), Some(&b"ab"[..]));
        assert_eq!((fields.byte(), fields.length()), (None, None));
    }

    #[test]
    fn a_length_has_one_to_four_bytes() {
        let read = |bytes: &[u8]| Fields::new(bytes).length();
        assert_eq!(read(&[0x7f]), Some(127));
        assert_eq!(read(&[0x80, 1, 9]), Some(128));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0x7f]), Some(268_435_455));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 1]), None);
        assert_eq!(read(&[0x80]), None);
    }
}
