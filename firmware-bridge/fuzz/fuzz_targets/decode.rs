//! Any text in each form: JSON passes byte for byte, of the other forms an object comes out, and no topic has a
//! character in it that a broker refuses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use regex_lite::Regex;
use serde_json::Value;
use std::sync::LazyLock;
use tidemill_bridge::decode::Decode;
use tidemill_bridge::topics::Pattern;

static PATTERN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?P<a>[^ ]*) ?(?P<b>.*)").expect("it is one"));

fuzz_target!(|text: &str| {
    if text.contains(|c: char| c.is_control() && c != '\t') {
        return; // No plain line has that.
    }
    let columns = ["id", "b"].map(str::to_owned).to_vec();
    for decode in [
        Decode::Kv,
        Decode::Csv(columns),
        Decode::Nmea,
        Decode::Regex(PATTERN.clone()),
    ] {
        if let Some(payload) = decode.payload(text) {
            let object: Value = serde_json::from_slice(&payload).expect("it is JSON");
            assert!(object.is_object());
        }
    }
    for decode in [Decode::Json, Decode::Text] {
        if let Some(payload) = decode.payload(text) {
            assert_eq!(&*payload, text.as_bytes());
        }
    }
    let payload = Decode::Auto.payload(text).expect("auto takes any text");
    let pattern = Pattern::read("a/{field.id}/b", "gw", "p").expect("it is one");
    if let Some(topic) = pattern.topic("", &payload) {
        assert_eq!(topic.split('/').count(), 3);
        assert!(!topic.contains(['+', '#', '$']) && topic.is_ascii());
    }
});
