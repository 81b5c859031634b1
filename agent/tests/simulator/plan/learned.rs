//! Additions to the plan's first draw: a broker, a clock, sensors and a disk as they are in the
//! field. Drawn by a chance of its own, so that seeds keep their meaning.

use super::{Act, Copies, Ids, Kind, Names, Setup};
use crate::world::Random;

/// Time between two pairs of messages that say the same.
const TWINS_APART_US: u64 = 5_000_000;

/// Keeper of the gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// A time server keeps it, from the start of each boot on.
    Always,
    /// The same, some time after each boot.
    Late,
    /// No time server, ever.
    Nobody,
}

/// Room of the disk, apart from single faults of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// There is always room.
    Large,
    /// So many segments and no more, for ever: only the gateway itself can make room.
    Segments(usize),
}

/// All of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learned {
    /// Messages at QoS 1 that only a rule without durability wants.
    pub(crate) quick: bool,
    /// A connection is of MQTT 5 or of 3.1.1, and the next one of the other, with one session.
    pub(crate) versions: bool,
    /// Sensors that number their events wrongly.
    pub(crate) miscounts: bool,
    pub(crate) keeper: Keeper,
    /// The clock is set, by years as well.
    pub(crate) steps: bool,
    /// Payloads up to what a message may have.
    pub(crate) large: bool,
    /// Messages that break the rules of MQTT.
    pub(crate) flaws: bool,
    pub(crate) medium: Medium,
    /// Sectors of the journal that cannot be read any more.
    pub(crate) sectors: bool,
    /// A file system that asks for room for each write, and has none for a while.
    pub(crate) overwriting: bool,
    /// Receivers that stall, and an endpoint that refuses all for a while.
    pub(crate) moods: bool,
    /// Most messages that may be on their way to a broker at once.
    pub(crate) receive_max: usize,
    /// Bytes in a second that the way from the sensors' broker carries.
    pub(crate) sensor_rate: Option<u64>,
    /// Sensors that say the same again, to the byte.
    pub(crate) twins: bool,
    /// Bytes in a second that the way to destinations carries.
    pub(crate) rate: Option<u64>,
    /// Lines that break right behind a broker's answer.
    pub(crate) breaks: bool,
}

impl Learned {
    pub(super) fn draw(random: &mut Random) -> Self {
        let quick = random.one_in(3);
        let versions = random.one_in(6);
        let miscounts = random.one_in(3);
        let keeper = random.pick(&[Keeper::Always, Keeper::Late, Keeper::Nobody]);
        let steps = random.one_in(3);
        let large = random.one_in(4);
        let flaws = random.one_in(3);
        let medium = match random.below(6) {
            0 => Medium::Segments(random.between(5, 7) as usize),
            _ => Medium::Large,
        };
        let sectors = random.one_in(4);
        let overwriting = random.one_in(6);
        let moods = random.one_in(4);
        let receive_max = random.pick(&[1, 2, 8, usize::MAX, usize::MAX, usize::MAX]);
        let twins = random.one_in(3);
        let sensor_rate = random.pick(&[None, None, None, Some(4_000)]);
        let rate = random.pick(&[
            None,
            None,
            None,
            None,
            Some(1_500),
            Some(8_000),
            Some(40_000),
        ]);
        let breaks = random.one_in(3);
        Self {
            quick,
            versions,
            miscounts,
            keeper,
            steps,
            large,
            flaws,
            medium,
            sectors,
            overwriting,
            moods,
            receive_max,
            sensor_rate,
            twins,
            rate,
            breaks,
        }
    }

    /// Changes the parts of the first draw that cannot be with it.
    pub(super) fn shape(self, setup: &mut Setup) {
        if self.versions {
            // Copies that are queued under one version leave under the other: there is one for all.
            setup.copies = Copies::Merged;
        }
        if setup.copies == Copies::Unnamed && setup.names == Names::Property {
            // MQTT 3.1.1 has no properties.
            setup.names = Names::Pointer;
        }
        if self.quick {
            setup.rules.push("quick");
        }
    }
}

/// Acts that come of it.
pub(super) fn acts(random: &mut Random, setup: &Setup, span_us: u64, acts: &mut Vec<(u64, Act)>) {
    let learned = setup.learned;
    let any_key = |random: &mut Random| random.below(u64::from(setup.keys)) as u8;
    if learned.quick {
        for _ in 0..random.between(6, 20) {
            let at_us = random.below(span_us);
            for number in 0..random.between(1, 4) {
                let key = any_key(random);
                let kind = random.pick(&[Kind::Quick, Kind::Quick, Kind::Reading]);
                acts.push((at_us + number * 300, Act::Publish { key, kind }));
            }
            cut(random, at_us, acts);
            if learned.sensor_rate.is_some() {
                let variant = random.below(4) as u8;
                acts.push((at_us + random.below(300_000), Act::Redeploy { variant }));
            }
        }
    }
    if learned.flaws {
        for _ in 0..random.between(1, 5) {
            let (key, kind) = (any_key(random), Kind::Malformed);
            acts.push((random.below(span_us), Act::Publish { key, kind }));
        }
    }
    if learned.versions {
        for _ in 0..random.between(2, 5) {
            let at_us = random.below(span_us);
            cut(random, at_us, acts);
        }
    }
    if learned.miscounts && setup.has_names() {
        for _ in 0..random.between(1, 4) {
            let at_us = random.between(span_us / 4, span_us);
            let how = random.pick(&[Miscount::Wild, Miscount::Ahead, Miscount::Anew]);
            // Keys with even numbers count.
            let key = any_key(random) / 2 * 2;
            acts.push((at_us, Act::Miscounts { key, how }));
            if how == Miscount::Anew && random.one_in(2) {
                acts.push((at_us + random.below(2_000_000), Act::Forget { key }));
            }
        }
        for _ in 0..random.between(2, 10) {
            let key = any_key(random);
            acts.push((random.below(span_us), Act::Repeats { key }));
        }
    }
    clock(random, learned, span_us, acts);
    disk(random, learned, span_us, acts);
    if learned.twins && setup.ids == Ids::LowestFree && !setup.has_names() {
        for number in 1..=2 {
            let at_us = span_us + number * TWINS_APART_US;
            let key = any_key(random);
            acts.push((at_us, Act::Twin { key }));
            acts.push((at_us + TWINS_APART_US / 2, Act::TwinAgain { key }));
        }
    }
    receivers(random, learned, span_us, acts);
    if learned.medium != Medium::Large {
        for _ in 0..random.between(1, 2) {
            let destination = random.below(4) as usize;
            let ms = random.between(1_000, 6_000);
            let at_us = random.below(span_us / 2);
            acts.push((at_us, Act::ReceiverAway { destination, ms }));
        }
    }
    if learned.breaks {
        for _ in 0..random.between(2, 8) {
            acts.push((random.below(span_us), Act::CutWhenConfirmed));
        }
    }
    if learned.sectors && random.one_in(2) {
        // A long outage: what cannot be read of its rows has moved when the power fails.
        let destination = random.below(4) as usize;
        let at_us = random.below(span_us / 4);
        let ms = random.between(4_000, 9_000);
        acts.push((at_us, Act::ReceiverAway { destination, ms }));
        acts.push((at_us + random.between(500_000, 3_000_000), Act::LoseSector));
        let power = random.one_in(2);
        let at_us = at_us + random.between(ms * 500, ms * 1_000);
        acts.push((at_us, Act::Crash { power }));
    }
}

fn disk(random: &mut Random, learned: Learned, span_us: u64, acts: &mut Vec<(u64, Act)>) {
    if learned.sectors {
        for _ in 0..random.between(1, 3) {
            // Behind an outage, rows stand in the journal only.
            let destination = random.below(4) as usize;
            let ms = random.between(500, 4_000);
            let at_us = random.below(span_us);
            acts.push((at_us, Act::ReceiverAway { destination, ms }));
            let at_us = at_us + random.below(ms * 1_000);
            acts.push((at_us, Act::LoseSector));
        }
    }
    if learned.overwriting {
        for _ in 0..random.between(1, 2) {
            let ms = random.between(100, 2_500);
            acts.push((random.below(span_us), Act::NoOverwriting { ms }));
        }
    }
}

fn receivers(random: &mut Random, learned: Learned, span_us: u64, acts: &mut Vec<(u64, Act)>) {
    if !learned.moods {
        return;
    }
    for _ in 0..random.between(1, 3) {
        let destination = random.below(4) as usize;
        let ms = random.between(200, 3_000);
        acts.push((
            random.below(span_us),
            Act::ReceiverStalls { destination, ms },
        ));
    }
    let ms = random.between(500, 3_000);
    acts.push((random.below(span_us), Act::EndpointRefuses { ms }));
}

fn cut(random: &mut Random, at_us: u64, acts: &mut Vec<(u64, Act)>) {
    for _ in 0..random.below(3) {
        let client_first = random.one_in(2);
        let at_us = at_us + random.below(900_000);
        acts.push((at_us, Act::Cut { client_first }));
    }
}

fn clock(random: &mut Random, learned: Learned, span_us: u64, acts: &mut Vec<(u64, Act)>) {
    const DAY_MS: i64 = 86_400_000;
    if !learned.steps {
        return;
    }
    for _ in 0..random.between(1, 3) {
        let at_us = random.below(span_us);
        // Eight days, 1,024 weeks, a century; back to 1970 and beyond.
        let ms = random.pick(&[8, 7 * 1_024, 36_525, -7 * 1_024, -30 * 365]) * DAY_MS;
        acts.push((at_us, Act::StepClock { ms }));
        let destination = random.below(4) as usize;
        let ms = random.between(300, 3_000);
        acts.push((
            at_us.saturating_sub(500_000),
            Act::ReceiverAway { destination, ms },
        ));
        // Rows are looked at every 10 s by monotonic time, which counts on through sleep.
        let ms = random.pick(&[15_000, 3_600_000]);
        acts.push((at_us + random.below(400_000), Act::Sleep { ms }));
    }
    if random.one_in(2) {
        let ms = random.pick(&[2 * 3_600_000, 3 * DAY_MS as u64]);
        acts.push((random.below(span_us), Act::Off { ms }));
    }
}

/// Kind of a sensor's miscount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miscount {
    /// One event bears 4294967295; the next ones go on as before.
    Wild,
    /// The counter goes on far above where it was.
    Ahead,
    /// The counter starts again from 1.
    Anew,
}
