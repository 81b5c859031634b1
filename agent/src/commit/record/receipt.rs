//! Receipts as bytes: in a commit as they were made, in a state database in their order.

use super::codec::{Reader, RecordError, put_len, put_var};
use crate::event::{Version, lower_half};

/// Version of the format below.
const FORMAT: u8 = 3;

/// The format of the build before, which is read too.
const FORMAT_BEFORE: u8 = 2;

/// Bits of the byte that says what else there is. The lowest two are the version of MQTT.
const V311: u8 = 1;
const V5: u8 = 2;
const VERSION: u8 = 3;
const CONTENT: u8 = 4;
const PLACE: u8 = 8;

/// A message that was applied, as the broker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Packet identifier.
    pub packet: u16,
    /// Hash of the copy.
    pub hash: u128,
    /// Hash of topic and payload alone, for another version of MQTT.
    pub content: u64,
    /// The version that was spoken; `None` of receipts that the build before made.
    pub spoken: Option<Version>,
    /// Number of the event.
    pub in_seq: u64,
    /// In a commit: the event whose receipt follows this one. 0: at the end. Its own event: the
    /// receipt was elsewhere, and moves to the end.
    pub before: u64,
}

impl Receipt {
    /// Writes the receipt; `number` encodes its event.
    pub(super) fn put(&self, out: &mut Vec<u8>, number: u64) {
        let version = match self.spoken {
            None => 0,
            Some(Version::V311) => V311,
            Some(Version::V5) => V5,
        };
        // Without properties and subscriptions the one is the lower half of the other.
        let content = (self.content != lower_half(self.hash)).then_some(self.content);
        let place = (self.before != 0).then(|| self.in_seq.saturating_sub(self.before));
        out.extend(self.packet.to_le_bytes());
        let content_bit = if content.is_some() { CONTENT } else { 0 };
        let place_bit = if place.is_some() { PLACE } else { 0 };
        out.push(version | content_bit | place_bit);
        out.extend(self.hash.to_le_bytes());
        put_var(out, number);
        if let Some(content) = content {
            out.extend(content.to_le_bytes());
        }
        if let Some(place) = place {
            put_var(out, place);
        }
    }

    /// Reads the output of [`Receipt::put`]; `event` decodes the number of its event.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        is_old: bool,
        event: impl FnOnce(u64) -> u64,
    ) -> Result<Self, RecordError> {
        let packet = reader.u16()?;
        let bits = if is_old { 0 } else { reader.u8()? };
        if bits & !(VERSION | CONTENT | PLACE) != 0 {
            return Err(RecordError::Damaged);
        }
        let hash = reader.u128()?;
        let in_seq = event(reader.var()?);
        Ok(Self {
            packet,
            hash,
            spoken: match bits & VERSION {
                0 => None,
                V311 => Some(Version::V311),
                V5 => Some(Version::V5),
                _ => return Err(RecordError::Damaged),
            },
            in_seq,
            content: match bits & CONTENT {
                0 => lower_half(hash),
                _ => reader.u64()?,
            },
            before: match bits & PLACE {
                0 => 0,
                _ => in_seq.saturating_sub(reader.var()?),
            },
        })
    }
}

/// Writes receipts, in their order.
pub fn encode_receipts(receipts: &[Receipt]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_len(&mut out, receipts.len());
    for receipt in receipts {
        let standing = Receipt {
            before: 0,
            ..*receipt
        };
        standing.put(&mut out, receipt.in_seq);
    }
    out
}

/// Reads what [`encode_receipts`] wrote, or the build before.
///
/// # Errors
/// When the record is of another format or damaged.
pub fn decode_receipts(bytes: &[u8]) -> Result<Vec<Receipt>, RecordError> {
    let (mut reader, format) = Reader::of_formats(bytes, [FORMAT_BEFORE, FORMAT])?;
    let mut receipts = Vec::new();
    for _ in 0..reader.count()? {
        let receipt = Receipt::read(&mut reader, format == FORMAT_BEFORE, |in_seq| in_seq)?;
        receipts.push(receipt);
    }
    reader.end()?;
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 16] = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];

    fn receipts() -> [Receipt; 3] {
        let hash = u128::from_le_bytes(HASH);
        let receipt = |spoken, in_seq| Receipt {
            packet: 0x0102,
            hash,
            content: lower_half(hash),
            spoken,
            in_seq,
            before: 0,
        };
        let other = Receipt {
            content: 7,
            ..receipt(Some(Version::V5), 300)
        };
        [receipt(None, 1), receipt(Some(Version::V311), 2), other]
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        #[rustfmt::skip]
        let parts: &[&[u8]] = &[
            &[3, 3],                   // format, three receipts
            &[2, 1, 0], &HASH, &[1],   // identifier, of the build before, its hash, its event
            &[2, 1, 1], &HASH, &[2],   // over MQTT 3.1.1
            &[2, 1, 6], &HASH, &[0xac, 2], // over MQTT 5, a hash of the content follows
            &[7, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(encode_receipts(&receipts()), parts.concat());
        assert_eq!(decode_receipts(&parts.concat()).unwrap(), receipts());
    }

    #[test]
    fn what_the_build_before_wrote_is_read() {
        let bytes = [&[2, 1, 2, 1][..], &HASH, &[1]].concat();
        assert_eq!(decode_receipts(&bytes).unwrap(), receipts()[..1]);
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for before in [0, 250, 300] {
            let [.., receipt] = receipts();
            let receipt = Receipt { before, ..receipt };
            let mut bytes = vec![FORMAT];
            receipt.put(&mut bytes, receipt.in_seq);
            let (mut reader, _) = Reader::of_formats(&bytes, [FORMAT, FORMAT]).unwrap();
            assert_eq!(Receipt::read(&mut reader, false, |n| n), Ok(receipt));
        }
    }
}
