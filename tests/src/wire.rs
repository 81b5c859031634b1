//! MQTT packets on a blocking socket, as far as all versions are alike: a first byte, a length, a
//! body. What stands in the bodies is known to the clients.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::PATIENCE;

/// A connection to a broker on this machine.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects, sends this CONNECT packet's body and checks that the answer says yes.
    pub(crate) fn connect(port: u16, body: &[u8]) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Self {
            stream: BufReader::new(stream),
        };
        wire.write(0x10, body);
        let (kind, body) = wire.read().expect("the broker closed the connection");
        assert_eq!((kind, body.get(1)), (0x20, Some(&0)), "connection refused");
        wire
    }

    /// Another handle of its socket, to end it from elsewhere.
    pub(crate) fn socket(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Writes one packet.
    pub(crate) fn write(&mut self, first: u8, body: &[u8]) {
        self.try_write(first, body).unwrap();
    }

    /// Writes one packet to a peer that may have gone.
    pub(crate) fn try_write(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![first];
        number(&mut packet, body.len());
        packet.extend(body);
        self.stream.get_mut().write_all(&packet)
    }

    /// The next packet: its first byte and its body; `None` when the connection was closed.
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut byte = [0];
        match self.stream.read_exact(&mut byte) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("nothing came for {PATIENCE:?}")
            }
            Err(_) => return None,
        }
        let first = byte[0];
        let mut length = 0;
        for place in 0..4 {
            self.stream.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 127) << (7 * place);
            if byte[0] < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some((first, body))
    }
}

/// Appends a text with its length.
pub(crate) fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

/// Appends a number as MQTT writes lengths: seven bits a byte.
pub(crate) fn number(body: &mut Vec<u8>, mut number: usize) {
    loop {
        let more = number >= 128;
        body.push((number % 128) as u8 | u8::from(more) << 7);
        number /= 128;
        if !more {
            return;
        }
    }
}
