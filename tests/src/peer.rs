//! A bare MQTT 3.1.1 client with blocking calls, enough to look at an agent from outside.

use crate::wire::{Wire, text};

/// Number of messages that [`Peer::publish_all`] sends before it waits for their acknowledgements.
const IN_FLIGHT: usize = 500;

/// A connected client.
pub struct Peer {
    wire: Wire,
    packets: u16,
}

impl Peer {
    /// Connects with a clean session.
    pub fn connect(port: u16, client_id: &str) -> Self {
        let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
        text(&mut body, client_id);
        Self {
            wire: Wire::connect(port, &body),
            packets: 0,
        }
    }

    /// Publishes; at QoS 1 waits for the acknowledgement.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        let mut body = Vec::new();
        text(&mut body, topic);
        if qos > 0 {
            body.extend(self.packet());
        }
        body.extend(payload);
        self.wire.write(0x30 | (qos << 1) | u8::from(retain), &body);
        self.acknowledged(usize::from(qos > 0));
    }

    /// Publishes many messages at QoS 1 and waits until all are acknowledged.
    pub fn publish_all(&mut self, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let mut in_flight = 0;
        for (topic, payload) in messages {
            let mut body = Vec::new();
            text(&mut body, &topic);
            body.extend(self.packet());
            body.extend(payload);
            self.wire.write(0x32, &body);
            in_flight += 1;
            if in_flight == IN_FLIGHT {
                self.acknowledged(std::mem::take(&mut in_flight));
            }
        }
        self.acknowledged(in_flight);
    }

    /// A packet identifier; by the time they are used again they are free again.
    fn packet(&mut self) -> [u8; 2] {
        self.packets = self.packets.checked_add(1).unwrap_or(1);
        self.packets.to_be_bytes()
    }

    fn acknowledged(&mut self, count: usize) {
        for _ in 0..count {
            let (kind, _) = self.wire.read().unwrap();
            assert_eq!(kind, 0x40, "no acknowledgement");
        }
    }

    /// Subscribes at QoS 0 and waits for the acknowledgement.
    pub fn subscribe(&mut self, filter: &str) {
        let mut body = self.packet().to_vec();
        text(&mut body, filter);
        body.push(0);
        self.wire.write(0x82, &body);
        let (kind, body) = self.wire.read().unwrap();
        assert_eq!(
            (kind, body.last()),
            (0x90, Some(&0)),
            "subscription refused"
        );
    }

    /// The next message; `None` when the broker closed the connection.
    pub fn receive(&mut self) -> Option<(String, Vec<u8>)> {
        loop {
            let (kind, body) = self.wire.read()?;
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
            return Some((topic, body[2 + length..].to_vec()));
        }
    }

    /// The next `count` messages, payloads as text.
    pub fn receive_texts(&mut self, count: usize) -> Vec<(String, String)> {
        let mut next = || self.receive().expect("the broker closed the connection");
        (0..count)
            .map(|_| {
                let (topic, payload) = next();
                (topic, String::from_utf8_lossy(&payload).into_owned())
            })
            .collect()
    }

    /// All messages up to one with this payload, that one not included.
    pub fn receive_until(&mut self, last: &str) -> Vec<(String, String)> {
        let mut all = Vec::new();
        loop {
            let message = self.receive_texts(1).remove(0);
            if message.1 == last {
                return all;
            }
            all.push(message);
        }
    }
}
