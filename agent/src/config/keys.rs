//! All keys of the configuration file.

use tidemill_base::text::shape::{Key, Takes};

const BYTES: &str = "\"64MiB\"";

/// The file.
pub(super) const FILE: &[Key] = &[
    Key::required("gateway", Takes::Table(GATEWAY), ""),
    Key::required("broker", Takes::Table(BROKER), ""),
    Key::new("destinations", Takes::Tables(DESTINATION), ""),
    Key::new("outbox", Takes::Table(DISCARD), ""),
    Key::new("journal", Takes::Table(JOURNAL), ""),
    Key::new("recorder", Takes::Table(RECORDER), ""),
    Key::new("fleet", Takes::Table(FLEET), ""),
    Key::new("http", Takes::Named(&Takes::Any), ""),
    Key::new("limits", Takes::Table(LIMITS), ""),
];

const GATEWAY: &[Key] = &[
    Key::required("id", Takes::Text, "\"gateway-1\""),
    Key::new("data_dir", Takes::Text, "\"/var/lib/tidemill\""),
    Key::new("rules_dir", Takes::Text, "\"/etc/tidemill/rules\""),
    Key::new("start", Takes::OneOf(&["exit", "held"]), "\"held\""),
];

const BROKER: &[Key] = &[
    Key::required("url", Takes::Text, "\"mqtt://127.0.0.1:1883\""),
    PROTOCOL,
    USERNAME,
    PASSWORD_FILE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    Key::new("qos", Takes::Number, "1"),
    PACKET_BYTES_MAX,
    Key::new("topic_bytes_max", Takes::Size, "\"1KiB\""),
    IN_FLIGHT,
    ENVELOPE,
    Key::new("coalesce", Takes::Duration, "\"auto\""),
    Key::new("commit_interval", Takes::Duration, "\"50ms\""),
    Key::new("commit_events", Takes::Number, "256"),
    Key::new("event_id", Takes::Text, "\"user:eid\""),
    Key::new("session_expiry", Takes::Duration, "\"7d\""),
    Key::new("event_id_numbers", Takes::Flag, "false"),
    Key::new("event_ids_remembered", Takes::Number, "4096"),
    KEEP_ALIVE,
    TIMEOUT,
    OUTBOX,
];

const DESTINATION: &[Key] = &[
    Key::required("url", Takes::Text, "\"https://host/path\""),
    PROTOCOL,
    USERNAME,
    PASSWORD_FILE,
    Key::new("token_file", Takes::Text, "\"token\""),
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    PACKET_BYTES_MAX,
    IN_FLIGHT,
    ENVELOPE,
    KEEP_ALIVE,
    TIMEOUT,
    Key::new("answer_timeout", Takes::Duration, "\"10s\""),
    ALARM_AFTER,
    OUTBOX,
];

/// The operator's file of a fleet.
pub(super) const OPERATOR: &[Key] = &[
    Key::required("broker", Takes::Table(OPERATOR_BROKER), ""),
    Key::required("keys", Takes::Table(OPERATOR_KEYS), ""),
];

const OPERATOR_BROKER: &[Key] = &[
    Key::required("url", Takes::Text, "\"mqtts://fleet.example:8883\""),
    PROTOCOL,
    USERNAME,
    PASSWORD_FILE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
];

const OPERATOR_KEYS: &[Key] = &[
    Key::required("bundle", Takes::Text, "\"keys/ops.key\""),
    Key::required("roots", Takes::Texts, "[\"root.json\"]"),
];

const FLEET: &[Key] = &[
    Key::new("url", Takes::Text, "\"mqtts://fleet.example:8883\""),
    Key::new("via", Takes::Text, "\"cloud\""),
    PROTOCOL,
    USERNAME,
    PASSWORD_FILE,
    CA_FILE,
    CERT_FILE,
    KEY_FILE,
    Key::new("groups", Takes::Texts, "[\"plant-a\"]"),
    Key::required("root", Takes::Text, "\"root.json\""),
    Key::new("probation", Takes::Duration, "\"60s\""),
    Key::new("pause", Takes::Duration, "\"60s\""),
];

const PROTOCOL: Key = Key::new(
    "protocol",
    Takes::OneOf(&["auto", "5", "3.1.1"]),
    "\"auto\"",
);
const USERNAME: Key = Key::new("username", Takes::Text, "\"gateway-1\"");
const PASSWORD_FILE: Key = Key::new("password_file", Takes::Text, "\"password\"");
const CA_FILE: Key = Key::new("ca_file", Takes::Text, "\"ca.pem\"");
const CERT_FILE: Key = Key::new("cert_file", Takes::Text, "\"gateway.pem\"");
const KEY_FILE: Key = Key::new("key_file", Takes::Text, "\"gateway.key\"");
const PACKET_BYTES_MAX: Key = Key::new("packet_bytes_max", Takes::Size, "\"1MiB\"");
const IN_FLIGHT: Key = Key::new("in_flight", Takes::Number, "100");
const ENVELOPE: Key = Key::new("envelope", Takes::Flag, "false");
const KEEP_ALIVE: Key = Key::new("keep_alive", Takes::Duration, "\"30s\"");
const TIMEOUT: Key = Key::new("timeout", Takes::Duration, "\"10s\"");
const ALARM_AFTER: Key = Key::new("alarm_after", Takes::Duration, "\"10m\"");
const OUTBOX: Key = Key::new("outbox", Takes::Table(OUTBOX_KEYS), "");

const OUTBOX_KEYS: &[Key] = &[
    Key::new("bytes", Takes::Size, BYTES),
    Key::new("age", Takes::Duration, "\"7d\""),
    Key::new("count", Takes::Number, "1000"),
    Key::new(
        "when_full",
        Takes::OneOf(&["drop_oldest", "drop_newest", "block"]),
        "\"drop_oldest\"",
    ),
];

const DISCARD: &[Key] = &[Key::new("discard", Takes::Texts, "[\"old-cloud\"]")];

const JOURNAL: &[Key] = &[Key::new("segment_bytes", Takes::Size, "\"8MiB\"")];

const RECORDER: &[Key] = &[
    Key::new("bytes", Takes::Size, "\"8MiB\""),
    Key::new("disk", Takes::Size, BYTES),
];

/// Ceilings of functions, in the configuration and in a rule.
pub const LIMITS: &[Key] = &[
    Key::new("module_bytes", Takes::Size, "\"256KiB\""),
    Key::new("value_bytes", Takes::Size, "\"4MiB\""),
    Key::new("memory_pages", Takes::Number, "16"),
    Key::new("fuel", Takes::Number, "1000000"),
    Key::new("fuel_per_second", Takes::Number, "200_000_000"),
    Key::new("emissions", Takes::Number, "16"),
    Key::new("emission_bytes", Takes::Size, "\"64KiB\""),
    Key::new("state_bytes", Takes::Size, "\"1MiB\""),
    Key::new("keys", Takes::Number, "10000"),
];
