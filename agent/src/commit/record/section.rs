//! Sections: parts behind a commit, or entries of a state database, that only some commits need. A
//! new kind needs no new format of all the rest, and nothing is written of it until it is needed, so
//! that the version before opens a data directory for as long as it can.

use super::codec::{Reader, RecordError, put_len, put_text, put_var};

/// Number of a kind of section, given once and for ever. A reader that does not know an odd one
/// must refuse; an even one it may skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SectionKind(u16);

/// Names of rules whose state is forgotten. One who skips it keeps their state until the next one forgets it.
pub(super) const FORGOTTEN: SectionKind = SectionKind(2);

/// Kinds that this version reads.
const KNOWN: &[SectionKind] = &[FORGOTTEN];

/// A section of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Kind of the content.
    pub kind: SectionKind,
    /// Content, as the kind defines it.
    pub bytes: Box<[u8]>,
}

impl SectionKind {
    /// The kind of this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number, as it stands on disk.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Accepts a kind that can be read; returns `false` for one to skip.
    ///
    /// # Errors
    /// When nobody may skip it.
    pub(super) fn accept(self, known: &[Self]) -> Result<bool, RecordError> {
        let is_known = known.contains(&self);
        if !is_known && self.0 & 1 == 1 {
            return Err(RecordError::Section { kind: self.0 });
        }
        Ok(is_known)
    }
}

/// Accepts the key of a section's entry in a state database, behind its first byte: u16 kind
/// (big-endian), and what the kind adds. Returns `None` for one to skip.
///
/// # Errors
/// When nobody may skip it, or the key is too short.
pub(super) fn of_entry(key: &[u8]) -> Result<Option<(SectionKind, &[u8])>, RecordError> {
    let (kind, rest) = key.split_first_chunk().ok_or(RecordError::Damaged)?;
    let kind = SectionKind(u16::from_be_bytes(*kind));
    Ok(kind.accept(KNOWN)?.then_some((kind, rest)))
}

/// Writes sections: var number, each: var kind, text content.
pub(super) fn put(out: &mut Vec<u8>, sections: &[Section]) {
    put_len(out, sections.len());
    for section in sections {
        put_var(out, u64::from(section.kind.0));
        put_text(out, &section.bytes);
    }
}

/// Reads the output of [`put`], without those that may be skipped.
pub(super) fn read(
    reader: &mut Reader<'_>,
    known: &[SectionKind],
) -> Result<Vec<Section>, RecordError> {
    let mut sections = Vec::new();
    for _ in 0..reader.count()? {
        let kind = u16::try_from(reader.var()?).map_err(|_| RecordError::Damaged)?;
        let (kind, bytes) = (SectionKind(kind), reader.short_bytes()?);
        if kind.accept(known)? {
            let bytes = bytes.into();
            sections.push(Section { kind, bytes });
        }
    }
    Ok(sections)
}

/// Reads the sections of a commit that this version knows.
pub(super) fn read_known(reader: &mut Reader<'_>) -> Result<Vec<Section>, RecordError> {
    read(reader, KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: u16) -> Section {
        Section {
            kind: SectionKind::new(kind),
            bytes: b"xy"[..].into(),
        }
    }

    fn read_all(bytes: &[u8], known: &[SectionKind]) -> Result<Vec<Section>, RecordError> {
        let mut reader = Reader::of_format(bytes, 0)?;
        let sections = read(&mut reader, known)?;
        reader.end()?;
        Ok(sections)
    }

    #[test]
    fn bytes_on_disk_are_stable_and_known_kinds_come_back() {
        let sections = [section(2), section(301)];
        let mut bytes = vec![0];
        put(&mut bytes, &sections);
        assert_eq!(bytes, b"\0\x02\x02\x02xy\xad\x02\x02xy");
        let known = sections.clone().map(|section| section.kind);
        assert_eq!(read_all(&bytes, &known), Ok(sections.to_vec()));
        for len in 1..bytes.len() {
            let cut = read_all(&bytes[..len], &known);
            assert_eq!(cut, Err(RecordError::Damaged), "{len}");
        }
    }

    #[test]
    fn an_even_kind_from_the_future_is_skipped_and_an_odd_one_refused() {
        let mut bytes = vec![0];
        put(&mut bytes, &[section(40), section(2)]);
        let known = [SectionKind::new(2)];
        assert_eq!(read_all(&bytes, &known), Ok(vec![section(2)]));
        let mut bytes = vec![0];
        put(&mut bytes, &[section(2), section(41)]);
        let error = read_all(&bytes, &known).unwrap_err();
        assert_eq!(
            error.to_string(),
            "written by a newer version of Tidemill: section 41 is not known to this one"
        );
        assert_eq!(of_entry(&[0, 40, b'k']), Ok(None));
        assert_eq!(
            of_entry(&[0, 41, b'k']),
            Err(RecordError::Section { kind: 41 })
        );
        assert_eq!(of_entry(&[0]), Err(RecordError::Damaged));
    }
}
