//! Records that count only together, of which the last is missing.

use super::*;
use crate::Replayed;

/// Opens a journal in which a payload that begins with `b` is the beginning of something.
fn open_groups(disk: &ModelDisk, salt: u64) -> Result<(Journal<ModelDisk>, Records), JournalError> {
    let mut replayed = BTreeMap::new();
    let journal = Journal::open(disk.clone(), settings(salt), Lsn::ZERO, |lsn, payload| {
        replayed.insert(lsn.get(), payload.to_vec());
        Ok(if payload.starts_with(b"b") {
            Replayed::Begun
        } else {
            Replayed::Whole
        })
    })?;
    Ok((journal, replayed))
}

/// A journal of three records and of a group that found no room for its end, on a disk of five segments.
fn begun(disk: &ModelDisk, bytes: usize) -> u64 {
    disk.set_room(Some(5));
    let (mut journal, _) = open_groups(disk, 1).unwrap();
    for lsn in 1..=3 {
        journal.append(Lsn::new(lsn), b"whole").unwrap();
        journal.sync().unwrap();
    }
    let part = vec![b'b'; bytes];
    for lsn in 4.. {
        match journal.append(Lsn::new(lsn), &part) {
            Ok(()) => drop(journal.sync().unwrap()),
            Err(error) => {
                assert!(error.is_stall(), "{error}");
                return lsn - 4;
            }
        }
    }
    unreachable!()
}

#[test]
fn a_group_without_its_end_is_cut_off_and_its_room_is_there_again() {
    // One that fills a segment, one that begins in the segment in use, and several in each.
    for bytes in [3_900, 2_000, 700, 100] {
        let disk = ModelDisk::default();
        let parts = begun(&disk, bytes);
        assert!(parts >= 3, "{parts}");
        disk.kill(7);
        let (mut journal, replayed) = open_groups(&disk, 2).unwrap();
        assert_eq!(replayed.len() as u64, 3 + parts, "{bytes}");
        assert_eq!(
            (journal.next_lsn(), journal.durable_lsn()),
            (Lsn::new(4), Lsn::new(3))
        );
        // As much finds room as before, and a group with its end stays.
        for lsn in 4..=3 + parts {
            let kind = if lsn == 3 + parts { b'w' } else { b'b' };
            journal.append(Lsn::new(lsn), &vec![kind; bytes]).unwrap();
            journal.sync().unwrap();
        }
        disk.crash(8);
        let (journal, replayed) = open_groups(&disk, 3).unwrap();
        assert_eq!(
            (journal.next_lsn(), replayed.len() as u64),
            (Lsn::new(4 + parts), 3 + parts)
        );
    }
}

#[test]
fn a_start_that_is_interrupted_while_it_cuts_is_finished_by_the_next() {
    for bytes in [3_900, 2_000, 700] {
        for operations in 0.. {
            let disk = ModelDisk::default();
            begun(&disk, bytes);
            disk.kill(operations);
            disk.die_after(operations);
            let is_whole = open_groups(&disk, 2).is_ok();
            if operations % 2 == 0 {
                disk.crash(operations);
            } else {
                disk.kill(operations);
            }
            let opened = open_groups(&disk, 3);
            let (mut journal, _) = opened.unwrap_or_else(|error| {
                panic!("{bytes} bytes, dead after {operations} operations: {error}")
            });
            assert_eq!(
                journal.next_lsn(),
                Lsn::new(4),
                "dead after {operations} operations"
            );
            journal.append(Lsn::new(4), b"whole").unwrap();
            journal.sync().unwrap();
            drop(journal);
            disk.crash(operations + 1);
            let (journal, replayed) = open_groups(&disk, 4).unwrap();
            let expected = (1..=4).map(|lsn| (lsn, b"whole".to_vec()));
            assert_eq!(replayed, expected.collect());
            assert_eq!(journal.next_lsn(), Lsn::new(5));
            if is_whole {
                break;
            }
        }
    }
}
