//! Claims and faults of a guest: ranges of its memory, checked here and nowhere else. The use of
//! the ranges is left to the imports.

use tidemill_values::FnError;

/// A range that the guest claims is its own; holding one proves nothing until it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuestSlice {
    offset: u32,
    len: u32,
}

/// A breach of the contract by the guest. The call is over, and its effects are void.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestFault {
    /// A range of bytes that is not all inside of its memory.
    #[error("{len} bytes at {offset} are outside of its memory of {memory} bytes")]
    OutOfBounds {
        /// Start of the range.
        offset: u32,
        /// Length of the range in bytes.
        len: u32,
        /// Size of the memory in bytes.
        memory: usize,
    },
    /// An index that its manifest does not have.
    #[error("there is no {what} {index}")]
    NoSuch {
        /// The kind of thing that the index counts.
        what: &'static str,
        /// The index.
        index: i32,
    },
    /// An input or configuration entry read as what it is not.
    #[error("{what} {index} is no {kind}")]
    WrongType {
        /// The kind of thing that the index counts.
        what: &'static str,
        /// The index.
        index: i32,
        /// The type it was read as.
        kind: &'static str,
    },
    /// An import that makes no sense in this handler.
    #[error("`{import}` cannot be used here")]
    WrongContext {
        /// The import.
        import: &'static str,
    },
    /// The guest gave up by itself, with `env.abort`.
    #[error("aborted: {message}")]
    Abort {
        /// The guest's message, with its place in the source.
        message: Box<str>,
    },
    /// Values that do not fit what is done with them.
    #[error("{reason}")]
    Data {
        /// The reason, with the value's type.
        reason: Box<str>,
    },
    /// More than a call may hold, however much fuel it has.
    #[error("{reason}")]
    TooMuch {
        /// The limit that was exceeded.
        reason: Box<str>,
    },
    /// The fuel does not cover what an import was asked to do.
    #[error("out of fuel")]
    OutOfFuel,
}

impl wasmi::errors::HostError for GuestFault {}

impl From<FnError> for GuestFault {
    fn from(error: FnError) -> Self {
        match error {
            FnError::OutOfFuel => Self::OutOfFuel,
            FnError::NoRoom => Self::TooMuch {
                reason: error.to_string().into(),
            },
            other => Self::Data {
                reason: other.to_string().into(),
            },
        }
    }
}

impl GuestSlice {
    /// A claim; `None` for a length below 0.
    pub(super) fn new(offset: i32, len: i32) -> Option<Self> {
        Some(Self {
            offset: offset.cast_unsigned(),
            len: u32::try_from(len).ok()?,
        })
    }

    /// The bytes, if the claim holds. An empty range may point anywhere.
    pub(super) fn read(self, memory: &[u8]) -> Result<&[u8], GuestFault> {
        match self.range() {
            None => Ok(&[]),
            Some(range) => memory.get(range).ok_or(self.fault(memory)),
        }
    }

    /// Copies as much of `bytes` as the range takes, and answers the full length.
    pub(super) fn fill(self, memory: &mut [u8], bytes: &[u8]) -> Result<i32, GuestFault> {
        let fault = self.fault(memory);
        let full = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        let Some(range) = self.range() else {
            return Ok(full);
        };
        let target = memory.get_mut(range).ok_or(fault)?;
        let copied = target.len().min(bytes.len());
        if let (Some(to), Some(from)) = (target.get_mut(..copied), bytes.get(..copied)) {
            to.copy_from_slice(from);
        }
        Ok(full)
    }

    fn range(self) -> Option<std::ops::Range<usize>> {
        let start = self.offset as usize;
        // On a target of 32 bits the end may overflow, and no memory reaches that far.
        let end = start.saturating_add(self.len as usize);
        (self.len > 0).then_some(start..end)
    }

    fn fault(self, memory: &[u8]) -> GuestFault {
        GuestFault::OutOfBounds {
            offset: self.offset,
            len: self.len,
            memory: memory.len(),
        }
    }
}

/// The message of an AssemblyScript string: UTF-16, little endian, its length in bytes in front of
/// it. What cannot be read is no reason to fail: the guest is about to be stopped anyway.
pub(super) fn assembly_script_text(memory: &[u8], pointer: i32) -> Option<String> {
    const TEXT_BYTES_MAX: usize = 512;
    let start = usize::try_from(pointer.cast_unsigned()).ok()?;
    let header = memory.get(start.checked_sub(4)?..start)?;
    let len = u32::from_le_bytes(header.try_into().ok()?) as usize;
    let text = memory.get(start..start.checked_add(len.min(TEXT_BYTES_MAX))?)?;
    let (units, _) = text.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    Some(
        char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_only_inside_of_the_memory() {
        let memory = [1, 2, 3, 4];
        for (offset, len, expected) in [
            (0, 4, Some(&[1, 2, 3, 4][..])),
            (3, 1, Some(&[4])),
            (4, 0, Some(&[])),
            (-1, 0, Some(&[])),
            (4, 1, None),
            (0, 5, None),
            (-1, 1, None),
            (-1, i32::MAX, None),
            (i32::MAX, i32::MAX, None),
        ] {
            let claim = GuestSlice::new(offset, len).unwrap();
            assert_eq!(claim.read(&memory).ok(), expected, "{offset} {len}");
        }
        assert!(GuestSlice::new(0, -1).is_none());
    }

    #[test]
    fn nothing_is_written_past_the_range() {
        for (len, bytes, after, full) in [
            (2, &b"xyz"[..], *b"xy\x03", 3),
            (3, b"xyz", *b"xyz", 3),
            (3, b"x", *b"x\x02\x03", 1),
            (0, b"xyz", *b"\x01\x02\x03", 3),
        ] {
            let mut memory = [1, 2, 3];
            let filled = GuestSlice::new(0, len).unwrap().fill(&mut memory, bytes);
            assert_eq!(filled.unwrap(), full);
            assert_eq!(memory, after);
        }
    }

    #[test]
    fn an_assembly_script_text_is_read_as_far_as_it_reaches() {
        let mut memory = vec![4, 0, 0, 0, b'h', 0, b'i', 0];
        assert_eq!(assembly_script_text(&memory, 4).unwrap(), "hi");
        for pointer in [0, 3, 8, 9, -1] {
            let text = assembly_script_text(&memory, pointer);
            assert!(text.is_none_or(|text| text.is_empty()), "{pointer}");
        }
        memory.splice(0..1, [255]);
        assert_eq!(assembly_script_text(&memory, 4), None);
    }
}
