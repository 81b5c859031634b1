//! The file form of a push, `NAME.tmb`: an envelope a line, roots in their order, then bundles.

use crate::envelope::{Envelope, PayloadType};
use crate::refusal::Refusal;

/// Bytes of a file.
const FILE_BYTES_MAX: usize = 8 << 20;

/// Envelopes of a file.
const ENTRIES_MAX: usize = 1_024;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A root.
    Root(Envelope),
    /// A bundle.
    Bundle(Envelope),
}

/// Why a file is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TmbError {
    /// Longer than its limit.
    #[error("it has more than {} MiB or {ENTRIES_MAX} lines", FILE_BYTES_MAX >> 20)]
    TooLarge,
    /// No envelope.
    #[error("it has no line")]
    Empty,
    /// A line that is no envelope.
    #[error("line {line}: {refusal}")]
    Line {
        /// Its number, from 1 on.
        line: usize,
        /// The reason.
        refusal: Refusal,
    },
    /// A root behind a bundle.
    #[error("line {0}: roots come before bundles")]
    Order(usize),
}

/// Reads a file.
///
/// # Errors
/// When a line is no envelope of a root or a bundle, or a root comes after a bundle.
pub fn read_tmb(bytes: &[u8]) -> Result<Vec<Entry>, TmbError> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.len() > FILE_BYTES_MAX {
        return Err(TmbError::TooLarge);
    }
    if bytes.is_empty() {
        return Err(TmbError::Empty);
    }
    let (mut entries, mut has_bundle) = (Vec::new(), false);
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if entries.len() >= ENTRIES_MAX {
            return Err(TmbError::TooLarge);
        }
        let is_root = text.starts_with(ROOT_HEAD.as_bytes());
        let kind = if is_root {
            PayloadType::Root
        } else {
            PayloadType::Bundle
        };
        let envelope =
            Envelope::parse(text, kind).map_err(|refusal| TmbError::Line { line, refusal })?;
        entries.push(if is_root {
            Entry::Root(envelope)
        } else {
            Entry::Bundle(envelope)
        });
        if is_root && has_bundle {
            return Err(TmbError::Order(line));
        }
        has_bundle |= !is_root;
    }
    Ok(entries)
}

/// The beginning of a root's line: envelopes have one form.
const ROOT_HEAD: &str = "{\"payloadType\":\"application/vnd.tidemill.root";

/// Writes a file.
pub fn write_tmb(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let (Entry::Root(envelope) | Entry::Bundle(envelope)) = entry;
        bytes.extend(envelope.encode());
        bytes.push(b'\n');
    }
    bytes
}
