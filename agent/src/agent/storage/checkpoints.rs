//! The thread that writes checkpoints, and the room that it keeps for the next one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use crate::mill::{Checkpoint, Input};
use crate::storage::pond::{PondCheckpoint, Ponds, PondsError, Which};
use crate::storage::recovery::Reserve;
use tidemill_base::heartbeat::{CHECKPOINT_WITHIN, Pulse};

/// Interval between attempts to reserve room that was not there.
const RETRY: Duration = Duration::from_secs(2);

/// State of the checkpoint thread that the mill is not told.
#[derive(Debug, Default)]
pub(super) struct CheckpointState {
    lacks_room: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl CheckpointState {
    /// `true` if no room is kept for a checkpoint.
    pub(super) fn lacks_room(&self) -> bool {
        self.lacks_room.load(Ordering::Acquire)
    }

    /// Why the last one could not be written.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Writes checkpoints and keeps room for the next.
pub(super) struct Keeper<Tell> {
    ponds: Ponds,
    reserve: Reserve,
    /// Bytes of the largest checkpoint so far.
    largest: u64,
    state: Arc<CheckpointState>,
    tell: Tell,
}

impl<Tell: Fn(Input)> Keeper<Tell> {
    pub(super) fn new(
        ponds: Ponds,
        reserve: Reserve,
        state: Arc<CheckpointState>,
        tell: Tell,
    ) -> Self {
        Self {
            ponds,
            reserve,
            largest: 0,
            state,
            tell,
        }
    }

    /// Works until nobody asks any more.
    pub(super) fn run(mut self, checkpoints: &Receiver<Checkpoint>, pulse: &Pulse) {
        pulse.works(CHECKPOINT_WITHIN);
        self.keep_room();
        loop {
            pulse.rests();
            let next = if self.reserve.is_kept() {
                checkpoints
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                checkpoints.recv_timeout(RETRY)
            };
            pulse.works(CHECKPOINT_WITHIN);
            match next {
                Ok(checkpoint) => self.write(checkpoint),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.keep_room();
        }
    }

    fn write(&mut self, checkpoint: Checkpoint) {
        let Checkpoint {
            pond,
            lsn,
            full,
            puts,
            removes,
        } = checkpoint;
        let which = if pond == 0 { Which::A } else { Which::B };
        let bytes = puts.iter().map(|(key, value)| key.len() + value.len());
        self.largest = self.largest.max(bytes.sum::<usize>() as u64);
        let checkpoint = PondCheckpoint {
            lsn,
            full,
            puts,
            removes,
        };
        let mut written = self.ponds.write(which, &checkpoint);
        if matches!(written, Err(PondsError::Full(_))) && self.reserve.give_up() {
            warn!("the disk is full: room that was kept for a checkpoint is given up for this one");
            written = self.ponds.write(which, &checkpoint);
        }
        let trouble = written.err().map(|error| error.to_string());
        if let Some(error) = &trouble {
            error!("a checkpoint cannot be written, trying again soon: {error}");
        }
        (self.tell)(match trouble {
            None => Input::PondWritten { pond },
            Some(_) => Input::PondFailed,
        });
        self.state.set_trouble(trouble);
    }

    fn keep_room(&mut self) {
        let kept: io::Result<()> = self.reserve.keep_for(self.largest);
        let lacks = !self.reserve.is_kept();
        let lacked = self.state.lacks_room.swap(lacks, Ordering::AcqRel);
        match kept {
            Err(error) if lacks && !lacked => {
                warn!("no room can be kept for a checkpoint, trying again: {error}");
            }
            _ if lacked && !lacks => info!("room is kept for a checkpoint again"),
            _ => {}
        }
        if lacks != lacked {
            // Somebody has to look.
            (self.tell)(Input::Tick);
        }
    }
}
