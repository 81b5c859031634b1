//! Progress of an exchange, counted where its bytes pass, and the time that it is given. Time
//! limits are those of progress: a slow link is no silent one.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tidemill_base::sabotage::{self, Sabotage};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An exchange ends after this time, besides what its bytes are granted, however much it moves: an
/// answer that never ends must not hold a lane for ever.
const EXCHANGE_MAX: Duration = Duration::from_secs(15 * 60);

/// Factor for bytes that were taken over and may wait in buffers on the way: they are granted so
/// many times the time that the ones before them took.
const BUFFERED_TIMES: u32 = 4;

/// Time limits of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For bytes to go out or to come in.
    pub progress: Duration,
    /// For the answer to begin, from the last byte of the request on.
    pub answer: Duration,
    /// Bytes in a second that the link is trusted to carry.
    pub rate: u64,
    /// Bytes of the request's body.
    pub body: u64,
}

/// Bytes that may come before the head of an answer is there, interim answers (1xx) included: the library
/// passes over those without end.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Progress of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    began: Instant,
    moved: Instant,
    /// Bytes of the body that the connection has taken over.
    body: u64,
    /// Bytes seen so far of the empty line that ends the head; four are all of it.
    head_end: u8,
    answers: bool,
    /// Bytes that came.
    received: usize,
    /// The head of the answer is there.
    has_head: bool,
}

impl Passed {
    /// An exchange that begins.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            moved: now,
            body: 0,
            head_end: 0,
            answers: false,
            received: 0,
            has_head: false,
        }
    }

    /// Counts bytes that the connection has taken over.
    pub fn sent(&mut self, bytes: &[u8], now: Instant) {
        self.moved = now;
        let mut rest = bytes.iter();
        while self.head_end < 4
            && let Some(byte) = rest.next()
        {
            self.head_end = match (self.head_end, byte) {
                (0 | 2, b'\r') | (1 | 3, b'\n') => self.head_end + 1,
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        self.body += rest.len() as u64;
    }

    fn received(&mut self, bytes: usize, now: Instant) {
        (self.moved, self.answers) = (now, true);
        self.received = self.received.saturating_add(bytes);
    }

    /// Returns `true` if so many bytes have come that a head would be there, and none is.
    fn has_no_end_of_head(&self) -> bool {
        !self.has_head && self.received >= HEAD_BYTES_MAX
    }

    /// Returns `true` if the whole body has left.
    pub(super) fn has_sent(&self, body: u64) -> bool {
        self.head_end == 4 && self.body >= body
    }

    /// When it has been waited long enough, unless something moves.
    pub fn deadline(&self, patience: Patience) -> Instant {
        if sabotage::is(Sabotage::ExchangeInOneGo) {
            return self.began + patience.progress;
        }
        let granted = |bytes: u64| {
            let millis = bytes.saturating_mul(1_000) / patience.rate.max(1);
            Duration::from_millis(millis)
        };
        let sending = self.moved.saturating_duration_since(self.began);
        let granted_body = granted(self.body);
        let under_way = granted_body.max(sending * BUFFERED_TIMES);
        let waits = match (self.answers, self.has_sent(patience.body)) {
            (true, _) => self.moved + patience.progress,
            (false, true) => {
                (self.moved + patience.answer).max(self.began + patience.answer + under_way)
            }
            (false, false) => {
                (self.moved + patience.progress).max(self.began + patience.progress + granted_body)
            }
        };
        let at_last = self.began + EXCHANGE_MAX + patience.answer + granted(patience.body);
        waits.min(at_last)
    }

    /// Why it was given up.
    pub(super) fn silence(&self, patience: Patience) -> String {
        let Patience { body, .. } = patience;
        match (self.answers, self.has_sent(body)) {
            (true, _) => "its answer did not come to an end".to_owned(),
            (false, true) => format!(
                "no answer came within {} s; an endpoint that needs longer wants answer_timeout",
                patience.answer.as_secs_f32()
            ),
            (false, false) => format!(
                "nothing went out for {} s, after {} of {body} bytes; a slow link wants timeout",
                patience.progress.as_secs_f32(),
                self.body
            ),
        }
    }
}

/// Counts passing bytes; a connection's tasks share one.
#[derive(Debug, Clone)]
pub(super) struct Meter(Rc<Cell<Passed>>);

impl Meter {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(Passed::new(Instant::now()))))
    }

    /// A new exchange begins.
    pub(super) fn restart(&self) {
        self.0.set(Passed::new(Instant::now()));
    }

    pub(super) fn passed(&self) -> Passed {
        self.0.get()
    }

    /// The head of the answer is there.
    pub(super) fn has_head(&self) {
        self.note(|passed, _| passed.has_head = true);
    }

    fn note(&self, change: impl FnOnce(&mut Passed, Instant)) {
        let mut passed = self.0.get();
        change(&mut passed, Instant::now());
        self.0.set(passed);
    }
}

/// Waits for an exchange as long as it moves.
pub(super) async fn patiently<T>(
    meter: &Meter,
    patience: Patience,
    exchange: impl Future<Output = T>,
) -> Result<T, String> {
    let mut exchange = std::pin::pin!(exchange);
    loop {
        let deadline = meter.passed().deadline(patience);
        tokio::select! {
            biased;
            done = &mut exchange => return Ok(done),
            () = tokio::time::sleep_until(deadline.into()) => {
                let passed = meter.passed();
                if passed.deadline(patience) <= Instant::now() {
                    return Err(passed.silence(patience));
                }
            }
        }
    }
}

/// A stream whose bytes are counted.
pub(super) struct Metered<S> {
    pub(super) stream: S,
    pub(super) meter: Meter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.passed().has_no_end_of_head() {
            let kib = HEAD_BYTES_MAX >> 10;
            return Poll::Ready(Err(io::Error::other(format!(
                "the head of its answer did not end within {kib} KiB, interim answers (1xx) included"
            ))));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        let count = into.filled().len() - before;
        if count > 0 {
            self.meter.note(|passed, now| passed.received(count, now));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        let sent = bytes.get(..count).unwrap_or(bytes);
        self.meter.note(|passed, now| passed.sent(sent, now));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n";

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn patience(body: u64) -> Patience {
        Patience {
            progress: seconds(10),
            answer: seconds(20),
            rate: 2_048,
            body,
        }
    }

    /// The time granted from the start, in seconds, for a body of so many bytes of which these left
    /// at these seconds.
    fn waits(body: u64, sent: &[(u64, usize)]) -> u64 {
        let start = Instant::now();
        let mut passed = Passed::new(start);
        passed.sent(HEAD, start);
        for (at, bytes) in sent {
            passed.sent(&vec![b'x'; *bytes], start + seconds(*at));
        }
        (passed.deadline(patience(body)) - start).as_secs()
    }

    #[test]
    fn a_head_ends_with_its_empty_line_however_it_is_cut() {
        for cut in 1..HEAD.len() {
            let mut passed = Passed::new(Instant::now());
            let (one, other) = HEAD.split_at(cut);
            passed.sent(one, Instant::now());
            assert!(!passed.has_sent(0));
            passed.sent(&[other, b"1234"].concat(), Instant::now());
            assert!(passed.has_sent(4) && !passed.has_sent(5), "{cut}");
        }
    }

    #[test]
    fn sending_may_take_any_time_while_it_moves() {
        assert_eq!(waits(100_000, &[]), 10);
        assert_eq!(waits(100_000, &[(1, 20_480)]), 20);
        assert_eq!(waits(100_000, &[(8, 1), (16, 1), (24, 1)]), 34);
        assert_eq!(waits(100_000, &[(700, 1)]), 710);
    }

    #[test]
    fn an_answer_is_waited_for_while_the_body_may_be_under_way() {
        assert_eq!(waits(100, &[(1, 100)]), 24);
        assert_eq!(waits(300 << 10, &[(1, 300 << 10)]), 20 + 150);
        // Sending took half a minute: what is buffered may take two.
        assert_eq!(waits(100, &[(30, 100)]), 20 + 120);
    }

    #[test]
    fn the_head_of_an_answer_has_to_end() {
        let start = Instant::now();
        let mut passed = Passed::new(start);
        passed.received(HEAD_BYTES_MAX - 1, start);
        assert!(!passed.has_no_end_of_head());
        passed.received(1, start);
        assert!(passed.has_no_end_of_head());
        passed.has_head = true;
        passed.received(HEAD_BYTES_MAX, start);
        assert!(!passed.has_no_end_of_head());
    }

    #[test]
    fn an_answer_has_to_move_and_to_end() {
        let start = Instant::now();
        let mut passed = Passed::new(start);
        passed.sent(HEAD, start);
        passed.received(1, start + seconds(5));
        assert_eq!(passed.deadline(patience(0)) - start, seconds(15));
        passed.received(1, start + seconds(915));
        assert_eq!(passed.deadline(patience(0)) - start, seconds(920));
    }
}
