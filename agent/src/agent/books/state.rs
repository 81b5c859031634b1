//! The state of a rule's keys, by the names that its function gives to the parts.

use serde_json::{Map, Value, json};
use tidemill_values::to_json;

use super::hex;
use crate::commit::image::{Image, SavedRule};
use crate::event::state::layout::{HITS_ENTRY, Names, Naming, partition_of, step_of};
use crate::event::state::time::RULE_KEY;
use crate::event::state::{HOST_PREFIX, KeyState, Pane};
use crate::function::kept_value;
use crate::mill::window::open_windows;
use crate::mill::{Mill, saved_windows};
use tidemill_base::text::shown;

/// Most keys that are listed, and most parts of one; of the others their number is told.
const SHOWN_MAX: usize = 1_000;

/// Most bytes shown of an entry without a type.
const BYTES_MAX: usize = 200;

/// The state of a rule that lies on disk, or of one key of it.
pub fn state_of_image(image: &Image, rule: &str, key: Option<&str>, whole: bool) -> Value {
    let rules = image.rules.keys().map(String::as_str);
    state(image.rules.get(rule), rules, rule, key, whole)
}

/// The same of a running mill.
pub fn state_of_mill(mill: &Mill, rule: &str, key: Option<&str>, whole: bool) -> Value {
    let rules = mill.saved_rules().map(|(name, _)| name);
    state(mill.saved(rule).as_ref(), rules, rule, key, whole)
}

/// Sizes of the state of all rules that lies on disk.
pub fn states_of_image(image: &Image) -> Value {
    let rules = image.rules.iter();
    rules.map(|(name, saved)| sizes(name, saved)).collect()
}

/// The same of a running mill; a rule that is gone keeps its state for the case that it comes back.
pub fn states_of_mill(mill: &Mill) -> Value {
    let mut names: Vec<(&str, bool)> = mill.saved_rules().collect();
    names.sort_unstable();
    let rules = names.into_iter().filter_map(|(name, deployed)| {
        let mut told = sizes(name, &mill.saved(name)?);
        told.as_object_mut()?
            .insert("deployed".to_owned(), deployed.into());
        Some(told)
    });
    rules.collect()
}

fn sizes(rule: &str, saved: &SavedRule) -> Value {
    let keys = || saved.keys.iter().filter(|(key, _)| &***key != RULE_KEY);
    json!({
        "rule": rule,
        "keys": keys().count(),
        "bytes": keys().map(|(_, state)| state.bytes()).sum::<usize>(),
        "windows": saved_windows(saved),
        "rows": keys().map(|(_, state)| state.rows().count()).sum::<usize>(),
        "timers": keys().map(|(_, state)| state.timers.len()).sum::<usize>(),
    })
}

/// The number of open windows of each rule, and its record, by which an edit of it can be judged.
pub fn records_of_mill(mill: &Mill) -> Value {
    let saved = mill.saved_rules().filter_map(|(name, _)| {
        let saved = mill.saved(name)?;
        Some(json!({
            "rule": name,
            "record": hex(&saved.record.encode()),
            "windows": saved_windows(&saved),
        }))
    });
    saved.collect()
}

fn state<'a>(
    saved: Option<&SavedRule>,
    rules: impl Iterator<Item = &'a str>,
    rule: &str,
    key: Option<&str>,
    whole: bool,
) -> Value {
    let Some(saved) = saved else {
        let mut known: Vec<&str> = rules.collect();
        known.sort_unstable();
        let has = if known.is_empty() {
            "of none".to_owned()
        } else {
            format!("of {}", known.join(", "))
        };
        return json!({ "error": format!("nothing is kept of a rule {rule:?}, only {has}") });
    };
    if !whole {
        return list(rule, saved);
    }
    let mut keys = saved.keys.iter().filter(|(key, _)| &***key != RULE_KEY);
    let found = match key {
        Some(key) => keys.find(|(known, _)| ***known == *key),
        None => keys.next().filter(|_| keys.next().is_none()),
    };
    match (found, key) {
        (Some((key, state)), _) => one(rule, key, state, saved),
        (None, Some(key)) => {
            json!({ "error": format!("rule {rule} keeps nothing of a key {}; `tidemill state list {rule}` shows them", shown(key)) })
        }
        (None, None) => {
            let keys = saved.keys.keys().filter(|key| &***key != RULE_KEY).count();
            json!({ "error": format!("rule {rule} has {keys} keys; name one, `tidemill state list {rule}` shows them") })
        }
    }
}

fn names(saved: &SavedRule) -> Names {
    match &saved.record.naming {
        Naming::Names(layout) => Names::clone(&layout.names),
        Naming::Unknown | Naming::Schema => Names::default(),
    }
}

fn list(rule: &str, saved: &SavedRule) -> Value {
    let names = names(saved);
    let all = saved.keys.iter().filter(|(key, _)| &***key != RULE_KEY);
    let count = all.clone().count();
    let keys = all.take(SHOWN_MAX).map(|(key, state)| {
        json!({
            "key": &**key,
            "bytes": state.bytes(),
            "windows": open_windows(saved.record.window, &saved.record.panes, state),
            "rows": state.rows().count(),
            "timers": state.timers.len(),
        })
    });
    let keys: Vec<Value> = keys.collect();
    let named = names.steps.iter().chain(&names.hits).chain(&names.slots);
    let named = named.flatten().map(|name| &**name);
    let entries = names.entries.iter().map(|(_, name)| &**name);
    json!({
        "rule": rule,
        "names": named.chain(entries).collect::<Vec<&str>>(),
        "more": count - keys.len(),
        "keys": keys,
    })
}

fn one(rule: &str, key: &str, state: &KeyState, saved: &SavedRule) -> Value {
    let names = names(saved);
    let pane_slots = match &saved.record.naming {
        Naming::Names(layout) => usize::from(layout.pane_slots),
        Naming::Unknown | Naming::Schema => 0,
    };
    let mut parts: Vec<Value> = Vec::new();
    for (slot, value) in state.slots.iter().enumerate().skip(pane_slots) {
        parts.push(json!({ "name": slot_name(&names, slot), "value": value }));
    }
    for (name, value) in state.entries.iter() {
        if name.first() != Some(&HOST_PREFIX) {
            parts.push(entry(&names, name, value));
        }
    }
    let more = parts.len().saturating_sub(SHOWN_MAX);
    parts.truncate(SHOWN_MAX);
    let due = |(id, due): (&u32, &crate::event::state::Due)| json!({ "id": id, "name": names.of_timer(*id), "mono_ms": due.mono_ms });
    json!({
        "rule": rule,
        "key": key,
        "bytes": state.bytes(),
        "parts": parts,
        "more": more,
        "windows": state.panes.iter().map(|pane| window(&names, pane)).collect::<Vec<Value>>(),
        "rows": state.rows().count(),
        "timers": state.timers.iter().map(due).collect::<Vec<Value>>(),
    })
}

fn slot_name(names: &Names, slot: usize) -> String {
    let name = names.of_slot(slot).map(str::to_owned);
    name.unwrap_or_else(|| format!("slot {slot}"))
}

fn entry(names: &Names, name: &[u8], value: &[u8]) -> Value {
    let known = names.of_entry(name);
    let is_hits = matches!(name, [HITS_ENTRY, _]);
    let mut part = Map::new();
    match known {
        Some(known) if is_hits || step_of(name).is_some() => {
            let kept = to_json(&kept_value(value));
            let kept = serde_json::from_str(&kept).unwrap_or(Value::Null);
            part.insert("name".to_owned(), known.into());
            let partition = partition_of(name);
            if !is_hits && !partition.is_empty() {
                let values = values_of(partition).map(Value::Array);
                let shown = values.unwrap_or_else(|| bytes(partition));
                part.insert("partition".to_owned(), shown);
            }
            part.insert("value".to_owned(), kept);
        }
        Some(known) => {
            part.insert("name".to_owned(), known.into());
            part.insert("entry".to_owned(), bytes(name));
            part.insert("value".to_owned(), bytes(value));
        }
        None => {
            part.insert("entry".to_owned(), bytes(name));
            part.insert("value".to_owned(), bytes(value));
        }
    }
    Value::Object(part)
}

fn window(names: &Names, pane: &Pane) -> Value {
    let slots = pane.slots.iter().enumerate();
    let holds: Map<String, Value> = slots
        .map(|(slot, value)| (slot_name(names, slot), json!(value)))
        .collect();
    json!({
        "start": pane.start_ms,
        "end": pane.end_ms,
        "events": pane.folded,
        "fired": pane.fired,
        "holds": holds,
    })
}

/// The values of a partition, as `Value::identity` writes them; none where they are no plain ones, or so long
/// that only a hash is there.
fn values_of(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        let (value, rest) = match tag {
            0 => (Value::Null, rest),
            1 => {
                let (yes, rest) = rest.split_first()?;
                (Value::Bool(*yes != 0), rest)
            }
            _ => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
                let (content, rest) = rest.split_at_checked(length)?;
                let value = match tag {
                    2 => json!(i64::try_from(i128::from_le_bytes(content.try_into().ok()?)).ok()?),
                    4 => json!(f64::from_bits(u64::from_le_bytes(content.try_into().ok()?))),
                    5 => json!(i64::from_le_bytes(content.try_into().ok()?)),
                    6 => json!(std::str::from_utf8(content).ok()?),
                    _ => return None,
                };
                (value, rest)
            }
        };
        values.push(value);
        bytes = rest;
    }
    Some(values)
}

/// Bytes as text where they are some, else in hexadecimal digits; cut where they are many.
fn bytes(bytes: &[u8]) -> Value {
    let (head, rest) = bytes.split_at(bytes.len().min(BYTES_MAX));
    let text = match std::str::from_utf8(head) {
        Ok(text) if rest.is_empty() => shown(text).to_string(),
        _ => format!("0x{}", hex(head)),
    };
    match rest.len() {
        0 => text.into(),
        more => format!("{text} and {more} bytes more").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_values::Value as Kept;

    #[test]
    fn partitions_are_shown_by_their_values() {
        for (values, shown) in [
            (vec![Kept::text("a b")], json!(["a b"])),
            (
                vec![Kept::Int(-7), Kept::Null, Kept::Bool(true)],
                json!([-7, null, true]),
            ),
            (vec![Kept::float(1.5), Kept::text("")], json!([1.5, ""])),
        ] {
            let mut bytes = Vec::new();
            values.iter().for_each(|value| value.identity(&mut bytes));
            assert_eq!(values_of(&bytes).map(Value::Array), Some(shown));
            for len in 1..bytes.len() {
                // However it was cut, nothing is made up.
                let cut = values_of(&bytes[..len]);
                assert!(cut.is_none_or(|cut| cut.len() < values.len()));
            }
        }
        assert_eq!(values_of(&[8, 0, 0]), None);
    }

    #[test]
    fn bytes_are_shown_as_text_where_they_are_some() {
        assert_eq!(bytes(b"last/7"), json!("last/7"));
        assert_eq!(bytes(&[0xff, 1]), json!("0xff01"));
        let many = bytes(&[b'x'; 300]);
        assert!(many.as_str().unwrap().ends_with(" and 100 bytes more"));
    }
}
