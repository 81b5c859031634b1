//! The only place that reads a clock. Monotonic time (it counts on while the board sleeps) drives
//! everything that waits; wall time only labels. What survives a restart is stored with the boot's
//! identity, because monotonic time starts again at every boot.

mod age;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use tidemill_values::TIMES_MS;

pub use age::{Age, AgeClock, Ages, OFF_MAX_MS, Off, Synced};

/// Before this moment (2026-01-01) no wall clock is believed.
pub const EARLIEST_WALL_MS: i64 = 1_767_225_600_000;

/// A wall clock that moved against monotonic time by less has drifted, not stepped.
pub const STEP_MS: u64 = 500;

/// Trust in the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Quality {
    /// At the floor, or running on from it: the actual time is unknown.
    None,
    /// A plausible time, but no time server has set the clock since the machine started.
    Restored,
    /// Kept by a time server.
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
    /// Trust in the wall time.
    pub quality: Quality,
}

impl Now {
    /// The wall time that belongs to another moment of monotonic time, by the clock as it stands.
    pub fn wall_at(&self, mono_ms: u64) -> i64 {
        self.wall_ms
            .saturating_add(signed(mono_ms).saturating_sub(signed(self.mono_ms)))
    }

    /// The monotonic time that belongs to a wall time, by the clock as it stands; 0 if it lies
    /// before the start of monotonic time.
    pub fn mono_at(&self, wall_ms: i64) -> u64 {
        let mono_ms = signed(self.mono_ms).saturating_add(wall_ms.saturating_sub(self.wall_ms));
        u64::try_from(mono_ms).unwrap_or(0)
    }
}

/// Reads the machine's clocks. Copies share what they know.
#[derive(Debug, Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Lower bound of wall time minus monotonic time.
    floor_offset_ms: AtomicI64,
    /// Number of times the floor turned out to be too high.
    floors_lowered: AtomicU64,
    /// `true` if a time server kept the clock when the kernel was last asked.
    is_synced: AtomicBool,
    asked_mono_ms: AtomicU64,
    /// Wall minus monotonic time at that moment: whoever sets the clock takes it from the time
    /// server.
    asked_offset_ms: AtomicI64,
}

/// Interval between questions to the kernel whether a time server keeps the clock.
const ASK_EACH_MS: u64 = 1_000;

impl Clock {
    /// A clock whose wall time never shows a moment before `floor_ms` (the build, or the time last
    /// persisted), and from then on follows monotonic time: a board without a battery wakes in
    /// 1970. If a time server reports an earlier time, the floor came from a clock that was once
    /// wrong.
    pub fn new(floor_ms: i64) -> Self {
        let offset = floor_ms.saturating_sub(signed(monotonic_ms()));
        Self::with(offset, tidemill_ntp::is_synced())
    }

    fn with(floor_offset_ms: i64, is_synced: bool) -> Self {
        let shared = Shared {
            floor_offset_ms: AtomicI64::new(floor_offset_ms),
            floors_lowered: AtomicU64::new(0),
            is_synced: AtomicBool::new(is_synced),
            asked_mono_ms: AtomicU64::new(monotonic_ms()),
            asked_offset_ms: AtomicI64::new(wall_ms().saturating_sub(signed(monotonic_ms()))),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let (mono_ms, wall_ms) = (monotonic_ms(), wall_ms());
        let shared = &self.shared;
        let asked = shared.asked_mono_ms.load(Ordering::Relaxed);
        let offset_ms = wall_ms.saturating_sub(signed(mono_ms));
        let before_ms = shared.asked_offset_ms.load(Ordering::Relaxed);
        if mono_ms.saturating_sub(asked) >= ASK_EACH_MS || offset_ms.abs_diff(before_ms) > STEP_MS {
            shared.asked_mono_ms.store(mono_ms, Ordering::Relaxed);
            shared.asked_offset_ms.store(offset_ms, Ordering::Relaxed);
            let is_synced = tidemill_ntp::is_synced();
            shared.is_synced.store(is_synced, Ordering::Relaxed);
        }
        self.at(mono_ms, wall_ms)
    }

    /// Number of times a time server reported an earlier time than the persisted floor.
    pub fn floors_lowered(&self) -> u64 {
        self.shared.floors_lowered.load(Ordering::Relaxed)
    }

    /// The moment at which the machine's clocks show these times.
    fn at(&self, mono_ms: u64, wall_ms: i64) -> Now {
        let shared = &self.shared;
        let is_synced = shared.is_synced.load(Ordering::Relaxed);
        // A floor that stood still would stop every schedule until the clock is set.
        let floor_ms = shared
            .floor_offset_ms
            .load(Ordering::Relaxed)
            .saturating_add(signed(mono_ms));
        let is_below = wall_ms < floor_ms;
        if is_synced && is_below {
            shared.floor_offset_ms.store(i64::MIN, Ordering::Relaxed);
            shared.floors_lowered.fetch_add(1, Ordering::Relaxed);
        }
        Now {
            mono_ms,
            wall_ms: if is_synced {
                wall_ms
            } else {
                wall_ms.max(floor_ms)
            },
            quality: match (is_synced, is_below) {
                (true, _) => Quality::Synced,
                (false, true) => Quality::None,
                (false, false) => Quality::Restored,
            },
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

fn wall_ms() -> i64 {
    let wall = clock_gettime(ClockId::Realtime);
    let ms = wall.tv_sec.saturating_mul(1_000);
    let ms = ms.saturating_add(wall.tv_nsec / 1_000_000);
    // A clock of another year is none.
    ms.clamp(*TIMES_MS.start(), *TIMES_MS.end())
}

/// Identifies a boot of the machine. If the kernel does not provide an id (a sandbox may hide it)
/// each call returns another one: a start that cannot know whether the power was off must not
/// assume that the clock went on.
pub fn boot_id() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    known_or_new(told.as_deref())
}

fn known_or_new(told: Option<&str>) -> String {
    match told.map(str::trim) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => format!(
            "unknown-{:016x}",
            RandomState::new().hash_one(monotonic_ms())
        ),
    }
}

/// The same as a signed number.
pub fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_without_a_name_is_never_the_one_before() {
        assert_eq!(known_or_new(Some(" 1b4e28ba\n")), "1b4e28ba");
        for told in [None, Some(""), Some("\n")] {
            let (one, other) = (known_or_new(told), known_or_new(told));
            assert!(!one.is_empty() && one != other, "{one} {other}");
        }
    }

    #[test]
    fn wall_time_goes_on_where_the_clock_is_behind_the_floor() {
        let clock = Clock::with(1_800_000_000_000 - 5_000, false);
        for (mono_ms, machine_ms, expected, quality) in [
            (5_000, 0, 1_800_000_000_000, Quality::None),
            (65_000, 60_000, 1_800_000_060_000, Quality::None),
            (
                65_000,
                1_900_000_000_000,
                1_900_000_000_000,
                Quality::Restored,
            ),
        ] {
            let now = clock.at(mono_ms, machine_ms);
            assert_eq!((now.wall_ms, now.quality), (expected, quality));
        }
        assert_eq!(clock.floors_lowered(), 0);
    }

    #[test]
    fn a_clock_that_a_time_server_keeps_lowers_a_floor_that_was_wrong() {
        // The persisted time was in the year 2106.
        let clock = Clock::with(4_294_967_295_000, true);
        let now = clock.at(5_000, 1_800_000_000_000);
        assert_eq!(
            (now.wall_ms, now.quality),
            (1_800_000_000_000, Quality::Synced)
        );
        assert_eq!(
            clock.at(6_000, 1_800_000_001_000).wall_ms,
            1_800_000_001_000
        );
        assert_eq!(clock.floors_lowered(), 1);
        // Once lowered it holds nothing up, synced or not.
        clock.shared.is_synced.store(false, Ordering::Relaxed);
        assert_eq!(
            clock.at(7_000, 1_800_000_002_000).wall_ms,
            1_800_000_002_000
        );
    }
}
