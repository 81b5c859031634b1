//! What the mill remembers for a topic: which rules run, about which key, and where in the payload
//! each finds its inputs.

use std::sync::atomic::AtomicUsize;

use crate::decode::Plan;
use crate::manifest::{Input, InputKind};
use crate::router::{Hit, RuleIndex};
use crate::rule::{KeySpec, key_of_topic};
use crate::state::Key;
use crate::topic::Topic;

use super::active::Active;

/// The way of a topic's events.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// What has to be read of the payload, for all rules together.
    pub(super) plan: Plan,
    /// The rules, in the order of their names.
    pub(super) stops: Box<[Stop]>,
}

/// One rule on the way.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) rule: RuleIndex,
    /// The subscription whose copy the rule answers.
    pub(super) subscription: u32,
    pub(super) key: StopKey,
    /// The rule's inputs.
    pub(super) inputs: Box<[StopInput]>,
    /// Where the rule's table held the key the last time: a guess that is checked before it is
    /// believed, and saves a look-up by name.
    pub(super) held_at: AtomicUsize,
}

/// An input of a rule, as far as a payload that has it is concerned.
#[derive(Debug)]
pub(super) struct StopInput {
    /// Its place in the plan.
    pub(super) place: u16,
    pub(super) kind: InputKind,
}

/// How the key is found.
#[derive(Debug)]
pub(super) enum StopKey {
    /// The topic tells it.
    Known(Key),
    /// It stands in the payload, at this place of the plan.
    Payload(u16),
    /// The topic has too few levels for the rule's key.
    None,
}

impl Route {
    pub(super) fn new(hits: &[Hit], rules: &[Active], topic: &Topic) -> Self {
        let mut plan = Plan::default();
        let stops = hits
            .iter()
            .filter_map(|hit| {
                let active = rules.get(hit.rule as usize)?;
                let key = match &active.key {
                    KeySpec::Topic => StopKey::Known(topic.as_str().into()),
                    KeySpec::Constant(key) => StopKey::Known(key.clone()),
                    KeySpec::Levels(pieces) => {
                        key_of_topic(pieces, topic).map_or(StopKey::None, StopKey::Known)
                    }
                    KeySpec::Pointer(pointer) => StopKey::Payload(plan.add(pointer)),
                };
                let stop_input = |input: &Input| StopInput {
                    place: plan.add(&input.pointer),
                    kind: input.kind,
                };
                let inputs = active.inputs.iter().map(stop_input).collect();
                Some(Stop {
                    rule: hit.rule,
                    subscription: hit.subscription,
                    key,
                    inputs,
                    held_at: AtomicUsize::new(usize::MAX),
                })
            })
            .collect();
        Self { plan, stops }
    }
}
