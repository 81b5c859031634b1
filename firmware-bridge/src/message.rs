//! Messages from and to the broker, as the state machines know them.

use crate::queue::Ticket;

/// A port, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub usize);

/// Queues of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Acknowledged lines.
    Layer1,
    /// Plain lines and frames.
    Plain,
}

/// A publish whose PUBACK somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId {
    /// The port.
    pub port: PortIndex,
    /// The queue.
    pub lane: Lane,
    /// The attempt.
    pub ticket: Ticket,
}

/// Qualities of service that the bridge uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// At most once.
    AtMostOnce,
    /// At least once.
    AtLeastOnce,
}

/// A message to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The queue that waits for its PUBACK.
    pub id: Option<PublishId>,
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its quality of service.
    pub qos: Qos,
    /// `true` if the broker keeps it for later subscribers.
    pub retain: bool,
    /// The event's identity.
    pub eid: Option<String>,
    /// Data by which the asker knows an answer.
    pub correlation: Option<Vec<u8>>,
}

impl Publish {
    /// A message that the broker keeps.
    pub fn retained(topic: String, payload: Vec<u8>) -> Self {
        Self {
            id: None,
            topic,
            payload,
            qos: Qos::AtLeastOnce,
            retain: true,
            eid: None,
            correlation: None,
        }
    }
}

/// The broker's wait for our PUBACK of a message; it is void on a later connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Number of the connection.
    pub connection: u64,
    /// The packet, unless the message came at QoS 0.
    pub packet: Option<u16>,
}

/// A message from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// `true` if it was kept by the broker since before.
    pub retained: bool,
    /// Topic for the answer.
    pub response_topic: Option<String>,
    /// Data that the answer bears.
    pub correlation: Option<Vec<u8>>,
    /// User properties.
    pub properties: Vec<(String, String)>,
    /// The broker's wait for our PUBACK.
    pub delivery: Delivery,
}

impl Message {
    /// The name under which the sender sends this command again: that of an agent's row, or an event id.
    pub fn name(&self) -> Option<String> {
        let value = |key: &str| {
            let found = self.properties.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str())
        };
        let row = || {
            let parts = ["tm-gw", "tm-inc", "tm-lane", "tm-seq"].map(value);
            let parts: Option<Vec<&str>> = parts.into_iter().collect();
            parts.map(|parts| parts.join("/"))
        };
        row().or_else(|| value("eid").map(str::to_owned))
    }
}

/// Directions of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    In,
    /// To the device.
    Out,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

/// A line as `monitor` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The port.
    pub port: PortIndex,
    /// From or to the device.
    pub direction: Direction,
    /// Its kind in a word.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One thing for the tasks around the state machines to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write bytes to a device.
    Write {
        /// The port.
        port: PortIndex,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Send a message to the broker.
    Publish(Publish),
    /// Acknowledge a message to the broker.
    Settle(Delivery),
    /// Show a line to those who look.
    Show(Shown),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_name_of_its_row_or_event() {
        let named = |pairs: &[(&str, &str)]| {
            let properties = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let message = Message {
                topic: String::new(),
                payload: Vec::new(),
                retained: false,
                response_topic: None,
                correlation: None,
                properties: properties.collect(),
                delivery: Delivery {
                    connection: 1,
                    packet: None,
                },
            };
            message.name()
        };
        let row = [
            ("tm-gw", "g"),
            ("tm-inc", "2"),
            ("tm-lane", "l"),
            ("tm-seq", "7"),
            ("eid", "e:1"),
        ];
        assert_eq!(named(&row).as_deref(), Some("g/2/l/7"));
        assert_eq!(named(&row[1..]).as_deref(), Some("e:1"));
        assert_eq!(named(&[]), None);
    }
}
