//! Ponds that are complete, interrupted, damaged or shared.

use std::path::Path;

use tidemill_base::number::Lsn;

use super::*;

mod contents;
mod power;

fn entry(key: &str, value: &str) -> Entry {
    (key.as_bytes().to_vec(), value.as_bytes().to_vec())
}

fn checkpoint(lsn: Lsn, full: bool, puts: &[(&str, &str)], removes: &[&str]) -> PondCheckpoint {
    PondCheckpoint {
        lsn,
        full,
        puts: puts.iter().map(|(key, value)| entry(key, value)).collect(),
        removes: removes.iter().map(|key| key.as_bytes().to_vec()).collect(),
    }
}

/// Both ponds complete: A at 10, B at 20.
fn both(dir: &Path) {
    let mut ponds = Ponds::open(dir, Some(Lsn::new(1))).unwrap();
    let first = checkpoint(Lsn::new(10), true, &[("x", "ten")], &[]);
    ponds.write(Which::A, &first).unwrap();
    let second = checkpoint(Lsn::new(20), true, &[("x", "twenty")], &[]);
    ponds.write(Which::B, &second).unwrap();
}

/// The LSN and the value of `x` in the newest pond.
fn newest(dir: &Path, journal_begins: Option<u64>) -> Result<(u64, String), PondsError> {
    let content = Ponds::open(dir, journal_begins.map(Lsn::new))?.newest()?;
    Ok(content.map_or((0, String::new()), |content| {
        let x = content.entries.iter().find(|(key, _)| key == b"x");
        let value = x.map(|(_, value)| String::from_utf8(value.clone()).unwrap());
        (content.lsn.get(), value.unwrap_or_default())
    }))
}

/// Takes the mark away, as an interrupted checkpoint does.
fn interrupt(dir: &Path, which: Which) {
    let path = dir.join(which.to_string());
    let database = sled::Config::new().path(path).open().unwrap();
    database.remove([0]).unwrap();
    database.flush().unwrap();
}

/// Spoils every file of a pond.
fn spoil(dir: &Path, which: Which, spoil: fn(&mut Vec<u8>)) {
    for entry in std::fs::read_dir(dir.join(which.to_string())).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let mut bytes = std::fs::read(&path).unwrap();
            spoil(&mut bytes);
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn garble(bytes: &mut [u8]) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= (at % 251) as u8 | 1;
    }
}

fn set_aside(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("damaged")).collect();
    names.sort();
    names
}

#[test]
fn a_new_directory_has_no_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut ponds = Ponds::open(&dir.path().join("new"), None).unwrap();
    assert_eq!(ponds.newest().unwrap(), None);
    assert_eq!(ponds.next(), Which::A);
    assert!(Which::BOTH.iter().all(|which| ponds.needs_full(*which)));
}

#[test]
fn ponds_are_written_in_turn_and_the_newest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
    assert_eq!(
        (ponds.lsn(Which::A), ponds.lsn(Which::B)),
        (Some(Lsn::new(10)), Some(Lsn::new(20)))
    );
    assert_eq!(ponds.next(), Which::A);
    assert!(!ponds.needs_full(Which::A));
    let changes = checkpoint(
        Lsn::new(30),
        false,
        &[("y", "new"), ("z", "short-lived")],
        &[],
    );
    ponds.write(Which::A, &changes).unwrap();
    assert_eq!(ponds.next(), Which::B);
    let changes = checkpoint(Lsn::new(40), false, &[("x", "forty"), ("y", "new")], &[]);
    ponds.write(Which::B, &changes).unwrap();
    let changes = checkpoint(
        Lsn::new(50),
        false,
        &[("x", "fifty")],
        &["z", "never there"],
    );
    ponds.write(ponds.next(), &changes).unwrap();
    drop(ponds);
    let content = Ponds::open(dir.path(), Some(Lsn::new(41)))
        .unwrap()
        .newest()
        .unwrap();
    let expected = PondContent {
        which: Which::A,
        lsn: Lsn::new(50),
        entries: vec![entry("x", "fifty"), entry("y", "new")],
    };
    assert_eq!(content, Some(expected));
}

#[test]
fn a_full_checkpoint_clears_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
    let anew = checkpoint(Lsn::new(30), true, &[("only", "this")], &[]);
    ponds.write(Which::A, &anew).unwrap();
    let content = ponds.newest().unwrap().unwrap();
    assert_eq!(content.entries, [entry("only", "this")]);
    drop(ponds);
    let content = Ponds::open(dir.path(), Some(Lsn::new(1)))
        .unwrap()
        .newest()
        .unwrap();
    assert_eq!(content.unwrap().entries, [entry("only", "this")]);
}

#[test]
fn many_keys_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let puts: Vec<Entry> = (0..2_500)
        .map(|at| entry(&format!("{at:05}"), &"v".repeat(at % 300)))
        .collect();
    let checkpoint = PondCheckpoint {
        lsn: Lsn::new(1),
        full: true,
        puts: puts.clone(),
        removes: Vec::new(),
    };
    let mut ponds = Ponds::open(dir.path(), None).unwrap();
    ponds.write(Which::A, &checkpoint).unwrap();
    drop(ponds);
    let content = Ponds::open(dir.path(), Some(Lsn::new(1)))
        .unwrap()
        .newest()
        .unwrap();
    assert_eq!(content.unwrap().entries, puts);
}

#[test]
fn an_interrupted_pond_is_written_whole_and_the_other_one_read() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    interrupt(dir.path(), Which::B);
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(11))).unwrap();
    assert_eq!(ponds.newest().unwrap().unwrap().lsn, Lsn::new(10));
    assert_eq!((ponds.next(), ponds.lsn(Which::B)), (Which::B, None));
    let changes = checkpoint(Lsn::new(30), false, &[("x", "thirty")], &[]);
    let error = ponds.write(Which::B, &changes).unwrap_err();
    assert!(matches!(error, PondsError::NeedsFull(Which::B)), "{error}");
    let whole = checkpoint(Lsn::new(30), true, &[("x", "thirty")], &[]);
    ponds.write(Which::B, &whole).unwrap();
    drop(ponds);
    assert_eq!(newest(dir.path(), Some(11)).unwrap(), (30, "thirty".into()));
    assert!(set_aside(dir.path()).is_empty());
}

#[test]
fn a_first_checkpoint_that_was_interrupted_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
    ponds
        .write(
            Which::A,
            &checkpoint(Lsn::new(10), true, &[("x", "ten")], &[]),
        )
        .unwrap();
    drop(ponds);
    interrupt(dir.path(), Which::A);
    assert_eq!(newest(dir.path(), Some(1)).unwrap().0, 0);
    assert_eq!(newest(dir.path(), None).unwrap().0, 0);
    let error = newest(dir.path(), Some(2)).unwrap_err().to_string();
    assert!(
        error.contains("pond-a is not complete") && error.contains("begins with record 2"),
        "{error}"
    );
}

#[test]
fn a_damaged_pond_is_put_aside_where_the_other_one_is_complete() {
    let ways: [fn(&mut Vec<u8>); 3] = [
        |bytes| garble(bytes),
        |bytes| bytes.truncate(bytes.len() / 3),
        |bytes| bytes.clear(),
    ];
    for way in ways {
        let dir = tempfile::tempdir().unwrap();
        both(dir.path());
        spoil(dir.path(), Which::B, way);
        let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(11))).unwrap();
        let content = ponds.newest().unwrap().unwrap();
        assert_eq!((content.which, content.lsn), (Which::A, Lsn::new(10)));
        assert!(ponds.needs_full(Which::B));
        ponds
            .write(
                Which::B,
                &checkpoint(Lsn::new(30), true, &[("x", "thirty")], &[]),
            )
            .unwrap();
        drop(ponds);
        assert_eq!(newest(dir.path(), Some(11)).unwrap(), (30, "thirty".into()));
    }
}

#[test]
fn one_damaged_pond_is_kept_to_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    for number in 1..=2 {
        spoil(dir.path(), Which::B, |bytes| garble(bytes));
        let mut ponds = Ponds::open(dir.path(), Some(Lsn::new(1))).unwrap();
        assert_eq!(set_aside(dir.path()), [format!("pond-b.damaged-{number}")]);
        ponds
            .write(
                Which::B,
                &checkpoint(Lsn::new(20), true, &[("x", "twenty")], &[]),
            )
            .unwrap();
    }
}

#[test]
fn state_that_would_be_lost_is_refused_and_nothing_moved() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    spoil(dir.path(), Which::B, |bytes| garble(bytes));
    // The journal begins behind the pond that is left.
    let error = newest(dir.path(), Some(12)).unwrap_err();
    assert!(matches!(error, PondsError::Lost { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("pond-b is damaged")
            && text.contains("begins with record 12")
            && text.contains("tidemill repair"),
        "{text}"
    );
    // There is no journal at all.
    assert!(matches!(
        newest(dir.path(), None),
        Err(PondsError::Lost { .. })
    ));
    spoil(dir.path(), Which::A, |bytes| garble(bytes));
    assert!(matches!(
        newest(dir.path(), Some(2)),
        Err(PondsError::Lost { .. })
    ));
    assert!(set_aside(dir.path()).is_empty());
    // A journal that holds everything needs no pond.
    assert_eq!(newest(dir.path(), Some(1)).unwrap().0, 0);
    assert_eq!(set_aside(dir.path()).len(), 2);
}

#[test]
fn a_pond_at_which_starts_end_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let note = dir.path().join("pond-b.opening");
    std::fs::write(&note, "1\n").unwrap();
    assert_eq!(newest(dir.path(), Some(11)).unwrap().0, 20);
    assert!(!note.exists());
    std::fs::write(&note, "2\n").unwrap();
    assert_eq!(newest(dir.path(), Some(11)).unwrap().0, 10);
    assert!(!note.exists());
}

#[test]
fn another_format_is_refused_and_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let database = sled::Config::new()
        .path(dir.path().join("pond-b"))
        .open()
        .unwrap();
    database.insert([0], &[9, 20]).unwrap();
    drop(database);
    let error = newest(dir.path(), Some(1)).unwrap_err().to_string();
    assert!(
        error.ends_with("pond-b has format 9, this version reads format 2"),
        "{error}"
    );
    let older = tempfile::tempdir().unwrap();
    std::fs::create_dir(older.path().join("pond")).unwrap();
    let error = newest(older.path(), None).unwrap_err();
    assert!(matches!(error, PondsError::Older(_)), "{error}");
}

#[test]
fn a_mark_is_a_format_an_lsn_and_the_contents() {
    let dir = tempfile::tempdir().unwrap();
    both(dir.path());
    let database = sled::Config::new()
        .path(dir.path().join("pond-b"))
        .open()
        .unwrap();
    #[rustfmt::skip]
    let expected: &[u8] = &[
        2,                       // format
        20, 0, 0, 0, 0, 0, 0, 0, // LSN
        1, 0, 0, 0, 0, 0, 0, 0,  // count of pieces
        40, 114, 63, 198, 148, 158, 154, 44, // sum of their hashes
        11, 17, 151, 251, 23, 145, 116, 7,
    ];
    assert_eq!(database.get([0]).unwrap().unwrap(), expected);
}

/// Runs itself in a second process, to which `dir` is told.
#[test]
fn two_processes_cannot_share_a_data_directory() {
    const DIR: &str = "TIDEMILL_TEST_POND_DIR";
    if let Ok(dir) = std::env::var(DIR) {
        let error = Ponds::open(Path::new(&dir), None).unwrap_err();
        assert!(matches!(error, PondsError::Locked(_)), "{error}");
        assert!(error.to_string().contains("used by another agent"));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ponds = Ponds::open(dir.path(), None).unwrap();
    let second = tidemill_tests::itself()
        .args([
            "--exact",
            "storage::pond::tests::two_processes_cannot_share_a_data_directory",
        ])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(
        second.status.success() && said.contains("1 passed"),
        "{said}"
    );
    drop(ponds);
    Ponds::open(dir.path(), None).unwrap();
}

#[test]
fn a_full_disk_gets_back_what_an_interrupted_checkpoint_took() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    both(dir);
    let interrupted = dir.join(Which::A.to_string());
    let note = interrupted.with_extension("writing");
    assert!(!Ponds::give_up_interrupted(dir).unwrap());
    std::fs::write(&note, "").unwrap();
    assert!(Ponds::give_up_interrupted(dir).unwrap());
    assert!(!interrupted.exists() && !note.exists());
    assert_eq!(newest(dir, Some(1)).unwrap(), (20, "twenty".to_owned()));
    let mut ponds = Ponds::open(dir, Some(Lsn::new(1))).unwrap();
    let next = checkpoint(Lsn::new(30), true, &[("x", "thirty")], &[]);
    ponds.write(Which::A, &next).unwrap();
    drop(ponds);
    assert_eq!(newest(dir, Some(1)).unwrap(), (30, "thirty".to_owned()));
    // If both are in doubt, nothing is removed.
    for which in Which::BOTH {
        std::fs::write(dir.join(which.to_string()).with_extension("writing"), "").unwrap();
    }
    assert!(!Ponds::give_up_interrupted(dir).unwrap());
    assert!(
        Which::BOTH
            .iter()
            .all(|which| dir.join(which.to_string()).exists())
    );
}
