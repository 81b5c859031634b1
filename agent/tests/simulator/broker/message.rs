//! Packets between the broker and the gateway.

use std::rc::Rc;

use bytes::Bytes;
use tidemill::event::SubscriptionIds;
use tidemill_transport::topic::{Subscription, Topic, TopicFilter};

use super::Flaw;

/// A published message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its number in the simulation's books.
    pub(crate) uid: usize,
    pub(crate) key: u8,
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    /// Its own name, as a user property.
    pub(crate) name_property: Option<String>,
    /// Hash of the whole message.
    pub(crate) hash: u128,
    pub(crate) acknowledged: bool,
    /// The way in which it breaks the rules of MQTT.
    pub(crate) flaw: Option<Flaw>,
    pub(crate) kept: bool,
    /// Has a name of its own.
    pub(crate) named: bool,
    /// The name is a number.
    pub(crate) counts: bool,
    /// Number of other subscriptions' identifiers that a copy for several bears besides.
    pub(crate) stale_ids: u32,
    /// The filter of the rules whose values are checked.
    pub(crate) base: Option<&'static str>,
}

/// A message on its way to the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) message: Rc<Message>,
    pub(crate) ids: SubscriptionIds,
    pub(crate) retained: bool,
}

impl Copy {
    /// Number of subscriptions that it names.
    pub(crate) fn ids_named(&self) -> usize {
        match &self.ids {
            SubscriptionIds::Unknown => 0,
            SubscriptionIds::One(_) => 1,
            SubscriptionIds::Many(ids) => ids.len(),
        }
    }

    /// The part of the copy that leaves on a connection of MQTT 5, or of 3.1.1: no identifiers, no
    /// properties.
    pub(super) fn over(self, five: bool) -> Self {
        if five {
            return self;
        }
        Self {
            ids: SubscriptionIds::Unknown,
            ..self
        }
    }
}

/// A packet that the broker sends.
#[derive(Debug, Clone)]
pub(crate) enum ToClient {
    Connack { session_present: bool },
    Publish { packet: u16, dup: bool, copy: Copy },
    Suback { packet: u16, filters: usize },
    Unsuback { packet: u16, filters: usize },
    Pong,
}

/// A packet that the broker reads.
#[derive(Debug, Clone)]
pub(crate) enum ToBroker {
    /// A connection of MQTT 5, or of 3.1.1.
    Connect {
        five: bool,
    },
    Puback(u16),
    Subscribe {
        packet: u16,
        wanted: Vec<Subscription>,
    },
    Unsubscribe {
        packet: u16,
        filters: Vec<TopicFilter>,
    },
    Ping,
}
