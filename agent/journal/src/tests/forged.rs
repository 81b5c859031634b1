//! Payloads of somebody who knows the journal's mark, in records that were torn: whatever they hold, a start
//! makes of it what it makes of any other.

use tidemill_base::number::Lsn;

use super::*;
use crate::format::encode_record;
use crate::{Disk as _, DiskFile as _, Seen, inspect};

const SECTOR: usize = 512;

/// Bytes of the payload that is torn: it lies over several sectors.
const BYTES: usize = 1_900;

/// The last record, and those that were durable before.
const LAST: u64 = 12;

/// The part that reached the disk of a record's sectors.
#[derive(Debug, Clone, Copy)]
enum Torn {
    /// Those up to this one.
    Behind(usize),
    /// Those from this one on.
    Before(usize),
    /// All but this one.
    Without(usize),
}

impl Torn {
    fn keeps(self, sector: usize) -> bool {
        match self {
            Self::Behind(last) => sector <= last,
            Self::Before(first) => sector >= first,
            Self::Without(lost) => sector != lost,
        }
    }
}

fn all_ways(sectors: usize) -> impl Iterator<Item = Torn> {
    let ways = [Torn::Behind, Torn::Before, Torn::Without];
    (0..sectors).flat_map(move |sector| ways.map(|way| way(sector)))
}

/// Records one after the other, from one with this LSN on, of which each names the one before.
fn forged(lsn: Lsn, durable_lsn: Lsn) -> Vec<u8> {
    let (mut bytes, mut before) = (Vec::new(), 0);
    for at in 0..3 {
        let lsn = lsn.saturating_add(at);
        before = encode_record(&mut bytes, IDENTITY.mark, before, lsn, durable_lsn, b"");
    }
    bytes
}

/// All that somebody may send who knows the mark, at all alignments.
fn payloads() -> Vec<Vec<u8>> {
    let claims = [
        (LAST + 1, LAST),
        (LAST + 2, LAST + 1),
        (LAST, LAST - 1),
        (100_000, 99_999),
        (u64::MAX, u64::MAX - 1),
        (LAST, LAST),
    ];
    let mut payloads = Vec::new();
    for (lsn, durable_lsn) in claims {
        let records = forged(Lsn::new(lsn), Lsn::new(durable_lsn));
        for shift in 0..8 {
            let shifted = [&vec![b'.'; shift], &records[..]].concat();
            payloads.push(shifted.iter().copied().cycle().take(BYTES).collect());
            // Once, with nothing behind it, as at the end of a journal.
            let mut once = vec![0; BYTES];
            once[BYTES - 1] = 1;
            once[BYTES / 2 - BYTES / 2 % 8 + shift..][..records.len()].copy_from_slice(&records);
            payloads.push(once);
        }
    }
    payloads
}

/// A journal before and after its last record, which bears this payload, and where that stands.
struct Written {
    disk: ModelDisk,
    /// Up to where nothing is asked for.
    from_lsn: Lsn,
    segment: String,
    before: Vec<u8>,
    after: Vec<u8>,
    from: usize,
    upto: usize,
}

impl Written {
    /// Fills a journal; with an old payload the last record overwrites one that bore it.
    fn new(payload: &[u8], old: Option<&[u8]>) -> Self {
        let disk = ModelDisk::default();
        let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
        let append = |journal: &mut Journal<ModelDisk>, payload: &[u8]| {
            journal.append(journal.next_lsn(), payload).unwrap();
            journal.sync().unwrap();
        };
        let mut from_lsn = 0;
        if let Some(old) = old {
            // Two of them fill a segment.
            (0..8).for_each(|_| append(&mut journal, old));
            journal.recycle(Lsn::new(7)).unwrap();
            from_lsn = (journal.first_lsn() - 1).get();
            (8..LAST - 1).for_each(|_| append(&mut journal, payload));
        } else {
            (0..LAST - 1).for_each(|_| append(&mut journal, b"durable"));
        }
        let before = disk.image();
        journal.append(Lsn::new(LAST), payload).unwrap();
        let after = disk.image();
        let changed = |name: &&String| before.get(*name) != after.get(*name);
        let segment = after.keys().find(changed).unwrap().clone();
        let (before, after) = (before[&segment].clone(), after[&segment].clone());
        let differs = |at: &usize| before[*at] != after[*at];
        let from = (0..after.len()).find(differs).unwrap() / SECTOR;
        let upto = (0..after.len()).rfind(differs).unwrap() / SECTOR + 1;
        Self {
            disk,
            from_lsn: Lsn::new(from_lsn),
            segment,
            before,
            after,
            from,
            upto,
        }
    }

    fn of_plain(is_used_again: bool) -> Self {
        Self::new(&[b'z'; BYTES], is_used_again.then_some(&[b'y'; BYTES]))
    }

    /// The power fails, and this is left of the last record.
    fn tear(&self, torn: Torn) {
        let file = self.disk.open(&self.segment).unwrap();
        for sector in self.from..self.upto {
            let image = if torn.keeps(sector - self.from) {
                &self.after
            } else {
                &self.before
            };
            let at = sector * SECTOR;
            file.write_at(&image[at..at + SECTOR], at as u64).unwrap();
        }
        file.sync().unwrap();
    }

    /// The outcome that a look and a start make of it, without the payloads.
    fn outcome(&self, payload: &[u8]) -> (Option<String>, Result<(u64, u64), String>) {
        let looked = inspect(&self.disk, (self.from_lsn, self.from_lsn), |_| {}).unwrap();
        let refused = looked.refused.map(|refused| refused.to_string());
        let started = open(&self.disk, 9, self.from_lsn).map(|(journal, replayed)| {
            if let Some(last) = replayed.get(&LAST) {
                assert_eq!(last, payload);
            }
            (replayed.len() as u64, journal.next_lsn().get())
        });
        (refused, started.map_err(|error| error.to_string()))
    }
}

#[test]
fn records_forged_with_the_mark_are_not_believed_wherever_the_last_one_is_torn() {
    let payloads = payloads();
    for is_used_again in [false, true] {
        let plain = Written::of_plain(is_used_again);
        let sectors = plain.upto - plain.from;
        assert!(sectors >= 4, "{sectors}");
        for torn in all_ways(sectors) {
            let plain = Written::of_plain(is_used_again);
            plain.tear(torn);
            let expected = plain.outcome(&[b'z'; BYTES]);
            assert_eq!(expected.0, None, "{torn:?}");
            for (number, payload) in payloads.iter().enumerate() {
                let old = &payloads[(number + 17) % payloads.len()];
                let written = Written::new(payload, is_used_again.then_some(old));
                written.tear(torn);
                let outcome = written.outcome(payload);
                assert_eq!(outcome, expected, "{torn:?}, payload {number}");
            }
        }
    }
}

#[test]
fn damage_before_a_forged_record_is_told_as_before_others() {
    for payload in payloads() {
        let [plain, forged] = [&[b'z'; BYTES][..], &payload].map(|payload| {
            let written = Written::new(payload, Some(payload));
            // The first of the records that are asked for, which were durable but for the last.
            let mut first = None;
            inspect(&written.disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
                if let Seen::Record {
                    segment,
                    offset,
                    lsn,
                    ..
                } = seen
                    && *lsn == written.from_lsn + 1
                {
                    first = Some(((*segment).to_owned(), *offset));
                }
            })
            .unwrap();
            let (segment, offset) = first.unwrap();
            written.disk.flip(&segment, (offset + 1_000) * 8);
            let refused = open(&written.disk, 9, written.from_lsn).err().unwrap();
            refused.to_string()
        });
        assert_eq!(plain, forged);
    }
}

#[test]
fn what_is_forged_is_read_as_it_was_appended() {
    for payload in payloads() {
        let written = Written::new(&payload, Some(&payload));
        let from_lsn = written.from_lsn;
        let (journal, replayed) = open(&written.disk, 9, from_lsn).unwrap();
        let expected: Vec<_> = (from_lsn.get() + 1..=LAST)
            .map(|lsn| (Lsn::new(lsn), payload.clone()))
            .collect();
        let replayed = replayed.into_iter();
        let replayed: Vec<_> = replayed
            .map(|(lsn, payload)| (Lsn::new(lsn), payload))
            .collect();
        assert_eq!(replayed, expected);
        assert_eq!(journal.read(from_lsn + 1, usize::MAX).unwrap(), expected);
        let mut whole = Vec::new();
        let visit = |lsn, payload: &[u8]| {
            whole.push((lsn, payload.to_vec()));
            Ok::<_, ()>(())
        };
        let mut reader = journal.reader();
        reader
            .read_what_is_whole((from_lsn + 1, Lsn::new(LAST)), visit)
            .unwrap();
        assert_eq!(whole, expected);
        let mut shown = Vec::new();
        inspect(&written.disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
            if let Seen::Record { lsn, payload, .. } = seen {
                shown.push((*lsn, payload.to_vec()));
            }
        })
        .unwrap();
        assert_eq!(shown, expected);
    }
}

/// A journal of before payloads were masked.
#[test]
fn a_record_for_which_there_is_no_room_bears_no_witness() {
    let (disk, mut journal) = {
        let disk = ModelDisk::default();
        let (journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
        (disk, journal)
    };
    journal.append(Lsn::new(1), b"durable").unwrap();
    journal.sync().unwrap();
    let end = disk.image()["00000001.seg"].len() as u64 / 2;
    let file = disk.open("00000001.seg").unwrap();
    // Record 2 stands at byte 104, the shortest one has 32.
    let last = 2 + (end - 104) / 32;
    for (lsn, is_believed) in [(last, true), (last + 1, false), (u64::MAX, false)] {
        let mut record = Vec::new();
        encode_record(
            &mut record,
            IDENTITY.mark,
            7,
            Lsn::new(lsn),
            Lsn::new(lsn - 1),
            b"",
        );
        file.write_at(&record, end).unwrap();
        let looked = inspect(&disk, (Lsn::ZERO, Lsn::ZERO), |_| {}).unwrap();
        assert_eq!(looked.refused.is_some(), is_believed, "{lsn}");
    }
}
