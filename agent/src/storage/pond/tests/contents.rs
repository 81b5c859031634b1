//! Contents of ponds: long values, changes of all kinds, ponds of the format before, and ponds that have
//! lost a part.

use std::collections::BTreeMap;
use std::path::Path;

use tidemill_base::number::Lsn;
use tidemill_tests::Random;

use super::*;

/// Bytes in a pond's `blobs`, the files beside sled's log.
fn files_beside_the_log(dir: &Path, which: Which) -> usize {
    let blobs = dir.join(which.to_string()).join("blobs");
    std::fs::read_dir(blobs).unwrap().count()
}

/// Changes to a state, and the same as a checkpoint.
struct Work {
    random: Random,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Work {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            state: BTreeMap::new(),
        }
    }

    /// Changes some keys; the checkpoint tells of these, or of all there are.
    fn change(&mut self, lsn: Lsn, changes: u64, full: bool) -> PondCheckpoint {
        let mut checkpoint = PondCheckpoint {
            lsn,
            full,
            ..PondCheckpoint::default()
        };
        let mut changed = BTreeMap::new();
        for _ in 0..changes {
            let key = format!("{:0200}", self.random.within(0..400)).into_bytes();
            let bytes = match self.random.within(0..8) {
                0 => None,
                1 => Some(60_000),
                2 => Some(self.random.within(4_000..9_000)),
                _ => Some(self.random.within(0..300)),
            };
            let byte = self.random.bits() as u8;
            changed.insert(key, bytes.map(|bytes| vec![byte; bytes as usize]));
        }
        for (key, value) in changed {
            match value {
                Some(value) => {
                    self.state.insert(key.clone(), value.clone());
                    checkpoint.puts.push((key, value));
                }
                None => {
                    self.state.remove(&key);
                    checkpoint.removes.push(key);
                }
            }
        }
        if full {
            checkpoint.removes.clear();
            checkpoint.puts = self.entries();
        }
        checkpoint
    }

    fn entries(&self) -> Vec<Entry> {
        self.state.clone().into_iter().collect()
    }
}

#[test]
fn any_changes_come_back_and_no_leaf_outgrows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut work = Work::new(3);
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
    for lsn in 1..=30 {
        let full = lsn == 1 || lsn == 20;
        let checkpoint = work.change(Lsn::new(lsn), 150, full);
        ponds.write(Which::A, &checkpoint).unwrap();
        assert_eq!(files_beside_the_log(dir.path(), Which::A), 0, "at {lsn}");
        if lsn % 7 == 0 {
            drop(ponds);
            ponds = Ponds::open(dir.path(), Some(Lsn::new(lsn + 1))).unwrap();
        }
        let content = ponds.newest().unwrap().unwrap();
        assert_eq!(content.lsn, Lsn::new(lsn));
        assert!(content.entries == work.entries(), "other entries at {lsn}");
    }
}

#[test]
fn keys_that_go_in_order_leave_no_large_leaf() {
    // Leaves that shrink are merged into their neighbours.
    let dir = tempfile::tempdir().unwrap();
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
    let key = |n: u64| format!("{n:0300}").into_bytes();
    let all = PondCheckpoint {
        lsn: Lsn::new(1),
        full: true,
        puts: (0..2_000).map(|n| (key(n), vec![n as u8; 4_000])).collect(),
        ..PondCheckpoint::default()
    };
    ponds.write(Which::A, &all).unwrap();
    for (lsn, parity) in [(2, 0), (3, 1)] {
        let fewer = PondCheckpoint {
            lsn: Lsn::new(lsn),
            removes: (0..1_900).filter(|n| n % 2 == parity).map(key).collect(),
            ..PondCheckpoint::default()
        };
        ponds.write(Which::A, &fewer).unwrap();
        assert_eq!(files_beside_the_log(dir.path(), Which::A), 0, "at {lsn}");
    }
    let left = ponds.newest().unwrap().unwrap();
    assert_eq!(left.entries, all.puts[1_900..]);
}

/// Both ponds as the version before wrote them.
fn format_before(dir: &Path) -> Vec<Entry> {
    let value = |n: u8| (vec![b'k', n], vec![n; 60_000]);
    let entries: Vec<Entry> = (0..40).map(value).collect();
    for (which, lsn) in [(Which::A, 10_u64), (Which::B, 20)] {
        let path = dir.join(which.to_string());
        let database = sled::Config::new().path(path).open().unwrap();
        for (key, value) in &entries {
            database.insert(key.as_slice(), value.as_slice()).unwrap();
        }
        let mark = [&[1][..], &lsn.to_le_bytes()].concat();
        database.insert([0], mark).unwrap();
        database.flush().unwrap();
    }
    assert_ne!(files_beside_the_log(dir, Which::B), 0, "no leaf is large");
    entries
}

#[test]
fn a_pond_of_the_format_before_is_read_and_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let entries = format_before(dir.path());
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(11))).unwrap();
    let content = ponds.newest().unwrap().unwrap();
    assert_eq!((content.which, content.lsn), (Which::B, Lsn::new(20)));
    assert!(content.entries == entries, "other entries");
    for which in [Which::A, Which::B] {
        assert!(ponds.needs_full(which));
        assert_eq!(ponds.next(), which);
        let whole = PondCheckpoint {
            lsn: Lsn::new(30),
            full: true,
            puts: entries.clone(),
            ..PondCheckpoint::default()
        };
        ponds.write(which, &whole).unwrap();
        assert_eq!(files_beside_the_log(dir.path(), which), 0);
    }
    assert!(ponds.newest().unwrap().unwrap().entries == entries);
}

#[test]
fn a_pond_that_has_lost_a_part_is_not_used() {
    let lose: [fn(&sled::Db); 3] = [
        |database| drop(database.remove(b"x\0\0").unwrap()),
        |database| drop(database.insert(b"x\0\0", b"\x01\0old").unwrap()),
        |database| drop(database.insert(b"y\0\0", b"\x01\0more").unwrap()),
    ];
    for lose in lose {
        let dir = tempfile::tempdir().unwrap();
        both(dir.path());
        let path = dir.path().join("pond-b");
        let database = sled::Config::new().path(path).open().unwrap();
        lose(&database);
        database.flush().unwrap();
        drop(database);
        assert_eq!(newest(dir.path(), Some(11)).unwrap(), (10, "ten".into()));
        assert_eq!(set_aside(dir.path()), ["pond-b.damaged-1"]);
    }
}

#[test]
fn a_pond_is_not_opened_that_was_being_written() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    spoil(dir.path(), Which::B, |bytes| garble(bytes));
    std::fs::write(dir.path().join("pond-b.writing"), "").unwrap();
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(11))).unwrap();
    assert_eq!(ponds.newest().unwrap().unwrap().lsn, Lsn::new(10));
    assert!(set_aside(dir.path()).is_empty());
    let whole = checkpoint(Lsn::new(30), true, &[("x", "thirty")], &[]);
    ponds.write(Which::B, &whole).unwrap();
    drop(ponds);
    assert_eq!(newest(dir.path(), Some(11)).unwrap().0, 30);
}

#[test]
fn a_snapshot_that_sled_has_not_finished_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let left = dir.path().join("pond-b/snap.00000000FFFFFFFF.generating");
    for bytes in [0, 5, 1_000] {
        std::fs::write(&left, vec![0; bytes]).unwrap();
        assert_eq!(newest(dir.path(), Some(11)).unwrap().0, 20, "{bytes} bytes");
        assert!(!left.exists() && set_aside(dir.path()).is_empty());
    }
}
