//! Questions to a running agent, over a socket in its data directory that only its owner can open:
//! one line of JSON each way. The loop answers between two turns of the mill.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::warn;

use super::Input;
use super::health::Health;
use super::wake::Waker;
use crate::heartbeat::{Heartbeats, WORK_WITHIN};

/// Name of the socket in the data directory.
const NAME: &str = "control";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest question.
const QUESTION_BYTES_MAX: usize = 4_096;

/// How long nobody is heard after a connection could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

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
    /// The latest events that the recorder has.
    Events {
        /// How many.
        last: usize,
    },
    /// Whether all is well.
    Health,
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
    pub(super) answer: SyncSender<Value>,
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
    let (waker, heartbeats) = (waker.clone(), heartbeats.clone());
    let started = bind(path).and_then(|listener| {
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || serve(&listener, &heartbeats, &waker))
    });
    if let Err(error) = started {
        warn!("`tidemill inspect` and `dead-letters` will not work while this agent runs: {error}");
    }
}

fn bind(path: PathBuf) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn serve(listener: &UnixListener, heartbeats: &Heartbeats, waker: &Waker) {
    let pulse = heartbeats.pulse("control");
    for stream in listener.incoming() {
        pulse.works(WORK_WITHIN);
        match stream {
            Ok(stream) => drop(answer(stream, heartbeats, waker)),
            // There are no more descriptors: some may be free again in a while.
            Err(_) => std::thread::sleep(PAUSE),
        }
        pulse.rests();
    }
}

fn answer(stream: UnixStream, heartbeats: &Heartbeats, waker: &Waker) -> std::io::Result<()> {
    let answer = match Question::parse(&read_line(&stream)?) {
        Ok(question) => {
            let (answer, answered) = sync_channel(1);
            let of_threads = matches!(question, Question::Health);
            let asked = waker.try_send(Input::Asked(Asked { question, answer }));
            match asked.then(|| answered.recv_timeout(PATIENCE)) {
                Some(Ok(answer)) => answer,
                // The other threads can be told of without the loop.
                _ if of_threads => health_without_the_loop(heartbeats),
                _ => json!({ "error": "the agent does not answer" }),
            }
        }
        Err(error) => json!({ "error": error }),
    };
    let mut text = answer.to_string();
    text.push('\n');
    write_all(&stream, text.as_bytes())
}

/// Health where the loop does not answer, which is what ails then.
fn health_without_the_loop(heartbeats: &Heartbeats) -> Value {
    let mut health = Health::of_threads(heartbeats);
    let seconds = PATIENCE.as_secs();
    health.ails(&format!(
        "the agent's loop has not answered for {seconds} s"
    ));
    health.into_value()
}

/// A line, or what there is of one: whoever asks has so long for all of it, because others wait.
fn read_line(mut stream: &UnixStream) -> std::io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut piece = [0; 512];
    while line.len() < QUESTION_BYTES_MAX && !line.contains(&b'\n') {
        let rest = end.saturating_duration_since(Instant::now());
        // No time at all would be for ever.
        stream.set_read_timeout(Some(rest.max(Duration::from_millis(1))))?;
        match stream.read(&mut piece)? {
            0 => break,
            count => line.extend(piece.iter().take(count)),
        }
    }
    Ok(line)
}

/// Writes an answer. Whoever asked has so long to read all of it, because others wait.
fn write_all(mut stream: &UnixStream, mut bytes: &[u8]) -> std::io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(rest))?;
        let count = stream.write(bytes)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
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

    #[test]
    fn a_line_is_read_up_to_its_end_or_its_limit() {
        let read = |bytes: &'static [u8]| {
            let (mut asks, answers) = UnixStream::pair().unwrap();
            asks.write_all(bytes).unwrap();
            drop(asks);
            read_line(&answers).unwrap()
        };
        assert_eq!(read(b"{}\n"), b"{}\n");
        assert_eq!(read(b"{}"), b"{}");
        assert!(read(&[b'x'; 10_000]).len() < QUESTION_BYTES_MAX + 512);
    }
}
