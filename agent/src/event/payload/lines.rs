//! Text whose lines are rows. A line ends with a line feed, or with a carriage return before it; what
//! has nothing in it is none.

use bytes::Bytes;

use super::{PayloadError, Rows, Split, text};

/// The lines of a message.
pub(super) fn rows(payload: &Bytes) -> Result<Rows, PayloadError> {
    let text = text::read(payload)?;
    // A mark in front of a line would go once the line is a message of its own.
    let lines = text.lines().map(|line| line.trim_start_matches(text::MARK));
    let lines = lines.filter(|line| !line.is_empty());
    let lines: Vec<Bytes> = lines
        .take(super::ROWS_MAX + 1)
        .map(|line| payload.slice_ref(line.as_bytes()))
        .collect();
    Ok(Split::rows(Bytes::new(), lines))
}
