//! Looks at a pond in a process of its own, which sled may end: it aborts over some files that are
//! damaged, and nothing in the same process can stop that.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::database::{Database, bytes_below};
use super::error::Trouble;

/// Longest time for a look: ten times what the largest database of a gateway takes on a slow card.
const LOOK_MAX: Duration = Duration::from_secs(60);
const LOOK_STEP: Duration = Duration::from_millis(10);

/// Bytes of its last words that are shown.
const WORDS_MAX: usize = 400;

/// Memory that a look may take besides: stacks of sled's threads, its cache.
const MEMORY_BYTES: u64 = 128 * 1024 * 1024;

/// Memory granted, as a multiple of the bytes of the database's files: short entries take eight
/// times theirs.
const MEMORY_TIMES: u64 = 32;

/// The command that looks, less the pond.
static COMMAND: OnceLock<(PathBuf, Vec<String>)> = OnceLock::new();

/// Tells with which command this process can have a pond looked at: one that calls [`probe`] and ends
/// well if that does.
pub fn probe_with(program: PathBuf, arguments: Vec<String>) {
    let _ = COMMAND.set((program, arguments));
}

/// Bounds the memory of this process by the size of a pond, before it is opened: sled believes the numbers of
/// pages that stand in its files, and makes a table as long as the highest one. What it asks for beyond ends
/// the process, and no other one. A bound that cannot be set is none.
pub fn bound_memory(pond: &Path) {
    let bytes = bytes_below(pond).saturating_mul(MEMORY_TIMES);
    let bound = Some(MEMORY_BYTES.saturating_add(bytes));
    let _ = setrlimit(
        Resource::Data,
        Rlimit {
            current: bound,
            maximum: bound,
        },
    );
}

/// Opens a pond and reads all of it.
///
/// # Errors
/// When it is damaged. What its files are not to blame for is found by whoever opens it next.
pub fn probe(pond: &Path) -> Result<(), String> {
    let look = || {
        let database = Database::open(pond)?;
        if let Some(mark) = database.mark()? {
            database.entries(&mark)?;
        }
        database.close();
        Ok(())
    };
    match look() {
        Err(Trouble::Damaged(what)) => Err(what),
        Ok(()) | Err(Trouble::Format(_) | Trouble::Outside(_)) => Ok(()),
    }
}

/// Has a pond looked at by another process; `None` where there is no command for it.
pub(super) fn in_process(pond: &Path) -> Option<Result<(), String>> {
    let (program, arguments) = COMMAND.get()?;
    let mut child = Command::new(program)
        .args(arguments)
        .arg(pond)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let stderr = child.stderr.take();
    // Read beside it, so that it never waits for somebody to listen.
    let words = std::thread::spawn(move || {
        let mut words = Vec::new();
        let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut words));
        words
    });
    let ended = wait(&mut child);
    let words = words.join().unwrap_or_default();
    match ended {
        Some(status) if status.success() => Some(Ok(())),
        Some(status) => Some(Err(format!("{status}: {}", last_words(&words)))),
        None => Some(Err(format!("it could not be read within {LOOK_MAX:?}"))),
    }
}

/// Waits for a process, which is ended when it takes too long.
fn wait(child: &mut Child) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < LOOK_MAX => std::thread::sleep(LOOK_STEP),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// The end of its output, on one line.
fn last_words(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    let skip = line.chars().count().saturating_sub(WORDS_MAX);
    line.chars().skip(skip).collect()
}
