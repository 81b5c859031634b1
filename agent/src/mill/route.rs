//! Routes: for each topic the rules that run, about which key, and where in the payload each finds
//! its inputs.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tidemill_values::Value;

use crate::config::limits::KEY_BYTES_MAX;
use crate::event::decode::Plan;
use crate::event::payload::{Payload, PayloadError};
use crate::event::state::Key;
use crate::event::timestamp::Timestamp;
use crate::function::frame::Frame;
use crate::mill::router::{Hit, RuleIndex};
use crate::rule::manifest::{Input, InputKind};
use crate::rule::{IDLE_MS, KeySpec, Stream, key_of_topic};
use tidemill_transport::topic::Topic;

/// The way of a topic's events.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Places to read in the payload, for all rules together.
    pub(super) plan: Plan,
    /// The rules, in the order of their names.
    pub(super) stops: Box<[Stop]>,
    /// `true` if one of them is not volatile: its events are kept until they are known to be applied.
    pub(super) is_kept: bool,
}

/// One rule on the way.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) rule: RuleIndex,
    /// The subscription whose copy the rule answers.
    pub(super) subscription: u32,
    pub(super) key: StopKey,
    /// The topic, by which sources are told apart.
    pub(super) source: Arc<str>,
    /// A bit for each stream of the rule that the topic belongs to.
    pub(super) streams: u32,
    /// Place of the event's time in the plan, and the way to read it.
    pub(super) timestamp: Option<(u16, Arc<Timestamp>)>,
    /// Tolerated lateness of the event by that time, and time without an event after which its
    /// source is idle.
    pub(super) lateness_ms: i64,
    pub(super) idle_ms: u64,
    /// `true` if the payload is a row: a statement looks for columns in it.
    pub(super) takes_rows: bool,
    /// `true` if a payload that is no object is a row as well.
    pub(super) takes_bare: bool,
    /// Way to read the payload, where it is not plain JSON.
    pub(super) reading: Option<Box<Reading>>,
    /// The rule's inputs.
    pub(super) inputs: Box<[StopInput]>,
    /// Place in the rule's table at which the key was held the last time: a guess that is checked
    /// before it is believed, and saves a look-up by name.
    pub(super) held_at: AtomicUsize,
}

/// A way to read payloads that a rule does not share with others.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) payload: Arc<Payload>,
    /// Places that the rule reads.
    plan: Plan,
}

impl Reading {
    /// Takes the value of a message of one row into the frame, with the places that the rule reads.
    pub(super) fn look_at(
        &self,
        value: Result<Value, PayloadError>,
        frame: &mut Frame,
    ) -> Result<(), PayloadError> {
        frame.value = None;
        let value = value?;
        self.plan.read(&value, &mut frame.decoded);
        frame.value = Some(value);
        Ok(())
    }
}

/// An input of a rule, as far as a payload that has it is concerned.
#[derive(Debug)]
pub(super) struct StopInput {
    /// Its place in the plan.
    pub(super) place: u16,
    pub(super) kind: InputKind,
}

/// The way in which the key is found.
#[derive(Debug)]
pub(super) enum StopKey {
    /// The topic tells it.
    Known(Key),
    /// The key stands in the payload, at this place of the plan.
    Payload(u16),
    /// The same for a column that a statement groups by: a missing value is a key as well.
    Column(u16),
    /// The topic has too few levels for the rule's key.
    None,
    /// The key that the topic tells has this many bytes, more than a key may have.
    TooLong(usize),
}

impl StopKey {
    /// A key that a topic tells: no longer than one from a payload.
    fn of_topic(key: Key) -> Self {
        if key.len() > KEY_BYTES_MAX {
            Self::TooLong(key.len())
        } else {
            Self::Known(key)
        }
    }
}

/// The facts of a rule that decide about its part of a route.
pub(super) struct Facts<'a> {
    pub(super) streams: &'a [Stream],
    pub(super) key: &'a KeySpec,
    pub(super) inputs: &'a [Input],
    pub(super) is_volatile: bool,
    /// A statement looks for columns in payloads.
    pub(super) reads_rows: bool,
    /// `true` if the statement names the payload as a whole.
    pub(super) names_self: bool,
}

impl Route {
    pub(super) fn new<'a>(
        hits: &[Hit],
        facts_of: impl Fn(RuleIndex) -> Option<Facts<'a>>,
        topic: &Topic,
    ) -> Self {
        let mut plan = Plan::default();
        let mut is_kept = false;
        let source: Arc<str> = topic.as_str().into();
        let stops = hits
            .iter()
            .filter_map(|hit| {
                let facts = facts_of(hit.rule)?;
                is_kept |= !facts.is_volatile;
                let listens = |stream: &Stream| {
                    let mut filters = stream.mqtt.iter();
                    stream.mqtt.is_empty() || filters.any(|filter| filter.matches(topic.as_str()))
                };
                let all = (0..).zip(facts.streams);
                let own: Vec<(u32, &Stream)> = all.filter(|(_, stream)| listens(stream)).collect();
                // Payloads made by a schedule are JSON. Of several streams the first one tells.
                let payload = own.first().filter(|_| !topic.as_str().is_empty());
                let payload = payload.map(|(_, stream)| &stream.payload);
                let payload = payload.filter(|payload| ***payload != Payload::default());
                let mut own_plan = payload.map(|_| Plan::default());
                let plan = own_plan.as_mut().unwrap_or(&mut plan);
                let key = match facts.key {
                    KeySpec::Topic => StopKey::of_topic(Arc::clone(&source)),
                    KeySpec::Constant(key) => StopKey::Known(key.clone()),
                    KeySpec::Levels(pieces) => {
                        key_of_topic(pieces, topic).map_or(StopKey::None, StopKey::of_topic)
                    }
                    KeySpec::Pointer(pointer) => StopKey::Payload(plan.add(pointer)),
                    KeySpec::Column(pointer) => StopKey::Column(plan.add_in_any_case(pointer)),
                };
                let stop_input = |input: &Input| StopInput {
                    place: if input.any_case {
                        plan.add_in_any_case(&input.pointer)
                    } else {
                        plan.add(&input.pointer)
                    },
                    kind: input.kind,
                };
                let inputs = facts.inputs.iter().map(stop_input).collect();
                // The first stream that says where the time is, is the one that counts.
                let timed = own.iter().find(|(_, stream)| stream.timestamp.is_some());
                let timed = timed.or(own.first()).map(|(_, stream)| *stream);
                let timestamp = timed.and_then(|stream| stream.timestamp.as_ref());
                let timestamp = timestamp
                    .map(|timestamp| (plan.add(&timestamp.pointer), Arc::clone(timestamp)));
                let reading = own_plan.zip(payload).map(|(plan, payload)| {
                    let payload = Arc::clone(payload);
                    Box::new(Reading { payload, plan })
                });
                Some(Stop {
                    rule: hit.rule,
                    subscription: hit.subscription,
                    key,
                    source: Arc::clone(&source),
                    streams: own.iter().fold(0, |bits, (bit, _)| bits | 1 << bit),
                    timestamp,
                    lateness_ms: timed.map_or(0, |stream| stream.lateness_ms),
                    idle_ms: timed.map_or(IDLE_MS, |stream| stream.idle_ms),
                    takes_rows: facts.reads_rows
                        || facts.inputs.iter().any(|input| input.any_case)
                        || matches!(facts.key, KeySpec::Column(_)),
                    takes_bare: facts.names_self
                        || payload.is_some_and(|payload| payload.has_self()),
                    reading,
                    inputs,
                    held_at: AtomicUsize::new(usize::MAX),
                })
            })
            .collect();
        Self {
            plan,
            stops,
            is_kept,
        }
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let stops: usize = self.stops.iter().map(Stop::bytes).sum();
        // All stops share the name of the topic.
        let source = self.stops.first().map_or(0, |stop| stop.source.len());
        size_of::<Self>() + self.plan.bytes() + source + stops
    }
}

impl Stop {
    fn bytes(&self) -> usize {
        let key = match &self.key {
            StopKey::Known(key) if !Key::ptr_eq(key, &self.source) => key.len(),
            _ => 0,
        };
        let reading = self.reading.as_ref();
        let reading = reading.map_or(0, |reading| size_of::<Reading>() + reading.plan.bytes());
        size_of::<Self>() + key + reading + size_of_val(&*self.inputs)
    }
}
