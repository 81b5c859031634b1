//! Damage is told with its place, whatever it hits; only what nobody knows to have been durable is cut.

use tidemill_base::number::Lsn;

use super::*;
use crate::{Disk, Ending, SalvageError, Seen, SegmentState, inspect, replay_leniently};

/// Position of a record.
#[derive(Debug, Clone)]
struct At {
    segment: String,
    offset: u64,
    lsn: Lsn,
    payload: u64,
}

/// A journal of a few segments, all of it durable; the last record says so of those before.
fn journal(seed: u64) -> (ModelDisk, Vec<At>) {
    let (disk, mut random) = (ModelDisk::default(), Random::new(seed));
    let (mut journal, _) = open(&disk, seed, Lsn::ZERO).unwrap();
    for lsn in 1..40 {
        journal
            .append(Lsn::new(lsn), &payload(&mut random, Lsn::new(lsn)))
            .unwrap();
        if random.one_in(3) {
            journal.sync().unwrap();
        }
    }
    journal.sync().unwrap();
    journal.append(Lsn::new(40), b"last").unwrap();
    journal.sync().unwrap();
    (disk.clone(), records(&disk))
}

fn records(disk: &ModelDisk) -> Vec<At> {
    let mut records = Vec::new();
    let ending = inspect(disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
        if let Seen::Record {
            segment,
            offset,
            lsn,
            payload,
            ..
        } = seen
        {
            records.push(At {
                segment: (*segment).to_owned(),
                offset: *offset,
                lsn: *lsn,
                payload: payload.len() as u64,
            });
        }
    });
    assert!(ending.unwrap().refused.is_none());
    records
}

pub(super) fn segments(disk: &ModelDisk) -> Vec<(String, SegmentState)> {
    let mut segments = Vec::new();
    inspect(disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
        if let Seen::Segment { name, state, .. } = seen {
            segments.push(((*name).to_owned(), *state));
        }
    })
    .unwrap();
    segments
}

fn refusal(disk: &ModelDisk, from_lsn: Lsn) -> JournalError {
    let image = disk.image();
    let error = open(disk, 7, from_lsn).err().expect("a refusal");
    assert_eq!(disk.image(), image, "a refused journal is left as it was");
    error
}

#[test]
fn a_flipped_bit_in_a_durable_record_is_told_with_its_place() {
    with_seeds(100, |seed| {
        let (disk, records) = journal(seed);
        let mut random = Random::new(seed);
        for _ in 0..10 {
            // The last record has nobody who says that it was durable.
            let at = &records[random.below(records.len() as u64 - 1) as usize];
            let bit = at.offset * 8 + random.below((32 + at.payload) * 8);
            disk.flip(&at.segment, bit);
            match refusal(&disk, Lsn::ZERO) {
                JournalError::Corrupt {
                    segment,
                    offset,
                    lsn,
                    ..
                } => assert_eq!(
                    (segment, offset, lsn),
                    (at.segment.clone(), at.offset, at.lsn)
                ),
                other => panic!("{other}"),
            }
            disk.flip(&at.segment, bit);
        }
        open(&disk, 7, Lsn::ZERO).unwrap();
    });
}

#[test]
fn a_flipped_bit_in_a_header_is_told_with_its_place() {
    with_seeds(30, |seed| {
        let (disk, records) = journal(seed);
        let in_use = segments(&disk);
        for (name, state) in in_use {
            let bit = Random::new(seed).below(64 * 8);
            disk.flip(&name, bit);
            match state {
                SegmentState::InUse { first_lsn } => match refusal(&disk, Lsn::ZERO) {
                    JournalError::Corrupt {
                        segment,
                        offset,
                        lsn,
                        ..
                    } => {
                        assert_eq!((segment.as_str(), offset, lsn), (&*name, 0, first_lsn));
                    }
                    other => panic!("{other}"),
                },
                // A spare holds nothing that could be lost.
                _ => assert_eq!(open(&disk, 7, Lsn::ZERO).unwrap().1.len(), records.len()),
            }
            disk.flip(&name, bit);
        }
    });
}

#[test]
fn a_header_in_the_middle_is_missed_also_where_the_state_is_beyond_it() {
    let (disk, records) = journal(3);
    let (name, first_lsn) = segments(&disk)
        .into_iter()
        .find_map(|(name, state)| match state {
            SegmentState::InUse { first_lsn } if first_lsn > Lsn::new(1) => Some((name, first_lsn)),
            _ => None,
        })
        .unwrap();
    let last = records.last().unwrap().lsn;
    disk.flip(&name, 100);
    assert!(matches!(
        refusal(&disk, last),
        JournalError::Corrupt { segment, offset: 0, lsn, .. } if segment == name && lsn == first_lsn
    ));
}

#[test]
fn a_flipped_bit_before_the_state_is_told_when_it_is_read() {
    let (disk, records) = journal(5);
    let (damaged, last) = (&records[2], records.last().unwrap());
    disk.flip(&damaged.segment, damaged.offset * 8 + 3);
    let (journal, replayed) = open(&disk, 7, last.lsn - 1).unwrap();
    assert_eq!(replayed.len(), 1);
    assert_eq!(journal.first_lsn(), Lsn::new(1));
    assert_eq!(
        journal
            .read(Lsn::new(4), usize::MAX)
            .err()
            .map(|e| e.to_string()),
        journal.read(Lsn::new(3), 1).err().map(|e| e.to_string())
    );
    assert!(matches!(
        journal.read(Lsn::new(3), 1).unwrap_err(),
        JournalError::Corrupt { offset, lsn, .. } if (offset, lsn.get()) == (damaged.offset, 3)
    ));
}

#[test]
fn a_journal_that_does_not_fit_the_state_is_refused() {
    let (disk, records) = journal(1);
    let last = records.last().unwrap().lsn;
    // It ends before the state.
    assert!(matches!(
        refusal(&disk, last + 1),
        JournalError::Corrupt { lsn, .. } if lsn == last + 1
    ));
    assert_eq!(open(&disk, 7, last).unwrap().1.len(), 0);
    // It begins behind the state.
    let (mut journal, _) = open(&disk, 8, Lsn::ZERO).unwrap();
    journal.recycle(last).unwrap();
    let first = journal.first_lsn();
    assert!(first > Lsn::new(1));
    drop(journal);
    assert!(matches!(
        refusal(&disk, Lsn::ZERO),
        JournalError::Gap { wanted, first: begins } if (wanted, begins) == (Lsn::FIRST, first)
    ));
    assert!(matches!(
        refusal(&disk, first - 2),
        JournalError::Gap { wanted, .. } if wanted == first - 1
    ));
    assert!(open(&disk, 8, first - 1).is_ok());
    // It is not there.
    assert!(matches!(
        refusal(&ModelDisk::default(), Lsn::new(5)),
        JournalError::Gap { wanted, first: Lsn::FIRST } if wanted.get() == 6
    ));
}

#[test]
fn a_missing_segment_is_told() {
    with_seeds(20, |seed| {
        let (disk, records) = journal(seed);
        let victim = records[Random::new(seed).below(38) as usize]
            .segment
            .clone();
        if victim == records.last().unwrap().segment {
            return;
        }
        disk.remove(&victim).unwrap();
        let error = refusal(&disk, Lsn::ZERO);
        assert!(
            matches!(
                error,
                JournalError::Corrupt { .. } | JournalError::Gap { .. }
            ),
            "{error}"
        );
    });
}

#[test]
fn another_identity_or_format_is_refused() {
    let (disk, _) = journal(2);
    let mut other = settings(1);
    other.identity.incarnation[0] ^= 1;
    let error = Journal::open(disk.clone(), other, Lsn::ZERO, |_, _| Ok(()))
        .err()
        .unwrap();
    assert!(matches!(error, JournalError::Incarnation { .. }), "{error}");
    // A newer format: another version byte, and a checksum that is right where that version has it.
    disk.flip("00000001.seg", 8 * 8 + 1);
    disk.flip("00000001.seg", 63 * 8);
    let error = refusal(&disk, Lsn::ZERO);
    assert!(
        matches!(error, JournalError::Format { found: 3, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("has format 3, this version reads format 1")
    );
}

#[test]
fn what_a_function_cannot_use_is_told_with_its_lsn() {
    let (disk, _) = journal(4);
    let refused = Journal::open(disk, settings(1), Lsn::ZERO, |lsn, _| match lsn.get() {
        3 => Err("it is from next year".into()),
        _ => Ok(()),
    });
    assert_eq!(
        refused.err().unwrap().to_string(),
        "record 3 of the journal cannot be used: it is from next year"
    );
}

/// A payload that looks like a record which says that everything was durable.
#[test]
fn no_payload_passes_for_a_record() {
    let mut forged = Vec::new();
    let mark = IDENTITY.mark ^ 1;
    crate::format::encode_record(
        &mut forged,
        mark,
        0,
        Lsn::new(u64::MAX),
        Lsn::new(u64::MAX - 1),
        b"",
    );
    with_seeds(50, |seed| {
        let disk = ModelDisk::default();
        let (mut journal, _) = open(&disk, seed, Lsn::ZERO).unwrap();
        journal.append(Lsn::new(1), b"durable").unwrap();
        journal.sync().unwrap();
        journal.append(Lsn::new(2), &forged.repeat(50)).unwrap();
        disk.crash(seed);
        let (_, replayed) = open(&disk, seed + 1, Lsn::ZERO).unwrap();
        assert!(!replayed.is_empty());
    });
}

#[test]
fn inspect_says_where_a_chain_ends_and_changes_nothing() {
    let (disk, records) = journal(6);
    let damaged = &records[5];
    disk.flip(&damaged.segment, (damaged.offset + 4) * 8);
    let image = disk.image();
    let mut ends = Vec::new();
    let ending: Ending = inspect(&disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
        if let Seen::End {
            segment,
            offset,
            why,
            ..
        } = seen
        {
            ends.push(((*segment).to_owned(), *offset, *why));
        }
    })
    .unwrap();
    assert_eq!(disk.image(), image);
    assert!(ends.iter().any(|(segment, offset, why)| {
        (segment, *offset) == (&damaged.segment, damaged.offset) && *why == crate::Why::Broken
    }));
    assert_eq!(ending.next_lsn, damaged.lsn);
    assert!(matches!(ending.refused, Some(JournalError::Corrupt { .. })));
}

#[test]
fn inspect_shows_what_follows_a_record_that_cannot_be_read() {
    for lsn in [1, 20, 40] {
        let (disk, segment, offset) = sixty_records(Lsn::new(lsn));
        disk.flip(&segment, (offset + 100) * 8);
        let (mut shown, mut ends) = (Vec::new(), Vec::new());
        let ending = inspect(&disk, (Lsn::ZERO, Lsn::new(60)), |seen| match seen {
            Seen::Record { lsn, .. } => shown.push(lsn.get()),
            Seen::End { next_lsn, .. } => ends.push(*next_lsn),
            Seen::Segment { .. } => {}
        });
        let ending = ending.unwrap();
        let others = || (1..=60).filter(|at| *at != lsn);
        assert_eq!(shown, others().collect::<Vec<_>>());
        assert!(ends.contains(&Lsn::new(lsn)), "{ends:?}");
        assert!(ending.refused.is_none() && ending.has_lost_rows);
        // Whoever looks at the state reads the same records.
        let mut replayed = Vec::new();
        let needs = (Lsn::ZERO, Lsn::new(45));
        let ending = replay_leniently(&disk, needs, |lsn, _| {
            replayed.push(lsn.get());
            Ok(())
        });
        assert!(ending.unwrap().refused.is_none());
        assert_eq!(replayed, others().collect::<Vec<_>>());
    }
}

/// A way to lose something on the disk.
type Loss = fn(&ModelDisk, &str, u64);

/// Opens a journal where everything up to `state_lsn` stands in the state: what was replayed, and what is lost.
fn open_with_state(
    disk: &ModelDisk,
    state_lsn: Lsn,
) -> Result<(Journal<ModelDisk>, Vec<u64>), JournalError> {
    let settings = Settings {
        state_lsn,
        ..settings(9)
    };
    let mut replayed = Vec::new();
    let journal = Journal::open(disk.clone(), settings, Lsn::ZERO, |lsn, _| {
        replayed.push(lsn.get());
        Ok(())
    })?;
    Ok((journal, replayed))
}

/// A journal of sixty records in several segments, and where record number `lsn` stands.
fn sixty_records(lsn: Lsn) -> (ModelDisk, String, u64) {
    let disk = ModelDisk::default();
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    for lsn in 1..=60 {
        journal.append(Lsn::new(lsn), &[lsn as u8; 300]).unwrap();
        journal.sync().unwrap();
    }
    drop(journal);
    let mut place = None;
    inspect(&disk, (Lsn::ZERO, Lsn::ZERO), |seen| {
        if let Seen::Record {
            segment,
            offset,
            lsn: at,
            ..
        } = seen
            && *at == lsn
        {
            place = Some(((*segment).to_owned(), *offset));
        }
    })
    .unwrap();
    let (segment, offset) = place.unwrap();
    (disk, segment, offset)
}

const FLIPPED: Loss = |disk, segment, offset| disk.flip(segment, (offset + 100) * 8);
const UNREADABLE: Loss = |disk, segment, offset| disk.lose_sector(segment, offset + 100);
const HEADER: Loss = |disk, segment, _| disk.lose_sector(segment, 0);
const FLIPPED_HEADER: Loss = |disk, segment, _| disk.flip(segment, 33 * 8);

#[test]
fn a_record_that_only_waiting_rows_needed_is_gone_on_without() {
    for (loss, most) in [
        (FLIPPED, 1),
        (UNREADABLE, 3),
        (HEADER, 12),
        (FLIPPED_HEADER, 12),
    ] {
        // Whoever needs it for the state is refused.
        let (disk, segment, offset) = sixty_records(Lsn::new(20));
        loss(&disk, &segment, offset);
        assert!(open_with_state(&disk, Lsn::ZERO).is_err());
        let (mut journal, replayed) = open_with_state(&disk, Lsn::new(40)).unwrap();
        let lost: Vec<u64> = journal
            .lost()
            .iter()
            .flat_map(|(a, b)| a.get()..=b.get())
            .collect();
        assert!(lost.contains(&20) && lost.len() <= most, "{lost:?}");
        let mut all = [&replayed[..], &lost].concat();
        all.sort_unstable();
        assert_eq!(all, (1..=60).collect::<Vec<_>>());
        // It goes on, and what is whole is found again.
        journal.append(Lsn::new(61), &[61; 300]).unwrap();
        journal.sync().unwrap();
        let mut found = Vec::new();
        let mut reader = journal.reader();
        let read = reader.read_what_is_whole((Lsn::new(5), Lsn::new(61)), |lsn, payload| {
            assert_eq!(payload, [lsn.get() as u8; 300]);
            found.push(lsn.get());
            Ok::<_, ()>(())
        });
        read.unwrap();
        let expected = (5..=61).filter(|lsn| !lost.contains(lsn));
        assert_eq!(found, expected.collect::<Vec<_>>());
        // And once more after a restart, with what was given up meanwhile.
        drop(reader);
        journal.recycle(Lsn::new(45)).unwrap();
        drop(journal);
        let (journal, replayed) = open_with_state(&disk, Lsn::new(50)).unwrap();
        assert_eq!(journal.next_lsn(), Lsn::new(62));
        assert!(replayed.contains(&61) && replayed.first() > Some(&25));
    }
}

#[test]
fn a_header_lost_before_all_that_is_asked_for_is_gone_on_without() {
    for loss in [HEADER, FLIPPED_HEADER] {
        let (disk, segment, offset) = sixty_records(Lsn::new(20));
        loss(&disk, &segment, offset);
        let start = || {
            let settings = Settings {
                state_lsn: Lsn::new(50),
                ..settings(9)
            };
            let mut replayed = Vec::new();
            let journal = Journal::open(disk.clone(), settings, Lsn::new(44), |lsn, _| {
                replayed.push(lsn.get());
                Ok(())
            });
            (journal.unwrap(), replayed)
        };
        // Its rows are gone, and it was not given up yet.
        let (mut journal, replayed) = start();
        assert_eq!(replayed, (45..=60).collect::<Vec<_>>());
        journal.append(Lsn::new(61), &[61; 300]).unwrap();
        journal.sync().unwrap();
        journal.recycle(Lsn::new(45)).unwrap();
        drop(journal);
        assert_eq!(start().0.next_lsn(), Lsn::new(62));
    }
}

#[test]
fn a_segment_that_cannot_be_opened_for_a_while_does_not_count_as_lost() {
    let (disk, segment, _) = sixty_records(Lsn::new(20));
    let (journal, _) = open_with_state(&disk, Lsn::new(40)).unwrap();
    let mut reader = journal.reader();
    let mut read = || {
        let mut found = Vec::new();
        let read = reader.read_what_is_whole((Lsn::new(1), Lsn::new(60)), |lsn, _| {
            found.push(lsn.get());
            Ok::<_, ()>(())
        });
        (found, read)
    };
    let all: Vec<u64> = (1..=60).collect();
    disk.set_unopenable(Some(&segment));
    let (others, failed) = read();
    assert!(matches!(failed, Err(SalvageError::Unopened(_))));
    assert!(!others.contains(&20) && others.first() == Some(&1) && others.last() == Some(&60));
    disk.set_unopenable(None);
    // It opens, but its length cannot be told.
    disk.die_after(0);
    let (none, failed) = read();
    assert!(none.is_empty() && matches!(failed, Err(SalvageError::Unopened(_))));
    disk.die_after(u64::MAX);
    let (found, whole) = read();
    whole.unwrap();
    assert_eq!(found, all);
    // One that is gone has nothing to tell: asking again would not help.
    disk.remove(&segment).unwrap();
    let (found, whole) = read();
    whole.unwrap();
    assert_eq!(found, others);
}

#[test]
fn a_record_that_the_state_needs_is_never_gone_on_without() {
    for loss in [FLIPPED, UNREADABLE] {
        for lsn in [41, 50, 59] {
            let (disk, segment, offset) = sixty_records(Lsn::new(lsn));
            let before = disk.image();
            loss(&disk, &segment, offset);
            assert!(open_with_state(&disk, Lsn::new(40)).is_err(), "{lsn}");
            if loss as usize == UNREADABLE as usize {
                assert_eq!(disk.image(), before, "nothing was changed");
            }
        }
    }
}

#[test]
fn an_unreadable_newest_segment_does_not_pass_for_the_end() {
    let disk = ModelDisk::default();
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    let mut lsn = 0;
    let mut append = |journal: &mut Journal<ModelDisk>| {
        lsn += 1;
        journal.append(Lsn::new(lsn), &[lsn as u8; 300]).unwrap();
        journal.sync().unwrap();
        lsn
    };
    while append(&mut journal) < 60 {}
    journal.recycle(Lsn::new(45)).unwrap();
    // The next record goes into a segment that was used before.
    let spare = |name: &str| {
        let spares = segments(&disk).into_iter();
        let mut spares = spares.filter(|(_, state)| matches!(state, SegmentState::Spare));
        spares.any(|(spare, _)| spare == name)
    };
    let before: Vec<String> = disk
        .image()
        .into_keys()
        .filter(|name| spare(name))
        .collect();
    assert!(!before.is_empty());
    let taken = || before.iter().find(|name| !spare(name));
    while taken().is_none() {
        append(&mut journal);
    }
    let last = append(&mut journal);
    drop(journal);
    let newest = taken().unwrap().clone();
    // The page with its header and all that was written into it since; what it held before is whole.
    for sector in 0..3 {
        disk.lose_sector(&newest, sector * 512);
    }
    let image = disk.image();
    for state_lsn in [50, last - 2] {
        let settings = Settings {
            state_lsn: Lsn::new(state_lsn),
            ..settings(9)
        };
        let opened = Journal::open(disk.clone(), settings, Lsn::new(44), |_, _| Ok(()));
        let error = opened.err().map(|error| error.to_string());
        let error = error.expect("a refusal");
        assert!(error.contains(&newest), "{error}");
    }
    assert_eq!(disk.image(), image, "nothing was changed");
}
