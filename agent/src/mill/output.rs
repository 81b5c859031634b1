//! What a step of the mill asks of the world around it, in the order in which it happened.

use std::sync::Arc;

use bytes::Bytes;

use crate::effects::LogLine;
use crate::rule::{Priority, TopicTemplate};
use crate::state::Key;
use crate::topic::Topic;

/// One thing that the mill asks for, or tells.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send a message.
    Emission(Emitted),
    /// An event, or a call without one, that a rule could not digest.
    DeadLetter(DeadLetter),
    /// Lines that a function wrote.
    Logs {
        /// The rule.
        rule: Arc<str>,
        /// The lines.
        lines: Vec<LogLine>,
        /// Lines that were over the limit.
        dropped: u32,
    },
    /// A rule made too many faults and rests.
    Quarantined {
        /// The rule.
        rule: Arc<str>,
        /// How long, in milliseconds.
        for_ms: u64,
    },
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// The port it leaves through.
    pub port: Arc<PortBinding>,
    /// What it is about.
    pub key: Key,
    /// Where it goes.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
    /// Wall time of the call, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A port of a rule, bound to where it leads.
#[derive(Debug, Clone)]
pub struct PortBinding {
    /// Name of the rule.
    pub rule: Arc<str>,
    /// Name of the port in the function's manifest.
    pub name: String,
    /// Number of the destination in the gateway's configuration.
    pub destination: usize,
    /// The topic there.
    pub topic: TopicTemplate,
    /// Whether it may overtake others.
    pub priority: Priority,
    /// MQTT's retain flag.
    pub retain: bool,
    /// Quality of service, 0 or 1.
    pub qos: u8,
}

/// An event that a rule could not digest.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The rule.
    pub rule: Arc<str>,
    /// Its version.
    pub version: u64,
    /// The event's topic; empty for a timer or a window.
    pub topic: Topic,
    /// The event's payload.
    pub payload: Bytes,
    /// What went wrong.
    pub reason: String,
    /// Fuel that the call used.
    pub fuel: u64,
    /// Wall time, in milliseconds since 1970.
    pub at_ms: i64,
}
