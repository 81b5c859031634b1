//! The reason why nothing came out of a rule that was tried, where the events tell.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::Event;
use crate::event::ledger::Ledger;
use crate::mill::BoundRule;

/// Most events that are looked into.
const EVENTS_MAX: u64 = 1_000;

/// Names that an answer lists, of each kind.
const NAMED_MAX: usize = 10;

/// The content of the events that a rule is tried on, as far as it explains silence.
pub(super) struct Silent {
    /// Pointers that the function's inputs and the rule's key read, with how many events have something there.
    wanted: BTreeMap<String, u64>,
    filters: Vec<String>,
    topics: BTreeMap<String, u64>,
    /// Places in the payloads, and how many have them.
    places: BTreeMap<String, u64>,
    events: u64,
    objects: u64,
}

impl Silent {
    pub(super) fn new(bound: &BoundRule) -> Self {
        let wanted = bound.pointers().filter(|pointer| !pointer.is_empty());
        let filters = bound.rule().triggers.mqtt.iter();
        Self {
            wanted: wanted.map(|pointer| (pointer.to_owned(), 0)).collect(),
            filters: filters.map(ToString::to_string).collect(),
            topics: BTreeMap::new(),
            places: BTreeMap::new(),
            events: 0,
            objects: 0,
        }
    }

    /// Looks into an event, unless it has seen enough.
    pub(super) fn see(&mut self, event: &Event) {
        if self.events >= EVENTS_MAX {
            return;
        }
        self.events += 1;
        if self.topics.len() < NAMED_MAX {
            *self.topics.entry(event.topic.to_string()).or_default() += 1;
        }
        let Ok(payload) = serde_json::from_slice::<Value>(&event.payload) else {
            return;
        };
        self.objects += u64::from(payload.is_object());
        for (pointer, count) in &mut self.wanted {
            *count += u64::from(found(&payload, pointer));
        }
        note(&payload, &mut String::new(), &mut self.places);
    }

    /// Says why nothing came out, as sentences. `unrouted` events had no topic of the rule.
    pub(super) fn why(&self, ledger: &Ledger, unrouted: u64) -> Vec<String> {
        let all = self.events;
        let mut why = Vec::new();
        if all == 0 {
            return vec!["there was no event to work on".to_owned()];
        }
        if ledger.received == 0 && unrouted > 0 {
            let topics: Vec<&str> = self.topics.keys().map(String::as_str).collect();
            why.push(format!(
                "no event came on a topic that the rule listens to: it listens to {}, they came on {}",
                self.filters.join(", "),
                topics.join(", ")
            ));
            return why;
        }
        let none = self.wanted.iter().filter(|(_, count)| **count == 0);
        for (pointer, _) in none {
            let place = shown(pointer);
            let have = match (self.places.is_empty(), self.objects) {
                (true, 0) => "their payloads are no JSON objects".to_owned(),
                (true, _) => "they have nothing".to_owned(),
                (false, _) => format!("they have: {}", self.listed()),
            };
            why.push(format!("{place} was in none of {all} events; {have}"));
        }
        if why.is_empty() && ledger.dead == 0 && ledger.received > 0 {
            let (received, filtered, absorbed) =
                (ledger.received, ledger.filtered, ledger.absorbed);
            why.push(if filtered == received {
                format!("the function let none of {received} events through: no condition was met")
            } else {
                format!(
                    "of {received} events the function let go {filtered} and kept state of {absorbed}; what waits \
                     for a window or a timer comes with a later --until"
                )
            });
        }
        why
    }

    fn listed(&self) -> String {
        let mut names: Vec<(&String, &u64)> = self.places.iter().collect();
        names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
        let more = names.len().saturating_sub(NAMED_MAX);
        let names: Vec<&str> = names
            .into_iter()
            .take(NAMED_MAX)
            .map(|(name, _)| name.as_str())
            .collect();
        match more {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

/// `true` if something stands at a place.
fn found(payload: &Value, pointer: &str) -> bool {
    payload
        .pointer(pointer)
        .is_some_and(|value| !value.is_null())
}

/// A pointer as a path: `payload.env.temperature`.
fn shown(pointer: &str) -> String {
    let path = pointer
        .replace('/', ".")
        .replace("~1", "/")
        .replace("~0", "~");
    format!("payload{path}")
}

/// Takes note of the places of an object, those of objects in it as paths.
fn note(value: &Value, path: &mut String, places: &mut BTreeMap<String, u64>) {
    /// Places that are remembered: a payload may have any number.
    const PLACES_MAX: usize = 200;
    let Some(object) = value.as_object() else {
        return;
    };
    for (name, inner) in object {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        if inner.is_object() && path.len() < 200 {
            note(inner, path, places);
        } else if places.len() < PLACES_MAX || places.contains_key(path.as_str()) {
            *places.entry(path.clone()).or_default() += 1;
        }
        path.truncate(length);
    }
}
