//! Records of fields (RFC 4180): fields in quotes are text, others get the type they look like. The
//! names of the columns are in the first record, or in the rule.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_values::{Map, Value};

use super::{PayloadError, ROWS_MAX, Rows, Split, number, text};

/// Settings for reading records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// The separator of fields.
    pub delimiter: char,
    /// Source of the column names.
    pub columns: Columns,
}

/// Source of the column names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// The first record of each message.
    FirstRecord,
    /// The rule.
    Named(Arc<[Arc<str>]>),
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: ',',
            columns: Columns::FirstRecord,
        }
    }
}

/// A field, unescaped.
struct Field {
    text: String,
    quoted: bool,
}

/// A record, and its position in the text.
struct Record {
    fields: Vec<Field>,
    at: Range<usize>,
}

impl Csv {
    /// The records of a message.
    pub(super) fn rows(&self, payload: &Bytes) -> Result<Rows, PayloadError> {
        let text = text::read(payload)?;
        let mut reader = self.reader(text);
        let mut head = Bytes::new();
        if self.columns == Columns::FirstRecord
            && let Some(names) = reader.next()?
        {
            let names = text.get(names.at).unwrap_or_default();
            head = Bytes::from([names.as_bytes(), b"\n"].concat());
        }
        let mut rows = Vec::new();
        while let Some(record) = reader.next()? {
            let record = text.get(record.at).unwrap_or_default();
            rows.push(payload.slice_ref(record.as_bytes()));
            if rows.len() > ROWS_MAX {
                break;
            }
        }
        Ok(Split::rows(head, rows))
    }

    /// A message of one record as an object.
    pub(super) fn value(&self, payload: &[u8]) -> Result<Value, PayloadError> {
        let mut reader = self.reader(text::read(payload)?);
        let names: Arc<[Arc<str>]> = match &self.columns {
            Columns::Named(names) => names.clone(),
            Columns::FirstRecord => {
                let names = reader.next()?.into_iter().flat_map(|first| first.fields);
                names.map(|field| field.text.trim().into()).collect()
            }
        };
        let line = reader.line;
        let record = reader.next()?;
        let record = record.ok_or_else(|| PayloadError::NotCsv("it has no record".to_owned()))?;
        if reader.next()?.is_some() {
            return Err(PayloadError::NotCsv("it has several records".to_owned()));
        }
        if record.fields.len() > names.len() {
            let (fields, columns) = (record.fields.len(), names.len());
            return Err(PayloadError::NotCsv(format!(
                "line {line} has {fields} fields for {columns} columns"
            )));
        }
        let mut row = Map::new();
        for (name, field) in names.iter().zip(record.fields) {
            row.insert(name.clone(), field.value());
        }
        Ok(Value::map(row))
    }

    fn reader<'a>(&self, text: &'a str) -> Reader<'a> {
        Reader {
            text,
            at: 0,
            line: 1,
            delimiter: self.delimiter,
        }
    }
}

impl Field {
    /// The value that a field looks like: a number, a Boolean, null, or text.
    fn value(self) -> Value {
        let bare = self.text.trim();
        match bare {
            _ if self.quoted => Value::text(self.text),
            "" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            // Digits that begin with 0 are a name, as in 007.
            _ if has_leading_zero(bare) => Value::text(bare),
            _ => number::read(bare).unwrap_or_else(|| Value::text(bare)),
        }
    }
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut digits = digits.bytes();
    digits.next() == Some(b'0') && digits.next().is_some_and(|next| next.is_ascii_digit())
}

/// Goes through records.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    delimiter: char,
}

impl<'a> Reader<'a> {
    /// The next record; lines with nothing in them are passed over.
    fn next(&mut self) -> Result<Option<Record>, PayloadError> {
        loop {
            if let Some(blank) = self.line_end(self.at) {
                self.at = blank;
                self.line += 1;
            } else if self.rest().starts_with(text::MARK) {
                // It would go once the record is a message of its own.
                self.at += text::MARK.len_utf8();
            } else {
                break;
            }
        }
        if self.at == self.text.len() {
            return Ok(None);
        }
        let start = self.at;
        let mut fields = Vec::new();
        loop {
            fields.push(self.field()?);
            let rest = self.rest();
            if rest.starts_with(self.delimiter) {
                self.at += self.delimiter.len_utf8();
                continue;
            }
            let end = self.at;
            if let Some(next) = self.line_end(self.at) {
                self.at = next;
                self.line += 1;
            }
            let at = start..end;
            return Ok(Some(Record { fields, at }));
        }
    }

    /// A field, up to what ends it.
    fn field(&mut self) -> Result<Field, PayloadError> {
        if !self.rest().starts_with('"') {
            let rest = self.rest();
            let is_end = |c: char| c == self.delimiter || c == '\n';
            let len = rest.find(is_end).unwrap_or(rest.len());
            let text = rest.get(..len).unwrap_or_default();
            // Carriage returns belong to the end of the line, however many there are.
            let at_line_end = !rest
                .get(len..)
                .unwrap_or_default()
                .starts_with(self.delimiter);
            let text = if at_line_end {
                text.trim_end_matches('\r')
            } else {
                text
            };
            self.at += text.len();
            return Ok(Field {
                text: text.to_owned(),
                quoted: false,
            });
        }
        let line = self.line;
        let mut text = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some((part, behind)) = rest.split_once('"') else {
                let reason = format!("a quote that opens in line {line} does not close");
                return Err(PayloadError::NotCsv(reason));
            };
            text.push_str(part);
            self.line += part.bytes().filter(|byte| *byte == b'\n').count();
            self.at += part.len() + 1;
            if behind.starts_with('"') {
                text.push('"');
                self.at += 1;
                continue;
            }
            let ends = behind.is_empty()
                || behind.starts_with(self.delimiter)
                || behind.starts_with(['\r', '\n']);
            if !ends {
                let line = self.line;
                let reason = format!("in line {line} something stands behind a quote that closes");
                return Err(PayloadError::NotCsv(reason));
            }
            return Ok(Field { text, quoted: true });
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Start of the next line, if a line ends at `at`.
    fn line_end(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?.as_bytes();
        let returns = rest.iter().take_while(|byte| **byte == b'\r').count();
        match rest.get(returns) {
            Some(b'\n') => Some(at + returns + 1),
            None if returns > 0 => Some(at + returns),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(csv: &Csv, message: &str, expected: &[&str]) {
        let payload = Bytes::copy_from_slice(message.as_bytes());
        let rows = match csv.rows(&payload).unwrap() {
            Rows::Many(split) => split.messages().map(|(message, _)| message).collect(),
            _ => Vec::new(),
        };
        let read = |row: &Bytes| tidemill_values::to_json(&csv.value(row).unwrap());
        let found: Vec<String> = rows.iter().map(read).collect();
        assert_eq!(found, expected, "{message:?}");
    }

    #[test]
    fn records_have_the_names_of_the_first_one() {
        let csv = Csv::default();
        check(
            &csv,
            "device,t,ok\nd1,21.5,true\r\n\nd2,,x\n",
            &[
                r#"{"device":"d1","t":21.5,"ok":true}"#,
                r#"{"device":"d2","t":null,"ok":"x"}"#,
            ],
        );
        check(&csv, "a,b\n1\n", &[r#"{"a":1}"#]);
        check(&csv, "a,b\n", &[]);
        check(&csv, "id,v\n007,7\n", &[r#"{"id":"007","v":7}"#]);
    }

    #[test]
    fn quotes_keep_what_stands_in_them() {
        check(
            &Csv::default(),
            "a,b\n\"x, \"\"y\"\"\n z\",\"1\"\n",
            &[r#"{"a":"x, \"y\"\n z","b":"1"}"#],
        );
    }

    #[test]
    fn the_rule_may_name_columns_and_what_stands_between_them() {
        let names = ["a", "b"].map(Arc::from);
        let csv = Csv {
            delimiter: ';',
            columns: Columns::Named(names.into()),
        };
        check(
            &csv,
            "1;2,5\n3;4",
            &[r#"{"a":1,"b":"2,5"}"#, r#"{"a":3,"b":4}"#],
        );
    }

    #[test]
    fn any_number_of_carriage_returns_ends_a_line() {
        let csv = Csv {
            columns: Columns::Named(["a".into(), "b".into()].into()),
            ..Csv::default()
        };
        let rows = [r#"{"a":1,"b":2}"#, r#"{"a":3,"b":4}"#];
        check(&csv, "\r\r\n1,2\r\r\n\r\n3,4\r\r", &rows);
    }

    #[test]
    fn records_that_are_none_are_errors_with_their_line() {
        let csv = Csv::default();
        let rows = |text: &str| csv.rows(&Bytes::copy_from_slice(text.as_bytes()));
        let open = rows("a\n\"x").unwrap_err().to_string();
        let quote = "payload is not valid CSV: a quote that opens in line 2 does not close";
        assert_eq!(open, quote);
        assert!(rows("a\n\"x\"y\n").is_err());
        let many = csv.value(b"a\n1,2").unwrap_err().to_string();
        let expected = "payload is not valid CSV: line 2 has 2 fields for 1 columns";
        assert_eq!(many, expected);
        assert!(csv.value(b"a\n1\n2").is_err());
    }
}
