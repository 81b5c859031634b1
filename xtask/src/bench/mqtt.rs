//! The little of MQTT 3.1.1 that the benchmark speaks: connect, subscribe, publish, acknowledge. What
//! is sent and what is made of the answers is left to `publish` and `measure`.

use anyhow::{Context, Result, bail};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;

/// Longest time until the broker answers a CONNECT or SUBSCRIBE.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// One read takes up to this much, so that a flood costs few system calls.
const READ_BYTES: usize = 256 * 1024;

/// A packet that arrives on a connection, as far as the benchmark cares.
#[derive(Debug, PartialEq)]
pub(crate) enum Arrival<'a> {
    /// A message; `id` is there for QoS 1.
    Message {
        topic: &'a [u8],
        payload: &'a [u8],
        id: Option<u16>,
    },
    /// One of our QoS 1 messages was taken.
    Acknowledged,
    /// Anything else.
    Other(u8),
}

/// A connection with a clean session and no keep-alive.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    chunk: Vec<u8>,
}

impl Connection {
    /// Connects to the broker on this machine.
    pub(crate) fn open(port: u16, client_id: &str) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("no broker on port {port}"))?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            unread: Vec::new(),
            chunk: vec![0; READ_BYTES],
        };
        // Protocol level 4, clean session, keep-alive 0.
        let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
        put_text(&mut body, client_id);
        connection.send(&packet(0x10, &body))?;
        connection.wait_for(CONNACK)?;
        Ok(connection)
    }

    /// Subscribes and waits until the broker has confirmed it.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Result<()> {
        let mut body = vec![0, 1];
        put_text(&mut body, filter);
        body.push(qos);
        self.send(&packet(0x82, &body))?;
        self.wait_for(SUBACK)
    }

    fn wait_for(&mut self, kind: u8) -> Result<()> {
        self.patience(ANSWER_WAIT)?;
        let mut answered = false;
        while !answered {
            let open = self.receive(|arrival| answered |= arrival == Arrival::Other(kind))?;
            if !open {
                bail!("the broker refused us");
            }
        }
        Ok(())
    }

    /// Sets the time for which `receive` waits for something to arrive.
    pub(crate) fn patience(&mut self, wait: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(wait))
    }

    /// Sends bytes as they are: one or more whole packets.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads once and hands over each whole packet; nothing when patience ends. `false`: closed.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Arrival)) -> Result<bool> {
        let count = match self.stream.read(&mut self.chunk) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if is_patience_ended(&error) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let fresh = self.chunk.get(..count).expect("a read fits its buffer");
        self.unread.extend_from_slice(fresh);
        let mut rest = self.unread.as_slice();
        while let Some((first, body, behind)) = split(rest)? {
            each(arrival(first, body)?);
            rest = behind;
        }
        let done = self.unread.len() - rest.len();
        self.unread.drain(..done);
        Ok(true)
    }
}

fn is_patience_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// A PUBLISH packet; with `id` it is of QoS 1.
pub(super) fn publish(topic: &str, payload: &[u8], id: Option<u16>) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    if let Some(id) = id {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// Appends the acknowledgement of message `id`.
pub(crate) fn put_ack(out: &mut Vec<u8>, id: u16) {
    out.extend_from_slice(&[PUBACK << 4, 2]);
    out.extend_from_slice(&id.to_be_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    while length > 127 {
        out.push((length % 128) as u8 | 128);
        length /= 128;
    }
    out.push(length as u8);
    out.extend_from_slice(body);
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// First byte and body of a packet, and what follows it.
type Split<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits off the packet that `bytes` start with; none if it is not all there.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>> {
    let Some((&first, mut rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let Some((&byte, behind)) = rest.split_first() else {
            return Ok(None);
        };
        rest = behind;
        length |= usize::from(byte & 127) << shift;
        if byte < 128 {
            let whole = rest.split_at_checked(length);
            return Ok(whole.map(|(body, behind)| (first, body, behind)));
        }
    }
    bail!("the broker sent a length of more than four bytes")
}

fn arrival(first: u8, body: &[u8]) -> Result<Arrival<'_>> {
    let broken = "the broker sent a broken message";
    Ok(match first >> 4 {
        PUBLISH => {
            let (length, rest) = body.split_first_chunk().context(broken)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (topic, mut payload) = rest.split_at_checked(length).context(broken)?;
            let mut id = None;
            if first & 0b110 != 0 {
                let (bytes, behind) = payload.split_first_chunk().context(broken)?;
                id = Some(u16::from_be_bytes(*bytes));
                payload = behind;
            }
            Arrival::Message { topic, payload, id }
        }
        PUBACK => Arrival::Acknowledged,
        kind => Arrival::Other(kind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_survives_the_way_there_and_back() {
        for id in [None, Some(300)] {
            let payload = [b'x'; 200];
            let mut wire = publish("sensors/d001/env", &payload, id);
            wire.push(0xd0); // The next packet has begun.
            let (first, body, rest) = split(&wire).unwrap().unwrap();
            let expected = Arrival::Message {
                topic: b"sensors/d001/env",
                payload: &payload,
                id,
            };
            assert_eq!(arrival(first, body).unwrap(), expected);
            assert_eq!(rest, [0xd0]);
        }
    }

    #[test]
    fn a_packet_that_is_not_all_there_waits() {
        let wire = publish("t", b"payload", None);
        for end in 0..wire.len() {
            assert_eq!(split(&wire[..end]).unwrap(), None, "{end} bytes");
        }
    }

    #[test]
    fn an_endless_length_is_an_error() {
        assert!(split(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
    }

    #[test]
    fn acknowledgements_have_the_bytes_of_the_standard() {
        let mut wire = Vec::new();
        put_ack(&mut wire, 0x0102);
        assert_eq!(wire, [0x40, 2, 1, 2]);
    }
}
