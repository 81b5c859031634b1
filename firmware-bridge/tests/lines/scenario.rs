//! Worlds made of seeds: how lines, devices, brokers and bridges misbehave, and for how long.

use tidemill_tests::Random;

/// Microseconds of the world's clock.
pub(crate) type Micros = u64;

pub(crate) const MS: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;

/// A span of time in which something is wrong.
pub(crate) type Span = std::ops::Range<Micros>;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) baud: u32,
    pub(crate) window: u8,
    pub(crate) ring_bytes: usize,
    pub(crate) room_bytes: usize,
    pub(crate) beyond_max: usize,
    /// One byte in so many is flipped or dropped; 0 for none.
    pub(crate) flip_one_in: u64,
    pub(crate) drop_one_in: u64,
    pub(crate) delay_ms_max: u64,
    pub(crate) bursts: bool,
    pub(crate) cuts: Vec<Span>,
    pub(crate) events: u64,
    /// Microseconds between events, on average.
    pub(crate) event_every: Micros,
    pub(crate) text_bytes: u64,
    pub(crate) kills: Vec<Span>,
    pub(crate) resets: Vec<Micros>,
    pub(crate) outages: Vec<Span>,
    pub(crate) refusals: Vec<Span>,
    /// One publish in so many is refused in these spans.
    pub(crate) refuse_one_in: u64,
    pub(crate) commands: Vec<Micros>,
    /// Milliseconds of the device's clock at its start, which may be about to wrap.
    pub(crate) clock: u32,
    /// Faults and events end here.
    pub(crate) end: Micros,
}

impl Scenario {
    pub(crate) fn of(seed: u64) -> (Self, Random) {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(seed));
        let r = &mut random;
        let end = r.within(10..45) * SECOND;
        let baud = *pick(r, &[9_600, 115_200, 115_200, 921_600]);
        let lossy = !r.one_in(5);
        let mut scenario = Self {
            baud,
            window: *pick(r, &[1, 8, 8, 8, 32]),
            ring_bytes: *pick(r, &[40, 200, 700, 3_000, 20_000, 20_000]),
            room_bytes: *pick(r, &[1_500, 8_000, 1 << 20, 1 << 20]),
            beyond_max: *pick(r, &[4, 1_024, 1_024]),
            flip_one_in: if lossy {
                *pick(r, &[0, 300, 1_000, 5_000])
            } else {
                0
            },
            drop_one_in: if lossy {
                *pick(r, &[0, 300, 1_000, 5_000])
            } else {
                0
            },
            delay_ms_max: *pick(r, &[0, 5, 50, 600]),
            bursts: lossy && r.one_in(2),
            cuts: Vec::new(),
            events: r.within(20..300),
            event_every: 0,
            text_bytes: *pick(r, &[8, 20, 20, 60]),
            kills: Vec::new(),
            resets: Vec::new(),
            outages: Vec::new(),
            refusals: Vec::new(),
            refuse_one_in: *pick(r, &[2, 10, 100, 100]),
            commands: Vec::new(),
            clock: if r.one_in(4) {
                u32::MAX - 15_000
            } else {
                r.within(0..100_000) as u32
            },
            end,
        };
        if r.one_in(8) {
            // A backlog larger than the window by which the agent knows repetitions.
            scenario.events = r.within(400..900);
            scenario.ring_bytes = 40_000;
            scenario.room_bytes = 1 << 20;
            scenario.baud = 921_600;
            scenario.window = 32;
        }
        scenario.event_every = end / scenario.events;
        scenario.trouble(r);
        (scenario, random)
    }

    fn trouble(&mut self, r: &mut Random) {
        let end = self.end;
        let spans = |r: &mut Random, count: u64, longest: Micros| {
            (0..count)
                .map(|_| {
                    let from = r.within(0..end);
                    from..(from + r.within(1..longest)).min(end)
                })
                .collect::<Vec<Span>>()
        };
        let few = |r: &mut Random, most: u64| {
            if r.one_in(2) {
                0
            } else {
                r.within(0..most + 1)
            }
        };
        let count = few(r, 5);
        self.kills = spans(r, count, 5 * SECOND);
        let count = few(r, 2);
        self.outages = spans(r, count, 20 * SECOND);
        let count = few(r, 2);
        self.refusals = spans(r, count, 10 * SECOND);
        let count = few(r, 2);
        self.cuts = spans(r, count, 4 * SECOND);
        let count = few(r, 3);
        self.resets = (0..count).map(|_| r.within(0..end)).collect();
        if r.one_in(6) {
            let from = r.within(0..end);
            let every = r.within(50..3_000) * MS;
            let looping = (0..20).map(|round| from + round * every);
            self.resets.extend(looping.filter(|at| *at < end));
        }
        self.resets.sort_unstable();
        let count = few(r, 12);
        self.commands = (0..count).map(|_| r.within(0..end)).collect();
    }
}

pub(crate) fn pick<'a, T>(random: &mut Random, all: &'a [T]) -> &'a T {
    &all[random.within(0..all.len() as u64) as usize]
}

/// `true` if one of the spans covers this time.
pub(crate) fn covers(spans: &[Span], at: Micros) -> bool {
    spans.iter().any(|span| span.contains(&at))
}
