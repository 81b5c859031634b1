//! Binary formats: what real encoders make, what hostile ones might, and bytes at random.

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use tidemill_values::{Value, to_json};

use super::sparkplug::{DataType, Known, METRICS_MAX, ResolveError, births, resolve};
use super::{Format, List, Payload, ROWS_MAX, Rows};

const CBOR: &str = include_str!("../../../../tests/data/payloads/cbor.jsonl");
const MESSAGEPACK: &str = include_str!("../../../../tests/data/payloads/messagepack.jsonl");
const SPARKPLUG: &str = include_str!("../../../../tests/data/payloads/sparkplug.jsonl");

const FORMATS: [Format; 3] = [Format::Cbor, Format::MessagePack, Format::Sparkplug];

/// A message as an encoder made it.
#[derive(Deserialize)]
struct Case {
    name: String,
    hex: String,
    json: serde_json::Value,
    rows: Option<Vec<serde_json::Value>>,
    topic: Option<String>,
}

/// The expected value, with numbers as Tidemill holds them.
fn expected(value: &serde_json::Value) -> serde_json::Value {
    json(&tidemill_values::from_json(value.to_string().as_bytes()).unwrap())
}

fn cases(lines: &str) -> Vec<Case> {
    let cases = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    cases.collect()
}

fn bytes(hex: &str) -> Bytes {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

fn payload(format: &Format, list: List) -> Payload {
    Payload {
        format: format.clone(),
        list,
        ..Payload::default()
    }
}

fn json(value: &Value) -> serde_json::Value {
    serde_json::from_str(&to_json(value)).unwrap()
}

fn read(format: &Format, hex: &str) -> Result<Value, String> {
    let payload = payload(format, List::Value);
    payload
        .value(&bytes(hex))
        .map_err(|error| error.to_string())
}

/// Rows of a message, each read as the message of one row that it is made.
fn rows(payload: &Payload, message: &Bytes) -> Vec<Value> {
    match payload.rows(message).unwrap() {
        Rows::None => Vec::new(),
        Rows::One => vec![payload.value(message).unwrap()],
        Rows::Many(split) => {
            let messages = split.messages();
            messages
                .map(|(row, _)| payload.value(&row).unwrap())
                .collect()
        }
    }
}

/// The births of a node and its device.
#[derive(Default)]
struct Births {
    aliases: Vec<(u64, String, DataType)>,
    names: Vec<(String, DataType)>,
}

impl Births {
    fn hear(&mut self, message: &[u8]) {
        for birth in births(message).unwrap() {
            match birth.alias {
                Some(alias) => self
                    .aliases
                    .push((alias, birth.name.to_owned(), birth.data_type)),
                None => self.names.push((birth.name.to_owned(), birth.data_type)),
            }
        }
    }
}

impl Known for Births {
    fn by_alias(&self, alias: u64) -> Option<(&str, DataType)> {
        let mut found = self.aliases.iter().rev();
        let found = found.find(|(known, ..)| *known == alias);
        found.map(|(_, name, data_type)| (name.as_str(), *data_type))
    }

    fn by_name(&self, name: &str) -> Option<DataType> {
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, data_type)| *data_type)
    }
}

#[test]
fn messages_of_real_encoders_are_what_was_put_in() {
    for (format, lines) in [(Format::Cbor, CBOR), (Format::MessagePack, MESSAGEPACK)] {
        let mut seen = 0;
        for case in cases(lines) {
            let found =
                read(&format, &case.hex).unwrap_or_else(|why| panic!("{}: {why}", case.name));
            assert_eq!(
                json(&found),
                expected(&case.json),
                "{}: {}",
                format.name(),
                case.name
            );
            seen += 1;
            if let Some(list) = case.json.as_array() {
                let payload = payload(&format, List::Rows);
                let found = rows(&payload, &bytes(&case.hex));
                let found: Vec<_> = found.iter().map(json).collect();
                assert_eq!(&found, list, "{}: {}", format.name(), case.name);
            }
        }
        assert!(seen > 20, "{seen}");
    }
}

#[test]
fn messages_of_a_node_are_rows_once_its_births_were_heard() {
    let mut heard = Births::default();
    for case in cases(SPARKPLUG) {
        let message = bytes(&case.hex);
        if case.topic.is_some_and(|topic| topic.contains("BIRTH")) {
            heard.hear(&message);
        }
        let complete = resolve(&message, &heard).unwrap();
        let found = payload(&Format::Sparkplug, List::Value).value(&complete);
        let found = found.unwrap_or_else(|why| panic!("{}: {why}", case.name));
        assert_eq!(json(&found), expected(&case.json), "{}", case.name);
        // A complete message needs no birth any more.
        let again = resolve(&complete, &Births::default()).unwrap();
        assert_eq!(again, complete, "{}", case.name);
        if let Some(split) = case.rows {
            let payload = payload(&Format::Sparkplug, List::Rows);
            let found: Vec<_> = rows(&payload, &complete).iter().map(json).collect();
            assert_eq!(found, split, "{}", case.name);
        }
    }
}

#[test]
fn an_alias_that_no_birth_told_is_said() {
    let mut heard = Births::default();
    let unknown = |heard: &Births, hex: &str| resolve(&bytes(hex), heard).unwrap_err();
    let data = "120b1007690000000000403640";
    assert_eq!(unknown(&heard, data), ResolveError::UnknownAlias(7));
    heard
        .aliases
        .push((7, "x".repeat(60_000), DataType::numbered(10)));
    let many = data.repeat(100);
    assert_eq!(unknown(&heard, &many), ResolveError::TooLong);
    let without = payload(&Format::Sparkplug, List::Value).value(&bytes(data));
    let why = without.unwrap_err().to_string();
    assert_eq!(
        why,
        "payload is not valid Sparkplug B: a metric has alias 7 and no name (byte 0)"
    );
}

#[test]
fn what_hosts_say_of_their_state_is_json() {
    let state = br#"{"online":true,"timestamp":1714552200250}"#;
    let found = payload(&Format::Sparkplug, List::Rows)
        .value(state)
        .unwrap();
    assert_eq!(to_json(&found), std::str::from_utf8(state).unwrap());
}

#[track_caller]
fn refused(format: Format, hex: &str, expected: &str) {
    let why = read(&format, hex).unwrap_err();
    let (_, why) = why.split_once(": ").unwrap();
    assert_eq!(why, expected, "{hex}");
}

#[test]
fn half_a_message_is_refused_with_its_place() {
    for (format, lines) in [
        (Format::Cbor, CBOR),
        (Format::MessagePack, MESSAGEPACK),
        (Format::Sparkplug, SPARKPLUG),
    ] {
        for case in cases(lines) {
            let whole = bytes(&case.hex);
            for end in 1..whole.len().min(200) {
                let found = payload(&format, List::Value).value(&whole[..end]);
                // A message of Sparkplug B may end behind any field.
                if let Err(why) = found {
                    assert!(why.to_string().contains("(byte "), "{}: {why}", case.name);
                } else {
                    assert_eq!(format, Format::Sparkplug, "{}: {end}", case.name);
                }
            }
        }
    }
}

#[test]
fn lengths_that_are_not_there_take_no_memory() {
    let many = "4294967295 bytes should follow, 0 do";
    refused(Format::Cbor, "5affffffff", &format!("{many} (byte 5)"));
    refused(Format::Cbor, "7affffffff", &format!("{many} (byte 5)"));
    refused(
        Format::Cbor,
        "9bffffffffffffffff00",
        "18446744073709551615 elements cannot stand in 1 bytes (byte 0)",
    );
    refused(
        Format::Cbor,
        "a26161",
        "2 elements cannot stand in 2 bytes (byte 0)",
    );
    refused(
        Format::MessagePack,
        "c6ffffffff",
        &format!("{many} (byte 5)"),
    );
    refused(
        Format::MessagePack,
        "dbffffffff",
        &format!("{many} (byte 5)"),
    );
    refused(
        Format::MessagePack,
        "ddffffffff01",
        "4294967295 elements cannot stand in 1 bytes (byte 0)",
    );
    refused(
        Format::Sparkplug,
        "12ffffffff0f01",
        "4294967295 bytes should follow, 1 do (byte 6)",
    );
}

#[test]
fn what_no_format_knows_is_refused_with_its_place() {
    use Format::{Cbor, MessagePack, Sparkplug};
    refused(Cbor, "1c", "no value begins with 0x1c (byte 0)");
    refused(Cbor, "ff", "no value begins with 0xff (byte 0)");
    refused(Cbor, "1f", "no value begins with 0x1f (byte 0)");
    refused(Cbor, "f0", "the simple value 16 has no meaning (byte 0)");
    refused(Cbor, "0000", "1 bytes follow the value (byte 1)");
    refused(Cbor, "61ff", "a text is not UTF-8 (byte 1)");
    refused(
        Cbor,
        "5f6161ff",
        "a piece of a string that is none (byte 1)",
    );
    refused(Cbor, "a18000", "a list or a map is no name (byte 1)");
    refused(Cbor, "bf6161ff", "no value begins with 0xff (byte 3)");
    refused(Cbor, "9f00", "it ends inside of a value (byte 2)");
    refused(
        Cbor,
        "8201d81d00",
        "tag 29 refers to another value, which is not supported (byte 2)",
    );
    refused(
        Cbor,
        "c1fb7e37e43c8800759c",
        "a time beyond the years 0 to 9999 (byte 0)",
    );
    refused(
        Cbor,
        "c163616263",
        "tag 1 is about a number of seconds (byte 0)",
    );
    let large = format!("c25881{}", "ff".repeat(129));
    refused(Cbor, &large, "a number beyond the range of floats (byte 0)");
    let tags = "c1".repeat(200);
    refused(Cbor, &tags, "nested more than 127 deep (byte 128)");
    let lists = "81".repeat(100_000);
    refused(Cbor, &lists, "nested more than 127 deep (byte 128)");
    refused(MessagePack, "c1", "no value begins with 0xc1 (byte 0)");
    refused(MessagePack, "0000", "1 bytes follow the value (byte 1)");
    refused(MessagePack, "a1ff", "a text is not UTF-8 (byte 1)");
    refused(
        MessagePack,
        "d5ff0000",
        "a moment has 4, 8 or 12 bytes (byte 0)",
    );
    let lists = "91".repeat(100_000);
    refused(MessagePack, &lists, "nested more than 127 deep (byte 128)");
    refused(
        Sparkplug,
        "0b",
        "no field of protobuf begins like this (byte 0)",
    );
    refused(
        Sparkplug,
        "00",
        "no field of protobuf begins like this (byte 0)",
    );
    refused(Sparkplug, "0a00", "field 1 is not a whole number (byte 0)");
    let long = format!("08{}", "ff".repeat(10));
    refused(Sparkplug, &long, "a number of more than 64 bits (byte 1)");
    refused(
        Sparkplug,
        "1200",
        "a metric has neither name nor alias (byte 0)",
    );
}

#[test]
fn a_message_makes_no_more_values_than_its_limit() {
    let ones = |head: &[u8]| [head, &vec![1; 1 << 20]].concat();
    let heads = [
        (Format::Cbor, &[0x9a, 0, 0x10, 0, 0][..]),
        (Format::MessagePack, &[0xdd, 0, 0x10, 0, 0]),
    ];
    for (format, head) in heads.clone() {
        let why = payload(&format, List::Value)
            .value(&ones(head))
            .unwrap_err();
        assert!(
            why.to_string().contains(": more than 262144 values (byte "),
            "{why}"
        );
    }
    let metrics = Bytes::from(b"\x12\x00".repeat(METRICS_MAX + 1));
    let why = resolve(&metrics, &Births::default()).unwrap_err();
    assert!(matches!(why, ResolveError::Flaw(flaw) if flaw.why == "more than 10000 metrics"));
    let rows = payload(&Format::Cbor, List::Rows).rows(&ones(heads[0].1).into());
    assert_eq!(rows, Err(super::PayloadError::TooManyRows));
    assert_eq!(ROWS_MAX, METRICS_MAX);
}

/// JSON that all formats hold.
fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e9..1e9).prop_map(|number: f64| number.into()),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(".{0,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A value as CBOR or as MessagePack, each in the longest form of a head: what other encoders do as well.
fn encode(value: &serde_json::Value, cbor: bool, out: &mut Vec<u8>) {
    let head = |kind: u8, packed: u8, count: usize, out: &mut Vec<u8>| {
        out.push(if cbor { kind << 5 | 26 } else { packed });
        out.extend(u32::try_from(count).unwrap().to_be_bytes());
    };
    match value {
        serde_json::Value::Null => out.push(if cbor { 0xf6 } else { 0xc0 }),
        serde_json::Value::Bool(yes) => out.push(u8::from(*yes) + if cbor { 0xf4 } else { 0xc2 }),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) if cbor => {
                out.push(if whole < 0 { 0x3b } else { 0x1b });
                let size = if whole < 0 { -1 - whole } else { whole };
                out.extend(size.to_be_bytes());
            }
            Some(whole) => {
                out.push(0xd3);
                out.extend(whole.to_be_bytes());
            }
            None => {
                out.push(if cbor { 0xfb } else { 0xcb });
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        serde_json::Value::String(text) => {
            head(3, 0xdb, text.len(), out);
            out.extend(text.as_bytes());
        }
        serde_json::Value::Array(list) => {
            head(4, 0xdd, list.len(), out);
            list.iter().for_each(|value| encode(value, cbor, out));
        }
        serde_json::Value::Object(map) => {
            head(5, 0xdf, map.len(), out);
            for (name, value) in map {
                encode(&serde_json::Value::from(name.as_str()), cbor, out);
                encode(value, cbor, out);
            }
        }
    }
}

/// Whatever was read can be kept and sent, and stays the same row however often it is split.
fn sound(format: &Format, message: &Bytes) {
    for list in [List::Value, List::Rows] {
        let payload = payload(format, list);
        if let Ok(value) = payload.value(message) {
            json(&value);
            let kept = tidemill_values::encode(&value);
            assert!(kept.is_ok() || value.size() > 1 << 20);
        }
        let Ok(Rows::Many(split)) = payload.rows(message) else {
            continue;
        };
        for (row, value) in split.messages().take(20) {
            if let Some(value) = value {
                assert_eq!(payload.value(&row).as_ref(), Ok(value));
            }
            let again = match payload.rows(&row) {
                Ok(Rows::Many(split)) => split.messages().next().unwrap().0,
                Ok(Rows::One) => row.clone(),
                other => panic!("{row:?} of {message:?} is {other:?}"),
            };
            assert_eq!(payload.value(&again), payload.value(&row));
        }
    }
    let _ = births(message);
    if let Ok(complete) = resolve(message, &Births::default()) {
        assert_eq!(&complete, message);
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_read(value in values()) {
        for format in [Format::Cbor, Format::MessagePack] {
            let mut message = Vec::new();
            encode(&value, format == Format::Cbor, &mut message);
            let read = payload(&format, List::Value).value(&message).unwrap();
            prop_assert_eq!(&json(&read), &value);
            sound(&format, &message.into());
        }
    }

    #[test]
    fn bytes_at_random_are_a_value_or_an_error(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let message = Bytes::from(message);
        FORMATS.iter().for_each(|format| sound(format, &message));
    }

    #[test]
    fn a_damaged_message_is_a_value_or_an_error(
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        by in any::<u8>(),
    ) {
        for (format, lines) in FORMATS.iter().zip([CBOR, MESSAGEPACK, SPARKPLUG]) {
            let cases = cases(lines);
            let mut message = bytes(&which.get(&cases).hex).to_vec();
            let place = place.index(message.len());
            message[place] = by;
            sound(format, &message.into());
        }
    }
}
