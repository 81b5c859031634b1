//! Acknowledgements on their way from the agent to the source's thread.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Packet identifiers to acknowledge, in order. The broker's window bounds how many there are: at
/// most 65,535 messages of a connection are unacknowledged, and only one connection's are kept.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batch: Mutex<Batch>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Batch {
    epoch: u64,
    packets: Vec<u16>,
}

impl Waiting {
    /// Adds acknowledgements; never waits.
    pub(super) fn put(&self, epoch: u64, packets: Vec<u16>) {
        if packets.is_empty() {
            return;
        }
        let mut batch = self.lock();
        if batch.packets.is_empty() || batch.epoch < epoch {
            // Acknowledgements for an earlier connection have missed it.
            *batch = Batch { epoch, packets };
        } else if batch.epoch == epoch {
            batch.packets.extend(packets);
        }
        drop(batch);
        self.filled.notify_one();
    }

    /// All that waits, and the epoch that it is for.
    pub(super) fn take(&self) -> (u64, Vec<u16>) {
        let batch = std::mem::take(&mut *self.lock());
        (batch.epoch, batch.packets)
    }

    /// Comes back when something was put since this last came back.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_wait_in_order_and_only_for_one_connection() {
        let waiting = Waiting::default();
        waiting.put(1, vec![3]);
        waiting.put(2, vec![1, 2]);
        waiting.put(1, vec![4]);
        waiting.put(2, vec![3]);
        assert_eq!(waiting.take(), (2, vec![1, 2, 3]));
        assert_eq!(waiting.take(), (0, vec![]));
    }
}
