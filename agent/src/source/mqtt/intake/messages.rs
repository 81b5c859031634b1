//! The part of the loop that makes events of messages. Whatever came at QoS 1 becomes one, with a
//! fault where it is of no use, because it has to be acknowledged.

use super::Intake;
use crate::event::{Delivery, Event, EventFault, Malformed, Origin};
use crate::source::mqtt::subscriptions::Sent;
use crate::source::mqtt::{Flow, SourceReport};
use tidemill_base::text::shown;
use tidemill_transport::connection::Received;
use tidemill_transport::fingerprint;
use tidemill_transport::topic::Topic;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    pub(super) fn take(&mut self, received: Received) {
        let name = received.topic.as_ref();
        let delivery = match received.handshake {
            None => None,
            Some(handshake) => {
                let message = match &received.skipped {
                    Some(skipped) => skipped.fingerprint,
                    None => self
                        .fingerprints
                        .of(name, &received.payload, &received.properties),
                };
                let copy = fingerprint::of(message, &received.subscriptions);
                let stamp = self.epochs.stamp(handshake.packet, handshake.dup, copy);
                if stamp.is_none() {
                    return;
                }
                stamp
            }
        };
        let bytes = length(&received);
        let is_too_large = received.skipped.is_some() || self.is_too_large(bytes);
        let is_too_long = name.len() > self.settings.topic_bytes_max;
        let known = if is_too_long {
            None
        } else {
            self.topics.get(name)
        };
        let fault = match (received.malformed, &known) {
            (Some(why), _) => Some(EventFault::Malformed(why)),
            (None, None) if is_too_long => Some(EventFault::TopicTooLong { bytes: name.len() }),
            (None, None) => Some(EventFault::InvalidTopic),
            (None, Some(_)) => is_too_large.then_some(EventFault::TooLarge { bytes }),
        };
        if let (Some(fault), None) = (fault, delivery) {
            return self.drop_unacknowledged(fault, known, name);
        }
        let bad_topic: Option<Box<str>> = match known {
            Some(_) => None,
            None => Some(shown(name).to_string().into()),
        };
        let topic = known.unwrap_or_else(Topic::none);
        let mut event = Event {
            topic,
            arrival_ms: self.arrival_ms,
            retained: received.retained,
            origin: Origin::Mqtt(delivery),
            fault,
            bad_topic,
            ..Event::none()
        };
        if fault.is_none() {
            let sent = delivery.map(|Delivery { packet, dup, .. }| Sent { packet, dup });
            let copy = (received.retained, sent);
            match self.answers(&event.topic, copy, received.subscriptions) {
                Some(subscriptions) => event.subscriptions = subscriptions,
                None if delivery.is_none() => return,
                None => event.fault = Some(EventFault::Surplus),
            }
        } else {
            event.subscriptions = received.subscriptions;
        }
        if !is_too_large {
            event.payload = received.payload;
            event.properties = as_json(received.properties);
        }
        let bad_topic = event.bad_topic.as_ref().map_or(0, |bad| bad.len());
        let topic = event.topic.as_str().len() + bad_topic;
        let kept = event.payload.len() + event.properties.len() + topic;
        self.reports.event(event, kept);
    }

    /// A message that cannot be acknowledged even if its broker wants it to be.
    pub(super) fn drop_unusable(&mut self, why: Malformed, head: &str) {
        let reason = EventFault::Malformed(why).reason().unwrap_or_default();
        self.reports
            .unusable(|| format!("{reason} (it begins with {head})"));
    }

    fn is_too_large(&self, bytes: usize) -> bool {
        u32::try_from(bytes).map_or(true, |bytes| bytes > self.settings.packet_bytes_max)
    }

    /// Drops a message that has `name` for a topic, and `topic` if that is one.
    fn drop_unacknowledged(&mut self, fault: EventFault, topic: Option<Topic>, name: &[u8]) {
        self.reports.unusable(|| {
            let bad_topic = topic.is_none().then(|| shown(name).to_string());
            let reason = fault.reason_with(bad_topic.as_deref()).unwrap_or_default();
            match fault {
                EventFault::TooLarge { .. } => format!("to {}: {reason}", shown(name)),
                _ => reason,
            }
        });
    }
}

fn length(received: &Received) -> usize {
    let pair = |(name, value): &(String, String)| name.len() + value.len();
    let skipped = received.skipped.map_or(0, |skipped| skipped.payload_bytes);
    let payload = received.payload.len() + skipped;
    received.topic.len() + payload + received.properties.iter().map(pair).sum::<usize>()
}

/// User properties as functions see them. Of a repeated name the last value stays.
fn as_json(properties: Vec<(String, String)>) -> bytes::Bytes {
    if properties.is_empty() {
        return bytes::Bytes::new();
    }
    let object: serde_json::Map<_, _> = properties
        .into_iter()
        .map(|(name, value)| (name, serde_json::Value::String(value)))
        .collect();
    let text = serde_json::to_vec(&object).expect("a map of strings is valid JSON");
    text.into()
}
