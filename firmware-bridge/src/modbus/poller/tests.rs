//! Buses of units that answer well, late, wrongly or not at all, in simulated time.

use super::super::gate::checksum;
use super::super::{Address, Area, Field, Form, Kind, Order, Unit};
use super::*;
use crate::topics::Pattern;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes that a unit sends, so many milliseconds after it was asked.
type Answers = Vec<(u64, Vec<u8>)>;

/// A bus with its units and its clock.
struct Bench<F> {
    poller: Poller,
    now: u64,
    /// Bytes on their way, by the time of their arrival.
    wire: BTreeMap<(u64, usize), Vec<u8>>,
    sent: usize,
    units: F,
    /// Requests: when, whom, and their number.
    asked: Vec<(u64, usize)>,
    /// Events: when, whose, and what.
    polled: Vec<(u64, usize, Value)>,
}

fn register(name: &str, at: u16) -> Field {
    Field {
        name: name.to_owned(),
        area: Area::Holding,
        at: Address(at),
        form: Form::Number {
            kind: Kind::U16,
            order: Order::highest_first(2),
            scale: None,
        },
    }
}

fn bus(fields: &[&[Field]], every_ms: u64) -> Bus {
    let units = fields.iter().zip(1_u8..).map(|(fields, id)| Unit {
        id: UnitId(id),
        name: format!("u{id}"),
        every_ms,
        fields: fields.to_vec(),
        topic: Pattern::read("t", "gw", "p").unwrap(),
    });
    Bus {
        timeout_ms: 300,
        gap_ms: 5,
        late_ms: 2_000,
        character_us: 1_042,
        units: units.collect(),
    }
}

/// The answer to a request for holding registers, all of which have this value.
fn answer(request: &[u8], value: u16) -> Vec<u8> {
    let count = request[5];
    let mut body = vec![request[0], 3, count * 2];
    (0..count).for_each(|_| body.extend(value.to_be_bytes()));
    sealed(&body)
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &checksum(body)].concat()
}

impl<F: FnMut(u64, usize, &[u8]) -> Answers> Bench<F> {
    /// `units` is told the time, the number of the request, and its bytes.
    fn new(bus: Bus, units: F) -> Self {
        let mut bench = Self {
            poller: Poller::new(Arc::new(bus)),
            now: 0,
            wire: BTreeMap::new(),
            sent: 0,
            units,
            asked: Vec::new(),
            polled: Vec::new(),
        };
        bench.step(Input::Open(true));
        bench
    }

    fn step(&mut self, input: Input<'_>) {
        for event in self.poller.step(Mono(self.now), input) {
            match event {
                Event::Asked(unit, request) => {
                    self.asked.push((self.now, unit));
                    let number = self.asked.len();
                    for (delay, bytes) in (self.units)(self.now, number, &request) {
                        self.sent += 1;
                        self.wire.insert((self.now + delay, self.sent), bytes);
                    }
                }
                Event::Polled(unit, payload) => {
                    let value = serde_json::from_slice(&payload).unwrap();
                    self.polled.push((self.now, unit, value));
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, until: u64) {
        loop {
            let due = self.poller.due().map_or(u64::MAX, |at| at.0.max(self.now));
            let arrives = self.wire.keys().next().map_or(u64::MAX, |key| key.0);
            let next = due.min(arrives);
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
            if arrives == next {
                let (_, bytes) = self.wire.pop_first().unwrap();
                self.step(Input::Bytes(&bytes));
            } else {
                self.step(Input::Time);
            }
        }
    }

    fn tally(&self, unit: usize) -> Tally {
        self.poller.unit(unit).unwrap().2
    }

    fn health(&self, unit: usize) -> (Health, String) {
        let (health, why, _) = self.poller.unit(unit).unwrap();
        (health, why.unwrap_or_default().to_owned())
    }

    fn times(&self, unit: usize) -> Vec<u64> {
        let of_unit = self.polled.iter().filter(|(_, of, _)| *of == unit);
        of_unit.map(|(at, ..)| *at).collect()
    }
}

#[test]
fn a_poll_reads_all_spans_with_silence_between_and_makes_one_event() {
    let fields = [register("b", 9), register("a", 0), register("c", 1)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |_, number, request: &[u8]| {
        vec![(20, answer(request, number as u16))]
    });
    bench.run(2_500);
    // The line is silent for a gap before each request.
    let starts: Vec<u64> = bench.asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(starts, [5, 30, 1_005, 1_030, 2_005, 2_030]);
    let text = bench.polled[0].2.to_string();
    assert_eq!(text, "{\"a\":1,\"b\":2,\"c\":1}");
    assert_eq!(bench.times(0), [50, 1_050, 2_050]);
    assert_eq!(bench.health(0), (Health::Well, String::new()));
    let (answers, stray, held) = bench.poller.bytes();
    assert_eq!((answers, stray, held), (3 * (9 + 7), 0, 0));
}

#[test]
fn an_answer_in_pieces_is_one_and_what_was_refused_is_left_out() {
    let fields = [register("a", 0), register("b", 9)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |_, _, request: &[u8]| {
        if request[3] == 9 {
            return vec![(20, sealed(&[1, 0x83, 2]))];
        }
        let answer = answer(request, 7);
        answer
            .iter()
            .zip(1..)
            .map(|(byte, n)| (n * 30, vec![*byte]))
            .collect()
    });
    bench.run(900);
    assert_eq!(bench.polled[0].2.to_string(), "{\"a\":7}");
    let (health, why) = bench.health(0);
    assert_eq!(health, Health::Exception);
    assert_eq!(why, "holding:9: exception 2: it has no such address");
    assert_eq!((bench.tally(0).exceptions, bench.tally(0).events), (1, 1));
}

#[test]
fn a_silent_unit_is_asked_more_and_more_rarely_and_is_back_when_it_answers() {
    let fields = [register("a", 0)];
    let well_from = 1_000_000;
    let mut bench = Bench::new(bus(&[&fields], 1_000), |now, _, request: &[u8]| {
        if now < well_from {
            return Vec::new();
        }
        vec![(10, answer(request, 1))]
    });
    bench.run(well_from);
    let gaps: Vec<u64> = bench
        .asked
        .windows(2)
        .map(|two| two[1].0 - two[0].0)
        .collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    // The first pause is that in which a late answer may come, the last one is sixty polls.
    assert!((2_000..2_500).contains(&gaps[0]), "{gaps:?}");
    assert!((60_000..60_500).contains(gaps.last().unwrap()), "{gaps:?}");
    let why = "holding:0: no answer within 300 ms".to_owned();
    assert_eq!(bench.health(0), (Health::Silent, why));
    bench.run(well_from + 70_000);
    assert!(bench.times(0).len() >= 9, "{:?}", bench.times(0));
    assert_eq!(bench.health(0).0, Health::Well);
}

/// Twelve units, four of them faulty in a way of their own, at this time from poll to poll.
fn faulty(every_ms: u64) {
    let fields = [register("a", 0), register("b", 1)];
    let units: Vec<&[Field]> = vec![&fields; 12];
    let bad = [2, 5, 7, 10];
    let mut bench = Bench::new(bus(&units, every_ms), |_, number, request: &[u8]| {
        let good = answer(request, number as u16);
        match request[0] {
            3 => Vec::new(),
            6 => vec![(8, sealed(&[6, 0x83, 4]))],
            8 => vec![(8, sealed(&[8, 3, 2, 0, 1]))],
            11 => {
                let mut damaged = good;
                damaged[4] ^= 0x10;
                vec![(8, damaged)]
            }
            _ => vec![(8, good)],
        }
    });
    bench.run(120_000);
    for unit in (0..12).filter(|unit| !bad.contains(unit)) {
        let times = bench.times(unit);
        // The plan of a unit begins with its first answer.
        let moved = times.iter().zip(0..).map(|(at, n)| {
            let planned = times[0] + n * every_ms;
            at.saturating_sub(planned)
        });
        let most = moved.max().unwrap();
        assert!(most < 300, "unit {unit} moves by {most} at {every_ms}");
        let expected = (120_000 - times[0]) / every_ms;
        assert!(
            times.len() as u64 >= expected,
            "unit {unit}: {}",
            times.len()
        );
        assert_eq!(bench.tally(unit).skipped, 0);
    }
    let expected = [
        (2, Health::Silent, "no answer"),
        (5, Health::Exception, "exception 4: it has failed"),
        (
            7,
            Health::Damaged,
            "it answered 2 bytes where 4 were asked for",
        ),
        (
            10,
            Health::Damaged,
            "the checksum of what it answered does not fit",
        ),
    ];
    for (unit, health, why) in expected {
        let found = bench.health(unit);
        assert_eq!(found.0, health);
        assert!(found.1.contains(why), "{}", found.1);
        assert!(bench.times(unit).is_empty());
        assert!(bench.tally(unit).asked >= 3, "unit {unit} is not forgotten");
    }
}

#[test]
fn faulty_units_move_the_others_by_less_than_one_timeout() {
    // With time to spare, with less than a timeout between two polls, and on a line that is all but full.
    [2_000, 1_000, 400, 330].into_iter().for_each(faulty);
}

#[test]
fn a_late_answer_is_never_taken_for_another_ones_value() {
    let fields = [register("a", 0)];
    let units: Vec<&[Field]> = vec![&fields; 12];
    let mut random = 1_u64;
    let late_until = 1_000_000;
    let mut bench = Bench::new(bus(&units, 500), move |now, number, request: &[u8]| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let draw = random >> 33;
        let answer = answer(request, number as u16);
        // One in eight is 0.3 to 1.5 s late, and all units answer alike.
        let is_late = now < late_until && draw.is_multiple_of(8);
        let delay = if is_late {
            320 + draw / 8 % 1_180
        } else {
            3 + draw % 40
        };
        vec![(delay, answer)]
    });
    let mut seen = 0;
    while bench.now < late_until {
        bench.run(bench.now + 10);
        let last = bench.asked.len();
        for (_, _, value) in bench.polled.iter().skip(seen) {
            // Whatever is published is the answer to the request before it.
            let number = value["a"].as_u64().unwrap();
            assert!(last - number as usize <= 1, "{number} of {last}");
        }
        seen = bench.polled.len();
    }
    assert!(bench.polled.len() >= 10_000, "{}", bench.polled.len());
    let totals = bench.poller.totals();
    assert!(totals.late > 1_000, "{totals:?}");
    assert_eq!((totals.unasked, totals.damaged), (0, 0), "{totals:?}");
    bench.run(late_until + 10_000);
    assert_eq!(bench.poller.totals().well, 12, "all are back");
}

#[test]
fn a_unit_that_is_always_late_is_back_soon_after_it_is_well() {
    let fields = [register("a", 0)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |now, _, request: &[u8]| {
        let delay = if now < 600_000 { 1_400 } else { 20 };
        vec![(delay, answer(request, 1))]
    });
    bench.run(600_000);
    assert!(bench.polled.is_empty());
    assert!(bench.tally(0).late > 200, "{:?}", bench.tally(0));
    bench.run(603_000);
    assert!(!bench.polled.is_empty());
}

#[test]
fn an_answer_beyond_one_a_request_is_counted() {
    let fields = [register("a", 0)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |_, _, request: &[u8]| {
        vec![(20, answer(request, 1)), (100, answer(request, 2))]
    });
    bench.run(950);
    assert_eq!(bench.tally(0).unasked, 1);
    assert_eq!(bench.polled[0].2["a"], 1);
}

#[test]
fn a_line_that_is_never_silent_is_asked_all_the_same_and_every_byte_is_counted() {
    let fields = [register("a", 0)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |_, _, _: &[u8]| Vec::new());
    let mut came = 0;
    for _ in 0..10_000 {
        bench.run(bench.now + 3);
        bench.step(Input::Bytes(&[0x55; 20]));
        came += 20;
        let (answers, stray, held) = bench.poller.bytes();
        assert_eq!(answers + stray + held, came);
        assert!(held <= 600, "{held}");
    }
    assert!(bench.asked.len() > 3, "{}", bench.asked.len());
    assert_eq!(bench.health(0).0, Health::Damaged);
}

#[test]
fn a_line_that_closes_takes_its_request_along() {
    let fields = [register("a", 0)];
    let mut bench = Bench::new(bus(&[&fields], 1_000), |now, _, request: &[u8]| {
        vec![(if now < 100 { 50 } else { 20 }, answer(request, 3))]
    });
    bench.run(30);
    bench.step(Input::Open(false));
    assert_eq!(bench.poller.due(), None);
    bench.run(80);
    bench.step(Input::Open(true));
    assert_eq!(bench.health(0).0, Health::Waiting);
    bench.run(2_000);
    // Asked again at 85, when it takes 50.
    assert_eq!(bench.times(0)[..2], [135, 1_105]);
}

proptest::proptest! {
    #[test]
    fn whatever_comes_is_counted_and_never_two_requests_are_under_way(
        pieces in proptest::collection::vec((0_u64..400, proptest::collection::vec(0_u8..6, 0..40)), 0..60),
    ) {
        let fields = [register("a", 0)];
        let mut bench = Bench::new(bus(&[&fields, &fields], 100), |_, number, request: &[u8]| {
            if number.is_multiple_of(3) { Vec::new() } else { vec![(5, answer(request, 1))] }
        });
        for (pause, bytes) in pieces {
            bench.run(bench.now + pause);
            bench.step(Input::Bytes(&bytes));
        }
        bench.run(bench.now + 2_000);
        for two in bench.asked.windows(2) {
            proptest::prop_assert!(two[1].0 >= two[0].0 + 5);
        }
    }
}
