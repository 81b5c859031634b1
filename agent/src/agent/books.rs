//! Reports of a gateway's state, for people and programs that ask: the two ledgers, rows that wait,
//! dead letters. Made of a running mill, or of the data directory on disk.

mod state;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use tidemill_base::number::Lsn;

use crate::commit::event_ids::EventIds;
use crate::commit::image::Image;
use crate::commit::outbox::{Lane, Outbox};
use crate::commit::record::{Dead, IntakeCounts};
use crate::event::emission::Row;
use crate::event::ledger::Ledger;
use crate::mill::Mill;

pub use state::{records_of_mill, state_of_image, state_of_mill, states_of_image, states_of_mill};

/// The last commit, and a hash over the state of all rules after it.
pub fn state_hash_of_image(image: &Image) -> Value {
    json!({ "lsn": image.lsn.get(), "state_hash": hex(&image.rules_hash()) })
}

/// As [`state_hash_of_image`]; meaningful when nothing happened since the last commit.
pub fn state_hash_of_mill(mill: &Mill) -> Value {
    let (lsn, durable_lsn) = mill.lsns();
    json!({ "lsn": lsn.get(), "durable_lsn": durable_lsn.get(), "state_hash": hex(&mill.rules_hash()) })
}

/// The ledgers of a data directory on disk.
pub fn ledger_of_image(image: &Image) -> Value {
    let rules = image.rules.iter();
    let rules: Vec<_> = rules
        .map(|(name, rule)| (name.as_str(), &rule.counts))
        .collect();
    ledger(image.lsn, &image.agent.counts, &rules, &image.outbox)
}

/// The ledgers of a running mill.
pub fn ledger_of_mill(mill: &Mill) -> Value {
    let rules: Vec<_> = mill
        .ledgers()
        .map(|(name, counts)| (&**name, counts))
        .collect();
    let none = Outbox::default();
    let outbox = mill.outbox().unwrap_or(&none);
    ledger(mill.lsns().0, &mill.intake_counts(), &rules, outbox)
}

fn ledger(lsn: Lsn, intake: &IntakeCounts, rules: &[(&str, &Ledger)], outbox: &Outbox) -> Value {
    let mut events = Ledger::default();
    rules.iter().for_each(|(_, counts)| events.add(counts));
    let lanes: Vec<Value> = outbox.lanes().map(lane).collect();
    let balanced = intake.balances()
        && rules.iter().all(|(_, counts)| counts.balances())
        && outbox.lanes().all(Lane::balances);
    json!({
        "lsn": lsn.get(),
        "balanced": balanced,
        "intake": {
            "received": intake.received,
            "routed": intake.routed,
            "unrouted": intake.unrouted,
            "repeated": intake.repeated,
            "surplus": intake.surplus,
            "dead": intake.dead,
            "too_old": intake.too_old,
        },
        "all_rules": rule(&events),
        "rules": rules.iter().map(|(name, counts)| {
            let mut all = Map::from_iter([("rule".to_owned(), json!(name))]);
            all.extend(rule(counts));
            Value::Object(all)
        }).collect::<Vec<_>>(),
        "lanes": lanes,
    })
}

fn rule(counts: &Ledger) -> Map<String, Value> {
    let columns = [
        ("received", counts.received),
        ("filtered", counts.filtered),
        ("absorbed", counts.absorbed),
        ("emitting", counts.emitting),
        ("dead", counts.dead),
        ("emissions", counts.emissions),
        ("faults_without_event", counts.faults_without_event),
        ("keys_evicted", counts.keys_evicted),
        ("rows_dropped", counts.rows_dropped),
        ("windows_dropped", counts.windows_dropped),
        ("windows_given_up", counts.windows_given_up),
        ("bad_times", counts.bad_times),
        ("fuel", counts.fuel),
    ];
    let mut all: Map<_, _> = columns
        .into_iter()
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect();
    let dropped = counts.dropped.iter();
    let dropped: Map<_, _> = dropped
        .map(|(reason, count)| (reason.to_string(), json!(count)))
        .collect();
    all.insert("dropped".to_owned(), Value::Object(dropped));
    all
}

fn lane(lane: &Lane) -> Value {
    let counts = lane.counts();
    json!({
        "lane": lane.id().to_string(),
        "made": counts.made,
        "acknowledged": counts.acknowledged,
        "waiting": lane.waiting(),
        "dead": counts.dead,
        "dropped": counts.dropped,
        "balanced": lane.balances(),
        "last_seq": lane.last_seq(),
        "cursor": lane.cursor(),
        "waiting_bytes": lane.waiting_bytes(),
    })
}

/// Dead letters, oldest first; `only` asks for one of them.
pub fn dead_letters(outbox: &Outbox, only: Option<u64>) -> Value {
    let rows = outbox.dead_letters().into_iter().flat_map(Lane::rows);
    rows.filter(|row| only.is_none_or(|seq| seq == row.seq))
        .map(dead_letter)
        .collect()
}

fn dead_letter(row: &Row) -> Value {
    let mut all = Map::new();
    let mut payload = None;
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("seq", json!(row.seq));
    put("at", json!(row.at_ms));
    put("rule", json!(&*row.rule));
    put("topic", json!(row.topic.as_str()));
    match Dead::decode(&row.payload) {
        Ok(dead) => {
            put("version", json!(dead.version));
            put("reason", json!(dead.reason));
            put("fuel", json!(dead.fuel));
            if let Some(lane) = &dead.lane {
                put("lane", json!(lane.to_string()));
            }
            if let Ok(properties) = serde_json::from_slice(&dead.properties) {
                put("properties", properties);
            }
            if dead.missing > 0 {
                put("missing_bytes", json!(dead.missing));
            }
            payload = Some(dead.payload);
        }
        Err(error) => put("reason", json!(error.to_string())),
    }
    if let Some(payload) = payload {
        put_payload(&mut all, &payload);
    }
    Value::Object(all)
}

/// Adds a payload to an object: as text, or in base64 where it is none.
pub(super) fn put_payload(all: &mut serde_json::Map<String, Value>, payload: &[u8]) {
    let (name, value) = match std::str::from_utf8(payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_base64", BASE64_STANDARD.encode(payload)),
    };
    all.insert(name.to_owned(), json!(value));
}

/// Producers that number their events, by name, and how many opaque names are remembered.
pub fn event_ids(ids: &EventIds) -> Value {
    let producers = ids.producers().map(|producer| {
        json!({
            "producer": &*producer.name,
            "mark": producer.mark,
            "apart": producer.apart,
            "too_old": producer.refused.map_or(0, |refused| refused.too_old),
            "repeated": producer.refused.map_or(0, |refused| refused.repeated),
        })
    });
    json!({
        "producers": producers.collect::<Vec<Value>>(),
        "opaque": ids.opaque_len(),
    })
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that [`hex`] wrote; none where the text is something else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (text.len().is_multiple_of(2)).then(|| pairs.map(byte).collect())?
}
