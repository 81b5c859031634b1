//! A broker that does what a test says, byte by byte, for what mosquitto will not do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// Waits for connections of a source.
pub(crate) struct Script {
    listener: TcpListener,
    protocol: Protocol,
}

/// One connection.
pub(crate) struct Line {
    stream: TcpStream,
    protocol: Protocol,
}

impl Script {
    pub(crate) fn new(protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, protocol }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Waits for a CONNECT and takes it.
    pub(crate) fn accept(&self, session_present: bool) -> Line {
        let mut line = self.silent();
        let present = u8::from(session_present);
        match self.protocol {
            Protocol::V5 => line.write(&[0x20, 3, present, 0, 0]),
            _ => line.write(&[0x20, 2, present, 0]),
        }
        line
    }

    /// Answers a CONNECT with these bytes; `None` when nobody comes any more.
    pub(crate) fn try_accept(&self, answer: &[u8]) -> Option<Line> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let protocol = self.protocol;
        let mut line = Line { stream, protocol };
        line.try_read()?;
        line.write(answer);
        Some(line)
    }

    /// Waits for a CONNECT and leaves it unanswered.
    pub(crate) fn silent(&self) -> Line {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let protocol = self.protocol;
        let mut line = Line { stream, protocol };
        assert_eq!(line.read().0, 0x10, "no CONNECT came");
        line
    }
}

impl Line {
    /// Writes to the same connection from elsewhere.
    pub(crate) fn another(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// A PUBLISH at QoS 1, or at QoS 0 where `packet` is 0.
    pub(crate) fn message(&self, packet: u16, dup: bool, topic: &[u8], payload: &[u8]) -> Vec<u8> {
        let qos = u8::from(packet > 0);
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic);
        if qos > 0 {
            body.extend(packet.to_be_bytes());
        }
        if self.protocol == Protocol::V5 {
            body.push(0);
        }
        body.extend(payload);
        assert!(body.len() < 128, "one byte of length is enough here");
        let mut message = vec![0x30 | qos << 1 | u8::from(dup) << 3, body.len() as u8];
        message.extend(body);
        message
    }

    pub(crate) fn publish(&mut self, packet: u16, dup: bool, payload: &str) {
        let message = self.message(packet, dup, b"a", payload.as_bytes());
        self.write(&message);
    }

    /// Writes a packet of this kind, with any body of less than 128 bytes.
    pub(crate) fn packet(&mut self, first: u8, body: &[u8]) {
        assert!(body.len() < 128, "one byte of length is enough here");
        self.write(&[&[first, body.len() as u8], body].concat());
    }

    /// The next packet: kind with flags, and body.
    pub(crate) fn read(&mut self) -> (u8, Vec<u8>) {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        let kind = byte[0];
        let mut length = 0;
        for place in 0..4 {
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0] & 127) << (7 * place);
            if byte[0] < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (kind, body)
    }

    /// The first byte of the next packet, which is not read; `None` when the other side is gone.
    pub(crate) fn peek_kind(&self) -> Option<u8> {
        let mut first = [0];
        matches!(self.stream.peek(&mut first), Ok(1)).then_some(first[0])
    }

    /// The next packet; `None` when the other side is gone.
    pub(crate) fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        self.peek_kind().map(|_| self.read())
    }

    /// The next packet that is no ping.
    pub(crate) fn read_but_pings(&mut self) -> (u8, Vec<u8>) {
        loop {
            let packet = self.read();
            if packet.0 != 0xc0 {
                return packet;
            }
            self.write(&[0xd0, 0]);
        }
    }

    /// The packet identifiers of the next acknowledgements.
    pub(crate) fn acknowledged(&mut self, count: usize) -> Vec<u16> {
        let mut next = || {
            let (kind, body) = self.read_but_pings();
            assert_eq!(kind, 0x40, "no acknowledgement: {body:?}");
            u16::from_be_bytes([body[0], body[1]])
        };
        (0..count).map(|_| next()).collect()
    }
}
