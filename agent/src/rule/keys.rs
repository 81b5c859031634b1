//! All keys of a rule's manifest.

use crate::config::LIMIT_KEYS;
use tidemill_base::text::shape::{Key, Takes};

/// The file.
pub(super) const FILE: &[Key] = &[
    Key::required("name", Takes::Text, "\"my-rule\""),
    Key::new("version", Takes::Number, "2"),
    Key::new("description", Takes::Text, "\"for people\""),
    Key::new("durability", Takes::Text, "\"exactly-once\""),
    Key::new("on", Takes::Table(ON), ""),
    Key::new("function", Takes::Table(FUNCTION), ""),
    Key::new("streams", Takes::Tables(STREAM), ""),
    Key::new("inputs", Takes::Named(&Takes::Text), "\"/temperature\""),
    Key::new("params", Takes::Named(&Takes::Any), "50"),
    Key::new("window", Takes::Table(WINDOW), ""),
    Key::new("ports", Takes::Tables(PORT), ""),
    Key::new("limits", Takes::Table(LIMIT_KEYS), ""),
];

const FILTERS: &str = "[\"sensors/+/env\"]";

const ON: &[Key] = &[
    Key::new("mqtt", Takes::Texts, FILTERS),
    Key::new("schedule", Takes::Texts, "[\"0 */5 * * * *\"]"),
    Key::new("zone", Takes::Text, "\"Europe/Berlin\""),
    Key::new("key", Takes::Text, "\"{topic.1}\""),
    Key::new("retained", Takes::Flag, "false"),
    Key::new("invoke", Takes::Flag, "false"),
];

const FUNCTION: &[Key] = &[
    Key::new("sql", Takes::Text, "\"SELECT … FROM input\""),
    Key::new("wasm", Takes::Text, "\"file.wasm\""),
    Key::new("stock", Takes::Text, "\"threshold\""),
];

const STREAM: &[Key] = &[
    Key::new("mqtt", Takes::Texts, FILTERS),
    Key::new("timestamp", Takes::Text, "\"/ts\""),
    Key::new("timestamp_unit", Takes::Text, "\"ms\""),
    Key::new("timestamp_format", Takes::Text, "\"yyyy-MM-dd HH:mm:ss\""),
    Key::new("zone", Takes::Text, "\"Europe/Berlin\""),
    Key::new("lateness", Takes::Duration, "\"5s\""),
    Key::new("allowed_late", Takes::Duration, "\"1m\""),
    Key::new("idle", Takes::Duration, "\"1m\""),
    Key::new("fields", Takes::Named(&Takes::Text), "\"float\""),
    Key::new("payload", Takes::Text, "\"json\""),
    Key::new("delimiter", Takes::Text, "\";\""),
    Key::new("columns", Takes::Texts, "[\"time\", \"value\"]"),
    Key::new("list", Takes::Text, "\"rows\""),
    Key::new("empty", Takes::Text, "\"skip\""),
];

const WINDOW: &[Key] = &[
    Key::new("tumbling", Takes::Duration, "\"1m\""),
    Key::new("hopping", Takes::Duration, "\"1m\""),
    Key::new("sliding", Takes::Duration, "\"1m\""),
    Key::new("session", Takes::Duration, "\"1h\""),
    Key::new("hop", Takes::Duration, "\"10s\""),
    Key::new("delay", Takes::Duration, "\"10s\""),
    Key::new("gap", Takes::Duration, "\"5m\""),
    Key::new("count", Takes::Number, "10"),
    Key::new("every", Takes::Number, "1"),
];

const PORT: &[Key] = &[
    Key::required("to", Takes::Text, "\"local\""),
    Key::required("topic", Takes::Text, "\"alerts/{key}\""),
    Key::new("priority", Takes::Text, "\"high\""),
    Key::new("nulls", Takes::Flag, "true"),
    Key::new("retain", Takes::Flag, "true"),
    Key::new("qos", Takes::Number, "1"),
];
