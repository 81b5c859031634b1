//! The age clock measures how long rows have waited, whatever the wall clock is set to: the time
//! the machine ran since the data directory was made, by monotonic time. Times without power are
//! kept beside it, as far as they are known: between two moments at which a time server kept the
//! wall clock. They count for rows made before them.

use super::{Now, Quality, signed};
use tidemill_base::sabotage::{self, Sabotage};

/// A machine that was off for longer has not been: the wall clock was wrong. A GPS receiver whose
/// weeks begin anew is wrong by nearly twenty years.
pub const OFF_MAX_MS: u64 = 3_660 * 24 * 3_600_000;

/// A wall clock that moved against monotonic time by more than this, and a thousandth of the time
/// between, was set.
const STEP_MS: u64 = 60_000;

/// Time in milliseconds for which the wall clock is not believed after it was set while a time
/// server kept it: it was wrong either before or after.
const DOUBT_MS: u64 = 24 * 3_600_000;

/// Times without power kept apart. Beyond that the oldest two are merged at the earlier time: only
/// rows made before it are affected by both.
const OFFS_MAX: usize = 32;

/// A time without power that is shorter does not count.
const OFF_MIN_MS: u64 = 1_000;

/// State of the age clock, sufficient to resume it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// Running time of the machine, in milliseconds.
    pub ms: u64,
    /// The last moment at which a time server kept the wall clock.
    pub synced: Option<Synced>,
    /// Age at the first of the power cuts whose length is still unknown; `None` if there is none.
    pub open_ms: Option<u64>,
}

/// A moment at which a time server kept the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// The wall clock, in milliseconds since 1970.
    pub wall_ms: i64,
    /// The age clock, in milliseconds.
    pub age_ms: u64,
}

/// A time without power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Off {
    /// Age at the time of the power cut; it counts for everything made up to then.
    pub at_ms: u64,
    /// Length in milliseconds.
    pub off_ms: u64,
}

/// An age clock that runs.
#[derive(Debug, Clone, Default)]
pub struct AgeClock {
    age: Age,
    /// In the order in which they were.
    offs: Vec<Off>,
    /// `offs` differs from what was last persisted.
    has_changed: bool,
    /// The moment for which that holds, in monotonic time.
    mono_ms: u64,
    /// Until then the wall clock is not believed.
    doubtful_until_ms: u64,
}

/// Tells how long ago something was made.
#[derive(Debug, Clone, Copy)]
pub struct Ages<'a> {
    now_ms: u64,
    offs: &'a [Off],
}

impl Ages<'_> {
    /// Ages at this time of a clock of a machine that was never off.
    pub fn at(now_ms: u64) -> Self {
        Self { now_ms, offs: &[] }
    }

    /// The age of what was made when the age clock showed `made_ms`.
    pub fn of(&self, made_ms: u64) -> u64 {
        let since = self.offs.iter().rev();
        let since = since.take_while(|off| off.at_ms >= made_ms);
        let ran_ms = self.now_ms.saturating_sub(made_ms);
        since.fold(ran_ms, |ms, off| ms.saturating_add(off.off_ms))
    }
}

impl AgeClock {
    /// Goes on from what was kept at `mono_ms` of this boot, or of an earlier one.
    pub fn resume(age: Age, offs: Vec<Off>, mono_ms: Option<u64>, now: Now) -> Self {
        let mut clock = Self {
            age,
            offs,
            has_changed: false,
            mono_ms: now.mono_ms,
            doubtful_until_ms: 0,
        };
        // Of a build without this clock nothing is known: its rows begin to age now.
        if age != Age::default() {
            // In another boot it has run since it was switched on.
            clock.mono_ms = mono_ms.unwrap_or(0);
            if mono_ms.is_none() {
                let synced = age.synced.map(|_| age.ms);
                clock.age.open_ms = age.open_ms.or(synced);
                // Anything made from now on counts as made after the power cut.
                clock.age.ms = age.ms.saturating_add(1);
            }
        }
        clock.advance(now);
        clock
    }

    /// Moves on to the present moment. Returns whether it is known now how long the machine was off.
    pub fn advance(&mut self, now: Now) -> bool {
        let age = &mut self.age;
        age.ms = age
            .ms
            .saturating_add(now.mono_ms.saturating_sub(self.mono_ms));
        self.mono_ms = now.mono_ms;
        if now.quality != Quality::Synced {
            return false;
        }
        let mut off = None;
        if let Some(before) = age.synced {
            let by_wall = now.wall_ms.saturating_sub(before.wall_ms);
            let ran_ms = age.ms.saturating_sub(before.age_ms);
            if let Some(at_ms) = age.open_ms {
                let off_ms = u64::try_from(by_wall).unwrap_or(0).saturating_sub(ran_ms);
                off = (OFF_MIN_MS..=OFF_MAX_MS)
                    .contains(&off_ms)
                    .then_some(Off { at_ms, off_ms });
            } else if by_wall.abs_diff(signed(ran_ms)) > STEP_MS + ran_ms / 1_000 {
                self.doubtful_until_ms = age.ms.saturating_add(DOUBT_MS);
            }
        }
        age.open_ms = None;
        age.synced = (age.ms >= self.doubtful_until_ms).then_some(Synced {
            wall_ms: now.wall_ms,
            age_ms: age.ms,
        });
        off.into_iter().for_each(|off| self.was_off(off));
        off.is_some()
    }

    fn was_off(&mut self, off: Off) {
        self.offs.push(off);
        self.has_changed = true;
        if self.offs.len() > OFFS_MAX {
            let oldest = self.offs.remove(0);
            if let Some(next) = self.offs.first_mut() {
                next.at_ms = oldest.at_ms;
                next.off_ms = next.off_ms.saturating_add(oldest.off_ms);
            }
        }
    }

    /// The clock's reading in milliseconds, with which new rows are marked.
    pub fn ms(&self, now: Now) -> u64 {
        if sabotage::is(Sabotage::AgeByWallClock) {
            return u64::try_from(now.wall_ms).unwrap_or(0);
        }
        self.age.ms
    }

    /// A view that computes ages as of now.
    pub fn ages(&self, now: Now) -> Ages<'_> {
        Ages {
            now_ms: self.ms(now),
            offs: &self.offs,
        }
    }

    /// State to persist.
    pub fn age(&self) -> Age {
        self.age
    }

    /// Times without power, if they changed since they were last persisted.
    pub fn take_offs(&mut self) -> Option<Vec<Off>> {
        std::mem::take(&mut self.has_changed).then(|| self.offs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn now(mono_ms: i64, wall_ms: i64, quality: Quality) -> Now {
        Now {
            mono_ms: mono_ms.cast_unsigned(),
            wall_ms,
            quality,
        }
    }

    fn age(clock: &AgeClock, made_ms: u64) -> i64 {
        clock.ages(Now::default()).of(made_ms).cast_signed()
    }

    /// When the last commit was, by the age clock, at a wall time of 0.
    const KEPT_MS: u64 = 3_600_000;

    /// A start from there, and the next second. Checks how old is by then what was made with that commit.
    #[track_caller]
    fn check(same_boot: bool, started: Now, expected_ms: i64) -> AgeClock {
        let kept = Age {
            ms: KEPT_MS,
            synced: Some(Synced {
                wall_ms: 0,
                age_ms: KEPT_MS,
            }),
            open_ms: None,
        };
        let mono_ms = same_boot.then_some(50_000);
        let mut clock = AgeClock::resume(kept, Vec::new(), mono_ms, started);
        let made_ms = clock.ms(started);
        clock.advance(now(
            started.mono_ms.cast_signed() + 1_000,
            started.wall_ms.saturating_add(1_000),
            started.quality,
        ));
        let off = i64::from(!same_boot);
        assert_eq!(age(&clock, KEPT_MS), expected_ms + off, "{started:?}");
        assert_eq!(age(&clock, made_ms), 1_000, "what was made since");
        clock
    }

    #[test]
    fn only_time_that_is_known_counts() {
        use Quality::{None as Nothing, Restored, Synced};
        // Restarted on a machine that ran: the wall clock is of no matter.
        for (wall_ms, quality) in [(8 * DAY, Synced), (-DAY, Synced), (8 * DAY, Restored)] {
            check(true, now(60_000, wall_ms, quality), 11_000);
        }
        // Switched on again, ten seconds ago.
        check(false, now(10_000, 8 * DAY, Synced), 8 * DAY + 999);
        for wall_ms in [5_000, -8 * DAY, 7_168 * DAY, i64::MAX, i64::MIN] {
            check(false, now(10_000, wall_ms, Synced), 11_000);
        }
        check(false, now(10_000, 8 * DAY, Restored), 11_000);
        check(false, now(10_000, 8 * DAY, Nothing), 11_000);
    }

    #[test]
    fn a_clock_that_is_set_later_tells_how_long_the_machine_was_off() {
        let mut clock = check(false, now(10_000, 0, Quality::None), 11_000);
        let made_ms = clock.age.ms;
        // A restart in between loses nothing of that, nor does another time without power.
        let resume = |mono_ms, at| {
            AgeClock::resume(
                clock.age,
                Vec::new(),
                mono_ms,
                now(at, 9_000, Quality::None),
            )
        };
        let mut clocks = [
            clock.clone(),
            resume(Some(11_000), 20_000),
            resume(None, 9_000),
        ];
        for clock in &mut clocks {
            assert!(clock.advance(now(30_000, 8 * DAY, Quality::Synced)));
            assert!((8 * DAY - 1..=8 * DAY).contains(&age(clock, KEPT_MS)));
            assert!(age(clock, made_ms) <= 30_001, "what was made since");
            assert!(!clock.advance(now(31_000, 8 * DAY + 1_000, Quality::Synced)));
            let offs = clock.take_offs().unwrap();
            assert_eq!((offs.len(), clock.take_offs()), (1, None));
        }
        assert!(!clock.advance(now(30_000, 8 * DAY, Quality::Restored)));
    }

    #[test]
    fn a_running_clock_that_is_set_counts_for_nothing_then_and_later() {
        for quality in [Quality::Synced, Quality::Restored] {
            let start = now(0, 0, Quality::Synced);
            let mut clock = AgeClock::resume(Age::default(), Vec::new(), None, start);
            clock.advance(now(1_000, 1_000, Quality::Synced));
            clock.advance(now(2_000, 8 * DAY, quality));
            clock.advance(now(3_000, 3_000, quality));
            assert_eq!(age(&clock, 0), 3_000);
            // Nor is it believed after the power was off.
            clock.advance(now(4_000, -8 * DAY, quality));
            let next = now(500, 9_000, Quality::Synced);
            let next = AgeClock::resume(clock.age, Vec::new(), None, next);
            assert!(age(&next, 0) <= 9_001, "{}", age(&next, 0));
        }
    }

    #[test]
    fn a_clock_that_drifts_was_not_set() {
        let start = now(0, 0, Quality::Synced);
        let mut clock = AgeClock::resume(Age::default(), Vec::new(), None, start);
        clock.advance(now(30 * DAY, 30 * DAY + 300_000, Quality::Synced));
        assert!(clock.age.synced.is_some());
    }

    #[test]
    fn rows_of_the_build_before_begin_to_age_at_the_start() {
        let started = now(5_000_000, 100 * DAY, Quality::Synced);
        for mono_ms in [None, Some(7)] {
            let clock = AgeClock::resume(Age::default(), Vec::new(), mono_ms, started);
            assert_eq!(age(&clock, 0), 0);
        }
    }

    #[test]
    fn times_without_power_add_up_and_are_bounded() {
        let mut clock = AgeClock::default();
        for n in 1..=100 {
            clock.age.ms = n * 10;
            clock.was_off(Off {
                at_ms: n * 10,
                off_ms: 1_000,
            });
        }
        clock.age.ms = 2_000;
        assert_eq!(clock.offs.len(), OFFS_MAX);
        assert_eq!(age(&clock, 0), 102_000);
        assert_eq!(age(&clock, 995), 2_005);
        assert_eq!(age(&clock, 1_001), 999);
        assert!(age(&clock, 500) <= 1_500 + 51_000, "never more than it was");
    }

    #[test]
    fn monotonic_time_that_goes_back_or_to_its_end_does_no_harm() {
        let old = Age {
            ms: u64::MAX - 5,
            ..Age::default()
        };
        let back = now(100, 0, Quality::Synced);
        let clock = AgeClock::resume(old, Vec::new(), Some(50_000), back);
        assert_eq!(clock.age.ms, u64::MAX - 5);
        let end = now(i64::MAX, 0, Quality::Synced);
        let clock = AgeClock::resume(old, Vec::new(), Some(0), end);
        assert_eq!(clock.age.ms, u64::MAX);
    }
}
