//! Coverage: the crash points of the design that were met, and the events of the world outside that
//! were seen.

use std::fmt;

const NAMES: [&str; 14] = [
    "received, not in a commit",
    "appended, not synced",
    "synced, not acknowledged",
    "acknowledgement lost",
    "packet identifier used again",
    "receiver took it, cursor not saved",
    "crash in checkpoint or recycling",
    "broker went back",
    "session lost, crash before SUBSCRIBE",
    "poison",
    "disk full or failing, then a start",
    "killed, read from page cache, power cut",
    "redeployment, overlaps, retained",
    "crash while a pane closes, cursor durable",
];

/// A situation that gateways meet in the field, and that a seed met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Quick,
    VersionChanged,
    RepeatedAcrossVersions,
    Wild,
    Ahead,
    Anew,
    Forgotten,
    Repeated,
    SteppedByYears,
    NeverSynced,
    SyncedLate,
    LongOff,
    Large,
    RoomByRecycling,
    Unreadable5,
    Unreadable311,
    ManyIdentifiers,
    SectorLost,
    NoOverwriting,
    Stalls,
    RefusesAll,
    SmallWindow,
    LargeWindow,
    SlowLink,
    Twins,
    SlowSensors,
    CutWhenConfirmed,
    Answered,
    Behind,
    BehindAtCrash,
}

#[rustfmt::skip]
const SIGHTS: [(Sight, &str); 30] = [
    (Sight::Quick, "QoS 1 for a rule without durability"),
    (Sight::VersionChanged, "another version of MQTT, the same session"),
    (Sight::RepeatedAcrossVersions, "sent again over another version"),
    (Sight::Wild, "one wrong number: 4294967295"),
    (Sight::Ahead, "a counter jumps ahead"),
    (Sight::Anew, "a counter starts anew"),
    (Sight::Forgotten, "its owner lets it begin again"),
    (Sight::Repeated, "a sensor repeats an event"),
    (Sight::SteppedByYears, "the clock is set by years"),
    (Sight::NeverSynced, "a clock that nobody keeps"),
    (Sight::SyncedLate, "a clock that is right late"),
    (Sight::LongOff, "hours or days without power"),
    (Sight::Large, "payloads up to the limit"),
    (Sight::RoomByRecycling, "a full disk that only the gateway relieves"),
    (Sight::Unreadable5, "a message of MQTT 5 breaks its rules"),
    (Sight::Unreadable311, "a topic that is none"),
    (Sight::ManyIdentifiers, "a copy names five subscriptions or more"),
    (Sight::SectorLost, "rows in a sector that cannot be read"),
    (Sight::NoOverwriting, "no room even for overwriting"),
    (Sight::Stalls, "a receiver that stalls"),
    (Sight::RefusesAll, "an endpoint that refuses all"),
    (Sight::SmallWindow, "answers not in order, a small window"),
    (Sight::LargeWindow, "answers not in order, a large window"),
    (Sight::SlowLink, "a slow way to destinations"),
    (Sight::Twins, "the same again on a quiet line"),
    (Sight::SlowSensors, "a slow way from the sensors"),
    (Sight::CutWhenConfirmed, "a line that breaks right behind an answer"),
    (Sight::Answered, "a request of a local source, answered"),
    (Sight::Behind, "an event waits for a rule that is behind"),
    (Sight::BehindAtCrash, "a crash while events wait for a rule"),
];

/// Counts of C1 to C14, and of what was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    counts: [u64; 14],
    sights: [u64; SIGHTS.len()],
}

impl Coverage {
    /// Crash point C`number` was met.
    pub(crate) fn enter(&mut self, number: usize) {
        self.counts[number - 1] += 1;
    }

    /// Notes a situation that was met.
    pub(crate) fn see(&mut self, sight: Sight) {
        self.sights[sight as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().chain(&mut self.sights);
        for (count, more) in counts.zip(other.counts.iter().chain(&other.sights)) {
            // Seeds are counted, not how often in each.
            *count += more.min(&1);
        }
    }

    /// Crash points and sights that no seed met.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let points = self.counts.iter().enumerate();
        let points = points.filter(|(_, count)| **count == 0);
        let points = points.map(|(at, _)| format!("C{}", at + 1));
        let sights = SIGHTS.iter().zip(self.sights);
        let sights = sights.filter(|(_, count)| *count == 0);
        points
            .chain(sights.map(|((_, name), _)| (*name).to_owned()))
            .collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in NAMES.iter().zip(self.counts).enumerate() {
            writeln!(f, "C{:<3}{name:<44}{count:>8} seeds", at + 1)?;
        }
        for ((_, name), count) in SIGHTS.iter().zip(self.sights) {
            writeln!(f, "    {name:<44}{count:>8} seeds")?;
        }
        Ok(())
    }
}
