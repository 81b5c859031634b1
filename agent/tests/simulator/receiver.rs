//! Receivers at the other end of the lanes: brokers, and one that takes requests. They answer late
//! and not in order, lose answers, refuse rows, are away for a while. They keep the highest number
//! of each lane, as the example that Tidemill ships, and say what does not fit.

use std::collections::{BTreeMap, BTreeSet};

use tidemill::event::emission::{LaneId, Row};
use tidemill::event::hash_bytes;

use crate::adapter::{place, priority};
use crate::rules::{DESTINATIONS, HUB, THIN};
use crate::run::{Happening, Sim};

/// Besides one request's: rows that are tried when an endpoint mends that refused all. Those of the first
/// round, which nobody can tell from bad ones.
const GIVEN_UP_MAX: usize = 4;

/// Answer of a receiver to a row or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Taken,
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    pub(crate) away: bool,
    /// Time until which the receiver answers nothing.
    pub(crate) stalls_until_us: u64,
    /// Time until which the receiver refuses all.
    pub(crate) refuses_until_us: u64,
    /// Requests up to this one are lost on their way.
    lost_requests: u64,
    conn: u64,
    /// The process that the connection belongs to.
    process: u64,
    /// When the last row on its way arrives.
    last_us: u64,
    lanes: [InLane; 2],
}

/// Knowledge that a receiver has of a lane.
#[derive(Debug, Default)]
pub(crate) struct InLane {
    /// Content of each row, as a hash.
    rows: BTreeMap<u64, u128>,
    pub(crate) high: u64,
    /// Numbers that never came; gap records have to tell them.
    missing: Vec<u64>,
    told: Vec<(u64, u64)>,
    /// Rows that were refused because all were.
    snubbed: BTreeSet<u64>,
    /// Rows that were refused alone, for what they are: nobody takes them, and they take no part in the order.
    refused: BTreeSet<u64>,
    /// Number of them that were given up.
    given_up: usize,
    /// Requests by first row: last row, content, refused.
    requests: Vec<(u64, u64, u128, bool)>,
}

impl Receiver {
    /// A connection, unless it is away.
    pub(crate) fn connect(&mut self, process: u64) -> Option<u64> {
        if self.away {
            return None;
        }
        self.conn += 1;
        self.process = process;
        self.last_us = 0;
        Some(self.conn)
    }

    /// From now on it works.
    pub(crate) fn mends(&mut self) {
        self.away = false;
        (self.stalls_until_us, self.refuses_until_us) = (0, 0);
    }

    pub(crate) fn lane(&self, lane: usize) -> &InLane {
        &self.lanes[lane]
    }
}

impl InLane {
    /// A number that never came, and that no gap record tells.
    pub(crate) fn untold(&self) -> Option<u64> {
        let is_told = |seq: u64| {
            self.told
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&seq))
        };
        self.missing.iter().copied().find(|seq| !is_told(*seq))
    }
}

fn lane_id(destination: usize, lane: usize) -> LaneId {
    LaneId {
        destination: DESTINATIONS[destination].into(),
        priority: priority(lane),
    }
}

pub(crate) fn content_bytes(row: &Row) -> usize {
    row.topic.as_str().len() + row.payload.len()
}

fn content(row: &Row) -> u128 {
    let at = row.at_ms.to_le_bytes();
    hash_bytes(&[
        row.rule.as_bytes(),
        row.topic.as_str().as_bytes(),
        &row.payload,
        &at,
    ])
}

impl Sim<'_> {
    pub(crate) fn upstream_delay(&mut self) -> u64 {
        let span = self.setup.upstream_us;
        self.random.between(span.0, span.1)
    }

    /// A row is on its way to a broker.
    pub(crate) fn row_leaves(&mut self, destination: usize, conn: u64, lane: usize, row: Row) {
        let delay_us = self.upstream_delay();
        let at_us = self.agenda.now_us + delay_us;
        let carried_us = self.carried_us(content_bytes(&row));
        let receiver = &mut self.receivers[destination];
        receiver.last_us = receiver.last_us.max(at_us) + carried_us;
        let at_us = receiver.last_us;
        self.agenda
            .at(at_us, Happening::RowArrives(destination, conn, lane, row));
    }

    pub(crate) fn row_arrives(&mut self, destination: usize, conn: u64, lane: usize, row: Row) {
        let receiver = &self.receivers[destination];
        if receiver.away || receiver.conn != conn {
            return;
        }
        let seq = row.seq;
        let answer = self.judge(destination, lane, seq);
        self.accept(destination, lane, &row);
        let mut delay_us = self.upstream_delay();
        if !self.setup.out_of_order {
            // Answers share a wire, too.
            let answered = &mut self.answered_us[destination];
            *answered = (*answered).max(self.agenda.now_us + delay_us);
            delay_us = *answered - self.agenda.now_us;
        }
        let answered = Happening::RowAnswered(destination, conn, lane, seq, answer);
        let delay_us = delay_us.max(self.stalls_for_us(destination));
        self.agenda.after(delay_us, answered);
    }

    /// Time that so many bytes are on the way, in microseconds.
    pub(crate) fn carried_us(&self, bytes: usize) -> u64 {
        let rate = self.setup.learned.rate;
        rate.map_or(0, |rate| bytes as u64 * 1_000_000 / rate)
    }

    fn stalls_for_us(&self, destination: usize) -> u64 {
        let until_us = self.receivers[destination].stalls_until_us;
        until_us.saturating_sub(self.agenda.now_us)
    }

    pub(crate) fn judge(&self, destination: usize, lane: usize, seq: u64) -> Answer {
        // Always the same of the same row.
        let bad = |every: u64| (seq + lane as u64 + destination as u64).is_multiple_of(every);
        if self.setup.refuses.is_some_and(bad) {
            Answer::Refused
        } else {
            Answer::Taken
        }
    }

    pub(crate) fn request_arrives(
        &mut self,
        process: u64,
        number: u64,
        lane: usize,
        rows: Vec<Row>,
    ) {
        let delay_us = self.upstream_delay();
        if number <= self.receivers[HUB].lost_requests {
            return;
        }
        let away = self.receivers[HUB].away;
        let lost = self.healed_us.is_none() && self.random.one_in(20);
        if away || (lost && self.random.one_in(2)) {
            let nothing = Happening::RequestAnswered(process, number, lane, None);
            return self.agenda.after(delay_us + 100_000, nothing);
        }
        let refuses_all = self.agenda.now_us < self.receivers[HUB].refuses_until_us;
        let is_bad = |row: &Row| self.judge(HUB, lane, row.seq) == Answer::Refused;
        let refused = refuses_all || rows.iter().any(is_bad);
        self.check_request(lane, &rows, refused);
        if refuses_all {
            let numbers = rows.iter().map(|row| row.seq);
            self.receivers[HUB].lanes[lane].snubbed.extend(numbers);
        } else if !refused {
            rows.iter().for_each(|row| self.accept(HUB, lane, row));
        } else if let [row] = rows.as_slice() {
            self.receivers[HUB].lanes[lane].refused.insert(row.seq);
        }
        let answer = if refused {
            Answer::Refused
        } else {
            Answer::Taken
        };
        let answer = (!lost).then_some(answer);
        let delay_us = delay_us + u64::from(lost) * 100_000;
        let delay_us = delay_us.max(self.stalls_for_us(HUB));
        let answered = Happening::RequestAnswered(process, number, lane, answer);
        self.agenda.after(delay_us, answered);
    }

    /// A request with rows of an earlier one is that one, unless it was refused and is cut.
    fn check_request(&mut self, lane: usize, rows: &[Row], refused: bool) {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return;
        };
        let (first, last) = (first.seq, last.seq);
        let all: Vec<u8> = rows
            .iter()
            .flat_map(|row| content(row).to_le_bytes())
            .collect();
        let hash = hash_bytes(&[&all]);
        let known = &mut self.receivers[HUB].lanes[lane].requests;
        let same = known
            .iter_mut()
            .find(|k| (k.0, k.1, k.2) == (first, last, hash));
        if let Some((.., was_refused)) = same {
            *was_refused |= refused;
            return;
        }
        let clash = known
            .iter()
            .find(|(from, to, _, refused)| *from <= last && first <= *to && !refused);
        let lane_id = lane_id(HUB, lane);
        // One that lacks rows which cannot be read any more is another one; the one with them may be late.
        let lost = |from, to| {
            let range = (lane_id.clone(), from)..=(lane_id.clone(), to);
            self.unreadable_rows.range(range).next().is_some()
        };
        let clash = clash
            .copied()
            .filter(|(from, to, ..)| !lost(*from.min(&first), *to.max(&last)));
        if let Some((from, to, ..)) = clash {
            let what =
                format!("rows {first} to {last} of lane {lane}, after a request of {from} to {to}");
            return self.fail("4: HTTP batches are repeated unchanged", what);
        }
        self.receivers[HUB].lanes[lane]
            .requests
            .push((first, last, hash, refused));
    }

    /// A receiver takes a row: once.
    fn accept(&mut self, destination: usize, lane: usize, row: &Row) {
        let hash = content(row);
        let known = &mut self.receivers[destination].lanes[lane];
        let name = DESTINATIONS[destination];
        let seq = row.seq;
        if let Some(old) = known.rows.get(&seq) {
            if *old != hash {
                let what = format!("{name}/{lane}: row {seq} says something else than before");
                self.fail("2: what left was durable", what);
            }
            return;
        }
        if seq <= known.high {
            let lost = (lane_id(destination, lane), seq);
            if self.unreadable_rows.contains_key(&lost) {
                // It was on its way when the process ended, and its successors were quicker.
                return;
            }
            let what = format!("{name}/{lane}: row {seq} comes after {}", known.high);
            return self.fail("4: rows of a lane in order", what);
        }
        let skipped = known.high + 1..seq;
        known.high = seq;
        known.rows.insert(seq, hash);
        for gone in skipped {
            self.skip(destination, lane, gone);
        }
        let payload = String::from_utf8_lossy(&row.payload);
        self.say(format_args!(
            "{name}/{lane} takes {seq}: {} {:.80}",
            row.topic, payload
        ));
        self.count(destination, lane, row);
    }

    /// Counts a row in its turn, taken by a receiver or dead.
    fn count(&mut self, destination: usize, lane: usize, row: &Row) {
        if row.rule.is_empty() {
            let gap: serde_json::Value = serde_json::from_slice(&row.payload).unwrap_or_default();
            let number = |name: &str| gap["gap"][name].as_u64().unwrap_or(0);
            let range = (number("from"), number("to"));
            self.receivers[destination].lanes[lane].told.push(range);
            return;
        }
        if let Err(what) = self.truth.received(row) {
            self.fail("1: each message counts once", what);
        }
    }

    /// Rows behind the last one that was taken are dead, too, where nothing else waits: they were refused.
    pub(crate) fn count_refused(&mut self, lane: usize) {
        let known = &mut self.receivers[HUB].lanes[lane];
        let Some(last) = known.refused.last().copied() else {
            return;
        };
        let behind = known.high + 1..=last;
        known.high = known.high.max(last);
        behind.for_each(|seq| self.skip(HUB, lane, seq));
    }

    /// A row never came. What stood in it counts for the books as if it had, in its turn.
    fn skip(&mut self, destination: usize, lane: usize, seq: u64) {
        let (id, name) = (lane_id(destination, lane), DESTINATIONS[destination]);
        let request_rows = self.setup.bounds.request_rows;
        let known = &mut self.receivers[destination].lanes[lane];
        if known.refused.contains(&seq) {
            // Dead: a letter tells what stood in it.
        } else if let Some(row) = self.unreadable_rows.get(&(id.clone(), seq)).cloned() {
            // One that was with the endpoint may be dead instead.
            if !known.snubbed.contains(&seq) {
                known.missing.push(seq);
            }
            // Ranges that a gap record told are lost with it.
            if !row.rule.is_empty() {
                self.count(destination, lane, &row);
            }
            return;
        } else if destination == THIN {
            return known.missing.push(seq);
        } else if known.snubbed.contains(&seq) {
            known.given_up += 1;
            if known.given_up > request_rows.saturating_add(GIVEN_UP_MAX) {
                let what = format!("{name}/{lane}: {} rows are dead", known.given_up);
                return self.fail("4: who refuses all condemns no row", what);
            }
        } else {
            let what = format!("{name}/{lane}: row {seq} never came");
            return self.fail("4: numbers of a lane without a gap", what);
        }
        if let Some(row) = self.shadow.row(&id, seq) {
            self.count(destination, lane, &row);
        }
    }

    /// All requests that are on their way are lost there.
    pub(crate) fn lose_requests(&mut self) {
        self.receivers[HUB].lost_requests = self.requests;
        let Some(process) = &self.process else {
            return;
        };
        for (lane, number) in process.adapters[HUB].requests() {
            let nothing = Happening::RequestAnswered(process.id, number, lane, None);
            self.agenda.after(100_000, nothing);
        }
    }

    /// A receiver's connection breaks; what is on the wire is lost.
    pub(crate) fn receiver_cut(&mut self, destination: usize) {
        let receiver = &mut self.receivers[destination];
        let conn = receiver.conn;
        receiver.conn += 1;
        let later_us = self.random.pick(&[0, 2_000, 50_000]);
        self.agenda
            .after(later_us, Happening::UpstreamNotices(destination, conn));
    }

    pub(crate) fn receiver_away(&mut self, destination: usize, away: bool) {
        self.receivers[destination].away = away;
        if away && destination != HUB {
            self.receiver_cut(destination);
        }
    }

    /// All that the receivers know of lanes, for the last check.
    pub(crate) fn in_lanes(&self) -> impl Iterator<Item = (String, &InLane)> {
        self.receivers
            .iter()
            .enumerate()
            .flat_map(|(at, receiver)| {
                (0..2).map(move |lane| {
                    debug_assert_eq!(place(priority(lane)), lane);
                    (format!("{}/{lane}", DESTINATIONS[at]), receiver.lane(lane))
                })
            })
    }
}
