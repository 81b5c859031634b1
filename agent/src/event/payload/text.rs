//! Text in UTF-8, with or without a byte order mark.

use tidemill_values::Value;

use super::PayloadError;

/// A byte order mark.
pub(super) const MARK: char = '\u{feff}';
/// The same in UTF-8.
const MARK_BYTES: &[u8] = b"\xef\xbb\xbf";

/// The text, without its byte order mark.
///
/// # Errors
/// When it is not UTF-8.
pub fn read(payload: &[u8]) -> Result<&str, PayloadError> {
    let bare = payload.strip_prefix(MARK_BYTES).unwrap_or(payload);
    std::str::from_utf8(bare).map_err(|error| match payload {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => PayloadError::OtherEncoding("UTF-16"),
        _ => PayloadError::NotUtf8(payload.len() - bare.len() + error.valid_up_to()),
    })
}

/// The text as a value.
pub(super) fn value(payload: &[u8]) -> Result<Value, PayloadError> {
    read(payload).map(Value::text)
}
