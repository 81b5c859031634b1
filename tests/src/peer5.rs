//! A bare MQTT 5 client with blocking calls: it hears user properties, which name the rows that an
//! agent sends, and acknowledges what comes at QoS 1.

use std::net::TcpStream;

use crate::received::RowName;
use crate::wire::{Wire, number, text};

const USER_PROPERTY: u8 = 38;

/// A connected client.
pub struct Peer5 {
    wire: Wire,
    packets: u16,
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic that it was published to.
    pub topic: String,
    /// Content of the message.
    pub payload: Vec<u8>,
    /// Its user properties, in order.
    pub properties: Vec<(String, String)>,
    /// The broker may have sent it to us before.
    pub dup: bool,
}

impl Message {
    /// The value of a user property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let found = self.properties.iter().find(|property| property.0 == name);
        found.map(|property| property.1.as_str())
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The row that the message is, by its `tm-` properties.
    ///
    /// # Errors
    /// When one of the four is missing or wrong, in words.
    pub fn row(&self) -> Result<RowName, String> {
        let property = |name| {
            let value = self.property(name).map(str::to_owned);
            value.ok_or_else(|| {
                let start: String = self.text().chars().take(40).collect();
                let topic = &self.topic;
                format!(
                    "NAMELESS: {topic} {start:?} came without {name}, so a copy of it counts again"
                )
            })
        };
        let seq = property("tm-seq")?;
        Ok(RowName {
            gateway: property("tm-gw")?,
            incarnation: property("tm-inc")?,
            lane: property("tm-lane")?,
            seq: seq
                .parse()
                .map_err(|_| format!("tm-seq {seq:?} is no number"))?,
        })
    }
}

impl Peer5 {
    /// Connects with a clean session.
    pub fn connect(port: u16, client_id: &str) -> Self {
        // Clean start, no keep-alive, no properties.
        let mut body = b"\0\x04MQTT\x05\x02\0\0\0".to_vec();
        text(&mut body, client_id);
        Self {
            wire: Wire::connect(port, &body),
            packets: 0,
        }
    }

    /// Another handle of its socket, to end it from elsewhere.
    pub(crate) fn socket(&self) -> TcpStream {
        self.wire.socket()
    }

    /// Subscribes at QoS 1 and waits for the acknowledgement.
    pub fn subscribe(&mut self, filter: &str) {
        let mut body = self.packet().to_vec();
        body.push(0);
        text(&mut body, filter);
        body.push(1);
        self.wire.write(0x82, &body);
        let (kind, body) = self.wire.read().unwrap();
        assert_eq!(
            (kind, body.last()),
            (0x90, Some(&1)),
            "subscription refused"
        );
    }

    /// Publishes at QoS 1 with user properties, and waits for the acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: &[u8], properties: &[(&str, &str)]) {
        let mut body = Vec::new();
        text(&mut body, topic);
        body.extend(self.packet());
        let mut list = Vec::new();
        for (name, value) in properties {
            list.push(USER_PROPERTY);
            text(&mut list, name);
            text(&mut list, value);
        }
        number(&mut body, list.len());
        body.extend(list);
        body.extend(payload);
        self.wire.write(0x32, &body);
        let (kind, _) = self.wire.read().unwrap();
        assert_eq!(kind, 0x40, "no acknowledgement");
    }

    /// The next message, acknowledged; `None` when the broker closed the connection.
    pub fn receive(&mut self) -> Option<Message> {
        loop {
            let (first, body) = self.wire.read()?;
            if first & 0xf0 != 0x30 {
                continue;
            }
            let (message, packet) = message(first, &body);
            if let Some(packet) = packet
                && self.wire.try_write(0x40, &packet).is_err()
            {
                return None;
            }
            return Some(message);
        }
    }

    /// The next `count` messages.
    pub fn receive_all(&mut self, count: usize) -> Vec<Message> {
        let mut next = || self.receive().expect("the broker closed the connection");
        (0..count).map(|_| next()).collect()
    }

    fn packet(&mut self) -> [u8; 2] {
        self.packets = self.packets.checked_add(1).unwrap_or(1);
        self.packets.to_be_bytes()
    }
}

fn message(first: u8, body: &[u8]) -> (Message, Option<[u8; 2]>) {
    let mut rest = body;
    let topic = take_text(&mut rest);
    let packet = (first & 6 != 0).then(|| {
        let bytes = take(&mut rest, 2);
        [bytes[0], bytes[1]]
    });
    let length = take_number(&mut rest);
    let mut list = take(&mut rest, length);
    let mut properties = Vec::new();
    while !list.is_empty() {
        if let Some(pair) = take_property(&mut list) {
            properties.push(pair);
        }
    }
    let message = Message {
        topic,
        payload: rest.to_vec(),
        properties,
        dup: first & 8 != 0,
    };
    (message, packet)
}

/// Takes one property of a PUBLISH off the list; a user property is returned.
fn take_property(list: &mut &[u8]) -> Option<(String, String)> {
    match take(list, 1)[0] {
        USER_PROPERTY => return Some((take_text(list), take_text(list))),
        // Payload format.
        1 => _ = take(list, 1),
        // Message expiry.
        2 => _ = take(list, 4),
        // Content type, response topic, correlation data.
        3 | 8 | 9 => _ = take_bytes(list),
        // Subscription identifier.
        11 => _ = take_number(list),
        // Topic alias.
        35 => _ = take(list, 2),
        other => panic!("property {other} in a PUBLISH"),
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, behind) = rest.split_at(count);
    *rest = behind;
    taken
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = take(rest, 2);
    let length = u16::from_be_bytes([length[0], length[1]]);
    take(rest, length.into())
}

fn take_text(rest: &mut &[u8]) -> String {
    String::from_utf8(take_bytes(rest).to_vec()).unwrap()
}

fn take_number(rest: &mut &[u8]) -> usize {
    let mut number = 0;
    for place in 0..4 {
        let byte = take(rest, 1)[0];
        number |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Broker;

    #[test]
    fn user_properties_arrive_as_they_were_sent() {
        let broker = Broker::start("");
        let mut receiver = Peer5::connect(broker.port(), "receiver");
        receiver.subscribe("a/+");
        let name = [
            ("tm-gw", "gw"),
            ("tm-inc", "00ff"),
            ("tm-lane", "cloud/high"),
            ("tm-seq", "7"),
        ];
        let mut sender = Peer5::connect(broker.port(), "sender");
        let long = vec![b'x'; 300];
        sender.publish("a/b", &long, &name);
        sender.publish("a/c", b"", &[]);
        let message = receiver.receive().unwrap();
        assert_eq!(
            (message.topic.as_str(), message.payload.len()),
            ("a/b", 300)
        );
        let row = message.row().unwrap();
        assert_eq!((row.lane.as_str(), row.seq), ("cloud/high", 7));
        let nameless = receiver.receive().unwrap();
        assert!(nameless.row().unwrap_err().contains("without tm-seq"));
        broker.until_logged("Received PUBACK from receiver");
    }
}
