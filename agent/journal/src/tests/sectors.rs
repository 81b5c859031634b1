//! Sectors that cannot be read any more where nobody needs what stands in them: in a segment that is given
//! up, in one that is used again, behind the end of the chain.

use tidemill_base::number::Lsn;

use super::damage::segments;
use super::*;
use crate::SegmentState;

const SECTOR: u64 = 512;

/// A journal of so many records, all of them durable.
fn filled(disk: &ModelDisk, records: u64) -> Journal<ModelDisk> {
    let (mut journal, _) = open(disk, 1, Lsn::ZERO).unwrap();
    append(&mut journal, records, 300);
    journal
}

/// Appends so many records, each durable before the next.
fn append(journal: &mut Journal<ModelDisk>, records: u64, bytes: usize) {
    for _ in 0..records {
        let lsn = journal.next_lsn();
        journal.append(lsn, &vec![lsn.get() as u8; bytes]).unwrap();
        journal.sync().unwrap();
    }
}

fn spares(disk: &ModelDisk) -> Vec<String> {
    let spares = segments(disk).into_iter();
    let spares = spares.filter(|(_, state)| *state == SegmentState::Spare);
    spares.map(|(name, _)| name).collect()
}

/// All records from `from_lsn` + 1 to the one before `next_lsn` come back.
fn check(disk: &ModelDisk, salt: u64, from_lsn: Lsn, next_lsn: Lsn) -> Journal<ModelDisk> {
    let (journal, replayed) = open(disk, salt, from_lsn).unwrap();
    assert!(
        replayed
            .keys()
            .copied()
            .eq(from_lsn.get() + 1..next_lsn.get())
    );
    let is_own = |(lsn, payload): (&u64, &Vec<u8>)| payload.iter().all(|it| *it == *lsn as u8);
    assert!(replayed.iter().all(is_own));
    journal
}

#[test]
fn a_segment_that_cannot_all_be_read_is_removed_when_it_is_given_up() {
    for sector in 0..SEGMENT_BYTES / SECTOR {
        let disk = ModelDisk::default();
        let mut journal = filled(&disk, 60);
        let oldest = segments(&disk).remove(0).0;
        disk.lose_sector(&oldest, sector * SECTOR);
        journal.recycle(Lsn::new(30)).unwrap();
        assert!(journal.first_lsn() > Lsn::new(1));
        assert!(!disk.image().contains_key(&oldest), "sector {sector}");
        assert!(!spares(&disk).is_empty());
        append(&mut journal, 60, 300);
        drop(journal);
        disk.crash(sector);
        check(&disk, 2, Lsn::new(59), Lsn::new(121));
    }
}

#[test]
fn a_sector_lost_in_a_segment_that_waits_to_be_used_costs_no_record_and_no_start() {
    for sector in 0..SEGMENT_BYTES / SECTOR {
        for bytes in [8, 200, 450, 480, 1_000, 3_000] {
            for is_killed in [false, true] {
                let disk = ModelDisk::default();
                let mut journal = filled(&disk, 60);
                journal.recycle(Lsn::new(30)).unwrap();
                let waiting = spares(&disk);
                assert_eq!(waiting.len(), 2);
                for name in &waiting {
                    disk.lose_sector(name, sector * SECTOR);
                }
                // All of them are written over, whatever that takes.
                append(&mut journal, 3 * SEGMENT_BYTES / (bytes as u64 + 32), bytes);
                let next_lsn = journal.next_lsn();
                journal.recycle(Lsn::new(59)).unwrap();
                drop(journal);
                if is_killed {
                    disk.kill(sector);
                } else {
                    disk.crash(sector);
                }
                let mut journal = check(&disk, 2, Lsn::new(59), next_lsn);
                append(&mut journal, 20, bytes);
                let from_lsn = journal.first_lsn() - 1;
                drop(journal);
                check(&disk, 3, from_lsn, next_lsn + 20);
            }
        }
    }
}

#[test]
fn what_cannot_be_read_behind_the_end_stops_no_start_and_is_not_written_over() {
    // A new segment, and one that was used before.
    for is_used_again in [false, true] {
        for sector in 0..SEGMENT_BYTES / SECTOR {
            let disk = ModelDisk::default();
            let mut journal = filled(&disk, 60);
            if is_used_again {
                journal.recycle(Lsn::new(30)).unwrap();
            }
            let known: Vec<String> = in_use(&disk);
            while in_use(&disk).iter().all(|name| known.contains(name)) {
                append(&mut journal, 1, 300);
            }
            append(&mut journal, 1, 300);
            let next_lsn = journal.next_lsn();
            let bytes = journal.bytes() % SEGMENT_BYTES;
            drop(journal);
            let newest = in_use(&disk).into_iter().find(|it| !known.contains(it));
            disk.lose_sector(&newest.unwrap(), sector * SECTOR);
            if sector * SECTOR < bytes + 32 {
                // The records, or the place where the next one would begin.
                assert!(open(&disk, 2, Lsn::new(45)).is_err(), "sector {sector}");
                continue;
            }
            let mut journal = check(&disk, 2, Lsn::new(45), next_lsn);
            append(&mut journal, 40, 300);
            drop(journal);
            disk.crash(sector);
            let mut journal = check(&disk, 3, Lsn::new(45), next_lsn + 40);
            append(&mut journal, 1, 300);
        }
    }
}

fn in_use(disk: &ModelDisk) -> Vec<String> {
    let is_in_use = |state: &SegmentState| matches!(state, SegmentState::InUse { .. });
    let segments = segments(disk).into_iter();
    let in_use = segments.filter(|(_, state)| is_in_use(state));
    in_use.map(|(name, _)| name).collect()
}

#[test]
fn a_write_that_fails_goes_into_the_next_segment_and_counts_once() {
    for writes in 0..30 {
        let disk = ModelDisk::default();
        let mut journal = filled(&disk, 60);
        journal.recycle(Lsn::new(30)).unwrap();
        disk.fail_write_after(writes);
        append(&mut journal, 40, 700);
        drop(journal);
        disk.crash(writes);
        let mut journal = check(&disk, 2, Lsn::new(59), Lsn::new(101));
        append(&mut journal, 1, 700);
    }
}
