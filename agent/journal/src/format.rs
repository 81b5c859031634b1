//! Segment headers and records as bytes. `docs/formats.md` describes every byte, and a test here pins
//! them. Knows nothing of files.

use std::borrow::Cow;

use tidemill_base::number::Lsn;

use super::Identity;

/// Version of everything below.
pub const FORMAT: u8 = 1;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 64;

/// Bytes of a record before its payload.
pub(super) const HEAD_BYTES: usize = 32;

/// Records begin at multiples of this.
pub(super) const ALIGN: u64 = 8;

/// In the length of a payload, the number of its mask; the rest is the length.
const MASK_SHIFT: u32 = 30;

/// Masks that are tried, besides none.
const MASKS: u32 = 3;

const MAGIC: &[u8; 8] = b"tidemill";
const IN_USE: u8 = 1;
const SPARE: u8 = 2;

/// The header of a segment in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    /// LSN of its first record.
    pub(super) first_lsn: Lsn,
    /// Random, drawn when the segment was taken into use: the chain of its records hangs on it, so
    /// that what an earlier use of the file left never continues it.
    pub(super) salt: u64,
    /// Checksum of the record before its first one; 0 if there is none.
    pub(super) before: u32,
}

/// The kinds of header a segment may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    InUse(Header),
    /// Waits to be used; whatever follows is of no meaning.
    Spare(Identity),
    /// Zeros: a segment that was never used.
    Blank,
    /// Neither of these.
    Damaged,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        encode_header(IN_USE, self)
    }

    /// Start value of the checksum chain of this segment's records.
    pub(super) fn chain(&self) -> u32 {
        u32_at(&self.encode(), 60)
    }
}

/// The header of a segment that waits to be used.
pub(super) fn encode_spare(identity: Identity) -> [u8; HEADER_BYTES] {
    let header = Header {
        identity,
        first_lsn: Lsn::ZERO,
        salt: 0,
        before: 0,
    };
    encode_header(SPARE, &header)
}

fn encode_header(kind: u8, header: &Header) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    put(&mut out, 0, MAGIC);
    put(&mut out, 8, &[FORMAT, kind]);
    put(&mut out, 12, &header.identity.mark.to_le_bytes());
    put(&mut out, 16, &header.identity.incarnation);
    put(&mut out, 32, &header.first_lsn.get().to_le_bytes());
    put(&mut out, 40, &header.salt.to_le_bytes());
    put(&mut out, 48, &header.before.to_le_bytes());
    let checksum = header_checksum(&out);
    put(&mut out, 60, &checksum.to_le_bytes());
    out
}

/// Reads a header. `Err` bears the format of one that another version wrote.
pub(super) fn decode_header(bytes: &[u8; HEADER_BYTES]) -> Result<Head, u8> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Head::Blank);
    }
    let [format, kind, ..] = array_at::<4>(bytes, 8);
    let is_whole = |bytes| header_checksum(bytes) == u32_at(bytes, 60);
    if !bytes.starts_with(MAGIC) {
        return Ok(Head::Damaged);
    }
    if format != FORMAT {
        // A flipped bit is damage; only what was written like this is another version's.
        let mut ours = *bytes;
        put(&mut ours, 8, &[FORMAT]);
        return if is_whole(&ours) {
            Ok(Head::Damaged)
        } else {
            Err(format)
        };
    }
    let identity = Identity {
        incarnation: array_at(bytes, 16),
        mark: u32_at(bytes, 12),
    };
    Ok(match kind {
        _ if !is_whole(bytes) => Head::Damaged,
        IN_USE => Head::InUse(Header {
            identity,
            first_lsn: Lsn::new(u64_at(bytes, 32)),
            salt: u64_at(bytes, 40),
            before: u32_at(bytes, 48),
        }),
        SPARE => Head::Spare(identity),
        _ => Head::Damaged,
    })
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    crc32c::crc32c(bytes.get(..60).unwrap_or_default())
}

/// The head that precedes a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// Bytes of the payload.
    pub(super) len: u32,
    /// Number of the payload's mask; 0 if the payload is not masked.
    mask: u32,
    /// Over everything but itself and the padding.
    pub(super) checksum: u32,
    /// Checksum of the record before, or the start of the segment's chain.
    pub(super) before: u32,
    pub(super) lsn: Lsn,
    /// The highest LSN known to be durable when the record was written.
    pub(super) durable_lsn: Lsn,
}

impl RecordHead {
    /// Reads a head; `None` if the journal's mark is missing.
    pub(super) fn decode(bytes: &[u8], mark: u32) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        (u32_at(bytes, 0) == mark).then(|| Self {
            len: u32_at(bytes, 4) & !(MASKS << MASK_SHIFT),
            mask: u32_at(bytes, 4) >> MASK_SHIFT,
            checksum: u32_at(bytes, 8),
            before: u32_at(bytes, 12),
            lsn: Lsn::new(u64_at(bytes, 16)),
            durable_lsn: Lsn::new(u64_at(bytes, 24)),
        })
    }

    /// Bytes of the whole record, padding included.
    pub(super) fn size(&self) -> u64 {
        record_size(self.len as usize)
    }

    /// `true` if `record`, from its head to the end of its payload, matches its checksum.
    pub(super) fn is_whole(&self, record: &[u8]) -> bool {
        checksum(record) == self.checksum
    }

    /// The payload of `record`, as it was appended.
    pub(super) fn payload<'r>(&self, record: &'r [u8]) -> Cow<'r, [u8]> {
        let stored = record.get(HEAD_BYTES..).unwrap_or_default();
        if self.mask == 0 {
            return Cow::Borrowed(stored);
        }
        let mut payload = stored.to_vec();
        mask(&mut payload, mask_word(self.before, self.lsn, self.mask));
        Cow::Owned(payload)
    }
}

/// Bytes that a record with a payload of this many bytes takes.
pub(super) fn record_size(payload: usize) -> u64 {
    ((HEAD_BYTES + payload) as u64).next_multiple_of(ALIGN)
}

/// Appends a record to `out`, and returns its checksum. A payload with the mark at a place where a
/// record may begin is masked: otherwise somebody who learned the mark could send a message that,
/// in a torn record, passes for records behind it.
pub(super) fn encode_record(
    out: &mut Vec<u8>,
    mark: u32,
    before: u32,
    lsn: Lsn,
    durable_lsn: Lsn,
    payload: &[u8],
) -> u32 {
    let start = out.len();
    let len = u32::try_from(payload.len()).expect("a segment is smaller than 1 GiB");
    let word = |number: u32| match number {
        0 => 0,
        _ => mask_word(before, lsn, number),
    };
    // That the last mask does not do either happens to one attack in 2^39.
    let number = (0..MASKS).find(|number| !has_word(payload, mark ^ word(*number)));
    let number = number.unwrap_or(MASKS);
    out.extend(mark.to_le_bytes());
    out.extend((len | number << MASK_SHIFT).to_le_bytes());
    out.extend([0; 4]);
    out.extend(before.to_le_bytes());
    out.extend(lsn.get().to_le_bytes());
    out.extend(durable_lsn.get().to_le_bytes());
    out.extend(payload);
    if number > 0 {
        let stored = out.get_mut(start + HEAD_BYTES..).unwrap_or_default();
        mask(stored, word(number));
    }
    let record = out.get_mut(start..).unwrap_or_default();
    let checksum = checksum(record);
    put(record, 8, &checksum.to_le_bytes());
    out.resize(start + record_size(payload.len()) as usize, 0);
    checksum
}

/// `true` if `word` is in a payload at a place where a record may begin.
fn has_word(payload: &[u8], word: u32) -> bool {
    let word = word.to_le_bytes();
    payload
        .chunks(ALIGN as usize)
        .any(|bytes| bytes.starts_with(&word))
}

/// Masks the words of a payload at places where a record may begin, or removes the mask.
fn mask(payload: &mut [u8], word: u32) {
    for bytes in payload.chunks_mut(ALIGN as usize) {
        for (byte, mask) in bytes.iter_mut().zip(word.to_le_bytes()) {
            *byte ^= mask;
        }
    }
}

/// Depends on the checksum of the record before, which nobody knows who makes a payload.
fn mask_word(before: u32, lsn: Lsn, number: u32) -> u32 {
    let seed = u64::from(before) << 32 | u64::from(number);
    mixed(seed ^ mixed(lsn.get())) as u32
}

fn checksum(record: &[u8]) -> u32 {
    let before = record.get(..8).unwrap_or_default();
    let after = record.get(12..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(before), after)
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    *found.expect("fields lie within the bytes they are read from")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// A number that looks random, made of one that does not (splitmix64).
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity {
        incarnation: *b"0123456789abcdef",
        mark: 0x0403_0201,
    };

    fn header() -> Header {
        Header {
            identity: IDENTITY,
            first_lsn: Lsn::new(7),
            salt: 9,
            before: 5,
        }
    }

    #[test]
    fn bytes_on_disk_are_stable() {
        #[rustfmt::skip]
        let expected: &[u8] = &[
            b't', b'i', b'd', b'e', b'm', b'i', b'l', b'l',
            1,                                  // format
            1,                                  // in use
            0, 0,                               // nothing
            1, 2, 3, 4,                         // mark
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7',
            b'8', b'9', b'a', b'b', b'c', b'd', b'e', b'f', // incarnation
            7, 0, 0, 0, 0, 0, 0, 0,             // first LSN
            9, 0, 0, 0, 0, 0, 0, 0,             // salt
            5, 0, 0, 0,                         // checksum of the record before
            0, 0, 0, 0, 0, 0, 0, 0,             // nothing
            0xd7, 0x84, 0x1c, 0xc4,             // CRC32C of the 60 bytes before
        ];
        assert_eq!(header().encode(), expected);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            b't', b'i', b'd', b'e', b'm', b'i', b'l', b'l',
            1,                                  // format
            2,                                  // spare
            0, 0,                               // nothing
            1, 2, 3, 4,                         // mark
            b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7',
            b'8', b'9', b'a', b'b', b'c', b'd', b'e', b'f', // incarnation
            0, 0, 0, 0, 0, 0, 0, 0,             // nothing in a spare
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            0x96, 0x59, 0x3e, 0x93,             // CRC32C of the 60 bytes before
        ];
        assert_eq!(encode_spare(IDENTITY), expected);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1, 2, 3, 4,                         // mark
            3, 0, 0, 0,                         // bytes of the payload
            0xe4, 0x78, 0x87, 0x66,             // CRC32C of all other bytes but the padding
            5, 0, 0, 0,                         // checksum of the record before
            8, 0, 0, 0, 0, 0, 0, 0,             // LSN
            6, 0, 0, 0, 0, 0, 0, 0,             // durable LSN
            b'a', b'b', b'c',                   // payload
            0, 0, 0, 0, 0,                      // padding
        ];
        let mut record = Vec::new();
        encode_record(
            &mut record,
            IDENTITY.mark,
            5,
            Lsn::new(8),
            Lsn::new(6),
            b"abc",
        );
        assert_eq!(record, expected);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            1, 2, 3, 4,                         // mark
            13, 0, 0, 0x40,                     // bytes of the payload, mask 1
            220, 183, 92, 180,                  // CRC32C of all other bytes but the padding
            5, 0, 0, 0,                         // checksum of the record before
            8, 0, 0, 0, 0, 0, 0, 0,             // LSN
            6, 0, 0, 0, 0, 0, 0, 0,             // durable LSN
            129, 4, 217, 209, b'a', b'b', b'c', b'd', // payload, four bytes in eight masked
            129, 4, 217, 209, b'e',
            0, 0, 0,                            // padding
        ];
        let mut record = Vec::new();
        encode_record(
            &mut record,
            IDENTITY.mark,
            5,
            Lsn::new(8),
            Lsn::new(6),
            b"\x01\x02\x03\x04abcd\x01\x02\x03\x04e",
        );
        assert_eq!(record, expected);
    }

    #[test]
    fn the_mark_stands_nowhere_in_a_payload_and_every_payload_is_read_as_it_was() {
        let mark = IDENTITY.mark;
        let marked = |len: usize, words: &[u32]| -> Vec<u8> {
            let words = words.iter().flat_map(|word| [word.to_le_bytes(), *b"rest"]);
            words.flatten().cycle().take(len).collect()
        };
        for lsn in 1..200 {
            let first = mask_word(5, Lsn::new(lsn), 1);
            let known = [
                &[7][..],
                &[mark],
                // Whoever knows the first mask as well.
                &[7, mark, mark ^ first],
                &[mark ^ mask_word(5, Lsn::new(lsn), 2), mark, mark ^ first],
            ];
            for (number, words) in known.iter().enumerate() {
                for len in [0, 1, 3, 4, 11, 12, 13, 200] {
                    let payload = marked(len, words);
                    let mut record = Vec::new();
                    encode_record(&mut record, mark, 5, Lsn::new(lsn), Lsn::ZERO, &payload);
                    let head = RecordHead::decode(&record, mark).unwrap();
                    let record = &record[..HEAD_BYTES + head.len as usize];
                    assert!(head.is_whole(record) && head.len as usize == len);
                    assert_eq!(head.payload(record), payload);
                    assert!(!has_word(&record[HEAD_BYTES..], mark));
                    if len == 200 {
                        assert_eq!(head.mask as usize, number);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode_header(&header().encode()), Ok(Head::InUse(header())));
        assert_eq!(
            decode_header(&encode_spare(IDENTITY)),
            Ok(Head::Spare(IDENTITY))
        );
        assert_eq!(decode_header(&[0; HEADER_BYTES]), Ok(Head::Blank));
        assert_eq!(decode_header(&[7; HEADER_BYTES]), Ok(Head::Damaged));
        let mut record = Vec::new();
        let checksum = encode_record(&mut record, 1, 5, Lsn::new(8), Lsn::new(6), b"abc");
        let head = RecordHead::decode(&record, 1).unwrap();
        assert_eq!(head.size(), record.len() as u64);
        assert_eq!((head.checksum, head.before), (checksum, 5));
        assert_eq!(
            (head.lsn, head.durable_lsn, head.len),
            (Lsn::new(8), Lsn::new(6), 3)
        );
        assert!(head.is_whole(&record[..HEAD_BYTES + 3]));
        assert_eq!(RecordHead::decode(&record, 2), None);
    }

    #[test]
    fn a_flipped_bit_is_damage_and_no_other_format() {
        let bytes = header().encode();
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&flipped), Ok(Head::Damaged), "bit {bit}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        newer[60] ^= 1;
        assert_eq!(decode_header(&newer), Err(2));
    }
}
