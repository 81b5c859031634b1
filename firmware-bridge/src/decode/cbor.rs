//! CBOR as JSON: one item a packet. Bytes become base64, what JSON has no number for becomes null, tags go.

use super::object::quoted;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// Tags of whole numbers that are longer than eight bytes: RFC 8949, 3.4.3.
const BIG: u64 = 2;
const BIG_NEGATIVE: u64 = 3;

/// Returns the JSON of a packet; `None` unless it is one whole item that JSON can say.
pub(super) fn json(packet: &[u8]) -> Option<String> {
    let mut rest = packet;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let mut json = String::new();
    write(&value, &mut json)?;
    Some(json)
}

fn write(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Integer(number) => write!(out, "{}", i128::from(*number)).ok()?,
        Value::Float(number) if number.is_finite() => {
            out.push_str(&serde_json::to_string(number).ok()?);
        }
        Value::Float(_) | Value::Null => out.push_str("null"),
        Value::Bool(is_true) => write!(out, "{is_true}").ok()?,
        Value::Text(text) => quoted(out, text),
        Value::Bytes(bytes) => quoted(out, &STANDARD.encode(bytes)),
        Value::Tag(tag, inner) => match big(*tag, inner) {
            Some(number) => out.push_str(&number),
            None => write(inner, out)?,
        },
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Map(pairs) => write_map(pairs, out)?,
        _ => return None,
    }
    Some(())
}

fn write_map(pairs: &[(Value, Value)], out: &mut String) -> Option<()> {
    let mut keys = BTreeSet::new();
    out.push('{');
    for (key, value) in pairs {
        if !keys.is_empty() {
            out.push(',');
        }
        let key = match key {
            Value::Text(key) => key.clone(),
            Value::Integer(key) => i128::from(*key).to_string(),
            _ => return None,
        };
        quoted(out, &key);
        if !keys.insert(key) {
            return None; // Readers disagree on which of the two counts.
        }
        out.push(':');
        write(value, out)?;
    }
    out.push('}');
    Some(())
}

/// A whole number of up to 16 bytes.
fn big(tag: u64, inner: &Value) -> Option<String> {
    let Value::Bytes(bytes) = inner else {
        return None;
    };
    if bytes.len() > size_of::<u128>() {
        return None;
    }
    let fold = |number, byte: &u8| number << 8 | u128::from(*byte);
    let number = bytes.iter().fold(0_u128, fold);
    match tag {
        BIG => Some(number.to_string()),
        BIG_NEGATIVE => Some(format!("-{}", number.checked_add(1)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(hex: &str, expected: Option<&str>) {
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(json(&bytes).as_deref(), expected, "{hex}");
    }

    /// Examples of RFC 8949, appendix A.
    #[test]
    fn items_become_json() {
        check("1864", Some("100"));
        check("1bffffffffffffffff", Some("18446744073709551615"));
        check("c249010000000000000000", Some("18446744073709551616"));
        check("3bffffffffffffffff", Some("-18446744073709551616"));
        check("c349010000000000000000", Some("-18446744073709551617"));
        check("3903e7", Some("-1000"));
        check("fb3ff199999999999a", Some("1.1"));
        check("fa47c35000", Some("100000.0"));
        check("f93c00", Some("1.0"));
        check("f97e00", Some("null"));
        check("f97c00", Some("null"));
        check("f4", Some("false"));
        check("f6", Some("null"));
        check("4401020304", Some("\"AQIDBA==\""));
        check("62225c", Some("\"\\\"\\\\\""));
        check("62c3bc", Some("\"ü\""));
        let date = "c074323031332d30332d32315432303a30343a30305a";
        check(date, Some("\"2013-03-21T20:04:00Z\""));
        check("80", Some("[]"));
        check("a0", Some("{}"));
        check("826161a161626163", Some("[\"a\",{\"b\":\"c\"}]"));
        check("bf61610161629f0203ffff", Some("{\"a\":1,\"b\":[2,3]}"));
        check("a201020304", Some("{\"1\":2,\"3\":4}"));
    }

    #[test]
    fn what_is_no_whole_item_or_no_json_is_none() {
        for wrong in [
            "",
            "18",
            "a1",
            "0000",
            "a1f401",
            "ff",
            "61ff",
            "5bffffffffffffffff00",
        ] {
            check(wrong, None);
        }
        check("a2616101616102", None); // One key twice,
        check("a20101613102", None); // and as a number and a text.
        check(&"81".repeat(1_000), None);
        check(&"c1".repeat(1_000), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_json_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(json) = json(&bytes) {
                serde_json::from_str::<serde::de::IgnoredAny>(&json).unwrap();
            }
        }

        #[test]
        fn what_is_written_is_read(
            pairs in proptest::collection::btree_map(".{0,8}", any::<i64>(), 0..8),
            texts in proptest::collection::vec(".{0,16}", 0..8),
        ) {
            let mut bytes = Vec::new();
            ciborium::into_writer(&(&pairs, &texts), &mut bytes).unwrap();
            let read = serde_json::from_str(&json(&bytes).unwrap()).unwrap();
            prop_assert_eq!((pairs, texts), read);
        }
    }
}
