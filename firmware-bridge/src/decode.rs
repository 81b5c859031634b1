//! Payloads made of a device's text. JSON passes byte for byte; of other forms a JSON object is made, with each
//! value as the device wrote it. Packets of frames may also be CBOR, or any bytes as base64.

mod cbor;
mod csv;
mod kv;
mod nmea;
mod object;

use crate::demux::Sentence;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex_lite::Regex;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Forms of text.
#[derive(Debug, Clone)]
pub enum Decode {
    /// A JSON object, else NMEA, else `key=value` in every word, else text.
    Auto,
    /// Any JSON value.
    Json,
    /// Words of the form `key=value`.
    Kv,
    /// Values in the order of these columns.
    Csv(Vec<String>),
    /// NMEA sentences.
    Nmea,
    /// The named groups of an expression.
    Regex(Regex),
    /// The text itself.
    Text,
}

impl Decode {
    /// Returns the payload for a text; `None` where it is not of this form.
    pub fn payload<'a>(&self, text: &'a str) -> Option<Cow<'a, [u8]>> {
        let as_it_is = || Cow::Borrowed(text.as_bytes());
        match self {
            Self::Auto => Some(auto(text).unwrap_or_else(as_it_is)),
            Self::Json => is_json(text).then(as_it_is),
            Self::Kv => kv::object(text).map(owned),
            Self::Csv(columns) => csv::object(text, columns).map(owned),
            Self::Nmea => nmea::object(&Sentence::read(text)?).map(owned),
            Self::Regex(regex) => groups(regex, text).map(owned),
            Self::Text => Some(as_it_is()),
        }
    }
}

/// Forms of packets that come in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packed {
    /// Any bytes; the event is their base64.
    #[default]
    Base64,
    /// Any JSON value.
    Json,
    /// One CBOR item; the event is JSON.
    Cbor,
}

impl Packed {
    /// Returns the payload for a packet; `None` where it is not of this form.
    pub fn payload(self, packet: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Base64 => Some(owned(STANDARD.encode(packet))),
            Self::Json => {
                let text = std::str::from_utf8(packet).ok()?;
                is_json(text).then_some(Cow::Borrowed(packet))
            }
            Self::Cbor => cbor::json(packet).map(owned),
        }
    }
}

fn auto(text: &str) -> Option<Cow<'_, [u8]>> {
    if text.trim_start().starts_with('{') && is_json(text) {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    if let Some(sentence) = Sentence::read(text) {
        return nmea::object(&sentence).map(owned);
    }
    kv::object(text).map(owned)
}

fn owned(object: String) -> Cow<'static, [u8]> {
    Cow::Owned(object.into_bytes())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn groups(regex: &Regex, text: &str) -> Option<String> {
    let found = regex.captures(text)?;
    let mut object = object::Object::default();
    for name in regex.capture_names().flatten() {
        object.value(name, found.name(name).map_or("", |group| group.as_str()));
    }
    Some(object.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decode: &Decode, text: &str, expected: Option<&str>) {
        let payload = decode.payload(text);
        let payload = payload.map(|payload| String::from_utf8(payload.into_owned()).unwrap());
        assert_eq!(payload.as_deref(), expected, "{text}");
    }

    #[test]
    fn json_passes_byte_for_byte() {
        let odd = r#" {"t": 21.50, "t":1e400, "n":123456789012345678901234567890, "s":"\u00e4ä" }"#;
        check(&Decode::Json, odd, Some(odd));
        check(&Decode::Auto, odd, Some(odd));
        for value in ["21.5", "[1,2]", "null", "\"x\""] {
            check(&Decode::Json, value, Some(value));
        }
        for wrong in ["{\"t\":nan}", "{\"t\":1}{", "{\"t\":1", "", "{'t':1}"] {
            check(&Decode::Json, wrong, None);
            check(&Decode::Auto, wrong, Some(wrong));
        }
        let deep = "[".repeat(100_000);
        check(&Decode::Json, &deep, None);
    }

    #[test]
    fn auto_takes_the_first_form_that_fits() {
        check(&Decode::Auto, "t=21.5 h=40", Some(r#"{"t":21.5,"h":40}"#));
        check(&Decode::Auto, "t=21.5 wet", Some("t=21.5 wet"));
        check(&Decode::Auto, "[1,2]", Some("[1,2]"));
        let sentence = "$GPGLL,4916.45,N,12311.12,W,225444,A*31";
        let payload = Decode::Auto.payload(sentence).unwrap();
        assert!(payload.starts_with(b"{\"talker\":\"GP\",\"type\":\"GLL\""));
    }

    #[test]
    fn groups_of_an_expression_become_fields() {
        let regex = r"^T(?P<t>-?[\d.]+)(?: RH(?<rh>\d+))? (\w+)$";
        let decode = Decode::Regex(Regex::new(regex).unwrap());
        check(&decode, "T-3.5 RH40 ok", Some(r#"{"t":-3.5,"rh":40}"#));
        check(&decode, "T21 ok", Some(r#"{"t":21,"rh":null}"#));
        check(&decode, "T21", None);
    }

    #[test]
    fn packets_are_base64_json_as_it_is_or_cbor() {
        let check = |packed: Packed, packet: &[u8], expected: Option<&str>| {
            let payload = packed.payload(packet);
            assert_eq!(
                payload.as_deref(),
                expected.map(str::as_bytes),
                "{packet:?}"
            );
        };
        check(Packed::Base64, b"\x00\xFF\x10", Some("AP8Q"));
        check(Packed::Base64, b"", Some(""));
        check(Packed::Json, b"{\"t\": 21.50}", Some("{\"t\": 21.50}"));
        check(Packed::Json, b"\"\xFF\"", None);
        check(Packed::Json, b"{\"t\":1}\0", None);
        check(Packed::Cbor, b"\xA1at\x15", Some("{\"t\":21}"));
        check(Packed::Cbor, b"\xA1at\x15\x00", None);
    }

    #[test]
    fn a_sentence_with_a_wrong_checksum_is_none() {
        check(&Decode::Nmea, "$GPGLL,4916.45,N*00", None);
        check(&Decode::Nmea, "t=1", None);
    }
}
