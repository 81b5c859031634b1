//! Checkpoints: when they are taken, and the thread that writes them, so that a slow card never
//! stalls the mill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info};

use super::AgentError;
use crate::clock::Now;
use crate::mill::{Checkpoint, Mill, SavedRule};
use crate::pond::{Pond, PondError};
use crate::topic::Subscription;

/// Time between checkpoints. What happened since the last one is lost in a crash.
const INTERVAL_MS: u64 = 60_000;

/// Time until a checkpoint that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Writes checkpoints.
pub(super) struct Storage {
    pond: Arc<Pond>,
    session: String,
    boot_id: String,
    /// `None` once the writer was told to end.
    writer: Option<(SyncSender<Checkpoint>, JoinHandle<Option<Checkpoint>>)>,
    /// Whether a checkpoint is being written. No message says so: the writer must never wait for
    /// the loop, which waits for the writer at its end.
    busy: Arc<AtomicBool>,
    next_mono_ms: Option<u64>,
    /// What the rules and counts were at the last checkpoint.
    last: Checkpoint,
}

impl Storage {
    pub(super) fn start(
        pond: Arc<Pond>,
        session: String,
        boot_id: String,
    ) -> Result<Self, AgentError> {
        let (sender, receiver) = sync_channel(1);
        let shared = Arc::clone(&pond);
        let busy = Arc::new(AtomicBool::new(false));
        let written = Arc::clone(&busy);
        let thread = std::thread::Builder::new()
            .name("pond".to_owned())
            .spawn(move || write_all(|checkpoint| shared.write(checkpoint), &receiver, &written))?;
        let writer = Some((sender, thread));
        Ok(Self {
            pond,
            session,
            boot_id,
            writer,
            busy,
            next_mono_ms: None,
            last: Checkpoint::default(),
        })
    }

    /// Takes a checkpoint when it is time for one.
    pub(super) fn keep(&mut self, mill: &mut Mill, now: Now) -> Result<(), AgentError> {
        let next = *self
            .next_mono_ms
            .get_or_insert(now.mono_ms.saturating_add(INTERVAL_MS));
        if self.busy.load(Ordering::Acquire) || now.mono_ms < next {
            return Ok(());
        }
        self.next_mono_ms = Some(now.mono_ms.saturating_add(INTERVAL_MS));
        let Some((writer, _)) = &self.writer else {
            return Ok(());
        };
        let checkpoint = mill.checkpoint(now, &self.boot_id);
        if !checkpoint.differs_from(&self.last) {
            return Ok(());
        }
        let (in_seq, rules) = (checkpoint.in_seq, checkpoint.rules.clone());
        self.last = Checkpoint {
            in_seq,
            rules,
            ..Checkpoint::default()
        };
        self.busy.store(true, Ordering::Release);
        writer
            .send(checkpoint)
            .map_err(|_| AgentError::Ended("writer of checkpoints"))
    }

    /// Writes a checkpoint and waits for it.
    pub(super) fn write_now(&mut self, mill: &mut Mill, now: Now) -> Result<(), PondError> {
        self.pond.write(&mill.checkpoint(now, &self.boot_id))
    }

    /// What the pond holds of every rule.
    pub(super) fn saved_rules(&self) -> Result<BTreeMap<String, SavedRule>, PondError> {
        Ok(self.pond.read()?.rules)
    }

    pub(super) fn remember_subscriptions(&self, held: &[Subscription]) -> Result<(), PondError> {
        self.pond.set_subscriptions(&self.session, held)
    }

    /// Waits for the writer and writes the last checkpoint.
    pub(super) fn stop(&mut self, mill: &mut Mill, now: Now) -> Result<(), PondError> {
        if let Some((writer, thread)) = self.writer.take() {
            drop(writer);
            if let Ok(Some(unwritten)) = thread.join() {
                self.pond.write(&unwritten)?;
            }
        }
        self.write_now(mill, now)?;
        info!("state written");
        Ok(())
    }
}

/// Writes what it is given; what cannot be written is tried again, because it is not lost as long
/// as the agent lives. Returns what is left when the agent ends meanwhile.
fn write_all(
    write: impl Fn(&Checkpoint) -> Result<(), PondError>,
    checkpoints: &Receiver<Checkpoint>,
    busy: &AtomicBool,
) -> Option<Checkpoint> {
    while let Ok(checkpoint) = checkpoints.recv() {
        while let Err(error) = write(&checkpoint) {
            error!(
                "a checkpoint cannot be written, trying again in {} s: {error}",
                RETRY.as_secs()
            );
            // Nothing is sent while this one is being written: only the end comes sooner.
            if let Err(RecvTimeoutError::Disconnected) = checkpoints.recv_timeout(RETRY) {
                return Some(checkpoint);
            }
        }
        busy.store(false, Ordering::Release);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_ends_with_the_agent_and_hands_back_what_it_could_not_write() {
        let (sender, receiver) = sync_channel(1);
        let checkpoint = Checkpoint {
            in_seq: 7,
            ..Checkpoint::default()
        };
        sender.send(checkpoint).unwrap();
        drop(sender);
        let full = |_: &Checkpoint| {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            Err(PondError::Directory("data".into(), error))
        };
        let left = write_all(full, &receiver, &AtomicBool::new(true));
        assert_eq!(left.map(|checkpoint| checkpoint.in_seq), Some(7));
    }
}
