//! Heartbeats of threads. A thread announces its next beat, or that it waits for work; a watcher
//! finds the threads that are late. The decisions are pure, with time as an argument; [`Pulse`]
//! reads the clock for its thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest time that a piece of work may take before its thread counts as stuck. A worn SD card takes
/// up to 30 s for one sync; half of what is left is a margin.
pub const WORK_WITHIN: Duration = Duration::from_secs(60);

/// The same for a checkpoint, which writes all that changed since the one before it.
pub const CHECKPOINT_WITHIN: Duration = Duration::from_secs(600);

/// Interval at which a join checks for the end of its thread.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// No beat is due: the thread waits for work.
const NEVER: u64 = u64::MAX;

/// The thread ended in the midst of its work.
const GONE: u64 = 0;

/// State of a thread at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting for work.
    Idle,
    /// Working, and in time.
    Busy,
    /// Overdue; the last beat was this long ago.
    Late(Duration),
    /// Ended in the midst of its work.
    Gone,
}

impl State {
    /// `true` if the thread turns.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Idle | Self::Busy)
    }
}

/// Last beat of one thread. Times are milliseconds of any monotonic clock, from 1 on.
///
/// A thread that runs a future has two deadlines: `work` for the return of each poll, and `turn`
/// for the next turn of the loop in it, which waits most of the time.
#[derive(Debug)]
struct Beat {
    since_ms: AtomicU64,
    work_by_ms: AtomicU64,
    turned_ms: AtomicU64,
    turn_by_ms: AtomicU64,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            since_ms: AtomicU64::new(NEVER),
            work_by_ms: AtomicU64::new(NEVER),
            turned_ms: AtomicU64::new(NEVER),
            turn_by_ms: AtomicU64::new(NEVER),
        }
    }
}

impl Beat {
    fn works(&self, now_ms: u64, within_ms: u64) {
        self.since_ms.store(now_ms, Ordering::Relaxed);
        let by = now_ms.saturating_add(within_ms);
        self.work_by_ms.store(by, Ordering::Relaxed);
    }

    fn rests(&self) {
        self.work_by_ms.store(NEVER, Ordering::Relaxed);
    }

    fn turns(&self, now_ms: u64, within_ms: u64) {
        self.turned_ms.store(now_ms, Ordering::Relaxed);
        let by = now_ms.saturating_add(within_ms);
        self.turn_by_ms.store(by, Ordering::Relaxed);
    }

    /// The thread, or its loop, has come to its end.
    fn ends(&self) {
        if self.work_by_ms.load(Ordering::Relaxed) != NEVER {
            self.work_by_ms.store(GONE, Ordering::Relaxed);
        }
        self.turn_by_ms.store(NEVER, Ordering::Relaxed);
    }

    fn state(&self, now_ms: u64) -> State {
        let work_by = self.work_by_ms.load(Ordering::Relaxed);
        if work_by == GONE {
            return State::Gone;
        }
        let late = |since: &AtomicU64| {
            let since = since.load(Ordering::Relaxed);
            State::Late(Duration::from_millis(now_ms.saturating_sub(since)))
        };
        if now_ms > work_by {
            return late(&self.since_ms);
        }
        if now_ms > self.turn_by_ms.load(Ordering::Relaxed) {
            return late(&self.turned_ms);
        }
        match work_by {
            NEVER => State::Idle,
            _ => State::Busy,
        }
    }
}

/// Names and beats, in the order in which they were made.
type Beats = Vec<(String, Arc<Beat>)>;

/// The heartbeats of a process; copies share them.
#[derive(Debug, Clone)]
pub struct Heartbeats {
    began: Instant,
    beats: Arc<Mutex<Beats>>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            beats: Arc::default(),
        }
    }
}

impl Heartbeats {
    /// The pulse of a new thread, or of a loop that shares one. As many are kept as are made.
    pub fn pulse(&self, name: &str) -> Pulse {
        let beat = Arc::<Beat>::default();
        self.lock().push((name.to_owned(), Arc::clone(&beat)));
        Pulse {
            began: self.began,
            beat,
        }
    }

    /// The state of every thread by name, in order of registration.
    pub fn states(&self) -> Vec<(String, State)> {
        let now_ms = since(self.began);
        let beats = self.lock();
        let state = |(name, beat): &(String, Arc<Beat>)| (name.clone(), beat.state(now_ms));
        beats.iter().map(state).collect()
    }

    /// The ones that do not turn.
    pub fn stuck(&self) -> Vec<(String, State)> {
        let mut states = self.states();
        states.retain(|(_, state)| !state.is_well());
        states
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pulse of one thread, which beats when its thread says so.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    beat: Arc<Beat>,
}

impl Pulse {
    /// A piece of work begins, or goes on: the thread is heard of again within this time.
    pub fn works(&self, within: Duration) {
        self.beat.works(since(self.began), millis(within));
    }

    /// The thread waits for work, for as long as there is none.
    pub fn rests(&self) {
        self.beat.rests();
    }

    /// A loop turned, and will again within this time, whatever happens.
    pub fn turns(&self, within: Duration) {
        self.beat.turns(since(self.began), millis(within));
    }

    /// Watches a future: each poll of it is a piece of work, and between two it waits.
    pub fn watch<F: Future>(self: &Arc<Self>, within: Duration, future: F) -> Watched<F> {
        Watched {
            pulse: Arc::clone(self),
            within,
            future: Box::pin(future),
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.beat.ends();
    }
}

/// Waits for a thread to end until `deadline`; `None` if it still runs then.
pub fn join_by<T>(thread: JoinHandle<T>, deadline: Instant) -> Option<std::thread::Result<T>> {
    while !thread.is_finished() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
    Some(thread.join())
}

/// A future whose polls have to return.
pub struct Watched<F> {
    pulse: Arc<Pulse>,
    within: Duration,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.pulse.works(self.within);
        let polled = self.future.as_mut().poll(context);
        self.pulse.rests();
        polled
    }
}

/// Milliseconds since then, and one, so that no moment is [`GONE`].
fn since(began: Instant) -> u64 {
    millis(began.elapsed()).saturating_add(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(ms: u64) -> State {
        State::Late(Duration::from_millis(ms))
    }

    #[test]
    fn a_thread_that_waits_for_work_is_never_late() {
        let beat = Beat::default();
        assert_eq!(beat.state(1_000_000), State::Idle);
        beat.works(1_000_000, 100);
        beat.rests();
        assert_eq!(beat.state(9_000_000), State::Idle);
    }

    #[test]
    fn work_that_takes_too_long_is_late_until_the_thread_is_heard_of() {
        let beat = Beat::default();
        beat.works(1_000, 100);
        assert_eq!(beat.state(1_100), State::Busy);
        assert_eq!(beat.state(1_101), late(101));
        beat.works(1_500, 100);
        assert_eq!(beat.state(1_550), State::Busy);
        beat.rests();
        assert_eq!(beat.state(2_000), State::Idle);
    }

    #[test]
    fn a_loop_that_does_not_turn_is_late_although_every_poll_returns() {
        let beat = Beat::default();
        beat.turns(1_000, 500);
        beat.works(1_200, 100);
        beat.rests();
        assert_eq!(beat.state(1_500), State::Idle);
        assert_eq!(beat.state(1_600), late(600));
        beat.turns(1_600, 500);
        assert_eq!(beat.state(1_601), State::Idle);
    }

    #[test]
    fn a_thread_that_ends_is_missed_only_where_it_was_at_work() {
        let beats = Heartbeats::default();
        let (orderly, panicked) = (beats.pulse("orderly"), beats.pulse("panicked"));
        orderly.turns(Duration::ZERO);
        orderly.works(WORK_WITHIN);
        orderly.rests();
        panicked.works(WORK_WITHIN);
        drop((orderly, panicked));
        assert_eq!(beats.stuck(), [("panicked".to_owned(), State::Gone)]);
    }

    #[test]
    fn a_thread_that_does_not_end_is_not_waited_for_beyond_the_deadline() {
        let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
        let hangs = std::thread::spawn(move || {
            let _ = released.recv();
        });
        let deadline = Instant::now() + Duration::from_millis(10);
        assert!(join_by(hangs, deadline).is_none());
        assert!(Instant::now() >= deadline);
        drop(release);
        let ends = std::thread::spawn(|| 7);
        let later = Instant::now() + Duration::from_secs(20);
        assert_eq!(join_by(ends, later).unwrap().unwrap(), 7);
    }

    #[test]
    fn a_future_is_at_work_while_it_is_polled_and_waits_in_between() {
        let beats = Heartbeats::default();
        let pulse = Arc::new(beats.pulse("loop"));
        let seen = beats.clone();
        let states = move || seen.states().first().map(|(_, state)| *state);
        let in_poll = states.clone();
        let mut polls = 0;
        let future = std::future::poll_fn(move |_| {
            polls += 1;
            match polls {
                1 => Poll::Pending,
                _ => Poll::Ready(in_poll()),
            }
        });
        let mut watched = Box::pin(pulse.watch(WORK_WITHIN, future));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(watched.as_mut().poll(&mut context).is_pending());
        assert_eq!(states(), Some(State::Idle));
        let polled = watched.as_mut().poll(&mut context);
        assert_eq!(polled, Poll::Ready(Some(State::Busy)));
    }
}
