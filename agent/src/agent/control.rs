//! Questions to a running agent, over a socket in its data directory that only its owner can open:
//! one line of JSON each way. The loop answers between two turns of the mill; `serve` does the
//! listening.

mod serve;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tracing::warn;

use super::wake::Waker;
use crate::fleet::APPLY_BYTES_MAX;
use tidemill_base::heartbeat::{Heartbeats, WORK_WITHIN};

/// Name of the socket in the data directory.
const NAME: &str = "control";

/// Bytes of a path that a socket can be bound to.
const ADDRESS_BYTES_MAX: usize = 107;

/// The longest time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest time of a whole exchange, from the connection to the last byte of the answer.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(20);

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;

/// Longest payload of an invocation.
pub const INVOKE_BYTES_MAX: usize = 256 << 10;

/// Bytes of an answer that are read at once.
const STEP: usize = 64 * 1024;

/// A question to a running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask", deny_unknown_fields)]
pub enum Question {
    /// Both ledgers.
    Ledger,
    /// The hash over everything that is kept.
    StateHash,
    /// Dead letters: all, or one.
    DeadLetters {
        /// Number of the dead letter; all of them if `None`.
        only: Option<u64>,
    },
    /// Work on a dead letter once more.
    Redrive {
        /// Number of the dead letter.
        seq: u64,
    },
    /// Forget a dead letter.
    Drop {
        /// Number of the dead letter.
        seq: u64,
    },
    /// Producers that number their events.
    EventIds,
    /// Forget a producer.
    ForgetProducer {
        /// Name of the producer.
        producer: String,
    },
    /// The state of a rule: its keys, or all of one of them.
    State {
        /// The rule.
        rule: String,
        /// The key; not needed where there is only one.
        key: Option<String>,
        /// All that is kept of a key, instead of the list of keys.
        whole: bool,
    },
    /// Sizes of the state of all rules.
    States,
    /// Take the state of a key away from a rule, or that of all keys.
    ForgetState {
        /// The rule.
        rule: String,
        /// The key.
        key: Option<String>,
    },
    /// The records of all rules, without their keys, by which an edit can be judged.
    Records,
    /// The latest events that the recorder has.
    Events {
        /// Number of events.
        last: usize,
    },
    /// Health of the agent.
    Health,
    /// Tells the condition of each rule.
    Rules,
    /// Tells of pushed rules: what runs, what is pending, what was refused.
    Fleet,
    /// Run a rule for an event, whose payload follows behind the line.
    Invoke {
        /// The rule.
        rule: String,
        /// Topic of the event.
        topic: String,
        /// Key, in place of the one that the rule would find.
        key: Option<String>,
        /// Length in bytes of the payload that follows.
        bytes: usize,
        /// The payload.
        #[serde(skip)]
        body: Vec<u8>,
    },
    /// Take signed roots and bundles, which follow behind the line.
    Apply {
        /// Length in bytes of the content that follows.
        bytes: usize,
        /// The bytes.
        #[serde(skip)]
        body: Vec<u8>,
    },
}

impl Question {
    /// `true` if its answer says that something was changed.
    pub(super) fn changes(&self) -> bool {
        matches!(
            self,
            Self::Redrive { .. }
                | Self::Drop { .. }
                | Self::ForgetProducer { .. }
                | Self::ForgetState { .. }
        )
    }

    /// Length, greatest length and place of the body that follows the line, where one does.
    fn body(&mut self) -> Option<(usize, usize, &mut Vec<u8>)> {
        match self {
            Self::Apply { bytes, body } => Some((*bytes, APPLY_BYTES_MAX, body)),
            Self::Invoke { bytes, body, .. } => Some((*bytes, INVOKE_BYTES_MAX, body)),
            _ => None,
        }
    }

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
/// When it does not answer in time.
pub fn ask(data_dir: &Path, question: &Question) -> std::io::Result<Value> {
    let by = Instant::now() + EXCHANGE_WITHIN;
    let mut stream = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // It also bounds how long a connection waits behind others to be taken.
    stream.set_write_timeout(Some(EXCHANGE_WITHIN))?;
    reach(&data_dir.join(NAME), |path| {
        stream.connect(&SockAddr::unix(path)?)
    })
    .map_err(in_words)?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(in_words)?;
    if let Question::Apply { body, .. } | Question::Invoke { body, .. } = question {
        stream.write_all(body).map_err(in_words)?;
    }
    let answer = read_answer(&mut stream, by).map_err(in_words)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads a line, however it is cut.
fn read_answer(stream: &mut Socket, by: Instant) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut step = vec![0; STEP];
    while !answer.ends_with(b"\n") {
        let left = by.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut step)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(step.get(..count).unwrap_or_default());
    }
    Ok(answer)
}

/// Names a timeout as such.
fn in_words(error: std::io::Error) -> std::io::Error {
    let seconds = EXCHANGE_WITHIN.as_secs();
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => std::io::Error::new(
            ErrorKind::TimedOut,
            format!("the agent has not answered within {seconds} s"),
        ),
        _ => error,
    }
}

/// Answers questions until the process ends.
pub(super) fn listen(data_dir: &Path, heartbeats: &Heartbeats, waker: &Waker) {
    let path = data_dir.join(NAME);
    // One that an earlier agent left; ours is the directory, or we would not be here.
    let _ = std::fs::remove_file(&path);
    let desk = serve::Desk::new(heartbeats.clone(), waker.clone());
    let heartbeats = heartbeats.clone();
    let started = bind(&path).and_then(|listener| {
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

/// Binds the socket with the mode that it keeps: Linux makes it with that of the descriptor.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    reach(path, |path| socket.bind(&SockAddr::unix(path)?))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(std::os::fd::OwnedFd::from(socket).into())
}

/// Does something with a socket's path; with a short name for it, through its open folder, where it is
/// longer than an address may be.
fn reach<T>(path: &Path, act: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return act(path);
    };
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return act(path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(dir, flags, Mode::empty())?;
    act(&Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn one_deadline_holds_for_the_whole_answer() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut here = Socket::from(std::os::fd::OwnedFd::from(here));
        let drip = std::thread::spawn(move || {
            let mut there = there;
            while there.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let by = Instant::now() + Duration::from_millis(100);
        let error = read_answer(&mut here, by).unwrap_err();
        assert!(in_words(error).to_string().contains("has not answered"));
        drop(here);
        drip.join().unwrap();
    }

    #[test]
    fn a_socket_may_lie_deeper_than_an_address_is_long() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("d".repeat(120));
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join(NAME);
        let listener = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "whatever the umask of the tests");
        let mut here = reach(&path, |path| UnixStream::connect(path)).unwrap();
        here.write_all(b"x\n").unwrap();
        listener.set_nonblocking(false).unwrap();
        let mut line = String::new();
        let (there, _) = listener.accept().unwrap();
        BufReader::new(there).read_line(&mut line).unwrap();
        assert_eq!(line, "x\n");
    }

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
