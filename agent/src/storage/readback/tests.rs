use super::*;
use crate::commit::record::LaneDelta;
use tidemill_journal::model::ModelDisk;
use tidemill_journal::{Identity, Journal, Seen, Settings, inspect};

fn lane() -> LaneId {
    "cloud/normal".parse().unwrap()
}

fn row(seq: u64) -> Row {
    Row {
        seq,
        rule: "r".into(),
        topic: tidemill_transport::topic::Topic::new("t").unwrap(),
        payload: "x".repeat(2_000).into(),
        at_ms: 0,
        made_ms: 0,
        qos: 1,
        retain: false,
    }
}

/// Writes so many rows, each into a commit that has its number.
fn write<D: Disk>(journal: &mut Journal<D>, rows: u64) {
    for seq in 1..=rows {
        let delta = LaneDelta {
            lane: Some(lane()),
            rows: vec![row(seq)],
            ..Default::default()
        };
        let commit = Commit {
            lanes: vec![delta],
            ..Commit::default()
        };
        journal.append(Lsn::new(seq), &commit.encode()).unwrap();
    }
    journal.sync().unwrap();
}

fn wanted(first: u64, last: u64) -> Wanted {
    Wanted {
        first,
        last,
        from_lsn: Lsn::new(first),
        to_lsn: Lsn::new(last),
    }
}

#[test]
fn only_rows_of_an_unreadable_record_wait_for_it_and_are_left_out_in_the_end() {
    let disk = ModelDisk::default();
    let settings = Settings {
        segment_bytes: 64 << 10,
        spares_max: 1,
        reserve: 0,
        identity: Identity {
            incarnation: [7; 16],
            mark: 7,
        },
        salt: 7,
        state_lsn: Lsn::new(0),
    };
    let mut journal = Journal::open(disk.clone(), settings, Lsn::new(0), |_, _| Ok(())).unwrap();
    write(&mut journal, 9);
    let mut lost = None;
    inspect(&disk, (Lsn::new(0), Lsn::new(0)), |seen| {
        if let Seen::Record {
            segment,
            offset,
            lsn,
            ..
        } = seen
            && lsn.get() == 4
        {
            lost = Some((segment.to_string(), offset + 1_000));
        }
    })
    .unwrap();
    let (segment, offset) = lost.unwrap();
    disk.lose_sector(&segment, offset);
    let mut readback = Readback::new(journal.reader(), 1 << 20);
    let numbers = |rows: Vec<(Lsn, Row)>| rows.iter().map(|(_, row)| row.seq).collect::<Vec<_>>();
    // The records before it and behind it are read at once.
    for (first, last) in [(1, 3), (5, 9)] {
        let rows = readback.rows(&lane(), &wanted(first, last)).unwrap();
        assert_eq!(numbers(rows), (first..=last).collect::<Vec<_>>());
    }
    for _ in 0..failures::FAILURES_MAX {
        assert!(readback.rows(&lane(), &wanted(3, 5)).is_err());
    }
    let rows = readback.rows(&lane(), &wanted(3, 5)).unwrap();
    assert_eq!(numbers(rows), [3, 5]);
}

#[test]
fn rows_of_a_segment_that_cannot_be_opened_for_a_while_are_not_lost() {
    let temp = tempfile::tempdir().unwrap();
    let journal =
        tidemill_journal::open_in(temp.path(), 1 << 16, (Lsn::new(0), Lsn::new(0)), |_, _| {
            Ok(())
        });
    let mut journal = journal.unwrap();
    write(&mut journal, 1);
    let mut readback = Readback::new(journal.reader(), 1 << 20);
    let path = temp.path().join("journal/00000001.seg");
    let aside = temp.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    // A link to itself cannot be opened, also not by root, and is no file that is gone.
    std::os::unix::fs::symlink(&path, &path).unwrap();
    for _ in 0..2 * failures::FAILURES_MAX + 2 {
        assert!(readback.rows(&lane(), &wanted(1, 1)).is_err());
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    let rows = readback.rows(&lane(), &wanted(1, 1)).unwrap();
    assert_eq!(rows, [(Lsn::FIRST, row(1))]);
}

#[test]
fn rows_of_a_commit_of_any_number_of_records_are_found_beside_one_that_is_lost() {
    let temp = tempfile::tempdir().unwrap();
    let journal =
        tidemill_journal::open_in(temp.path(), 1 << 20, (Lsn::new(0), Lsn::new(0)), |_, _| {
            Ok(())
        });
    let mut journal = journal.unwrap();
    let row_of = |seq: u64, bytes: usize| Row {
        payload: vec![b'x'; bytes].into(),
        ..row(seq)
    };
    let commit = |row: Row| Commit {
        lanes: vec![LaneDelta {
            lane: Some(lane()),
            rows: vec![row],
            ..Default::default()
        }],
        ..Commit::default()
    };
    let short = commit(row_of(1, 10)).encode();
    journal.append(Lsn::new(1), &short).unwrap();
    let parts = crate::commit::record::cut(commit(row_of(2, 400_000)).encode(), 1_000);
    assert!(parts.len() > 6 * PARTS_AT_ONCE as usize);
    for (lsn, part) in (2..).zip(&parts) {
        journal.append(Lsn::new(lsn), part).unwrap();
    }
    journal.sync().unwrap();
    let mut readback = Readback::new(journal.reader(), 1 << 20);
    let expected = [
        (Lsn::new(1), row_of(1, 10)),
        (Lsn::new(2), row_of(2, 400_000)),
    ];
    let found = readback.rows_that_are_whole(&lane(), &wanted(1, 2));
    let found = found.unwrap();
    assert!(found.rows == expected, "{} rows", found.rows.len());
    assert!(found.is_complete);
    // The first record is lost: the long commit is there still, also at once for those who want it alone.
    let path = temp.path().join("journal/00000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|ten| ten == [b'x'; 10]).unwrap();
    bytes[at] = b'y';
    std::fs::write(&path, bytes).unwrap();
    let rows = readback.rows(&lane(), &wanted(2, 2)).unwrap();
    assert!(rows == expected[1..], "{} rows", rows.len());
    let found = readback.rows_that_are_whole(&lane(), &wanted(1, 2));
    let found = found.unwrap();
    assert!(found.rows == expected[1..], "{} rows", found.rows.len());
    assert!(!found.is_complete);
}
