//! Questions to a running agent, over a socket in its data directory that only its owner can open:
//! one line of JSON each way. The loop answers between two turns of the mill; `serve` is what listens.

mod serve;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::warn;

use super::wake::Waker;
use crate::heartbeat::{Heartbeats, WORK_WITHIN};

/// Name of the socket in the data directory.
const NAME: &str = "control";

/// How long an answer may take, and again so long the one who asked to read it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask", deny_unknown_fields)]
pub enum Question {
    /// Both ledgers.
    Ledger,
    /// The hash over everything that is kept.
    StateHash,
    /// Dead letters: all, or one.
    DeadLetters {
        /// Which one.
        only: Option<u64>,
    },
    /// Work on a dead letter once more.
    Redrive {
        /// Which one.
        seq: u64,
    },
    /// Forget a dead letter.
    Drop {
        /// Which one.
        seq: u64,
    },
    /// Producers that number their events.
    EventIds,
    /// Forget a producer.
    ForgetProducer {
        /// Which one.
        producer: String,
    },
    /// What is kept of a rule: its keys, or all of one of them.
    State {
        /// The rule.
        rule: String,
        /// The key; not needed where there is only one.
        key: Option<String>,
        /// All that is kept of a key, instead of the list of keys.
        whole: bool,
    },
    /// Take the state of a key away from a rule, or that of all keys.
    ForgetState {
        /// The rule.
        rule: String,
        /// The key.
        key: Option<String>,
    },
    /// What is kept of each rule besides its keys, by which an edit can be judged.
    Records,
    /// The latest events that the recorder has.
    Events {
        /// How many.
        last: usize,
    },
    /// Whether all is well.
    Health,
    /// Tells the condition of each rule.
    Rules,
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// When the line is none, in words.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }
}

/// A question with the place for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) answer: oneshot::Sender<Value>,
}

/// Asks the agent that works in a data directory.
///
/// # Errors
/// When it does not answer.
pub fn ask(data_dir: &Path, question: &Question) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(data_dir.join(NAME))?;
    stream.set_read_timeout(Some(PATIENCE + PATIENCE))?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Answers questions until the process ends.
pub(super) fn listen(data_dir: &Path, heartbeats: &Heartbeats, waker: &Waker) {
    let path = data_dir.join(NAME);
    // One that an earlier agent left; ours is the directory, or we would not be here.
    let _ = std::fs::remove_file(&path);
    let desk = serve::Desk::new(heartbeats.clone(), waker.clone());
    let heartbeats = heartbeats.clone();
    let started = bind(path).and_then(|listener| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::from_std(listener)?
        };
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let pulse = Arc::new(heartbeats.pulse("control"));
                let tasks = LocalSet::new();
                let serve = tasks.run_until(serve::serve(listener, desk));
                runtime.block_on(pulse.watch(WORK_WITHIN, serve));
            })
    });
    if let Err(error) = started {
        warn!("`tidemill inspect` and `dead-letters` will not work while this agent runs: {error}");
    }
}

fn bind(path: PathBuf) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_question_is_answered_with_words() {
        let lines: [&[u8]; 5] = [
            b"",
            b"\xff",
            b"{}",
            b"{\"ask\":\"all\"}",
            b"{\"ask\":\"health\"} x",
        ];
        for line in lines {
            assert!(Question::parse(line).is_err_and(|why| !why.is_empty()));
        }
        let health = Question::parse(b"{\"ask\":\"health\"}\n");
        assert_eq!(health, Ok(Question::Health));
    }
}
