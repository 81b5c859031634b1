//! The only place that reads a clock. Monotonic time (it counts on while the board sleeps) drives
//! everything that waits; wall time only labels. What survives a restart is stored with the boot's
//! identity, because monotonic time starts again at every boot.

use rustix::time::{ClockId, clock_gettime};

/// A wall clock that moved against monotonic time by less has drifted, not stepped.
pub const STEP_MS: u64 = 500;

/// How far the wall clock can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Quality {
    /// It stands at the floor, or goes on from it: it knows nothing of the time.
    None,
    /// It shows a time that may be, but no time server has set it since the machine started.
    Restored,
    /// A time server keeps it.
    #[default]
    Synced,
}

/// The moment of a step of the mill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of monotonic time, from an arbitrary start.
    pub mono_ms: u64,
    /// Wall time, milliseconds since 1970.
    pub wall_ms: i64,
    /// How far the wall time can be believed.
    pub quality: Quality,
}

impl Now {
    /// The wall time that belongs to another moment of monotonic time, by the clock as it stands.
    pub fn wall_at(&self, mono_ms: u64) -> i64 {
        self.wall_ms
            .saturating_add(signed(mono_ms).saturating_sub(signed(self.mono_ms)))
    }

    /// The monotonic time that belongs to a wall time, by the clock as it stands; 0 where it lies
    /// before the start of monotonic time.
    pub fn mono_at(&self, wall_ms: i64) -> u64 {
        let mono_ms = signed(self.mono_ms).saturating_add(wall_ms.saturating_sub(self.wall_ms));
        u64::try_from(mono_ms).unwrap_or(0)
    }
}

/// Reads the machine's clocks.
#[derive(Debug, Clone)]
pub struct Clock {
    /// What wall time shows at least, when it was made; from then on it goes with monotonic time.
    floor: Now,
}

impl Clock {
    /// A clock whose wall time never shows a moment before `floor_ms` (the build, or what was last
    /// persisted): a board without a battery wakes in 1970.
    pub fn new(floor_ms: i64) -> Self {
        let floor = Now {
            mono_ms: monotonic_ms(),
            wall_ms: floor_ms,
            quality: Quality::None,
        };
        Self { floor }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let wall = clock_gettime(ClockId::Realtime);
        let wall_ms = wall
            .tv_sec
            .saturating_mul(1_000)
            .saturating_add(wall.tv_nsec / 1_000_000);
        self.at(monotonic_ms(), wall_ms)
    }

    /// The moment at which the machine's clocks show these times.
    fn at(&self, mono_ms: u64, wall_ms: i64) -> Now {
        // A floor that stood still would stop every schedule until the clock is set.
        let wall_ms = wall_ms.max(self.floor.wall_at(mono_ms));
        Now {
            mono_ms,
            wall_ms,
            quality: Quality::Synced,
        }
    }
}

fn monotonic_ms() -> u64 {
    let mono = clock_gettime(ClockId::Boottime);
    let ms = mono
        .tv_sec
        .saturating_mul(1_000)
        .saturating_add(mono.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}

/// What tells one boot of the machine from another; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The same as a signed number.
pub fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_goes_on_where_the_clock_is_behind_the_floor() {
        let floor = Now {
            mono_ms: 5_000,
            wall_ms: 1_800_000_000_000,
            quality: Quality::None,
        };
        let clock = Clock { floor };
        for (mono_ms, machine_ms, expected) in [
            (5_000, 0, 1_800_000_000_000),
            (65_000, 60_000, 1_800_000_060_000),
            (65_000, 1_900_000_000_000, 1_900_000_000_000),
        ] {
            assert_eq!(clock.at(mono_ms, machine_ms).wall_ms, expected);
        }
    }
}
