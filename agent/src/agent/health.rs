//! The answer to the question for health: sections by name, and a list of what ails. All is well where
//! that list is empty.

use serde_json::{Map, Value, json};

use super::Link;
use crate::heartbeat::{Heartbeats, State};

/// An answer that is being put together.
pub(super) struct Health {
    sections: Map<String, Value>,
    troubles: Vec<String>,
}

impl Health {
    /// One that names each thread and whether it turns.
    pub(super) fn of_threads(heartbeats: &Heartbeats) -> Self {
        let mut health = Self {
            sections: Map::new(),
            troubles: Vec::new(),
        };
        let mut threads = Map::new();
        for (name, state) in heartbeats.states() {
            if !state.is_well() {
                health.ails(&format!("thread {name} does not turn: {}", word(state)));
            }
            let late_ms = match state {
                State::Late(since) => Some(since.as_millis() as u64),
                State::Idle | State::Busy | State::Gone => None,
            };
            let told = json!({ "turns": state.is_well(), "silent_for_ms": late_ms });
            threads.insert(name, told);
        }
        health.says("threads", threads);
        health
    }

    /// Says how the connection to the broker does, and what it does not give.
    pub(super) fn broker(&mut self, link: &Link) {
        if !link.connected {
            self.ails("no connection to the broker that sensors publish to");
        }
        for what in &link.falls_short {
            self.ails(what);
        }
        let told = json!({ "connected": link.connected, "trouble": link.trouble });
        self.says("broker", told);
    }

    /// Adds a section, or a figure.
    pub(super) fn says(&mut self, name: &str, value: impl Into<Value>) {
        self.sections.insert(name.to_owned(), value.into());
    }

    /// Something is wrong.
    pub(super) fn ails(&mut self, what: &str) {
        self.troubles.push(what.to_owned());
    }

    pub(super) fn into_value(self) -> Value {
        let mut all = Map::new();
        all.insert("well".to_owned(), self.troubles.is_empty().into());
        all.insert("troubles".to_owned(), self.troubles.into());
        all.extend(self.sections);
        Value::Object(all)
    }
}

/// A thread's state in words.
pub(super) fn word(state: State) -> String {
    match state {
        State::Idle => "it waits for work".to_owned(),
        State::Busy => "it works".to_owned(),
        State::Late(since) => format!("nothing was heard of it for {} s", since.as_secs()),
        State::Gone => "it ended in the midst of its work".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn health_is_not_well_while_a_connected_broker_falls_short() {
        let mut link = Link {
            connected: true,
            ..Link::default()
        };
        let answer = |link: &Link| {
            let mut health = Health::of_threads(&Heartbeats::default());
            health.broker(link);
            health.into_value()
        };
        assert_eq!(answer(&link)["well"], true);
        link.falls_short = vec!["the broker refused subscriptions: a".to_owned()];
        let answer = answer(&link);
        assert_eq!(answer["well"], false, "{answer}");
        assert_eq!(answer["troubles"][0], *link.falls_short[0], "{answer}");
        assert_eq!(answer["broker"]["connected"], true, "{answer}");
    }

    #[test]
    fn health_names_the_thread_that_does_not_turn() {
        let heartbeats = Heartbeats::default();
        let (well, stuck) = (heartbeats.pulse("journal"), heartbeats.pulse("out"));
        well.works(Duration::from_secs(60));
        let answer = Health::of_threads(&heartbeats).into_value();
        assert_eq!(answer["well"], true, "{answer}");
        stuck.works(Duration::ZERO);
        while heartbeats.stuck().is_empty() {
            std::thread::yield_now();
        }
        let answer = Health::of_threads(&heartbeats).into_value();
        assert_eq!(answer["well"], false, "{answer}");
        assert_eq!(answer["threads"]["journal"]["turns"], true, "{answer}");
        assert_eq!(answer["threads"]["out"]["turns"], false, "{answer}");
        let trouble = answer["troubles"][0].as_str().unwrap();
        assert!(trouble.contains("thread out does not turn"), "{trouble}");
    }
}
