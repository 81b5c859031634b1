//! Topics and filters against the tables that mosquitto tests itself with; where they come from
//! stands beside them in `tests/data`.

use std::path::Path;

use serde_json::Value;
use tidemill_transport::topic::{Topic, TopicFilter};

/// The cases of a table, and the text of a case's key.
fn cases(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data")
        .join(name);
    let table = std::fs::read_to_string(path).unwrap();
    table
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn filters_match_the_topics_that_mosquitto_says() {
    for case in cases("topics.jsonl") {
        let text = |key: &str| case[key].as_str().unwrap();
        let (filter, topic) = (TopicFilter::new(text("filter")), Topic::new(text("topic")));
        let invalid = match (filter.is_err(), topic.is_err()) {
            (true, true) => Value::from("both"),
            (true, false) => Value::from("filter"),
            (false, true) => Value::from("topic"),
            (false, false) => Value::Null,
        };
        assert_eq!(invalid, case["invalid"], "{case}");
        if let (Ok(filter), Ok(topic)) = (filter, topic) {
            assert_eq!(filter.matches(topic.as_str()), case["match"], "{case}");
        }
    }
}

#[test]
fn names_are_valid_where_mosquitto_says_so() {
    // Cases with a note are limits of mosquitto's own, not rules of MQTT.
    for case in cases("topic-syntax.jsonl") {
        let text = case["text"].as_str().unwrap();
        let valid = match case["what"].as_str().unwrap() {
            "topic" => Topic::new(text).is_ok(),
            _ => TopicFilter::new(text).is_ok(),
        };
        let expected = case["valid"] == true || case.get("note").is_some();
        assert_eq!(valid, expected, "{case}");
    }
}

#[test]
fn filters_cover_the_filters_that_mosquitto_says() {
    for case in cases("filter-cover.jsonl") {
        let filter = |key: &str| TopicFilter::new(case[key].as_str().unwrap());
        let covers = match (filter("acl"), filter("sub")) {
            (Ok(wide), Ok(narrow)) => wide.covers(&narrow),
            _ => false,
        };
        assert_eq!(covers, case["covers"], "{case}");
    }
}
