//! Periodic checks of the agent on itself, and their reports in the log.

use tracing::{error, info, warn};

use super::{Agent, health};
use crate::event::clock::{Now, Quality};

/// Interval between two checks of both ledgers, in milliseconds.
const CHECK_EVERY_MS: u64 = 10_000;

/// Interval between two reports that nothing can be taken in, in milliseconds.
const SAY_STALLED_EVERY_MS: u64 = 10_000;

impl Agent {
    /// Checks both ledgers now and then; one that does not balance is an error in the log.
    pub(super) fn check_ledgers(&mut self, now: Now) {
        if now.mono_ms < self.checked_mono_ms + CHECK_EVERY_MS {
            return;
        }
        self.checked_mono_ms = now.mono_ms;
        self.mill.check_ledgers(&mut self.asked);
        self.mill.tell_losses(now, &mut self.asked);
        self.carry_out(now);
        self.say_of_the_clock(now);
        // Troubles are dated also where nobody asks.
        drop(self.health());
        self.all_threads_turn();
    }

    /// Looks at the heartbeats; says which threads do not turn, when those are others than before.
    pub(super) fn all_threads_turn(&mut self) -> bool {
        let stuck = self.heartbeats.stuck();
        let names: Vec<String> = stuck.iter().map(|(name, _)| name.clone()).collect();
        if names != self.said_stuck {
            for (name, state) in &stuck {
                error!("thread {name} does not turn: {}", health::word(*state));
            }
            if stuck.is_empty() {
                info!("all threads turn again");
            }
            self.said_stuck = names;
        }
        stuck.is_empty()
    }

    /// Says how far the clock can be believed, when that changes.
    fn say_of_the_clock(&mut self, now: Now) {
        if self.said_quality != Some(now.quality) {
            match now.quality {
                Quality::Synced => info!("a time server keeps the clock"),
                Quality::Restored => info!("no time server has set the clock yet"),
                Quality::None => {
                    warn!("the clock is behind what was last written down; it goes on from there");
                }
            }
            self.said_quality = Some(now.quality);
        }
        let lowered = self.clock.floors_lowered();
        if lowered > self.said_floors_lowered {
            self.said_floors_lowered = lowered;
            warn!(
                lowered,
                "the clock was wrong before: by the time server it is earlier than what was last written down"
            );
        }
    }

    /// Says that nothing is taken in, and why, as long as that is so.
    pub(super) fn say_when_stalled(&mut self, now: Now) {
        let Some(why) = self.storage.lacks_room() else {
            if self.said_stalled_mono_ms.take().is_some() {
                info!("there is room on the disk again: taking in");
            }
            return;
        };
        let said = self.said_stalled_mono_ms;
        if said.is_none_or(|at| now.mono_ms >= at + SAY_STALLED_EVERY_MS) {
            self.said_stalled_mono_ms = Some(now.mono_ms);
            error!("{why}; nothing more is taken in until there is room");
        }
    }
}
