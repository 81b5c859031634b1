//! Plan of a seed: the set-up of gateway, broker and receivers, the messages, and the times of
//! faults.

mod events;
mod faults;
mod learned;

use tidemill::commit::outbox::Bounds;

pub(crate) use learned::{Keeper, Learned, Medium, Miscount};

use crate::world::{Random, Span};

/// The way in which the broker tells the gateway the subscriptions that a copy answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// MQTT 5: one copy for each subscription.
    Each,
    /// MQTT 5: one copy that names all of them.
    Merged,
    /// MQTT 3.1.1: one copy that names none.
    Unnamed,
}

/// The choice of a message's packet identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// One after the other, up to this one.
    Sequential(u16),
    /// The lowest that is free.
    LowestFree,
}

/// Source of the events' own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Nowhere,
    Property,
    Pointer,
}

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On `s/<key>`.
    Reading,
    /// The same, and one rule traps on it.
    Poison,
    /// The same, and it is not JSON.
    Garbage,
    /// On `a/<key>`.
    Alarm,
    /// On `r/<key>`, and the broker keeps it.
    Retained,
    /// On `s/<key>`, and the broker keeps it.
    KeptReading,
    /// On `z/<key>` at QoS 0.
    Careless,
    /// On `s/<key>`, and longer than the gateway takes.
    Oversized,
    /// On `n/<key>`: no rule wants it, only an overlapping filter may.
    Unwanted,
    /// On `s/<key>`, and it breaks the rules of MQTT.
    Malformed,
    /// On `q/<key>`: a rule without durability wants it.
    Quick,
}

/// At what moment a crash that waits for its moment strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The mill took events in.
    Taken,
    /// The journal wrote a record and has not synced it.
    Written,
    /// The sync returned.
    Synced,
    /// Acknowledgements are on the wire.
    Acknowledged,
    /// A receiver has a row and said so.
    Received,
    /// A pond is being written.
    Checkpoint,
    /// Segments are to be recycled.
    Recycle,
    /// The gateway connected and the broker had no session.
    SessionLost,
    /// The gateway started again after the process was killed.
    Restarted,
    /// A sync returned while a pane closes.
    Closing,
}

/// An act of the plan, at a time of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Publish {
        key: u8,
        kind: Kind,
    },
    /// The process is killed, or the power fails.
    Crash {
        power: bool,
    },
    /// The same at a moment that has yet to come.
    CrashAt {
        moment: Moment,
        power: bool,
        after_us: u64,
    },
    /// The disk stops in the middle of its work, after so many operations.
    DieAfter {
        operations: u64,
        power: bool,
    },
    /// The connection to the sensors' broker breaks.
    Cut {
        client_first: bool,
    },
    /// The same when the gateway hears that the broker has read its acknowledgements, a few times.
    CutWhenConfirmed,
    BrokerAway {
        ms: u64,
    },
    Snapshot,
    Rewind,
    LoseSession,
    FailSync,
    FailWrite {
        writes: u64,
    },
    NoRoom {
        ms: u64,
    },
    /// Not even a write over what is there finds room.
    NoOverwriting {
        ms: u64,
    },
    /// A sector of the journal with rows that wait cannot be read any more.
    LoseSector,
    PondFails,
    /// The pond written last is unreadable at the next start.
    DamagePond,
    Redeploy {
        variant: u8,
    },
    ReceiverAway {
        destination: usize,
        ms: u64,
    },
    ReceiverCut {
        destination: usize,
    },
    /// A receiver takes what comes and says nothing.
    ReceiverStalls {
        destination: usize,
        ms: u64,
    },
    /// The endpoint that takes requests refuses all of them.
    EndpointRefuses {
        ms: u64,
    },
    /// An orderly stop, and a start.
    Stop,
    StepClock {
        ms: i64,
    },
    /// The machine sleeps: its clocks go on, nothing else does.
    Sleep {
        ms: u64,
    },
    /// The power is off for so long.
    Off {
        ms: u64,
    },
    /// A sensor numbers its events wrongly from now on, or once.
    Miscounts {
        key: u8,
        how: Miscount,
    },
    /// The owner lets a sensor's counter begin again.
    Forget {
        key: u8,
    },
    /// A sensor publishes its last named event again.
    Repeats {
        key: u8,
    },
    /// A sensor publishes what it will say again, to the byte.
    Twin {
        key: u8,
    },
    /// It says it again on a quiet line, which breaks before the gateway hears it.
    TwinAgain {
        key: u8,
    },
    Redrive,
    /// The faults end.
    Heal,
}

/// Set-up of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) copies: Copies,
    pub(crate) ids: Ids,
    pub(crate) names: Names,
    pub(crate) max_inflight: usize,
    /// Messages tell their content only by their topic: packet identifiers have to do.
    pub(crate) same_content: bool,
    /// Redelivered after a rewind, DUP is not set.
    pub(crate) rewind_forgets_dup: bool,
    pub(crate) keys: u8,
    pub(crate) commit_interval_ms: u64,
    pub(crate) commit_events: usize,
    pub(crate) segment_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) bounds: Bounds,
    pub(crate) block: Option<u64>,
    pub(crate) newest: bool,
    /// One row in so many is refused for good.
    pub(crate) refuses: Option<u64>,
    /// Answers overtake one another.
    pub(crate) out_of_order: bool,
    pub(crate) rules: Vec<&'static str>,
    pub(crate) wire_us: Span,
    /// The broker takes its time to read.
    pub(crate) broker_us: Span,
    pub(crate) sync_us: Span,
    pub(crate) pond_us: Span,
    pub(crate) upstream_us: Span,
    pub(crate) ping_ms: u64,
    pub(crate) learned: Learned,
}

/// All of it.
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    /// By time, in microseconds.
    pub(crate) acts: Vec<(u64, Act)>,
}

/// Rules of the variants of a deployment, besides those that always run.
const VARIANTS: [&[&str]; 5] = [
    &[],
    &["x-one"],
    &["x-all", "x-one"],
    &["x-plus", "x-two"],
    &["x-two", "x-all", "x-plus"],
];

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut more = Random::new(seed ^ 0x1ea2);
        let mut setup = setup(&mut random, Learned::draw(&mut more));
        setup.learned.shape(&mut setup);
        let events = random.between(200, 320);
        let span_us = random.between(4_000_000, 9_000_000);
        let mut acts = Vec::with_capacity(events as usize + 16);
        events::draw(&mut random, &setup, events, span_us, &mut acts);
        let faults = random.between(3, 7);
        for _ in 0..faults {
            let at_us = random.between(span_us / 20, span_us);
            faults::draw(&mut random, &setup, at_us, &mut acts);
        }
        learned::acts(&mut more, &setup, span_us, &mut acts);
        acts.sort_by_key(|(at_us, _)| *at_us);
        let last_us = acts.last().map_or(0, |(at_us, _)| *at_us);
        let heal_us = last_us.max(span_us) + 200_000;
        acts.push((heal_us, Act::Heal));
        Self { setup, acts }
    }
}

impl Setup {
    /// The rules of a variant.
    pub(crate) fn variant(&self, variant: u8) -> Vec<&'static str> {
        let more = VARIANTS[usize::from(variant) % VARIANTS.len()];
        // Messages that only a rule without durability wanted, another rule wants then.
        let tally = (self.learned.quick && variant % 2 == 1).then_some("tally");
        let rules = self.rules.iter().chain(more).copied();
        rules.chain(tally).collect()
    }

    /// Segments for which the disk has room.
    pub(crate) fn room(&self) -> Option<usize> {
        match self.learned.medium {
            Medium::Large => None,
            Medium::Segments(segments) => Some(segments),
        }
    }

    /// Segments that are kept for what makes room.
    pub(crate) fn reserve(&self) -> usize {
        match self.learned.medium {
            Medium::Large => 0,
            Medium::Segments(_) => 2,
        }
    }

    /// Longest packet that the gateway takes, in bytes.
    pub(crate) fn packet_bytes_max(&self) -> usize {
        self.payload_bytes_max() + 256
    }

    /// The longest payload of a sensor that keeps to it.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        let bytes = match self.commit_events {
            // The reserve has to hold everything under way.
            _ if !self.learned.large || self.reserve() > 0 => 8 << 10,
            // Several fit into a record of the journal; one does not; several records do not.
            ..4 => self.segment_bytes + self.segment_bytes / 2,
            4..16 => self.segment_bytes - 200,
            _ => self.segment_bytes / 8,
        };
        bytes as usize
    }

    /// Returns `true` if the broker may go back to an older state without harm to the promise.
    pub(crate) fn has_names(&self) -> bool {
        self.names != Names::Nowhere
    }
}

fn setup(random: &mut Random, learned: Learned) -> Setup {
    let copies = random.pick(&[Copies::Each, Copies::Each, Copies::Merged, Copies::Unnamed]);
    let max_inflight = random.pick(&[1, 2, 5, 10, 20, 40]);
    let ids = match random.below(3) {
        0 => Ids::LowestFree,
        // Just above what may be on its way: identifiers come round soon.
        1 => Ids::Sequential(max_inflight as u16 + random.between(1, 40) as u16),
        _ => Ids::Sequential(u16::MAX),
    };
    let names = random.pick(&[
        Names::Nowhere,
        Names::Nowhere,
        Names::Property,
        Names::Pointer,
    ]);
    let same_content =
        ids == Ids::Sequential(u16::MAX) && names == Names::Nowhere && random.one_in(2);
    let mut rules = vec!["seen", "buzz", "count"];
    let others = [
        "total", "alarm", "odd", "fragile", "timer", "panes", "entries", "vol", "lossy", "few",
        "zero", "keep",
    ];
    rules.extend(others.iter().filter(|_| random.one_in(3)));
    // Without a draw of its own, so that seeds keep their meaning.
    if rules.contains(&"panes") {
        rules.push("sessions");
    }
    let (quick, slow) = ((300, 3_000), (2_000, 40_000));
    let segment_bytes = random.pick(&[64 << 10, 64 << 10, 128 << 10]);
    Setup {
        copies,
        ids,
        names,
        max_inflight,
        same_content,
        rewind_forgets_dup: random.one_in(2),
        keys: random.between(2, 6) as u8,
        // A small window and a long interval are slow, and meant to be.
        commit_interval_ms: random
            .pick(&[5, 20, 50, 50, 200])
            .min(8 * max_inflight as u64),
        commit_events: random.pick(&[1, 4, 16, 48]),
        segment_bytes,
        checkpoint_bytes: random.pick(&[8 << 10, 16 << 10, 48 << 10]),
        bounds: bounds(random),
        block: random.one_in(6).then(|| random.between(20, 60)),
        newest: random.one_in(2),
        refuses: random.one_in(3).then(|| random.between(10, 60)),
        out_of_order: random.one_in(2),
        rules,
        wire_us: random.pick(&[quick, slow]),
        broker_us: random.pick(&[(0, 500), (1_000, 30_000)]),
        sync_us: random.pick(&[(500, 4_000), (3_000, 60_000)]),
        pond_us: random.pick(&[(2_000, 20_000), (20_000, 400_000)]),
        upstream_us: random.pick(&[quick, slow, (10_000, 200_000)]),
        ping_ms: random.pick(&[200, 1_000, 5_000]),
        learned,
    }
}

fn bounds(random: &mut Random) -> Bounds {
    let handed_rows = random.pick(&[2, 8, 32, 256]);
    let head_rows = random.pick(&[4, 8, 32, 1_024]);
    let head_bytes = random.pick(&[1 << 10, 512 << 10]);
    let request_rows = random.pick(&[1, 3, 10, 256]);
    Bounds {
        head_rows,
        head_bytes,
        chunk_bytes: random.pick(&[300, 1_000, 4_000]),
        handed_rows,
        handed_bytes: random.pick(&[500, 1 << 20]),
        request_rows: head_rows.min(request_rows),
        request_bytes: head_bytes.min(random.pick(&[400, 256 << 10])),
        relocated_bytes: random.pick(&[1_000, 4_000]),
        pinned_bytes: random.pick(&[1_000, 16 << 10]),
    }
}
