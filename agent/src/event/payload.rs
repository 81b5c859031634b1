//! Messages as rows: how the bytes of a message become values, and how a message that holds several
//! rows becomes messages of one row each. Each format has a decoder in a file of its own; JSON, which
//! most messages are, is besides read place by place by [`crate::event::decode`].

mod bytes;
mod cbor;
mod csv;
mod input;
mod json;
mod lines;
mod messagepack;
mod number;
mod rows;
pub mod sparkplug;
mod text;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;

use ::bytes::Bytes;
use tidemill_values::{Map, Value};

pub use csv::{Columns, Csv};
pub use input::Flaw;
pub use json::read as read_json;
pub use rows::{Content, ReadMessage, Rows, Split};
pub use text::read as read_text;

/// Rows in one message: beyond it the message is a dead letter as a whole.
pub const ROWS_MAX: usize = 10_000;
/// Bytes of the rows of one message, each as a message of its own.
const ROWS_BYTES_MAX: u64 = 16 << 20;

/// The column of a payload that is no object.
pub const SELF: &str = "self";

/// Decoding of a stream's messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// Encoding of the bytes.
    pub format: Format,
    /// Treatment of a list at the top level.
    pub list: List,
    /// Treatment of a message without a payload.
    pub empty: Empty,
}

/// Encoding of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON value.
    #[default]
    Json,
    /// A number written in digits.
    Number,
    /// Text in UTF-8.
    Text,
    /// Bytes that need not be text.
    Bytes,
    /// Text, each line of which is a row.
    Lines,
    /// Records of fields, each a row.
    Csv(Csv),
    /// One value of CBOR.
    Cbor,
    /// One value of MessagePack.
    MessagePack,
    /// Metrics of Sparkplug B.
    Sparkplug,
}

/// Treatment of a list at the top level of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum List {
    /// The list is one value.
    #[default]
    Value,
    /// Each element is a row.
    Rows,
}

/// Treatment of a message without a payload, as brokers send it when a topic is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Empty {
    /// Skipped, and counted as filtered.
    #[default]
    Skip,
    /// A row without columns.
    Row,
    /// A dead letter.
    DeadLetter,
}

/// Why a payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not text at all.
    #[error("payload is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// Text of another encoding, as its byte order mark says.
    #[error("payload is text in {0}; UTF-8 is needed")]
    OtherEncoding(&'static str),
    /// Not JSON; the reason names line and column.
    #[error("payload is not valid JSON: {0}")]
    NotJson(String),
    /// No number.
    #[error("payload {0:?} is no number")]
    NotNumber(String),
    /// Not CBOR.
    #[error("payload is not valid CBOR: {0}")]
    NotCbor(Flaw),
    /// Not MessagePack.
    #[error("payload is not valid MessagePack: {0}")]
    NotMessagePack(Flaw),
    /// Not Sparkplug B.
    #[error("payload is not valid Sparkplug B: {0}")]
    NotSparkplug(Flaw),
    /// No records; the reason names the line.
    #[error("payload is not valid CSV: {0}")]
    NotCsv(String),
    /// More rows than one message may have.
    #[error("payload has more than {ROWS_MAX} rows")]
    TooManyRows,
    /// Rows that are too long together.
    #[error(
        "the rows of the payload, each with the names of its columns, have more than {ROWS_BYTES_MAX} bytes"
    )]
    RowsTooLong,
    /// Empty, although the rule asks for a value.
    #[error("payload is empty")]
    Empty,
}

impl Payload {
    /// The rows of a message.
    ///
    /// # Errors
    /// When the end of a row cannot be found, or there are too many rows.
    pub fn rows(&self, payload: &Bytes) -> Result<Rows, PayloadError> {
        if payload.is_empty() {
            return match self.empty {
                Empty::Skip => Ok(Rows::None),
                Empty::Row => Ok(Rows::One),
                Empty::DeadLetter => Err(PayloadError::Empty),
            };
        }
        let rows = match &self.format {
            Format::Json if self.list == List::Rows => json::rows(payload)?,
            Format::Cbor if self.list == List::Rows => {
                cbor::rows(payload).map_err(PayloadError::NotCbor)?
            }
            Format::MessagePack if self.list == List::Rows => {
                messagepack::rows(payload).map_err(PayloadError::NotMessagePack)?
            }
            Format::Sparkplug if self.list == List::Rows => {
                sparkplug::rows(payload).map_err(PayloadError::NotSparkplug)?
            }
            Format::Json
            | Format::Number
            | Format::Text
            | Format::Bytes
            | Format::Cbor
            | Format::MessagePack
            | Format::Sparkplug => Rows::One,
            Format::Lines => lines::rows(payload)?,
            Format::Csv(csv) => csv.rows(payload)?,
        };
        match &rows {
            Rows::Many(split) if split.count() > ROWS_MAX => Err(PayloadError::TooManyRows),
            Rows::Many(split) if split.bytes() > ROWS_BYTES_MAX => Err(PayloadError::RowsTooLong),
            _ => Ok(rows),
        }
    }

    /// Reads the rows of a message.
    fn content(&self, message: &Bytes) -> Result<Content, PayloadError> {
        Ok(match self.rows(message)? {
            Rows::None => Content::None,
            Rows::One => Content::One(self.value(message)),
            Rows::Many(split) => Content::Many(Arc::new(split)),
        })
    }

    /// The value of a message of one row: an object if the row has columns.
    ///
    /// # Errors
    /// When the message does not have the format.
    pub fn value(&self, payload: &[u8]) -> Result<Value, PayloadError> {
        if payload.is_empty() {
            return Ok(Value::map(Map::new()));
        }
        match &self.format {
            Format::Json => json::read(payload).map(|value| self.row_of(value)),
            Format::Number => number::value(payload),
            Format::Text | Format::Lines => text::value(payload),
            Format::Bytes => Ok(bytes::value(payload)),
            Format::Csv(csv) => csv.value(payload),
            Format::Cbor => cbor::value(payload)
                .map(|value| self.row_of(value))
                .map_err(PayloadError::NotCbor),
            Format::MessagePack => messagepack::value(payload)
                .map(|value| self.row_of(value))
                .map_err(PayloadError::NotMessagePack),
            Format::Sparkplug => match self.list {
                List::Value => sparkplug::value(payload),
                List::Rows => sparkplug::metric_row(payload),
            }
            .map_err(PayloadError::NotSparkplug),
        }
    }

    /// A list of one row is that row.
    fn row_of(&self, value: Value) -> Value {
        match (self.list, value.as_list()) {
            (List::Rows, Some([row])) => row.clone(),
            _ => value,
        }
    }

    /// `true` if a payload without columns is a row, under [`SELF`], whatever a statement says.
    pub fn has_self(&self) -> bool {
        match self.format {
            Format::Json | Format::Csv(_) | Format::Sparkplug => false,
            Format::Number
            | Format::Text
            | Format::Bytes
            | Format::Lines
            | Format::Cbor
            | Format::MessagePack => true,
        }
    }
}

impl Format {
    /// The names by which rules call formats.
    pub const NAMES: [&'static str; 9] = [
        "json",
        "number",
        "text",
        "bytes",
        "lines",
        "csv",
        "cbor",
        "messagepack",
        "sparkplug",
    ];

    /// The format of that name, in whatever case: `delimited` and `binary` are what eKuiper calls two of
    /// them.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "number" => Self::Number,
            "text" => Self::Text,
            "bytes" | "binary" => Self::Bytes,
            "lines" => Self::Lines,
            "csv" | "delimited" => Self::Csv(Csv::default()),
            "cbor" => Self::Cbor,
            "messagepack" | "msgpack" => Self::MessagePack,
            "sparkplug" => Self::Sparkplug,
            _ => return None,
        })
    }

    /// Name of the format.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Number => "number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Lines => "lines",
            Self::Csv(_) => "csv",
            Self::Cbor => "cbor",
            Self::MessagePack => "messagepack",
            Self::Sparkplug => "sparkplug",
        }
    }

    /// `true` if each message is one value, without columns.
    pub fn is_bare(&self) -> bool {
        matches!(self, Self::Number | Self::Text | Self::Bytes | Self::Lines)
    }

    /// `true` if its messages may hold several rows if the rule chooses so.
    pub fn has_lists(&self) -> bool {
        matches!(
            self,
            Self::Json | Self::Cbor | Self::MessagePack | Self::Sparkplug
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(format: &str) -> Payload {
        Payload {
            format: Format::named(format).unwrap(),
            ..Payload::default()
        }
    }

    /// The rows of a message as JSON, each read as a message of its own.
    #[track_caller]
    fn rows(payload: &Payload, message: &[u8]) -> Vec<String> {
        let message = Bytes::copy_from_slice(message);
        let read = |message: &[u8]| tidemill_values::to_json(&payload.value(message).unwrap());
        match payload.rows(&message).unwrap() {
            Rows::None => Vec::new(),
            Rows::One => vec![read(&message)],
            Rows::Many(split) => split
                .messages()
                .map(|(message, value)| {
                    if let Some(value) = value {
                        // A value read to find a row's end equals the row's value as its own
                        // message.
                        assert_eq!(Ok(value), payload.value(&message).as_ref());
                    }
                    // A row that is a message of its own stays the same however often it is split.
                    let again = match payload.rows(&message).unwrap() {
                        Rows::None => panic!("{message:?} is no row"),
                        Rows::One => message.clone(),
                        Rows::Many(split) => {
                            let all: Vec<_> = split.messages().collect();
                            assert_eq!(all.len(), 1, "{message:?}");
                            all[0].0.clone()
                        }
                    };
                    assert_eq!(read(&again), read(&message));
                    read(&message)
                })
                .collect(),
        }
    }

    #[test]
    fn every_name_is_that_of_its_format() {
        for name in Format::NAMES {
            assert_eq!(Format::named(name).unwrap().name(), name);
        }
        assert_eq!(Format::named("DELIMITED").unwrap().name(), "csv");
        assert_eq!(Format::named("xml"), None);
    }

    #[test]
    fn a_message_is_the_value_that_its_format_says() {
        for (format, message, expected) in [
            ("json", &b"{\"a\":1}"[..], r#"{"a":1}"#),
            ("json", b"\xef\xbb\xbf[1, 2]", "[1,2]"),
            ("number", b" 21.5\r\n", "21.5"),
            ("number", b"-7", "-7"),
            ("text", b"\xef\xbb\xbfonline", r#""online""#),
            ("bytes", b"\x00\xff", r#""AP8=""#),
        ] {
            assert_eq!(rows(&payload(format), message), [expected], "{format}");
        }
        assert_eq!(rows(&payload("lines"), b"a\r\n\nb"), [r#""a""#, r#""b""#]);
        // A mark is none of a line, and a line of nothing else is none.
        let marked = "a\n\u{feff}\u{feff}\n\u{feff}b\n";
        assert_eq!(
            rows(&payload("lines"), marked.as_bytes()),
            [r#""a""#, r#""b""#]
        );
    }

    #[test]
    fn what_a_format_does_not_hold_is_an_error_that_says_so() {
        let reason = |format: &str, message: &[u8]| {
            let error = payload(format).value(message).unwrap_err();
            error.to_string()
        };
        assert_eq!(reason("number", b"nan"), r#"payload "nan" is no number"#);
        assert_eq!(reason("text", b"a\xff"), "payload is not UTF-8 (byte 1)");
        let wide = reason("json", b"\xff\xfe{\x00}\x00");
        assert_eq!(wide, "payload is text in UTF-16; UTF-8 is needed");
        assert!(reason("json", b"online").starts_with("payload is not valid JSON: "));
    }

    #[test]
    fn elements_of_a_list_are_rows_by_choice_and_lists_in_it_stay_lists() {
        let mut payload = payload("json");
        let list = b"[{\"a\":1}, 2, [3, 4], \"x\", []]";
        assert_eq!(rows(&payload, list), [r#"[{"a":1},2,[3,4],"x",[]]"#]);
        payload.list = List::Rows;
        let expected = [r#"{"a":1}"#, "2", "[3,4]", r#""x""#, "[]"];
        assert_eq!(rows(&payload, list), expected);
        assert_eq!(rows(&payload, b"[]"), [""; 0]);
        assert_eq!(rows(&payload, b"{\"a\":[1]}"), [r#"{"a":[1]}"#]);
    }

    #[test]
    fn a_message_without_a_payload_is_what_the_rule_makes_of_it() {
        let mut payload = payload("json");
        let nothing = Bytes::new();
        assert_eq!(payload.rows(&nothing), Ok(Rows::None));
        payload.empty = Empty::Row;
        assert_eq!(rows(&payload, b""), ["{}"]);
        payload.empty = Empty::DeadLetter;
        assert_eq!(payload.rows(&nothing), Err(PayloadError::Empty));
    }

    #[test]
    fn a_message_of_too_many_rows_is_none() {
        let mut list = payload("json");
        list.list = List::Rows;
        let ones = |count: usize| Bytes::from(format!("[{}1]", "1,".repeat(count - 1)));
        assert!(list.rows(&ones(ROWS_MAX)).is_ok());
        assert_eq!(
            list.rows(&ones(ROWS_MAX + 1)),
            Err(PayloadError::TooManyRows)
        );
        let lines = Bytes::from("x\n".repeat(ROWS_MAX + 1));
        assert_eq!(
            payload("lines").rows(&lines),
            Err(PayloadError::TooManyRows)
        );
        let wide = format!("{}\n{}", "name,".repeat(800), "1\n".repeat(ROWS_MAX));
        assert_eq!(
            payload("csv").rows(&wide.into()),
            Err(PayloadError::RowsTooLong)
        );
    }
}
