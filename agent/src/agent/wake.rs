//! Wakes the loop. Whoever has something for it puts that where the loop looks and wakes it; however
//! many do so, it is woken once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use super::Input;

/// Wakes the loop.
#[derive(Debug, Clone)]
pub(super) struct Waker {
    inbox: SyncSender<Input>,
    is_woken: Arc<AtomicBool>,
}

impl Waker {
    pub(super) fn new(inbox: SyncSender<Input>) -> Self {
        Self {
            inbox,
            is_woken: Arc::default(),
        }
    }

    /// Makes the loop look around; never waits.
    pub(super) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            // If the inbox is full, the loop is awake.
            let _ = self.inbox.try_send(Input::Woken);
        }
    }

    /// Sends the loop something; tells whether there was room. Few questions are sent at once: an
    /// inbox that is full is one that the loop does not look into.
    pub(super) fn try_send(&self, input: Input) -> bool {
        self.inbox.try_send(input).is_ok()
    }

    /// The loop is about to look around: from now on it has to be woken again.
    pub(super) fn rearm(&self) {
        self.is_woken.store(false, Ordering::Release);
    }
}
