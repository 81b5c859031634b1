//! The answer to the question for health: a line for each rule, destination and thread, a list of
//! faults, and sections by name. A gateway without faults is well.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Link;
use super::seeded::told_to_health;
use tidemill_base::heartbeat::{Heartbeats, State};

/// An answer that is being put together.
pub(super) struct Health {
    sections: Map<String, Value>,
    troubles: Vec<String>,
    lines: Vec<Line>,
}

/// The condition of one part of the gateway.
struct Line {
    /// Its kind, such as a rule.
    what: &'static str,
    name: String,
    is_well: bool,
    says: String,
    /// The beginning of its trouble, in wall time, where the part knows.
    since_ms: Option<i64>,
}

/// Beginnings of troubles, in wall time, of parts that do not know them themselves.
#[derive(Debug, Default)]
pub(super) struct Sinces(BTreeMap<(&'static str, String), i64>);

/// The subject of a line of the answer: its kind and its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a>(pub(super) &'static str, pub(super) &'a str);

impl Health {
    /// One that names each thread and whether it turns.
    pub(super) fn of_threads(heartbeats: &Heartbeats) -> Self {
        let mut health = Self {
            sections: Map::new(),
            troubles: Vec::new(),
            lines: Vec::new(),
        };
        let mut threads = Map::new();
        for (name, state) in heartbeats.states() {
            let part = Part("thread", &name);
            if state.is_well() {
                health.well(part, "turns");
            } else {
                health.ails(&format!("thread {name} does not turn: {}", word(state)));
                health.ill(part, format!("does not turn: {}", word(state)), None);
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

    /// Adds the status of the connection to the broker, and the requests that it does not fulfil.
    pub(super) fn broker(&mut self, link: &Link) {
        let part = Part("broker", "");
        let trouble = link.trouble.as_deref();
        if !link.connected {
            self.ails("no connection to the broker that sensors publish to");
            let why = trouble.map_or("not yet".to_owned(), str::to_owned);
            self.ill(part, format!("no connection: {why}"), None);
        } else if link.falls_short.is_empty() {
            self.well(part, "connected");
        }
        for what in &link.falls_short {
            self.ails(what);
            self.ill(part, what.clone(), None);
        }
        let told = json!({ "connected": link.connected, "trouble": link.trouble });
        self.says("broker", told);
    }

    /// Says what became of the last seed, where one was looked for.
    pub(super) fn seed(&mut self, config: &Path) {
        let Some((told, troubles)) = told_to_health(config) else {
            return;
        };
        let part = Part("seed", "");
        if troubles.is_empty() {
            self.well(part, &told);
        }
        for trouble in &troubles {
            self.ails_at(part, trouble.clone(), None);
        }
        self.says("seed", json!({ "state": told, "troubles": troubles }));
    }

    /// Adds a section, or a figure.
    pub(super) fn says(&mut self, name: &str, value: impl Into<Value>) {
        self.sections.insert(name.to_owned(), value.into());
    }

    /// Adds a fault.
    pub(super) fn ails(&mut self, what: &str) {
        self.troubles.push(what.to_owned());
    }

    /// A part of the gateway that is well.
    pub(super) fn well(&mut self, part: Part<'_>, says: &str) {
        self.lines.push(Line {
            what: part.0,
            name: part.1.to_owned(),
            is_well: true,
            says: says.to_owned(),
            since_ms: None,
        });
    }

    /// A part of the gateway that is not well, since a moment of wall time where it knows.
    pub(super) fn ill(&mut self, part: Part<'_>, says: String, since_ms: Option<i64>) {
        self.lines.push(Line {
            what: part.0,
            name: part.1.to_owned(),
            is_well: false,
            says,
            since_ms,
        });
    }

    /// Adds a part of the gateway that is not well; the list of faults says it in the same words.
    pub(super) fn ails_at(&mut self, part: Part<'_>, says: String, since_ms: Option<i64>) {
        let Part(what, name) = part;
        let name = if name.is_empty() {
            ""
        } else {
            &format!(" {name}")
        };
        self.ails(&format!("{what}{name}: {says}"));
        self.ill(part, says, since_ms);
    }

    /// Remembers since when each part is not well, and dates its line.
    pub(super) fn date(&mut self, sinces: &mut Sinces, wall_ms: i64) {
        let before = std::mem::take(&mut sinces.0);
        for line in self.lines.iter_mut().filter(|line| !line.is_well) {
            let part = (line.what, line.name.clone());
            let known = line.since_ms.or(before.get(&part).copied());
            let since_ms = *sinces.0.entry(part).or_insert(known.unwrap_or(wall_ms));
            line.since_ms.get_or_insert(since_ms);
        }
    }

    pub(super) fn into_value(self) -> Value {
        let mut all = Map::new();
        all.insert("well".to_owned(), self.troubles.is_empty().into());
        all.insert("troubles".to_owned(), self.troubles.into());
        let lines = self.lines.into_iter().map(|line| {
            json!({
                "what": line.what,
                "name": line.name,
                "well": line.is_well,
                "says": line.says,
                "since": line.since_ms,
            })
        });
        all.insert("lines".to_owned(), lines.collect());
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
    fn a_trouble_that_lasts_keeps_its_beginning() {
        let mut sinces = Sinces::default();
        let mut since = |wall_ms, is_full, of_itself| {
            let mut health = Health::of_threads(&Heartbeats::default());
            if is_full {
                health.ails_at(Part("disk", ""), "full".to_owned(), of_itself);
            }
            health.date(&mut sinces, wall_ms);
            health.into_value()["lines"][0]["since"].as_i64()
        };
        assert_eq!(since(1, true, None), Some(1));
        assert_eq!(since(5, true, None), Some(1));
        assert_eq!(since(6, false, None), None);
        assert_eq!(since(7, true, None), Some(7));
        assert_eq!(since(8, true, Some(3)), Some(3));
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
