//! Protobuf's wire format: fields one after the other, each a number, a type and a value.

use std::ops::Range;

use crate::event::payload::input::Flaw;

/// One field.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    value: Wire<'a>,
    /// Range of the field in the message, including its number.
    pub(super) whole: Range<usize>,
    /// Offset of its bytes, if it has any.
    pub(super) content: usize,
}

#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The value of a varint field.
    pub(super) fn varint(&self) -> Result<u64, Flaw> {
        match self.value {
            Wire::Varint(number) => Ok(number),
            _ => Err(self.wrong("a whole number")),
        }
    }

    /// The value of a Boolean field.
    pub(super) fn truth(&self) -> Result<bool, Flaw> {
        self.varint().map(|number| number != 0)
    }

    /// The value of a 32-bit float field.
    pub(super) fn single(&self) -> Result<f32, Flaw> {
        match self.value {
            Wire::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.wrong("a float of 32 bits")),
        }
    }

    /// The value of a 64-bit float field.
    pub(super) fn double(&self) -> Result<f64, Flaw> {
        match self.value {
            Wire::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong("a float of 64 bits")),
        }
    }

    /// The bytes of a length-delimited field.
    pub(super) fn bytes(&self) -> Result<&'a [u8], Flaw> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong("bytes")),
        }
    }

    /// The value of a text field.
    pub(super) fn text(&self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|error| Flaw::new(self.content + error.valid_up_to(), "a text is not UTF-8"))
    }

    /// The fields of an embedded message.
    pub(super) fn fields(&self) -> Result<Fields<'a>, Flaw> {
        Ok(Fields {
            all: self.bytes()?,
            at: 0,
            offset: self.content,
        })
    }

    /// The whole numbers of a varint field, single or packed.
    pub(super) fn varints(&self) -> Result<Vec<u64>, Flaw> {
        let Wire::Bytes(_) = self.value else {
            return Ok(vec![self.varint()?]);
        };
        let mut fields = self.fields()?;
        let mut numbers = Vec::new();
        while fields.at < fields.all.len() {
            numbers.push(fields.varint()?);
        }
        Ok(numbers)
    }

    fn wrong(&self, wanted: &str) -> Flaw {
        let why = format!("field {} is not {wanted}", self.number);
        Flaw::new(self.whole.start, why)
    }
}

/// The fields of a message, read from front to back.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    all: &'a [u8],
    at: usize,
    /// Offset of the message in the payload.
    offset: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self {
            all,
            at: 0,
            offset: 0,
        }
    }

    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Flaw> {
        if self.at == self.all.len() {
            return Ok(None);
        }
        let start = self.place();
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).unwrap_or(0);
        // Numbers of fields begin with 1 and have 29 bits.
        if number == 0 || number >= 1 << 29 {
            return Err(Flaw::new(start, "no field of protobuf begins like this"));
        }
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let len = self.varint()?;
                Wire::Bytes(self.take(len)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.fixed()?)),
            _ => return Err(Flaw::new(start, "no field of protobuf begins like this")),
        };
        let end = self.place();
        let content = match value {
            Wire::Bytes(bytes) => end - bytes.len(),
            _ => end,
        };
        Ok(Some(Field {
            number,
            value,
            whole: start..end,
            content,
        }))
    }

    fn place(&self) -> usize {
        self.offset + self.at
    }

    fn ends(&self) -> Flaw {
        Flaw::new(self.offset + self.all.len(), "it ends inside of a field")
    }

    fn varint(&mut self) -> Result<u64, Flaw> {
        let start = self.place();
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.all.get(self.at).ok_or_else(|| self.ends())?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Flaw::new(start, "a number of more than 64 bits"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let rest = self.all.get(self.at..).unwrap_or_default();
        let bytes = rest.first_chunk().ok_or_else(|| self.ends())?;
        self.at += N;
        Ok(*bytes)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Flaw> {
        let start = self.place();
        let end = usize::try_from(len).ok();
        let end = end.and_then(|len| self.at.checked_add(len));
        let taken = end.and_then(|end| Some((self.all.get(self.at..end)?, end)));
        let (taken, end) = taken.ok_or_else(|| {
            let left = self.all.len() - self.at;
            Flaw::new(start, format!("{len} bytes should follow, {left} do"))
        })?;
        self.at = end;
        Ok(taken)
    }
}

/// Appends a field of bytes.
pub(super) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a field of a whole number.
pub(super) fn put_number(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}
