//! The journal of a data directory, on real files.

use std::path::Path;

use tidemill_base::number::Lsn;

use super::*;
use crate::{DirectoryDisk, Repair, Repaired, begins, inspect, open_in, repair};

type Started = (Journal<DirectoryDisk>, Vec<(u64, Vec<u8>)>);

fn start(dir: &Path, from_lsn: Lsn) -> Result<Started, JournalError> {
    let mut replayed = Vec::new();
    let journal = open_in(dir, SEGMENT_BYTES, (from_lsn, Lsn::ZERO), |lsn, payload| {
        replayed.push((lsn.get(), payload.to_vec()));
        Ok(())
    })?;
    Ok((journal, replayed))
}

/// A data directory with a journal of some segments, all durable.
fn filled(dir: &Path, records: u64) -> String {
    let (mut journal, _) = start(dir, Lsn::ZERO).unwrap();
    for lsn in journal.next_lsn().get()..=records {
        journal.append(Lsn::new(lsn), &[lsn as u8; 1000]).unwrap();
        journal.sync().unwrap();
    }
    journal.identity().to_string()
}

/// Spoils record `lsn` of a directory made by [`filled`].
fn spoil(dir: &Path, lsn: Lsn) {
    let (segment, number) = ((lsn.get() - 1) / 3 + 1, (lsn.get() - 1) % 3);
    let path = dir.join(format!("journal/{segment:08}.seg"));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[64 + 1032 * number as usize + 500] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Repairs where nothing up to `state_lsn` is asked for.
fn repair_from(dir: &Path, state_lsn: Lsn) -> Option<Repaired> {
    match repair(dir, SEGMENT_BYTES, (state_lsn, state_lsn)).unwrap() {
        Repair::Done(repaired) => Some(repaired),
        Repair::NotNeeded(_) => None,
    }
}

fn corrupt_lsn(dir: &Path, from_lsn: Lsn) -> u64 {
    match start(dir, from_lsn).err() {
        Some(JournalError::Corrupt { lsn, .. }) => lsn.get(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_journal_on_files_comes_back_with_its_identity() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    assert_eq!(begins(&dir).unwrap(), None);
    let incarnation = filled(&dir, 7);
    assert_eq!(begins(&dir).unwrap(), Some(Lsn::FIRST));
    let (mut journal, replayed) = start(&dir, Lsn::new(5)).unwrap();
    assert_eq!(replayed, [(6, vec![6; 1000]), (7, vec![7; 1000])]);
    assert_eq!(journal.identity().to_string(), incarnation);
    journal.recycle(Lsn::new(6)).unwrap();
    assert_eq!(begins(&dir).unwrap(), Some(Lsn::new(4)));
    assert_eq!(
        journal.read(Lsn::new(6), 1).unwrap(),
        [(Lsn::new(6), vec![6; 1000])]
    );
    drop(journal);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(filled(other.path(), 1), incarnation);
}

#[test]
fn a_journal_of_another_directory_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(one.path(), 4);
    filled(two.path(), 4);
    std::fs::remove_dir_all(one.path().join("journal")).unwrap();
    std::fs::rename(two.path().join("journal"), one.path().join("journal")).unwrap();
    let error = start(one.path(), Lsn::ZERO).err().unwrap();
    assert!(matches!(error, JournalError::Incarnation { .. }), "{error}");
    std::fs::remove_file(one.path().join("incarnation")).unwrap();
    let error = start(one.path(), Lsn::ZERO).err().unwrap().to_string();
    assert!(error.contains("incarnation: is missing"), "{error}");
}

#[test]
fn a_lost_journal_is_noticed_where_there_is_a_state() {
    let temp = tempfile::tempdir().unwrap();
    let incarnation = filled(temp.path(), 4);
    std::fs::remove_dir_all(temp.path().join("journal")).unwrap();
    let error = start(temp.path(), Lsn::new(4)).err().unwrap();
    assert!(
        matches!(
            error,
            JournalError::Gap { wanted, first: Lsn::FIRST } if wanted.get() == 5
        ),
        "{error}"
    );
    // Nothing was changed: put back, it is taken.
    let kept = Identity::read(temp.path()).unwrap().unwrap();
    assert_eq!(kept.to_string(), incarnation);
    // Without a state it is a new directory, with another identity.
    assert_ne!(start(temp.path(), Lsn::ZERO).unwrap().0.identity(), kept);
}

#[test]
fn a_repair_keeps_what_is_whole_and_puts_the_rest_aside() {
    let temp = tempfile::tempdir().unwrap();
    let incarnation = filled(temp.path(), 11);
    assert!(repair_from(temp.path(), Lsn::ZERO).is_none());
    spoil(temp.path(), Lsn::new(8));
    assert_eq!(corrupt_lsn(temp.path(), Lsn::new(4)), 8);
    let disk = DirectoryDisk::read_only(&temp.path().join("journal"));
    let ending = inspect(&disk, (Lsn::new(4), Lsn::ZERO), |_| {}).unwrap();
    assert_eq!(ending.next_lsn, Lsn::new(8));
    let before = std::fs::read(temp.path().join("journal/00000003.seg")).unwrap();

    let repaired = repair_from(temp.path(), Lsn::new(4)).unwrap();
    assert_eq!(
        (repaired.first_lsn, repaired.next_lsn),
        (Lsn::new(1), Lsn::new(8))
    );
    assert_ne!(repaired.incarnation, incarnation);
    let aside = temp.path().join("journal.cut-1");
    assert_eq!(repaired.put_aside, Some(aside.clone()));
    assert_eq!(std::fs::read(aside.join("00000003.seg")).unwrap(), before);

    let (journal, replayed) = start(temp.path(), Lsn::new(4)).unwrap();
    assert_eq!(journal.identity().to_string(), repaired.incarnation);
    assert_eq!(replayed.len(), 3);
    assert_eq!(
        (journal.first_lsn(), journal.next_lsn()),
        (Lsn::new(1), Lsn::new(8))
    );
    drop(journal);
    assert!(repair_from(temp.path(), Lsn::new(4)).is_none());
}

#[test]
fn a_repair_goes_on_from_the_state_where_the_journal_has_nothing_behind_it() {
    let temp = tempfile::tempdir().unwrap();
    filled(temp.path(), 11);
    spoil(temp.path(), Lsn::new(5));
    spoil(temp.path(), Lsn::new(6));
    assert_eq!(corrupt_lsn(temp.path(), Lsn::new(3)), 5);
    // The state is beyond the first damage, but within the damaged segment.
    assert_eq!(corrupt_lsn(temp.path(), Lsn::new(5)), 5);
    let repaired = repair_from(temp.path(), Lsn::new(5)).unwrap();
    assert_eq!(
        (repaired.first_lsn, repaired.next_lsn),
        (Lsn::new(1), Lsn::new(6))
    );
    assert_eq!(repaired.missing, [(Lsn::new(5), Lsn::new(5))]);
    let (mut journal, replayed) = start(temp.path(), Lsn::new(5)).unwrap();
    assert!(replayed.is_empty());
    journal.append(Lsn::new(6), b"goes on").unwrap();
    assert_eq!(journal.sync().unwrap(), Lsn::new(6));
    drop(journal);
    assert_eq!(
        start(temp.path(), Lsn::new(5)).unwrap().1,
        [(6, b"goes on".to_vec())]
    );
}

#[test]
fn a_repair_leaves_what_a_start_goes_on_with() {
    // The damaged record stands in the segment with the state's next one, or in one before; it is asked for
    // or not.
    for (from, state, lost) in [(5, 5, &[5][..]), (3, 5, &[5]), (3, 8, &[5]), (8, 8, &[])] {
        let needs = (Lsn::new(from), Lsn::new(state));
        let lost = lost.iter().map(|lsn| (Lsn::new(*lsn), Lsn::new(*lsn)));
        let lost: Vec<_> = lost.collect();
        let temp = tempfile::tempdir().unwrap();
        let incarnation = filled(temp.path(), 11);
        spoil(temp.path(), Lsn::new(5));
        match repair(temp.path(), SEGMENT_BYTES, needs).unwrap() {
            Repair::NotNeeded(found) => assert_eq!(found, lost, "{needs:?}"),
            Repair::Done(repaired) => panic!("{needs:?}: {repaired:?}"),
        }
        assert!(!temp.path().join("journal.cut-1").exists());
        let mut replayed = Vec::new();
        let journal = open_in(temp.path(), SEGMENT_BYTES, needs, |lsn, _| {
            replayed.push(lsn.get());
            Ok(())
        });
        let journal = journal.unwrap();
        assert_eq!(journal.identity().to_string(), incarnation);
        assert_eq!(
            (journal.lost(), journal.next_lsn()),
            (&lost[..], Lsn::new(12))
        );
        let whole = (from + 1..=11).filter(|lsn| *lsn != 5);
        assert_eq!(replayed, whole.collect::<Vec<_>>());
    }
}

#[test]
fn a_repair_drops_what_is_damaged_before_what_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    filled(temp.path(), 11);
    spoil(temp.path(), Lsn::new(5));
    spoil(temp.path(), Lsn::new(10));
    let repaired = repair_from(temp.path(), Lsn::new(8)).unwrap();
    assert_eq!(
        (repaired.first_lsn, repaired.next_lsn),
        (Lsn::new(7), Lsn::new(10))
    );
}

#[test]
fn a_repair_keeps_what_stands_behind_a_hole_before_the_state() {
    // Records 4 to 8 serve rows that wait; 5 cannot be read, and for 10 a start is refused.
    let needs = (Lsn::new(3), Lsn::new(8));
    let temp = tempfile::tempdir().unwrap();
    filled(temp.path(), 11);
    spoil(temp.path(), Lsn::new(5));
    spoil(temp.path(), Lsn::new(10));
    let open = || {
        let mut replayed = Vec::new();
        let opened = open_in(temp.path(), SEGMENT_BYTES, needs, |lsn, payload| {
            assert_eq!(payload, [lsn.get() as u8; 1000]);
            replayed.push(lsn.get());
            Ok(())
        });
        opened.map(|journal| (journal, replayed))
    };
    assert!(matches!(
        open().err(),
        Some(JournalError::Corrupt { lsn, .. }) if lsn.get() == 10
    ));
    let repaired = repair(temp.path(), SEGMENT_BYTES, needs).unwrap();
    let Repair::Done(repaired) = repaired else {
        panic!("{repaired:?}");
    };
    assert_eq!(
        (repaired.first_lsn, repaired.next_lsn),
        (Lsn::new(1), Lsn::new(10))
    );
    assert_eq!(repaired.missing, [(Lsn::new(5), Lsn::new(5))]);
    for _ in 0..2 {
        let (journal, replayed) = open().unwrap();
        assert_eq!(replayed, [4, 6, 7, 8, 9]);
        assert_eq!(
            (journal.lost(), journal.next_lsn()),
            (&[(Lsn::new(5), Lsn::new(5))][..], Lsn::new(10))
        );
    }
}

#[test]
fn a_repair_keeps_rows_where_the_journal_ends_before_the_state() {
    // The state holds records that the journal has lost at its end.
    for (from, replayed_then) in [(1, vec![2, 3, 4, 5, 6]), (6, vec![])] {
        let needs = (Lsn::new(from), Lsn::new(9));
        let temp = tempfile::tempdir().unwrap();
        filled(temp.path(), 9);
        for lsn in 7..=9 {
            spoil(temp.path(), Lsn::new(lsn));
        }
        let repaired = repair(temp.path(), SEGMENT_BYTES, needs).unwrap();
        let Repair::Done(repaired) = repaired else {
            panic!("{repaired:?}");
        };
        assert_eq!(
            (repaired.next_lsn, &repaired.missing[..]),
            (Lsn::new(10), &[(Lsn::new(7), Lsn::new(9))][..])
        );
        let mut last = 9;
        for _ in 0..3 {
            let mut replayed = Vec::new();
            let journal = open_in(temp.path(), SEGMENT_BYTES, needs, |lsn, _| {
                replayed.push(lsn.get());
                Ok(())
            });
            let mut journal = journal.unwrap();
            let mut expected = replayed_then.clone();
            expected.extend(10..=last);
            assert_eq!(replayed, expected);
            last += 1;
            journal.append(Lsn::new(last), &[1; 1000]).unwrap();
            journal.sync().unwrap();
        }
    }
}

#[test]
fn an_interrupted_repair_is_finished_by_the_next_one() {
    for steps_done in 0..3 {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        filled(dir, 11);
        spoil(dir, Lsn::new(8));
        let old = dir.join("journal");
        let copy = dir.join("old");
        std::fs::create_dir(&copy).unwrap();
        for entry in std::fs::read_dir(&old).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        let repaired = repair_from(dir, Lsn::ZERO).unwrap();
        // Back to where the power may have failed.
        std::fs::rename(&old, dir.join("journal.new")).unwrap();
        if steps_done < 2 {
            Identity::draw().unwrap().write(dir).unwrap();
        }
        if steps_done < 1 {
            std::fs::rename(&copy, &old).unwrap();
            std::fs::remove_dir_all(dir.join("journal.cut-1")).unwrap();
        }
        let refused = start(dir, Lsn::ZERO).err().unwrap();
        assert!(
            matches!(refused, JournalError::RepairUnfinished(_)),
            "{refused}"
        );
        let finished = repair_from(dir, Lsn::ZERO).unwrap();
        assert_eq!(finished.incarnation, repaired.incarnation);
        assert!(dir.join("journal.cut-1").exists());
        assert_eq!(start(dir, Lsn::ZERO).unwrap().1.len(), 7);
    }
}
