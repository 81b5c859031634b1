//! Payloads of every format made of bytes: as they come, or written as the format has it and then broken.
//! Whatever they are, reading them ends, what comes of it is bounded by what there was, can be kept and sent,
//! and a row is the same by itself as in its message.

use bytes::Bytes;
use tidemill::event::decode::Plan;
use tidemill::event::payload::sparkplug::{DataType, Known, births, resolve};
use tidemill::event::payload::{Columns, Csv, Empty, Format, List, Payload, ROWS_MAX, Rows};
use tidemill::event::value::Decoded;
use tidemill_values::{NESTING_MAX, Value, decode, encode, to_json};

/// Values in a message that is neither text nor JSON.
const VALUES_MAX: usize = 1 << 18;
/// The longest that an error says of a message.
const REASON_BYTES_MAX: usize = 4_096;
/// Depth of the values that are written here.
const DEPTH: u8 = 6;

/// Reads a message: the first bytes say how, and how it is written.
pub fn read(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let payload = choices.payload();
    let message = choices.message(&payload.format);
    check(&payload, &message);
}

/// Choices, each made of the next byte; 0 where there is none.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn some(&mut self, most: u8) -> Vec<u8> {
        let count = usize::from(self.byte() % most).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }

    fn payload(&mut self) -> Payload {
        let format = match self.byte() % 10 {
            0 => Format::Json,
            1 => Format::Number,
            2 => Format::Text,
            3 => Format::Bytes,
            4 => Format::Lines,
            5 => Format::Csv(Csv::default()),
            6 => Format::Csv(Csv {
                delimiter: ';',
                columns: Columns::Named(["a".into(), "b".into(), "é".into()].into()),
            }),
            7 => Format::Cbor,
            8 => Format::MessagePack,
            _ => Format::Sparkplug,
        };
        let how = self.byte();
        let is_list = how & 1 == 1 && format.has_lists();
        Payload {
            format,
            list: if is_list { List::Rows } else { List::Value },
            empty: match how >> 1 & 3 {
                0 => Empty::DeadLetter,
                1 => Empty::Row,
                _ => Empty::Skip,
            },
        }
    }

    fn message(&mut self, format: &Format) -> Bytes {
        let how = self.byte();
        let mut message = Vec::new();
        match (format, how % 4) {
            (_, 0) => message = self.0.to_vec(),
            (Format::Cbor, _) => self.cbor(DEPTH, &mut message),
            (Format::MessagePack, _) => self.messagepack(DEPTH, &mut message),
            (Format::Sparkplug, _) => self.sparkplug(DEPTH, &mut message),
            _ => self.text(&mut message),
        }
        // Now and then something is missing, or other than it was.
        if how & 0x10 != 0 {
            message.truncate(usize::from(self.byte()) * message.len() / 256);
        }
        for _ in 0..how >> 6 {
            let at = usize::from(self.byte()) * message.len() / 256;
            if let Some(byte) = message.get_mut(at) {
                *byte ^= self.byte();
            }
        }
        message.into()
    }

    fn text(&mut self, out: &mut Vec<u8>) {
        const PIECES: [&str; 24] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\"a\":",
            "1",
            "-0.0",
            "1e999",
            "null",
            "true",
            "\n",
            "\r\n",
            ";",
            "a;b;a\n",
            "\"x\"\"y\"",
            " ",
            "\u{feff}",
            "é",
            "\\ud800",
            "18446744073709551615",
            "nan",
        ];
        while !self.0.is_empty() && out.len() < 4_096 {
            let piece = PIECES[usize::from(self.byte()) % PIECES.len()];
            out.extend_from_slice(piece.as_bytes());
        }
    }

    fn cbor(&mut self, depth: u8, out: &mut Vec<u8>) {
        let major = self.byte() % if depth == 0 { 4 } else { 8 };
        match major {
            2 | 3 if self.byte().is_multiple_of(4) => {
                out.push(major << 5 | 31);
                for _ in 0..self.byte() % 3 {
                    let piece = self.some(20);
                    out.push(major << 5 | u8::try_from(piece.len()).unwrap_or(0));
                    out.extend(piece);
                }
                out.push(0xff);
            }
            2 | 3 => {
                let bytes = self.some(40);
                head(major, bytes.len() as u64, self.byte(), out);
                out.extend(bytes);
            }
            4 | 5 => {
                let count = self.byte() % 5;
                let open = self.byte().is_multiple_of(4);
                if open {
                    out.push(major << 5 | 31);
                } else {
                    head(major, count.into(), self.byte(), out);
                }
                for _ in 0..count * (major - 3) {
                    self.cbor(depth - 1, out);
                }
                if open {
                    out.push(0xff);
                }
            }
            6 => {
                let tags = [0, 1, 2, 3, 4, 5, 25, 29, 37, 24, 55_799, u64::MAX];
                let tag = tags[usize::from(self.byte()) % tags.len()];
                head(6, tag, self.byte(), out);
                self.cbor(depth - 1, out);
            }
            7 => {
                let info = [20, 21, 22, 23, 25, 26, 27, 24][usize::from(self.byte() % 8)];
                out.push(7 << 5 | info);
                let width = match info {
                    24 => 1,
                    25 => 2,
                    26 => 4,
                    27 => 8,
                    _ => 0,
                };
                out.extend((0..width).map(|_| self.byte()));
            }
            _ => {
                let number = (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()));
                head(major, number >> (self.byte() % 64), self.byte(), out);
            }
        }
    }

    fn messagepack(&mut self, depth: u8, out: &mut Vec<u8>) {
        let kinds = if depth == 0 { 3 } else { 6 };
        match self.byte() % kinds {
            0 => {
                // A number, a truth value or nothing, of every width.
                let first = [
                    0x05, 0xff, 0xc0, 0xc2, 0xc3, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1,
                    0xd2, 0xd3,
                ];
                let first = first[usize::from(self.byte()) % first.len()];
                out.push(first);
                let width = match first {
                    0xcc | 0xd0 => 1,
                    0xcd | 0xd1 => 2,
                    0xca | 0xce | 0xd2 => 4,
                    0xcb | 0xcf | 0xd3 => 8,
                    _ => 0,
                };
                out.extend((0..width).map(|_| self.byte()));
            }
            1 => {
                let bytes = self.some(60);
                let len = u8::try_from(bytes.len()).unwrap_or(0);
                out.extend([[0xd9, len], [0xc4, len]][usize::from(self.byte() % 2)]);
                out.extend(bytes);
            }
            2 => {
                let bytes = self.some(20);
                out.extend([0xc7, u8::try_from(bytes.len()).unwrap_or(0), self.byte()]);
                out.extend(bytes);
            }
            kind => {
                let count = self.byte() % 5;
                let is_map = kind == 3;
                match (is_map, self.byte() % 2) {
                    (true, 0) => out.push(0x80 | count),
                    (true, _) => out.extend([0xde, 0, count]),
                    (false, 0) => out.push(0x90 | count),
                    (false, _) => out.extend([0xdd, 0, 0, 0, count]),
                }
                for _ in 0..count * if is_map { 2 } else { 1 } {
                    self.messagepack(depth - 1, out);
                }
            }
        }
    }

    /// Fields of protobuf, those of metrics mostly.
    fn sparkplug(&mut self, depth: u8, out: &mut Vec<u8>) {
        for _ in 0..self.byte() % 8 {
            let number = self.byte() % 22;
            match self.byte() % 5 {
                0 => {
                    varint(u64::from(number) << 3, out);
                    let wide = (0..8).fold(0, |wide, _| wide << 8 | u64::from(self.byte()));
                    varint(wide >> (self.byte() % 64), out);
                }
                1 => {
                    varint(u64::from(number) << 3 | 1, out);
                    out.extend((0..8).map(|_| self.byte()));
                }
                2 => {
                    varint(u64::from(number) << 3 | 5, out);
                    out.extend((0..4).map(|_| self.byte()));
                }
                3 => {
                    let bytes = self.some(30);
                    varint(u64::from(number) << 3 | 2, out);
                    varint(bytes.len() as u64, out);
                    out.extend(bytes);
                }
                _ if depth > 0 => {
                    // A metric, or something inside of one.
                    let mut inner = Vec::new();
                    self.sparkplug(depth - 1, &mut inner);
                    varint(
                        u64::from(if depth == DEPTH { 2 } else { number }) << 3 | 2,
                        out,
                    );
                    varint(inner.len() as u64, out);
                    out.extend(inner);
                }
                _ => {}
            }
        }
    }
}

/// The head of a value of CBOR, now and then longer than it need be.
fn head(major: u8, argument: u64, width: u8, out: &mut Vec<u8>) {
    let major = major << 5;
    match (argument, width % 8) {
        (..24, 0..5) => out.push(major | argument as u8),
        (..=0xff, ..6) => out.extend([major | 24, argument as u8]),
        (..=0xffff_ffff, ..7) => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn check(payload: &Payload, message: &Bytes) {
    let mut plan = Plan::default();
    for pointer in ["/a", "/self", "/a/0", "/sparkplug/seq"] {
        plan.add(pointer);
    }
    plan.add_in_any_case("/b");
    let mut decoded = Decoded::default();
    let _ = plan.decode(message, &mut decoded);
    match payload.rows(message) {
        Err(why) => reason(&why.to_string()),
        Ok(Rows::None) => {}
        Ok(Rows::One) => row(payload, message, &plan),
        Ok(Rows::Many(split)) => {
            let mut rows = 0;
            for (bytes, known) in split.messages() {
                rows += 1;
                row(payload, &bytes, &plan);
                if let Some(known) = known {
                    assert_eq!(payload.value(&bytes).as_ref(), Ok(known));
                }
                // A row of a message is a message of one row.
                let again = match payload.rows(&bytes) {
                    Ok(Rows::One) => bytes.clone(),
                    Ok(Rows::Many(split)) => {
                        let mut again = split.messages();
                        let (first, _) = again.next().expect("there is a row");
                        assert!(again.next().is_none(), "one row is two");
                        first
                    }
                    other => panic!("{bytes:?} of {message:?} is {other:?}"),
                };
                assert_eq!(payload.value(&again), payload.value(&bytes));
            }
            assert!((1..=ROWS_MAX).contains(&rows));
        }
    }
    if payload.format == Format::Sparkplug {
        let _ = births(message);
        if let Ok(complete) = resolve(message, &Nobody) {
            assert!(complete.len() <= 4 << 20);
            let again = resolve(&complete, &Nobody);
            assert_eq!(again.as_ref(), Ok(&complete), "it was complete");
        }
    }
}

/// A message of one row.
fn row(payload: &Payload, message: &Bytes, plan: &Plan) {
    let value = match payload.value(message) {
        Ok(value) => value,
        Err(why) => return reason(&why.to_string()),
    };
    assert!(value.depth() <= NESTING_MAX);
    let values = count(&value);
    assert!(
        values <= VALUES_MAX.max(message.len()) + 8,
        "{values} values"
    );
    let size = value.size();
    assert!(
        size <= 64 * message.len() + 1_024,
        "{size} bytes of {}",
        message.len()
    );
    let mut decoded = Decoded::default();
    plan.read(&value, &mut decoded);
    if let Ok(kept) = encode(&value) {
        let back = decode(&kept).expect("what was kept can be read");
        assert_eq!(encode(&back).as_ref(), Ok(&kept));
    }
    let json: Result<serde_json::Value, _> = serde_json::from_str(&to_json(&value));
    assert!(json.is_ok() || value.depth() > 100, "{value:?}");
}

fn reason(why: &str) {
    assert!(
        !why.is_empty() && why.len() <= REASON_BYTES_MAX,
        "{} bytes: {why:.200}",
        why.len()
    );
}

fn count(value: &Value) -> usize {
    match value {
        Value::List(values) => 1 + values.iter().map(count).sum::<usize>(),
        Value::Map(map) => 1 + map.iter().map(|(_, value)| count(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Births that told of one alias, under a name longer than messages.
struct Nobody;

impl Known for Nobody {
    fn by_alias(&self, alias: u64) -> Option<(&str, DataType)> {
        const NAME: &str = "a name that is longer than most metrics are, values and all";
        (alias < 100).then_some((NAME, DataType::numbered(alias)))
    }

    fn by_name(&self, _: &str) -> Option<DataType> {
        Some(DataType::numbered(10))
    }
}
