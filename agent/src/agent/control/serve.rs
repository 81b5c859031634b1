//! Serves the control socket. Whoever asks is served beside the others, so that one who says nothing,
//! or does not read, holds up nobody.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::Input;
use super::super::health::Health;
use super::super::wake::Waker;
use super::{Asked, EXCHANGE_WITHIN, PATIENCE, Question};
use tidemill_base::heartbeat::Heartbeats;

/// Most connections served at once.
const CONNECTIONS_MAX: usize = 32;

/// Most questions with the loop at once: half of its inbox, so that there is room for the rest.
const ASKED_MAX: usize = 8;

/// Longest time for a question to come in.
const QUESTION_WITHIN: Duration = Duration::from_secs(2);

/// Longest question.
pub(super) const QUESTION_BYTES_MAX: u64 = 4_096;

/// Pause before the next connection is taken, after one could not be taken or while all that are
/// served wait for the loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Context for the answers.
pub(super) struct Desk {
    heartbeats: Heartbeats,
    waker: Waker,
    turns: Semaphore,
    /// Bodies are long: one at a time is read.
    bodies: Semaphore,
}

impl Desk {
    pub(super) fn new(heartbeats: Heartbeats, waker: Waker) -> Self {
        Self {
            heartbeats,
            waker,
            turns: Semaphore::new(ASKED_MAX),
            bodies: Semaphore::new(1),
        }
    }

    async fn answer(&self, question: Question) -> Value {
        let of_threads = matches!(question, Question::Health);
        match timeout(PATIENCE, self.ask(question)).await {
            Ok(Some(answer)) => answer,
            // The other threads can be told of without the loop.
            _ if of_threads => health_without_the_loop(&self.heartbeats),
            _ => json!({ "error": "the agent does not answer" }),
        }
    }

    /// The loop's answer; `None` where it has no room for a question.
    async fn ask(&self, question: Question) -> Option<Value> {
        let _turn = self.turns.acquire().await.ok()?;
        let (answer, answered) = oneshot::channel();
        let asked = Input::Asked(Asked { question, answer });
        if self.waker.try_send(asked) {
            answered.await.ok()
        } else {
            None
        }
    }
}

/// Health of an agent whose loop does not answer, which is its fault then.
fn health_without_the_loop(heartbeats: &Heartbeats) -> Value {
    let mut health = Health::of_threads(heartbeats);
    let seconds = PATIENCE.as_secs();
    health.ails(&format!(
        "the agent's loop has not answered for {seconds} s"
    ));
    health.into_value()
}

/// A connection that is served.
struct Guest {
    task: AbortHandle,
    /// `true` while it is the other side's turn to write or to read.
    is_silent: Rc<Cell<bool>>,
}

/// Accepts connections and answers the questions on them, until the process ends.
pub(super) async fn serve(listener: UnixListener, desk: Desk) {
    let desk = Rc::new(desk);
    // Those that came first stand first.
    let mut guests = VecDeque::new();
    loop {
        guests.retain(|guest: &Guest| !guest.task.is_finished());
        if guests.len() >= CONNECTIONS_MAX && oldest_silent(&guests).is_none() {
            sleep(PAUSE).await;
            continue;
        }
        let Ok((stream, _)) = listener.accept().await else {
            // There are no more descriptors. That of one who says nothing is free in a moment; else
            // some may be in a while.
            if close_oldest_silent(&mut guests) {
                tokio::task::yield_now().await
            } else {
                sleep(PAUSE).await
            }
            continue;
        };
        guests.retain(|guest| !guest.task.is_finished());
        if guests.len() >= CONNECTIONS_MAX {
            close_oldest_silent(&mut guests);
        }
        let is_silent = Rc::new(Cell::new(true));
        let served = attend(stream, Rc::clone(&desk), Rc::clone(&is_silent));
        let task = tokio::task::spawn_local(served).abort_handle();
        guests.push_back(Guest { task, is_silent });
        // However many come, each can say something before it is the oldest.
        tokio::task::yield_now().await;
    }
}

fn oldest_silent(guests: &VecDeque<Guest>) -> Option<usize> {
    guests.iter().position(|guest| guest.is_silent.get())
}

/// Makes room for somebody else; tells whether there was one to close.
fn close_oldest_silent(guests: &mut VecDeque<Guest>) -> bool {
    let guest = oldest_silent(guests).and_then(|place| guests.remove(place));
    guest.inspect(|guest| guest.task.abort()).is_some()
}

/// Answers one question.
async fn attend(
    mut stream: UnixStream,
    desk: Rc<Desk>,
    is_silent: Rc<Cell<bool>>,
) -> std::io::Result<()> {
    let by = Instant::now() + EXCHANGE_WITHIN;
    let answer = match timeout(QUESTION_WITHIN, read_line(&mut stream)).await {
        Ok(read) => {
            let (line, rest) = read?;
            is_silent.set(false);
            let answer = match Question::parse(&line) {
                Ok(mut question) => match question.body() {
                    Some((bytes, max, body)) => {
                        let read = read_body(&mut stream, rest, (bytes, max), &desk);
                        match timeout_at(by, read).await?? {
                            Ok(read) => {
                                *body = read;
                                desk.answer(question).await
                            }
                            Err(error) => json!({ "error": error }),
                        }
                    }
                    None => desk.answer(question).await,
                },
                Err(error) => json!({ "error": error }),
            };
            is_silent.set(true);
            answer
        }
        Err(_) => {
            let seconds = QUESTION_WITHIN.as_secs();
            json!({ "error": format!("no line came within {seconds} s") })
        }
    };
    let mut text = answer.to_string();
    text.push('\n');
    timeout_at(by, stream.write_all(text.as_bytes())).await?
}

/// Reads a line, or as much of one as there is, and the bytes that came with it.
async fn read_line(stream: &mut UnixStream) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(QUESTION_BYTES_MAX));
    reader.read_until(b'\n', &mut line).await?;
    let rest = reader.buffer().to_vec();
    Ok((line, rest))
}

/// Reads the body of a question, of which some came with its line; an error that is told is in words.
async fn read_body(
    stream: &mut UnixStream,
    mut body: Vec<u8>,
    (bytes, bytes_max): (usize, usize),
    desk: &Desk,
) -> std::io::Result<Result<Vec<u8>, String>> {
    if bytes > bytes_max {
        let text = format!("{bytes} bytes are more than the {bytes_max} that are taken");
        return Ok(Err(text));
    }
    let Ok(_turn) = desk.bodies.acquire().await else {
        return Ok(Err("the agent does not answer".to_owned()));
    };
    let missing = bytes.saturating_sub(body.len()) as u64;
    stream.take(missing).read_to_end(&mut body).await?;
    if body.len() != bytes {
        let text = format!("{} bytes came, {bytes} were announced", body.len());
        return Ok(Err(text));
    }
    Ok(Ok(body))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::super::{NAME, ask, listen};
    use super::*;

    /// A socket whose questions come out here.
    fn start(dir: &Path) -> Receiver<Input> {
        let (sender, inbox) = sync_channel(16);
        listen(dir, &Heartbeats::default(), &Waker::new(sender));
        inbox
    }

    fn next(inbox: &Receiver<Input>) -> Asked {
        loop {
            if let Input::Asked(asked) = inbox.recv().unwrap() {
                return asked;
            }
        }
    }

    fn connect(dir: &Path) -> UnixStream {
        let stream = UnixStream::connect(dir.join(NAME)).unwrap();
        stream.set_read_timeout(Some(PATIENCE + PATIENCE)).unwrap();
        stream
    }

    fn line(stream: UnixStream) -> String {
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(stream);
        reader.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn connections_that_ask_nothing_hold_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = start(dir.path());
        std::thread::spawn(move || while next(&inbox).answer.send(json!({ "a": 1 })).is_ok() {});
        // Each of them would take the whole time that a question may.
        let mut half_asked: Vec<_> = (0..20).map(|_| connect(dir.path())).collect();
        for stream in &mut half_asked {
            stream.write_all(b"{\"ask\":").unwrap();
        }
        let mut idle: Vec<_> = (0..200).map(|_| connect(dir.path())).collect();
        let answer = ask(dir.path(), &Question::Health).unwrap();
        assert_eq!(answer, json!({ "a": 1 }));
        let last = idle.pop().unwrap();
        assert_eq!(line(idle.remove(0)), "", "the oldest makes room");
        assert!(line(last).contains("no line came"), "the last is told");
    }

    #[test]
    fn a_question_that_waits_for_its_answer_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = start(dir.path());
        let mut first = connect(dir.path());
        first.write_all(b"{\"ask\":\"ledger\"}\n").unwrap();
        let waits = next(&inbox);
        assert_eq!(waits.question, Question::Ledger);
        let mut second = connect(dir.path());
        second.write_all(b"{\"ask\":\"health\"}\n").unwrap();
        next(&inbox).answer.send(json!(2)).unwrap();
        assert_eq!(line(second), "2\n");
        first.set_nonblocking(true).unwrap();
        let none = first.read(&mut [0]).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WouldBlock);
        first.set_nonblocking(false).unwrap();
        waits.answer.send(json!(1)).unwrap();
        assert_eq!(line(first), "1\n");
    }

    #[test]
    fn only_so_many_questions_are_with_the_loop_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = start(dir.path());
        let mut guests: Vec<_> = (0..2 * ASKED_MAX).map(|_| connect(dir.path())).collect();
        for guest in &mut guests {
            guest.write_all(b"{\"ask\":\"ledger\"}\n").unwrap();
        }
        let mut asked: VecDeque<Asked> = (0..ASKED_MAX).map(|_| next(&inbox)).collect();
        for _ in 0..ASKED_MAX {
            assert!(!matches!(inbox.try_recv(), Ok(Input::Asked(_))));
            assert!(asked.iter().all(|asked| !asked.answer.is_closed()));
            // Another one comes in when one has its answer.
            asked.pop_front().unwrap().answer.send(json!(1)).unwrap();
            asked.push_back(next(&inbox));
        }
    }

    #[test]
    fn a_question_is_a_line_or_what_there_is_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = start(dir.path());
        std::thread::spawn(move || while next(&inbox).answer.send(json!(1)).is_ok() {});
        let answer = |bytes: &[u8]| {
            let mut stream = connect(dir.path());
            stream.write_all(bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            line(stream)
        };
        assert_eq!(answer(b"{\"ask\":\"health\"}\n"), "1\n");
        assert_eq!(answer(b"{\"ask\":\"health\"}"), "1\n");
        assert!(answer(&[b' '; QUESTION_BYTES_MAX as usize]).contains("error"));
    }
}
