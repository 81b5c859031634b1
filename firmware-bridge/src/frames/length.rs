//! Packets with a start, a length and a checksum. Where a checksum does not fit, the search goes on one byte later: the
//! start may have stood in the middle of a packet.

use super::{Broken, Deframer, Frame, Framing};
use crc::{CRC_16_MODBUS, CRC_16_XMODEM, Crc};

const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);
const XMODEM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// Bytes summed up at most for one piece of noise.
const SUMMED_BYTES_MAX: usize = 64 << 10;

/// Checksums at the end of a packet, over all bytes before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sum {
    /// There is none.
    #[default]
    None,
    /// CRC-16 as in Modbus, low byte first.
    Crc16Modbus,
    /// CRC-16 as in XMODEM, high byte first.
    Crc16Xmodem,
    /// The sum of all bytes, its lowest eight bits.
    Sum8,
    /// All bytes in exclusive or.
    Xor8,
}

/// The form of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    /// Bytes that each packet begins with; at least one.
    pub start: Vec<u8>,
    /// Bytes before the length, the start included.
    pub at: usize,
    /// Bytes of the length, 1 or 2, high byte first.
    pub bytes: usize,
    /// Bytes of the packet that the length does not count.
    pub add: usize,
    /// The checksum.
    pub sum: Sum,
}

/// Verdicts on what lies at the front.
enum Front {
    /// At least so many bytes have to come before there is another verdict.
    More(usize),
    /// A packet of so many bytes.
    Packet(usize),
    /// No packet begins here, as the checksum of so many bytes says.
    WrongSum(usize),
    /// No packet begins here.
    No,
}

impl Sum {
    /// Bytes of the checksum.
    pub fn width(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc16Modbus | Self::Crc16Xmodem => 2,
            Self::Sum8 | Self::Xor8 => 1,
        }
    }

    /// The checksum of a packet, as it stands on the wire.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc16Modbus => MODBUS.checksum(bytes).to_le_bytes().to_vec(),
            Self::Crc16Xmodem => XMODEM.checksum(bytes).to_be_bytes().to_vec(),
            Self::Sum8 => {
                let add = |sum: u8, byte: &u8| sum.wrapping_add(*byte);
                vec![bytes.iter().fold(0, add)]
            }
            Self::Xor8 => vec![bytes.iter().fold(0, |sum, byte| sum ^ byte)],
        }
    }
}

impl Length {
    /// Bytes of a packet without content.
    pub fn least(&self) -> usize {
        self.at + self.bytes + self.sum.width()
    }

    fn front(&self, bytes: &[u8], bytes_max: usize) -> Front {
        let begun = bytes.len().min(self.start.len());
        if bytes.get(..begun) != self.start.get(..begun) {
            return Front::No;
        }
        let head = self.at + self.bytes;
        let Some(digits) = bytes.get(self.at..head) else {
            return Front::More(head - bytes.len());
        };
        let counted = digits
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        let length = counted + self.add;
        if !(self.least()..=bytes_max).contains(&length) {
            return Front::No;
        }
        let Some(packet) = bytes.get(..length) else {
            return Front::More(length - bytes.len());
        };
        let (summed, sum) = packet.split_at(length - self.sum.width());
        if self.sum.of(summed) == sum {
            Front::Packet(length)
        } else {
            Front::WrongSum(length)
        }
    }

    /// A packet without what stands up to the length and without the checksum.
    fn content(&self, packet: &[u8]) -> Vec<u8> {
        let content = packet.get(self.at + self.bytes..packet.len() - self.sum.width());
        content.unwrap_or_default().to_vec()
    }
}

impl Deframer {
    /// Takes bytes up to the end of a packet that has a length.
    pub(super) fn counted(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        loop {
            let Framing::Length(form) = &self.framing else {
                return None;
            };
            let rest = self.held.get(self.done..).unwrap_or_default();
            match form.front(rest, self.bytes_max) {
                Front::More(_) if bytes.is_empty() => return None,
                Front::More(count) => {
                    let (piece, behind) = bytes.split_at(count.min(bytes.len()));
                    *bytes = behind;
                    self.wire_bytes += piece.len() as u64;
                    self.make_room();
                    self.held.extend_from_slice(piece);
                }
                verdict @ (Front::No | Front::WrongSum(_)) => {
                    if let Front::WrongSum(length) = verdict {
                        self.summed_bytes += length;
                    }
                    self.stray();
                    if self.is_much() {
                        return self.end_stray();
                    }
                }
                // What lies before it is told first; it is found again by the next call.
                Front::Packet(_) if self.stray_bytes > 0 => return self.end_stray(),
                Front::Packet(length) => {
                    let content = form.content(rest.get(..length).unwrap_or_default());
                    self.done += length;
                    self.wire_bytes -= length as u64;
                    return Some(Frame {
                        wire_bytes: length as u64,
                        packet: Ok(content),
                    });
                }
            }
        }
    }

    /// `true` if noise is to be told before it ends: it must show in the counts while it lasts, and where each byte
    /// could begin a long packet, other ports must have their turns.
    fn is_much(&self) -> bool {
        let summed_max = SUMMED_BYTES_MAX.min(16 * self.bytes_max);
        self.stray_bytes >= self.bytes_max as u64 || self.summed_bytes >= summed_max
    }

    /// Passes over the first byte held.
    pub(super) fn stray(&mut self) {
        self.done += 1;
        self.stray_bytes += 1;
    }

    pub(super) fn end_stray(&mut self) -> Option<Frame> {
        self.summed_bytes = 0;
        let wire_bytes = std::mem::take(&mut self.stray_bytes);
        self.wire_bytes -= wire_bytes;
        (wire_bytes > 0).then_some(Frame {
            wire_bytes,
            packet: Err(Broken::Damaged),
        })
    }

    /// Moves what is held to the front, seldom enough to cost nothing a byte.
    fn make_room(&mut self) {
        if self.done >= self.bytes_max || self.done == self.held.len() {
            self.held.drain(..self.done);
            self.done = 0;
        }
    }
}
