//! Invocations over the control socket: one rule is run, and whoever asked is told what became of it
//! once that is durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Agent;
use super::control::{Asked, Question};
use crate::agent::books;
use crate::config::Config;
use crate::config::limits::KEY_BYTES_MAX;
use crate::event::{Event, Origin, Ticket};
use crate::install::destination_names;
use crate::mill::{self, Invoked, Output};
use tidemill_base::number::Lsn;
use tidemill_transport::topic::Topic;

/// Invocations that wait for their commit. There are no more than questions may be asked at once; whoever
/// has given up makes room for the next.
pub(super) struct Invocations {
    asked: u64,
    open: BTreeMap<Ticket, Open>,
    /// Begins the name of an event: gateway and incarnation.
    name: String,
    destinations: Vec<String>,
}

/// An invocation that somebody waits for.
struct Open {
    rule: String,
    report: Map<String, Value>,
    to: oneshot::Sender<Value>,
}

impl Invocations {
    pub(super) fn new(config: &Config, incarnation: &str) -> Self {
        let names = destination_names(config).into_iter();
        Self {
            asked: 0,
            open: BTreeMap::new(),
            name: format!("{}:{incarnation}", config.gateway_id),
            destinations: names.map(str::to_owned).collect(),
        }
    }

    fn open(&mut self, rule: &str, to: oneshot::Sender<Value>) -> Ticket {
        self.open.retain(|_, open| !open.to.is_closed());
        self.asked += 1;
        let ticket = Ticket::new(self.asked);
        let open = Open {
            rule: rule.to_owned(),
            report: Map::new(),
            to,
        };
        self.open.insert(ticket, open);
        ticket
    }

    /// Keeps the result until it is durable.
    pub(super) fn invoked(&mut self, ticket: Ticket, invoked: &Invoked) {
        let report = self.report(invoked);
        if let Some(open) = self.open.get_mut(&ticket) {
            open.report = report;
        }
    }

    /// Tells whoever waits.
    pub(super) fn answer(&mut self, ticket: Ticket, wanted: bool, lsn: Lsn) {
        let Some(open) = self.open.remove(&ticket) else {
            return;
        };
        let answer = if wanted {
            let mut answer = open.report;
            answer.insert("rule".to_owned(), json!(open.rule));
            answer.insert("commit".to_owned(), json!(lsn.get()));
            Value::Object(answer)
        } else {
            json!({ "unknown_rule": open.rule })
        };
        // Whoever asked may have gone.
        let _ = open.to.send(answer);
    }

    fn report(&self, invoked: &Invoked) -> Map<String, Value> {
        let counts = &invoked.counts;
        let mut reason = None;
        let (mut emissions, mut lines) = (Vec::new(), Vec::new());
        for output in &invoked.outputs {
            match output {
                Output::Emission(sent) => {
                    let mut emission = Map::new();
                    let to = self.destinations.get(sent.port.destination);
                    emission.insert("port".to_owned(), json!(sent.port.name));
                    emission.insert("to".to_owned(), json!(to));
                    emission.insert("topic".to_owned(), json!(sent.topic.as_str()));
                    emission.insert("key".to_owned(), json!(&*sent.key));
                    books::put_payload(&mut emission, &sent.payload);
                    emissions.push(Value::Object(emission));
                }
                Output::DeadLetter(dead) => reason = Some(dead.reason.clone()),
                Output::Logs { lines: said, .. } => {
                    lines.extend(said.iter().map(|line| json!(line.text)));
                }
                _ => {}
            }
        }
        let dropped = counts.dropped.keys().next();
        let fate = match () {
            () if counts.dead > 0 => "dead",
            () if dropped.is_some() => "dropped",
            () if counts.emitting > 0 => "emitting",
            () if counts.absorbed > 0 => "absorbed",
            () if counts.filtered > 0 => "filtered",
            () => "waiting",
        };
        let reason = reason.or_else(|| dropped.map(ToString::to_string));
        let report = [
            ("fate", json!(fate)),
            ("reason", json!(reason)),
            ("emissions", json!(emissions)),
            ("log", json!(lines)),
            ("fuel", json!(counts.fuel)),
            (
                "event",
                json!(format!("{}:{}", self.name, invoked.event_seq)),
            ),
        ];
        let owned = |(name, value): (&str, Value)| (name.to_owned(), value);
        report.into_iter().map(owned).collect()
    }
}

impl Agent {
    /// Runs the rule that somebody asks for; other questions come back.
    pub(super) fn invoke(&mut self, asked: Asked) -> Option<Asked> {
        let Question::Invoke {
            rule,
            topic,
            key,
            body,
            ..
        } = asked.question
        else {
            return Some(asked);
        };
        let event = self.event_of(&topic, key.as_deref(), body);
        let mut event = match event {
            Ok(event) => event,
            Err(error) => {
                let _ = asked.answer.send(json!({ "error": error }));
                return None;
            }
        };
        event.origin = Origin::Local(self.invocations.open(&rule, asked.answer));
        self.turn(mill::Input::Invoke {
            rule: rule.into(),
            key: key.map(Arc::from),
            event: Box::new(event),
        });
        None
    }

    /// The event that somebody makes up.
    ///
    /// # Errors
    /// When there can be no such event, or nothing is taken in now; in words.
    fn event_of(&self, topic: &str, key: Option<&str>, payload: Vec<u8>) -> Result<Event, String> {
        let topic_bytes_max = self.config.broker.topic_bytes_max;
        if topic.len() > topic_bytes_max {
            let bytes = topic.len();
            return Err(format!(
                "a topic of {bytes} bytes is longer than broker.topic_bytes_max, {topic_bytes_max}"
            ));
        }
        let topic = Topic::new(topic).map_err(|error| error.to_string())?;
        if let Some(key) = key.filter(|key| key.len() > KEY_BYTES_MAX) {
            let bytes = key.len();
            return Err(format!(
                "a key of {bytes} bytes is longer than {KEY_BYTES_MAX}"
            ));
        }
        match self.held_back_by() {
            Some(why) => Err(format!("the gateway takes nothing in now: {why}")),
            None => Ok(Event::new(topic, payload, self.clock.now().wall_ms)),
        }
    }
}
