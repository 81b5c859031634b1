//! A full disk is a stall, a failed one the end; segments come and go.

use tidemill_base::number::Lsn;

use super::*;

#[test]
fn a_full_disk_is_a_stall_that_ends_when_there_is_room() {
    let disk = ModelDisk::default();
    disk.set_room(Some(1));
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    let mut lsn = 1;
    let full = loop {
        match journal.append(Lsn::new(lsn), &[7; 500]) {
            Ok(()) => lsn += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_stall(), "{full}");
    assert_eq!(journal.sync().unwrap(), Lsn::new(lsn - 1));
    assert!(journal.prepare_spare().unwrap_err().is_stall());
    assert!(
        journal
            .append(Lsn::new(lsn), &[7; 500])
            .unwrap_err()
            .is_stall()
    );
    // The disk does not matter to a record that still fits into the segment.
    journal.append(Lsn::new(lsn), b"small").unwrap();
    disk.set_room(None);
    journal.append(Lsn::new(lsn + 1), &[7; 500]).unwrap();
    assert_eq!(journal.sync().unwrap(), Lsn::new(lsn + 1));
    assert_eq!(open(&disk, 2, Lsn::ZERO).unwrap().1.len() as u64, lsn + 1);
}

#[test]
fn a_journal_opens_on_a_full_disk() {
    let disk = ModelDisk::default();
    disk.set_room(Some(0));
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    assert!(journal.append(Lsn::new(1), b"x").unwrap_err().is_stall());
    disk.set_room(Some(1));
    journal.append(Lsn::new(1), b"x").unwrap();
    assert_eq!(journal.sync().unwrap(), Lsn::new(1));
}

#[test]
fn nothing_is_written_after_a_failure() {
    for fault in [(|disk| disk.fail_next_sync(3)) as fn(&ModelDisk), |disk| {
        disk.protect_from_writing()
    }] {
        let disk = ModelDisk::default();
        let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
        journal.append(Lsn::new(1), b"one").unwrap();
        journal.sync().unwrap();
        fault(&disk);
        let failed = journal
            .append(Lsn::new(2), b"two")
            .and_then(|()| journal.sync());
        assert!(matches!(failed, Err(JournalError::Failed { .. })));
        let image = disk.image();
        let next = journal.next_lsn();
        for outcome in [
            journal.append(next, b"three"),
            journal.sync().map(drop),
            journal.recycle(Lsn::new(9)),
            journal.prepare_spare(),
        ] {
            assert!(matches!(outcome, Err(JournalError::FailedBefore)));
        }
        assert_eq!(disk.image(), image);
        assert_eq!(journal.durable_lsn(), Lsn::new(1));
    }
}

#[test]
fn a_record_longer_than_a_segment_is_refused_and_the_longest_fits() {
    let disk = ModelDisk::default();
    let (mut journal, _) = open(&disk, 1, Lsn::ZERO).unwrap();
    let longest = journal.record_bytes_max();
    assert_eq!(longest, 4096 - 64 - 32);
    let error = journal
        .append(Lsn::new(1), &vec![1; longest + 1])
        .unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { max, .. } if max == longest));
    journal.append(Lsn::new(1), &vec![1; longest]).unwrap();
    journal.append(Lsn::new(2), &vec![2; longest]).unwrap();
    journal.append(Lsn::new(3), b"").unwrap();
    journal.sync().unwrap();
    let (_, replayed) = open(&disk, 2, Lsn::ZERO).unwrap();
    assert_eq!(
        replayed.values().map(Vec::len).collect::<Vec<_>>(),
        [longest, longest, 0]
    );
}

fn filled(disk: &ModelDisk, records: u64) -> Journal<ModelDisk> {
    let (mut journal, _) = open(disk, 1, Lsn::ZERO).unwrap();
    for lsn in 1..=records {
        journal.append(Lsn::new(lsn), &[lsn as u8; 1000]).unwrap();
        journal.sync().unwrap();
    }
    journal
}

#[test]
fn segments_that_nobody_needs_are_used_again_and_superfluous_ones_removed() {
    let disk = ModelDisk::default();
    let mut journal = filled(&disk, 20);
    assert_eq!(disk.image().len(), 7);
    assert_eq!(journal.bytes(), 6 * 4096 + 64 + 2 * 1032);
    // Three records a segment: the one with 10 to 12 holds a record that is needed.
    journal.recycle(Lsn::new(12)).unwrap();
    assert_eq!(journal.first_lsn(), Lsn::new(10));
    assert_eq!(disk.image().len(), 6, "two spares, and one was removed");
    for lsn in 21..=26 {
        journal.append(Lsn::new(lsn), &[0; 1000]).unwrap();
        journal.sync().unwrap();
    }
    assert_eq!(
        disk.image().len(),
        6,
        "no new segment while there are spares"
    );
    let (journal, replayed) = open(&disk, 2, Lsn::new(9)).unwrap();
    assert_eq!(
        (journal.first_lsn(), journal.next_lsn()),
        (Lsn::new(10), Lsn::new(27))
    );
    assert_eq!(replayed.len(), 17);
}

#[test]
fn the_last_segment_with_a_durable_record_is_never_given_up() {
    let disk = ModelDisk::default();
    let mut journal = filled(&disk, 3);
    journal.append(Lsn::new(4), &[4; 1000]).unwrap();
    journal.recycle(Lsn::new(u64::MAX)).unwrap();
    assert_eq!(journal.first_lsn(), Lsn::new(1));
    journal.sync().unwrap();
    journal.recycle(Lsn::new(u64::MAX)).unwrap();
    assert_eq!(journal.first_lsn(), Lsn::new(4));
}

#[test]
fn a_spare_is_made_when_the_segment_is_half_full() {
    let disk = ModelDisk::default();
    let mut journal = filled(&disk, 1);
    journal.prepare_spare().unwrap();
    assert_eq!(disk.image().len(), 1);
    journal.append(Lsn::new(2), &[2; 1000]).unwrap();
    for _ in 0..3 {
        journal.prepare_spare().unwrap();
        assert_eq!(disk.image().len(), 2);
    }
}

#[test]
fn another_segment_size_holds_for_new_segments() {
    let disk = ModelDisk::default();
    drop(filled(&disk, 8));
    let larger = Settings {
        segment_bytes: 2 * SEGMENT_BYTES,
        ..settings(2)
    };
    let mut journal =
        Journal::open(disk.clone(), larger.clone(), Lsn::ZERO, |_, _| Ok(())).unwrap();
    for lsn in 9..=20 {
        journal.append(Lsn::new(lsn), &[lsn as u8; 2000]).unwrap();
    }
    journal.sync().unwrap();
    journal.recycle(Lsn::new(10)).unwrap();
    let sizes: Vec<_> = disk.image().values().map(Vec::len).collect();
    assert!(
        sizes.iter().filter(|size| **size == 4096).count() <= 1,
        "{sizes:?}"
    );
    drop(journal);
    let mut count = 0;
    Journal::open(disk, larger, Lsn::new(8), |_, _| {
        count += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(count, 12);
}

#[test]
fn records_are_read_back_as_far_as_they_are_durable() {
    let disk = ModelDisk::default();
    let mut journal = filled(&disk, 10);
    journal.append(Lsn::new(11), b"not durable").unwrap();
    let mut reader = journal.reader();
    let lsns = |records: Vec<(Lsn, Vec<u8>)>| -> Vec<u64> {
        for (lsn, payload) in &records {
            assert_eq!(payload, &[lsn.get() as u8; 1000]);
        }
        records.into_iter().map(|(lsn, _)| lsn.get()).collect()
    };
    assert_eq!(lsns(reader.read(Lsn::new(1), 2500).unwrap()), [1, 2]);
    assert_eq!(lsns(reader.read(Lsn::new(3), 2500).unwrap()), [3, 4]);
    assert_eq!(
        lsns(reader.read(Lsn::new(5), 1).unwrap()),
        [5],
        "one at least"
    );
    assert_eq!(lsns(reader.read(Lsn::new(2), 3000).unwrap()), [2, 3, 4]);
    let rest: Vec<u64> = (6..=10).collect();
    assert_eq!(
        lsns(reader.clone().read(Lsn::new(6), usize::MAX).unwrap()),
        rest
    );
    assert_eq!(
        lsns(reader.read(Lsn::new(11), usize::MAX).unwrap()).len(),
        0
    );
    assert_eq!(
        lsns(reader.read(Lsn::new(99), usize::MAX).unwrap()).len(),
        0
    );
    journal.sync().unwrap();
    assert_eq!(
        reader.read(Lsn::new(11), usize::MAX).unwrap(),
        [(Lsn::new(11), b"not durable".to_vec())]
    );
    journal.recycle(Lsn::new(8)).unwrap();
    let error = reader.read(Lsn::new(5), 1).unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::Gap { wanted, first } if (wanted.get(), first.get()) == (5, 7)
        ),
        "{error}"
    );
    assert_eq!(lsns(reader.read(Lsn::new(7), 1).unwrap()), [7]);
}
