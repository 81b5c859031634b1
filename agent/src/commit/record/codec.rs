//! Numbers and texts as bytes: fixed width, little-endian, or as variable-length integers where most
//! are small (seven bits a byte, lowest first, the top bit says that more follow).

use std::sync::Arc;

use crate::event::clock::{Age, Off, Quality, Synced};

/// Version of the records of rules and keys.
pub(super) const FORMAT: u8 = 2;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by another version of Tidemill.
    #[error(
        "written by {} version of Tidemill: a record has format {found}, this one reads up to {known}",
        if found > known { "a newer" } else { "another" }
    )]
    Format {
        /// The version found.
        found: u8,
        /// The highest version that this build reads.
        known: u8,
    },
    /// Holds a section that nobody may skip.
    #[error("written by a newer version of Tidemill: section {kind} is not known to this one")]
    Section {
        /// The number of its kind.
        kind: u16,
    },
    /// Ends too early, or goes on too long.
    #[error("record is damaged")]
    Damaged,
}

pub(super) fn put_u32(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("limits keep every count and length below 4 GiB");
    out.extend(count.to_le_bytes());
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len());
    out.extend(bytes);
}

pub(super) fn put_slots(out: &mut Vec<u8>, slots: &[f64]) {
    put_u32(out, slots.len());
    for slot in slots {
        out.extend(slot.to_le_bytes());
    }
}

/// Writes a variable-length integer.
pub(super) fn put_var(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Writes a count or a length.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_var(out, len as u64);
}

/// Writes a signed number so that small ones are short, whatever their sign.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_var(
        out,
        (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(),
    );
}

/// Writes a length and that many bytes.
pub(super) fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) struct Reader<'a>(&'a [u8]);

/// Writes how far the clock could be believed.
pub(super) fn put_quality(out: &mut Vec<u8>, quality: Quality) {
    out.push(quality as u8);
}

/// Bits of the byte that says what is known of the age clock.
const AGE_SYNCED: u8 = 1;
const AGE_OPEN: u8 = 2;
const AGE_SYNCED_NOW: u8 = 4;

/// Writes the state of the age clock. `wall_ms` is the wall time of the moment, if given, because
/// the last synced time mostly equals it.
pub(super) fn put_age(out: &mut Vec<u8>, age: &Age, wall_ms: Option<i64>) {
    let now = wall_ms.map(|wall_ms| Synced {
        wall_ms,
        age_ms: age.ms,
    });
    let known = match age.synced {
        None => 0,
        synced if synced == now => AGE_SYNCED_NOW,
        Some(_) => AGE_SYNCED,
    };
    put_var(out, age.ms);
    let open = if age.open_ms.is_some() { AGE_OPEN } else { 0 };
    out.push(known | open);
    if let (Some(synced), AGE_SYNCED) = (age.synced, known) {
        put_signed(out, synced.wall_ms);
        put_var(out, synced.age_ms);
    }
    if let Some(open_ms) = age.open_ms {
        put_var(out, open_ms);
    }
}

/// Writes times without power.
pub(super) fn put_offs(out: &mut Vec<u8>, offs: &[Off]) {
    put_len(out, offs.len());
    for off in offs {
        put_var(out, off.at_ms);
        put_var(out, off.off_ms);
    }
}

impl<'a> Reader<'a> {
    /// Reads what has no format of its own.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads a record that begins with the version of its format.
    pub(super) fn of_format(bytes: &'a [u8], known: u8) -> Result<Self, RecordError> {
        let mut reader = Self(bytes);
        match reader.u8()? {
            found if found == known => Ok(reader),
            found => Err(RecordError::Format { found, known }),
        }
    }

    /// Like [`Reader::of_format`], but accepts several formats, the newest last; returns the format
    /// found.
    pub(super) fn of_formats<const N: usize>(
        bytes: &'a [u8],
        formats: [u8; N],
    ) -> Result<(Self, u8), RecordError> {
        let mut reader = Self(bytes);
        let found = reader.u8()?;
        if formats.contains(&found) {
            return Ok((reader, found));
        }
        let known = formats.last().copied().unwrap_or_default();
        Err(RecordError::Format { found, known })
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(RecordError::Damaged)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        self.take(N)?.try_into().map_err(|_| RecordError::Damaged)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn bool(&mut self) -> Result<bool, RecordError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Damaged),
        }
    }

    pub(super) fn quality(&mut self) -> Result<Quality, RecordError> {
        match self.u8()? {
            0 => Ok(Quality::None),
            1 => Ok(Quality::Restored),
            2 => Ok(Quality::Synced),
            _ => Err(RecordError::Damaged),
        }
    }

    /// Reads the output of [`put_age`].
    pub(super) fn age(&mut self, wall_ms: Option<i64>) -> Result<Age, RecordError> {
        let ms = self.var()?;
        let bits = self.u8()?;
        let synced = match (bits & !AGE_OPEN, wall_ms) {
            (0, _) => None,
            (AGE_SYNCED, _) => Some(Synced {
                wall_ms: self.signed()?,
                age_ms: self.var()?,
            }),
            (AGE_SYNCED_NOW, Some(wall_ms)) => Some(Synced {
                wall_ms,
                age_ms: ms,
            }),
            _ => return Err(RecordError::Damaged),
        };
        let open_ms = match bits & AGE_OPEN {
            0 => None,
            _ => Some(self.var()?),
        };
        Ok(Age {
            ms,
            synced,
            open_ms,
        })
    }

    /// Reads the output of [`put_offs`].
    pub(super) fn offs(&mut self) -> Result<Vec<Off>, RecordError> {
        let mut offs = Vec::new();
        for _ in 0..self.count()? {
            let (at_ms, off_ms) = (self.var()?, self.var()?);
            offs.push(Off { at_ms, off_ms });
        }
        Ok(offs)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn u128(&mut self) -> Result<u128, RecordError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<String, RecordError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| RecordError::Damaged)
    }

    pub(super) fn slots(&mut self) -> Result<Vec<f64>, RecordError> {
        let count = self.u32()? as usize;
        let bytes = self.take(count.checked_mul(8).ok_or(RecordError::Damaged)?)?;
        let slot = |chunk: &[u8]| Some(f64::from_le_bytes(chunk.try_into().ok()?));
        bytes
            .chunks_exact(8)
            .map(slot)
            .collect::<Option<_>>()
            .ok_or(RecordError::Damaged)
    }

    pub(super) fn var(&mut self) -> Result<u64, RecordError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.u8()?);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(RecordError::Damaged)
    }

    pub(super) fn signed(&mut self) -> Result<i64, RecordError> {
        let value = self.var()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A count of things that take at least a byte each, so that no count makes us reserve more
    /// than there is.
    pub(super) fn count(&mut self) -> Result<usize, RecordError> {
        let count = usize::try_from(self.var()?).map_err(|_| RecordError::Damaged)?;
        if count > self.0.len() {
            return Err(RecordError::Damaged);
        }
        Ok(count)
    }

    /// Reads the output of [`put_text`].
    pub(super) fn short_bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let len = self.count()?;
        self.take(len)
    }

    /// Reads the output of [`put_text`] as text.
    pub(super) fn short_text(&mut self) -> Result<Arc<str>, RecordError> {
        let text = std::str::from_utf8(self.short_bytes()?).map_err(|_| RecordError::Damaged)?;
        Ok(text.into())
    }

    pub(super) fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Damaged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_come_back() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_var(&mut out, value);
            put_signed(&mut out, value.cast_signed());
            let mut reader = Reader(&out);
            assert_eq!(reader.var(), Ok(value));
            assert_eq!(reader.signed(), Ok(value.cast_signed()));
            assert_eq!(reader.end(), Ok(()));
        }
        for (value, bytes) in [(0, 1), (-64, 1), (64, 2), (i64::MIN, 10)] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            assert_eq!(out.len(), bytes, "{value}");
        }
    }
}
