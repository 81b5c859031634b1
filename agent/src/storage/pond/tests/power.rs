//! Ponds after power cuts. A second process, traced, writes ponds and opens them again; from the record
//! of its system calls come the states that a power cut may leave, by the least that a file system
//! promises. Each has to open, with what was written last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidemill_base::number::Lsn;
use tidemill_tests::{FileTrace, Loss, Random, Tree, setting, skipped, wait_until};

use super::*;

const DIR: &str = "TIDEMILL_TEST_POND_DIR";
const BROKEN: &str = "TIDEMILL_TEST_POND_BROKEN";

/// Checkpoints that are written, and those before which the directory is opened anew.
const CHECKPOINTS: u64 = 8;
const REOPENED: [u64; 2] = [4, 7];

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// The state after each LSN: 0 to [`CHECKPOINTS`].
fn states() -> Vec<State> {
    let mut random = Random::new(11);
    let mut state = State::new();
    let mut states = vec![state.clone()];
    for _ in 0..CHECKPOINTS {
        for _ in 0..25 {
            let key = format!("key-{:03}", random.within(0..60)).into_bytes();
            let bytes = [10, 300, 5_000, 50_000][random.within(0..4) as usize];
            let byte = random.bits() as u8;
            if random.one_in(5) {
                state.remove(&key);
            } else {
                state.insert(key, vec![byte; bytes]);
            }
        }
        states.push(state.clone());
    }
    states
}

/// From one state to another.
fn changes(lsn: Lsn, from: Option<&State>, to: &State) -> PondCheckpoint {
    let nothing = State::new();
    let before = from.unwrap_or(&nothing);
    let is_new = |(key, value): &(&Vec<u8>, &Vec<u8>)| before.get(*key) != Some(*value);
    let puts = to.iter().filter(is_new);
    let removes = before.keys().filter(|key| !to.contains_key(*key));
    PondCheckpoint {
        lsn,
        full: from.is_none(),
        puts: puts
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        removes: removes.cloned().collect(),
    }
}

/// The work of the process that is traced. A file beside the ponds says how far it came.
fn work(dir: &Path) {
    let states = states();
    let mut ponds = Ponds::open(dir, Some(Lsn::new(1))).unwrap();
    for (lsn, state) in (1..).zip(&states[1..]) {
        if REOPENED.contains(&lsn) {
            drop(ponds);
            ponds = Ponds::open(dir, Some(Lsn::new(1))).unwrap();
            ponds.newest().unwrap();
        }
        let which = ponds.next();
        let from = ponds.lsn(which).filter(|_| !ponds.needs_full(which));
        let from = from.map(|lsn| &states[lsn.get() as usize]);
        ponds
            .write(which, &changes(Lsn::new(lsn), from, state))
            .unwrap();
        std::fs::write(dir.join("written"), format!("lsn {lsn:04}")).unwrap();
    }
}

/// A path of modules without the name of the crate: what the test program calls its tests by.
fn below_crate(path: &str) -> &str {
    path.split_once("::").unwrap().1
}

/// Runs [`work`] in a process that is traced; returns the record, or why there can be none.
fn traced(dir: &Path, is_broken: bool) -> Result<String, String> {
    if tidemill_tests::is_emulated() {
        return Err("strace would see the emulator".to_owned());
    }
    let record = tempfile::NamedTempFile::new().unwrap();
    let [strace, arguments @ ..] = FileTrace::STRACE;
    let ran = Command::new(strace)
        .args(arguments)
        .arg("-o")
        .arg(record.path())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("{}::what_is_traced", below_crate(module_path!())),
        ])
        .env(DIR, dir)
        .envs(is_broken.then_some((BROKEN, "1")))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("no strace: {error}"))?;
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(!said.contains(" 0 passed"), "{said}");
    if !said.contains("1 passed") {
        return Err(said);
    }
    let text = || std::fs::read_to_string(record.path()).unwrap();
    let ended = || text().ends_with("exited with 0 +++\n");
    wait_until(ended, || "strace has not ended".to_owned());
    Ok(text())
}

#[test]
fn what_is_traced() {
    if let Ok(dir) = std::env::var(DIR) {
        #[cfg(feature = "sabotage")]
        if std::env::var(BROKEN).is_ok() {
            use tidemill_base::sabotage::{Sabotage, set};
            set(Some(Sabotage::PondNotDurable));
        }
        work(Path::new(&dir));
    }
}

/// A directory, and the record of what was done in it.
fn recorded(is_broken: bool) -> Option<(PathBuf, String)> {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().canonicalize().unwrap();
    match traced(&dir, is_broken) {
        Ok(text) => Some((dir, text)),
        Err(why) => {
            skipped(&format!("no witness of system calls: {why}"));
            None
        }
    }
}

/// Everything that is wrong with what a power cut behind `count` changes leaves.
fn trouble(
    trace: &FileTrace<'_>,
    count: usize,
    loss: Loss,
    random: &mut Random,
    written: &[(usize, u64)],
) -> Option<String> {
    let states = states();
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("data");
    let left = trace.after_power_cut(count, loss, random);
    left.write(&dir).unwrap();
    let mut lsns = written
        .iter()
        .filter(|(at, _)| *at < count)
        .map(|(_, lsn)| *lsn);
    let last = lsns.next_back().unwrap_or(0);
    // The journal is kept from the older one of two ponds on.
    let journal_begins = 1 + lsns.next_back().unwrap_or(0);
    let newest =
        Ponds::open(&dir, Some(Lsn::new(journal_begins))).and_then(|mut ponds| ponds.newest());
    let (lsn, found) = match newest {
        Err(error) => return Some(error.to_string()),
        Ok(None) => (0, State::new()),
        Ok(Some(content)) => (content.lsn.get(), content.entries.into_iter().collect()),
    };
    if lsn < last {
        let why = Which::BOTH.map(|which| {
            let again = temp.path().join("again");
            left.write(&again).unwrap();
            probe(&again.join(which.to_string()))
        });
        return Some(format!("{lsn} is the newest, {last} was written: {why:?}"));
    }
    (found != states[lsn as usize]).then(|| format!("other entries at {lsn}"))
}

/// The changes at which the process said that a checkpoint was written, each with its LSN.
fn written(trace: &FileTrace<'_>) -> Vec<(usize, u64)> {
    let of = |lsn: Lsn| trace.writes_of("/written", format!("lsn {lsn:04}").as_bytes());
    let all =
        (1..=CHECKPOINTS).flat_map(|lsn| of(Lsn::new(lsn)).into_iter().map(move |at| (at, lsn)));
    all.collect()
}

/// Power cuts at moments of which each is as likely as another; returns what was wrong with each.
fn cut(dir: &Path, text: &str, cuts: u64, seed: u64) -> Vec<String> {
    let begins = Tree::default();
    let trace = FileTrace::read(text, dir, &begins);
    let written = written(&trace);
    assert_eq!(written.len() as u64, CHECKPOINTS, "the record lacks some");
    let mut random = Random::new(seed);
    let mut wrong = Vec::new();
    for n in 0..cuts {
        let loss = Loss::ALL[n as usize % Loss::ALL.len()];
        let count = random.within(0..trace.len() as u64 + 1) as usize;
        if let Some(what) = trouble(&trace, count, loss, &mut random, &written) {
            wrong.push(format!(
                "cut {n} behind {count} changes, {loss:?} lost: {what}"
            ));
        }
    }
    wrong
}

fn cuts() -> u64 {
    setting("TIDEMILL_TEST_CUTS", 24)
}

#[test]
fn a_power_cut_at_any_moment_leaves_a_pond_that_is_whole() {
    let Some((dir, text)) = recorded(false) else {
        return;
    };
    let wrong = cut(&dir, &text, cuts(), setting("TIDEMILL_TEST_SEED", 1));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn everything_of_a_pond_is_synced_before_its_mark_is_written() {
    let Some((dir, text)) = recorded(false) else {
        return;
    };
    let begins = Tree::default();
    let trace = FileTrace::read(&text, &dir, &begins);
    for (at, lsn) in written(&trace) {
        let which = if lsn % 2 == 1 { Which::A } else { Which::B };
        let bytes = [&[2][..], &lsn.to_le_bytes()].concat();
        let mark = trace.last_write_before(at, &format!("/{which}/db"), &bytes, 10);
        // The mark's own write, and what sled writes with it, comes behind the sync of the names.
        let synced = trace
            .last_sync_before(mark.expect("no mark"), &dir)
            .unwrap();
        let unsynced = trace.unsynced_before(synced + 1, &which.to_string());
        assert!(unsynced.is_empty(), "mark {lsn}: {unsynced:#?}");
        let beside = trace.writes_below(&dir.join(which.to_string()).join("blobs"));
        assert_eq!(beside, 0, "a leaf has become a file of its own");
    }
}

/// The ponds of before: their long values make files that nobody syncs.
#[cfg(feature = "sabotage")]
#[test]
fn ponds_that_sync_only_their_log_are_found_out() {
    let Some((dir, text)) = recorded(true) else {
        return;
    };
    let wrong = cut(&dir, &text, 100, 1);
    assert!(!wrong.is_empty(), "nothing was lost");
    let begins = Tree::default();
    let trace = FileTrace::read(&text, &dir, &begins);
    let beside = trace.writes_below(&dir.join("pond-a/blobs"));
    assert!(beside > 0, "no leaf has become a file of its own");
}
