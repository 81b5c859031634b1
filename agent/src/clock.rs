//! The only place that reads a clock. Monotonic time (it counts on while the board sleeps) drives
//! everything that waits; wall time only labels. What survives a restart is stored with the boot's
//! identity, because monotonic time starts again at every boot.

use rustix::time::{ClockId, clock_gettime};

/// The moment of a step of the mill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds of monotonic time, from an arbitrary start.
    pub mono_ms: u64,
    /// Wall time, milliseconds since 1970.
    pub wall_ms: i64,
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
    floor_ms: i64,
}

impl Clock {
    /// A clock whose wall time never shows a moment before `floor_ms` (the build, or what was last
    /// persisted): a board without a battery wakes in 1970.
    pub fn new(floor_ms: i64) -> Self {
        Self { floor_ms }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let mono = clock_gettime(ClockId::Boottime);
        let wall = clock_gettime(ClockId::Realtime);
        let wall_ms = wall
            .tv_sec
            .saturating_mul(1_000)
            .saturating_add(wall.tv_nsec / 1_000_000);
        let mono_ms = mono
            .tv_sec
            .saturating_mul(1_000)
            .saturating_add(mono.tv_nsec / 1_000_000);
        Now {
            mono_ms: u64::try_from(mono_ms).unwrap_or(0),
            wall_ms: wall_ms.max(self.floor_ms),
        }
    }
}

/// What tells one boot of the machine from another; empty where the kernel does not say.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
