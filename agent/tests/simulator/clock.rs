//! The gateway's clocks: monotonic time of each boot, which counts on through sleep, and wall time,
//! which a time server keeps, keeps from some moment on, or never knew.

use tidemill::event::clock::{Now, Quality};

use crate::coverage::Sight;
use crate::plan::Keeper;
use crate::run::{Happening, Sim};

/// When the world begins, by a clock that is right.
const BEGINS_MS: i64 = 1_800_000_000_000;

/// State of the clocks.
#[derive(Debug)]
pub(crate) struct Clock {
    keeper: Keeper,
    boot_us: u64,
    boot_mono_ms: u64,
    /// Time in which nothing happened: sleep, or no power.
    away_ms: i64,
    /// Error of wall time, in milliseconds.
    wrong_ms: i64,
    quality: Quality,
}

impl Clock {
    pub(crate) fn new(keeper: Keeper) -> Self {
        Self {
            keeper,
            boot_us: 0,
            boot_mono_ms: 10_000,
            away_ms: 0,
            wrong_ms: 0,
            quality: match keeper {
                Keeper::Always | Keeper::Late => Quality::Synced,
                Keeper::Nobody => Quality::Restored,
            },
        }
    }
}

impl Sim<'_> {
    /// The time as the gateway's clocks show it.
    pub(crate) fn now(&self) -> Now {
        let (us, clock) = (self.agenda.now_us, &self.clock);
        let true_ms = BEGINS_MS + (us / 1_000) as i64 + clock.away_ms;
        Now {
            mono_ms: clock.boot_mono_ms + us.saturating_sub(clock.boot_us) / 1_000,
            wall_ms: true_ms + clock.wrong_ms,
            quality: clock.quality,
        }
    }

    /// Sets the clock. A clock that a time server keeps is right again at the next start at the
    /// latest.
    pub(crate) fn step_clock(&mut self, ms: i64) {
        self.clock.wrong_ms += ms;
        if ms.abs() > 7 * 86_400_000 {
            self.coverage.see(Sight::SteppedByYears);
            if self.clock.quality == Quality::Synced {
                // No time server says so.
                self.clock.quality = Quality::Restored;
            }
        }
    }

    /// The machine sleeps: its clocks go on.
    pub(crate) fn sleep(&mut self, ms: u64) {
        self.clock.boot_mono_ms += ms;
        self.clock.away_ms += ms as i64;
        if self.process.is_some() {
            self.turn_mill(tidemill::mill::Input::Tick);
        }
    }

    /// The power fails, for so long.
    pub(crate) fn power_off(&mut self, ms: u64) {
        if self.process.is_none() {
            return;
        }
        self.coverage.see(Sight::LongOff);
        self.clock.away_ms += ms as i64;
        // Without a battery the clock goes on from where it stood.
        self.clock.wrong_ms -= ms as i64;
        self.crash(true);
    }

    /// The machine starts.
    pub(crate) fn boots(&mut self, mono_ms: u64) {
        let clock = &mut self.clock;
        (clock.boot_us, clock.boot_mono_ms) = (self.agenda.now_us, mono_ms);
        match clock.keeper {
            Keeper::Always => (clock.wrong_ms, clock.quality) = (0, Quality::Synced),
            Keeper::Nobody => clock.quality = Quality::Restored,
            Keeper::Late => {
                clock.quality = Quality::Restored;
                let us = self.random.between(300_000, 3_000_000);
                self.agenda.after(us, Happening::ClockSynced(self.boot));
            }
        }
    }

    /// A time server sets the clock.
    pub(crate) fn clock_synced(&mut self, boot: u64) {
        if boot == self.boot && self.clock.keeper == Keeper::Late {
            self.coverage.see(Sight::SyncedLate);
            (self.clock.wrong_ms, self.clock.quality) = (0, Quality::Synced);
        }
    }
}
