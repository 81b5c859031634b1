//! MQTT packets out of a stream of bytes that comes in pieces. Each remembers the line of the trace at
//! which its first byte went.

/// Packets of one direction of a socket.
#[derive(Default)]
pub(super) struct Packets {
    bytes: Vec<u8>,
    /// For each piece: how many bytes of it are left, and its line.
    pieces: Vec<(usize, usize)>,
}

/// A whole packet.
pub(super) struct Framed {
    pub(super) content: Packet,
    pub(super) body: Vec<u8>,
    /// The line at which its first byte went.
    pub(super) at: usize,
}

/// The kind of a packet, as far as the witness cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Publish { id: Option<u16> },
    Acknowledgement { id: u16 },
    Other,
}

impl Packets {
    /// Takes a piece; the packets that it completes.
    pub(super) fn push(&mut self, at: usize, piece: &[u8]) -> Vec<Framed> {
        self.bytes.extend(piece);
        self.pieces.push((piece.len(), at));
        let mut whole = Vec::new();
        while let Some((head, length)) = head(&self.bytes) {
            if self.bytes.len() < head + length {
                break;
            }
            let first = self.bytes[0];
            let body = self.bytes[head..head + length].to_vec();
            self.bytes.drain(..head + length);
            let at = self.drop_pieces(head + length);
            let content = packet(first, &body).unwrap_or(Packet::Other);
            whole.push(Framed { content, body, at });
        }
        whole
    }

    /// Counts bytes off; the line of the first of them.
    fn drop_pieces(&mut self, mut count: usize) -> usize {
        self.pieces.retain(|piece| piece.0 > 0);
        let first = self.pieces[0].1;
        for piece in &mut self.pieces {
            let of_it = piece.0.min(count);
            piece.0 -= of_it;
            count -= of_it;
        }
        first
    }
}

/// Lengths of the fixed header and of what follows it.
fn head(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for place in 0..4 {
        let byte = *bytes.get(1 + place)?;
        length |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Some((2 + place, length));
        }
    }
    panic!("a length of more than four bytes: the trace is no MQTT")
}

fn packet(first: u8, body: &[u8]) -> Option<Packet> {
    let number = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    Some(match first >> 4 {
        3 => Packet::Publish {
            id: match first & 6 {
                0 => None,
                _ => Some(number(2 + usize::from(number(0)?))?),
            },
        },
        4 => Packet::Acknowledgement { id: number(0)? },
        _ => Packet::Other,
    })
}
