//! Commands to the loop from outside: to stop, or to read the rules again. A command is seen before
//! any event that waits, however many there are.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wake::Waker;
use crate::event::ledger::Ledger;

/// Longest time for a stop, unless set otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// A command to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Stop,
    Reload,
}

/// Stops the agent, or makes it read its rules again.
#[derive(Debug, Clone)]
pub struct Remote {
    wishes: Arc<Wishes>,
    waker: Waker,
}

#[derive(Debug)]
struct Wishes {
    stop: AtomicBool,
    reload: AtomicBool,
    grace_ms: AtomicU64,
    /// `true` once somebody asked for the ledgers.
    watched: AtomicBool,
    ledgers: Mutex<Vec<(Arc<str>, Ledger)>>,
}

impl Remote {
    pub(super) fn new(waker: Waker) -> Self {
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        let wishes = Wishes {
            stop: AtomicBool::new(false),
            reload: AtomicBool::new(false),
            grace_ms: AtomicU64::new(grace_ms),
            watched: AtomicBool::new(false),
            ledgers: Mutex::default(),
        };
        Self {
            wishes: Arc::new(wishes),
            waker,
        }
    }

    /// Asks for an orderly stop that takes at most `grace`.
    pub fn stop(&self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.wishes.grace_ms.store(grace_ms, Ordering::Relaxed);
        self.wishes.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Asks to read the rules again.
    pub fn reload(&self) {
        self.wishes.reload.store(true, Ordering::Release);
        self.wake();
    }

    /// The ledgers of all rules as they stood a moment ago; empty when first asked for.
    pub fn ledgers(&self) -> Vec<(Arc<str>, Ledger)> {
        self.wishes.watched.store(true, Ordering::Relaxed);
        self.wishes
            .ledgers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns `true` if somebody reads the ledgers.
    pub(super) fn is_watched(&self) -> bool {
        self.wishes.watched.load(Ordering::Relaxed)
    }

    pub(super) fn tell_ledgers(&self, ledgers: Vec<(Arc<str>, Ledger)>) {
        *self
            .wishes
            .ledgers
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = ledgers;
    }

    /// Returns `true` if a stop was asked for.
    pub(super) fn is_stopping(&self) -> bool {
        self.wishes.stop.load(Ordering::Acquire)
    }

    pub(super) fn take_wish(&self) -> Option<Wish> {
        if self.is_stopping() {
            return Some(Wish::Stop);
        }
        self.wishes
            .reload
            .swap(false, Ordering::AcqRel)
            .then_some(Wish::Reload)
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.wishes.grace_ms.load(Ordering::Relaxed))
    }

    fn wake(&self) {
        self.waker.wake();
    }
}
