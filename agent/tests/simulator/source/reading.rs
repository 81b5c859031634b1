//! The part of the source that reads bytes and makes events of messages, as its thread does around the
//! same parser.

use bytes::Bytes;
use tidemill::event::{Delivery, Event, EventFault, Fingerprint, Origin, Version, hash_bytes};
use tidemill::source::mqtt::subscriptions::Sent;
use tidemill_transport::fingerprint::of_copy;
use tidemill_transport::packets::{Inbox, Incoming, Received};
use tidemill_transport::topic::Topic;

use super::Source;
use crate::broker::{Flaw, ToClient, encode};
use crate::coverage::Sight;
use crate::run::Sim;

impl Source {
    /// A connection begins.
    pub(crate) fn opens(&mut self, conn: u64, five: bool, packet_bytes_max: usize) {
        (self.conn, self.five) = (Some(conn), five);
        let version = if five { Version::V5 } else { Version::V311 };
        self.inbox = Inbox::new(version, packet_bytes_max);
        self.packet_bytes_max = packet_bytes_max;
    }

    /// The event of a message; `None` where there is nothing to be done.
    pub(super) fn event(&mut self, received: Received) -> Option<Event> {
        let properties = as_json(&received.properties);
        let delivery = match received.handshake {
            None => None,
            Some(handshake) => {
                let message = match &received.skipped {
                    Some(skipped) => skipped.fingerprint,
                    None => fingerprint(&received, &properties),
                };
                let hash = of_copy(message.hash, &received.subscriptions);
                let copy = Fingerprint { hash, ..message };
                Some(self.epochs.stamp(handshake.packet, handshake.dup, copy)?)
            }
        };
        let skipped = received.skipped.map_or(0, |skipped| skipped.payload_bytes);
        let bytes = received.topic.len() + received.payload.len() + skipped + properties.len();
        let is_too_large = received.skipped.is_some() || bytes > self.packet_bytes_max;
        let topic = std::str::from_utf8(&received.topic).ok();
        let topic = topic.and_then(|topic| Topic::new(topic).ok());
        let fault = match (received.malformed, &topic) {
            (Some(why), _) => Some(EventFault::Malformed(why)),
            (None, None) => Some(EventFault::InvalidTopic),
            (None, Some(_)) => is_too_large.then_some(EventFault::TooLarge { bytes }),
        };
        if fault.is_some() && delivery.is_none() {
            return None;
        }
        let mut event = Event {
            topic: topic.unwrap_or_else(Topic::none),
            retained: received.retained,
            origin: Origin::Mqtt(delivery),
            fault,
            ..Event::none()
        };
        event.subscriptions = if received.retained {
            received.subscriptions
        } else {
            self.subscriptions.answered_by(received.subscriptions)
        };
        if received.retained && !self.five && fault.is_none() {
            let sent = delivery.map(|Delivery { packet, dup, .. }| Sent { packet, dup });
            match self.subscriptions.retained(&event.topic, sent) {
                Some(ids) => event.subscriptions = ids,
                None => event.fault = Some(EventFault::Surplus),
            }
        }
        if !is_too_large {
            (event.payload, event.properties) = (received.payload, properties);
        }
        Some(event)
    }
}

impl Sim<'_> {
    /// Bytes of a packet come, in two pieces.
    pub(crate) fn library_reads(&mut self, conn: u64, packet: &ToClient) {
        let cut = self.random.next();
        if let ToClient::Publish { copy, .. } = packet
            && self.process.is_some()
        {
            match copy.message.flaw {
                Some(Flaw::Topic) => self.coverage.see(Sight::Unreadable311),
                Some(_) => self.coverage.see(Sight::Unreadable5),
                None => {}
            }
            if copy.ids_named() >= 5 {
                self.coverage.see(Sight::ManyIdentifiers);
            }
        }
        let Some(source) = self.source().filter(|source| source.conn == Some(conn)) else {
            return;
        };
        let bytes = encode(packet, source.five);
        let (one, other) = bytes.split_at((cut % (bytes.len() as u64 + 1)) as usize);
        let mut broken = None;
        for piece in [one, other] {
            source.inbox.feed(piece);
            loop {
                match source.inbox.next() {
                    Ok(None) => break,
                    // As the library did it: before what it still holds.
                    Ok(Some(connack @ Incoming::Connack(_))) => source.library.push_front(connack),
                    Ok(Some(incoming)) => source.library.push_back(incoming),
                    Err(error) => {
                        broken = Some(error.to_string());
                        break;
                    }
                }
            }
        }
        self.poll_soon();
        if let Some(why) = broken {
            self.say(format_args!("unreadable: {why}"));
            self.client_notices(conn);
        }
    }
}

fn fingerprint(received: &Received, properties: &[u8]) -> Fingerprint {
    let Received { topic, payload, .. } = received;
    Fingerprint {
        hash: hash_bytes(&[topic, payload, properties]),
        content: hash_bytes(&[topic, payload]) as u64,
    }
}

/// User properties as functions see them. Of a repeated name the last value stays.
fn as_json(properties: &[(String, String)]) -> Bytes {
    if properties.is_empty() {
        return Bytes::new();
    }
    let pairs = properties.iter().cloned();
    let object: serde_json::Map<_, _> = pairs
        .map(|(name, value)| (name, serde_json::Value::String(value)))
        .collect();
    serde_json::to_vec(&object).unwrap().into()
}
