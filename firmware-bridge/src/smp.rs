//! Packets of SMP over a console: lines of base64, of which the first begins with `06 09` and the others with
//! `04 14`; decoded they are a length, the message and a CRC-16 (XMODEM) of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_16_XMODEM, Crc};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

const FIRST: [u8; 2] = [0x06, 0x09];

/// Longest packet that is put together: 8 KiB of message, its length and checksum.
const PACKET_BYTES_MAX: usize = (8 << 10) + 4;

/// Fates of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// More of its packet is to come.
    Begun,
    /// A packet is complete, with length and checksum that fit.
    Packet,
    /// The packet is given up.
    Damaged,
}

/// Puts packets together, one after the other.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
    is_open: bool,
}

impl Packets {
    /// Takes a line with its mark.
    pub fn take(&mut self, line: &[u8]) -> Taken {
        let (mark, text) = line.split_at_checked(2).unwrap_or((line, &[]));
        if mark == FIRST {
            self.bytes.clear();
            self.is_open = true;
        }
        let Ok(bytes) = STANDARD.decode(text) else {
            return self.end(Taken::Damaged);
        };
        if !self.is_open || self.bytes.len() + bytes.len() > PACKET_BYTES_MAX {
            return self.end(Taken::Damaged);
        }
        self.bytes.extend(bytes);
        let Some((length, rest)) = self.bytes.split_first_chunk() else {
            return Taken::Begun;
        };
        let wanted = usize::from(u16::from_be_bytes(*length));
        if rest.len() < wanted {
            return Taken::Begun;
        }
        let fits = rest.len() == wanted && wanted > 2 && CRC.checksum(rest) == 0;
        self.end(if fits { Taken::Packet } else { Taken::Damaged })
    }

    fn end(&mut self, taken: Taken) -> Taken {
        self.is_open = false;
        self.bytes = Vec::new();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `os echo hi`, version 2, sequence 0x42.
    const ECHO: &str = "ABAKAAAGAABCAKFhZGJoaZsK";

    fn line(mark: [u8; 2], text: &str) -> Vec<u8> {
        [&mark, text.as_bytes()].concat()
    }

    #[test]
    fn a_packet_counts_when_length_and_checksum_fit() {
        let mut packets = Packets::default();
        assert_eq!(packets.take(&line(FIRST, ECHO)), Taken::Packet);
        let damaged = ECHO.replace("hZGJ", "hZGK");
        assert_eq!(packets.take(&line(FIRST, &damaged)), Taken::Damaged);
        assert_eq!(packets.take(&line(FIRST, "AB=K")), Taken::Damaged);
        let (first, second) = ECHO.split_at(8);
        assert_eq!(packets.take(&line([4, 0x14], second)), Taken::Damaged);
        assert_eq!(packets.take(&line(FIRST, first)), Taken::Begun);
        assert_eq!(packets.take(&line([4, 0x14], second)), Taken::Packet);
        // One that is cut off gives way to the next.
        assert_eq!(packets.take(&line(FIRST, first)), Taken::Begun);
        assert_eq!(packets.take(&line(FIRST, ECHO)), Taken::Packet);
    }

    #[test]
    fn a_packet_without_an_end_takes_no_memory() {
        let mut packets = Packets::default();
        let long = STANDARD.encode(vec![0xff; 6 << 10]);
        assert_eq!(packets.take(&line(FIRST, &long)), Taken::Begun);
        assert_eq!(packets.take(&line([4, 0x14], &long)), Taken::Damaged);
        assert_eq!(packets.bytes.capacity(), 0);
    }
}
