//! Emissions that are committed and not yet acknowledged by their destination, lane by lane, with
//! their limits. Pure: rows to send, to read back and to write are returned, and others do the I/O.

mod bounds;
mod gap;
mod gap_rows;
mod lane;
mod ranges;
mod shelf;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub use bounds::Bounds;
pub use gap::topic as gap_topic;
pub use lane::{Lane, Outlet, Wanted};
pub use store::row_bytes;

use crate::commit::record::{Dead, LaneDelta, LaneRecord, Settlement};
use crate::config::{OutboxLimits, WhenFull};
use crate::event::clock::Ages;
use crate::event::emission::{LaneId, LaneReport, Made, Priority, Row};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};
use tidemill_transport::topic::Topic;

/// The lane where dead letters wait until somebody looks at them.
pub const DEAD_LETTERS: &str = "dead-letters";

/// Shortest and longest interval between searches for rows that are too old, in milliseconds.
const AGE_CHECK_MS: (u64, u64) = (100, 10_000);

/// Dead letters kept; beyond either limit the oldest is dropped and counted.
pub const DEAD_LETTERS_MAX: u64 = 1_000;
/// Bytes of dead letters kept: they stay in memory.
pub const DEAD_LETTER_BYTES_MAX: u64 = 2 << 20;

/// Target of rows, with the limits of those that wait.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Name in the configuration.
    pub name: Arc<str>,
    /// The way rows leave.
    pub outlet: Outlet,
    /// Limits of waiting rows.
    pub limits: OutboxLimits,
}

/// All lanes of a gateway.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// In the order of the configuration: number 0 is the local broker.
    destinations: Vec<Destination>,
    /// The gateway's name, for rows of its own.
    gateway: String,
    lanes: Vec<Lane>,
    bounds: Bounds,
    places: BTreeMap<LaneId, usize>,
}

/// Rows for a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Number of the destination.
    pub destination: usize,
    /// Priority of the lane.
    pub priority: Priority,
    /// The rows, in order.
    pub rows: Vec<Row>,
    /// The endpoint refused every row at the last attempt: the next one follows after a pause.
    pub stands_still: bool,
}

impl Outbox {
    /// The lane of this name, as its record says.
    pub fn restore_lane(&mut self, id: LaneId, record: &LaneRecord) {
        let place = self.lanes.len();
        self.places.insert(id.clone(), place);
        let mut lane = Lane::new(id, record);
        self.equip(&mut lane);
        self.lanes.push(lane);
    }

    /// From now on these are the destinations; the rows of `discarded` ones are given up. Returns
    /// lanes with waiting rows whose destination is neither.
    pub fn set_destinations(
        &mut self,
        gateway: &str,
        destinations: Vec<Destination>,
        discarded: &[String],
    ) -> Vec<(LaneId, u64)> {
        gateway.clone_into(&mut self.gateway);
        self.destinations = destinations;
        let mut lanes = std::mem::take(&mut self.lanes);
        let mut homeless = Vec::new();
        for lane in &mut lanes {
            self.equip(lane);
            if lane.outlet != Outlet::Shelf || &*lane.id.destination == DEAD_LETTERS {
                continue;
            }
            if discarded.iter().any(|name| **name == *lane.id.destination) {
                lane.outlet = Outlet::Discarded;
            } else if lane.waiting() > 0 {
                homeless.push((lane.id.clone(), lane.waiting()));
            }
        }
        self.lanes = lanes;
        homeless
    }

    /// Sets the limits of rows in memory, with a destination, or moved at once. Rows that wait
    /// already stay in their place.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.lanes
            .iter_mut()
            .for_each(|lane| lane.set_bounds(bounds));
    }

    /// See [`Outbox::set_bounds`].
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn equip(&self, lane: &mut Lane) {
        lane.set_bounds(self.bounds);
        let destination = self
            .destinations
            .iter()
            .find(|d| d.name == lane.id.destination);
        (lane.outlet, lane.limits) = match destination {
            Some(destination) => (destination.outlet, destination.limits),
            None => (Outlet::Shelf, OF_DEAD_LETTERS),
        };
    }

    fn place(&mut self, id: &LaneId) -> usize {
        if let Some(place) = self.places.get(id) {
            return *place;
        }
        self.restore_lane(id.clone(), &LaneRecord::default());
        self.lanes.len() - 1
    }

    fn lane(&mut self, id: &LaneId) -> &mut Lane {
        let place = self.place(id);
        self.lanes
            .get_mut(place)
            .expect("a lane has just been made or found")
    }

    fn lane_of(&mut self, destination: usize, priority: Priority) -> Option<&mut Lane> {
        let destination = Arc::clone(&self.destinations.get(destination)?.name);
        Some(self.lane(&LaneId {
            destination,
            priority,
        }))
    }

    /// The lanes, in the order of their names.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.places
            .values()
            .filter_map(|place| self.lanes.get(*place))
    }

    /// The lane of dead letters.
    pub fn dead_letters(&self) -> Option<&Lane> {
        self.lanes()
            .find(|lane| &*lane.id.destination == DEAD_LETTERS)
    }

    /// Makes a row for a destination in the commit `lsn`. Returns whether there was room for it.
    pub fn push(&mut self, destination: usize, priority: Priority, row: Row, lsn: Lsn) -> bool {
        let shared = sabotage::is(Sabotage::OneSequenceOverLanes);
        let highest = self.lanes.iter().map(Lane::last_seq).max().unwrap_or(0);
        let Some(lane) = self.lane_of(destination, priority) else {
            return false;
        };
        if shared {
            lane.skip_to(highest);
        }
        lane.push(row, lsn)
    }

    /// Like [`Outbox::push`], by the lane's name; `false` if its destination is gone.
    pub fn push_to(&mut self, id: &LaneId, row: Row, lsn: Lsn) -> bool {
        let known = self.destinations.iter().any(|d| d.name == id.destination);
        known && self.lane(id).push(row, lsn)
    }

    /// Puts a dead letter onto its shelf in the commit `lsn`.
    pub fn bury(&mut self, rule: Arc<str>, topic: Topic, at_ms: i64, dead: &Dead, lsn: Lsn) {
        let row = Row {
            seq: 0,
            rule,
            topic,
            payload: dead.encode().into(),
            at_ms,
            // Dead letters have no age.
            made_ms: 0,
            qos: 0,
            retain: false,
        };
        self.lane(&dead_letters()).push(row, lsn);
    }

    /// Somebody took a dead letter.
    pub fn take_dead_letter(&mut self, seq: u64) {
        self.lane(&dead_letters())
            .settle(seq, seq, Settlement::Acknowledged);
    }

    /// Takes up what a destination has to say, in the commit `lsn`. Returns the lane, how many of its
    /// rows became dead letters, and why.
    pub fn hear(&mut self, report: LaneReport, lsn: Lsn) -> Option<(LaneId, u64, String)> {
        match report {
            LaneReport::Acknowledged {
                destination,
                priority,
                first,
                last,
            } => {
                self.witness(destination, priority);
                let lane = self.lane_of(destination, priority)?;
                let (id, dead) = (lane.id.clone(), lane.acknowledged(first, last));
                self.bury_refused(id, dead, lsn)
            }
            LaneReport::Refused {
                destination,
                priority,
                first,
                last,
                reason,
            } => {
                let lane = self.lane_of(destination, priority)?;
                let (id, dead) = (lane.id.clone(), lane.refused(first, last, &reason));
                self.bury_refused(id, dead, lsn)
            }
            LaneReport::RequestBytes {
                destination,
                priority,
                bytes,
            } => {
                self.lane_of(destination, priority)?
                    .set_request_bytes(bytes);
                None
            }
        }
    }

    /// A row of one lane was taken: its destination is at work, for the other lane too.
    fn witness(&mut self, destination: usize, priority: Priority) {
        let Some(destination) = self.destinations.get(destination) else {
            return;
        };
        let name = &destination.name;
        let others = self.lanes.iter_mut();
        others
            .filter(|lane| lane.id.destination == *name && lane.id.priority != priority)
            .for_each(Lane::witness);
    }

    fn bury_refused(
        &mut self,
        id: LaneId,
        dead: Vec<(Row, String)>,
        lsn: Lsn,
    ) -> Option<(LaneId, u64, String)> {
        let (count, reason) = (dead.len() as u64, dead.first()?.1.clone());
        for (row, reason) in dead {
            self.bury_row(&id, row, reason, lsn);
        }
        Some((id, count, reason))
    }

    fn bury_row(&mut self, id: &LaneId, row: Row, reason: String, lsn: Lsn) {
        let dead = Dead {
            version: 0,
            reason,
            fuel: 0,
            lane: Some(id.clone()),
            qos: row.qos,
            retain: row.retain,
            payload: row.payload,
            properties: Bytes::new(),
            missing: 0,
        };
        let dead = dead.within(usize::MAX);
        self.bury(row.rule, row.topic, row.at_ms, &dead, lsn);
    }

    /// Rows to hand to destinations now that everything up to `durable_lsn` is durable. Rows of
    /// destinations that were given up become dead letters of the commit `lsn` instead, some at a
    /// time, if `may_give_up`.
    pub fn hand_out(&mut self, durable_lsn: Lsn, lsn: Lsn, may_give_up: bool) -> Vec<Shipment> {
        let mut shipments = Vec::new();
        let mut given_up = Vec::new();
        for lane in &mut self.lanes {
            if lane.outlet == Outlet::Shelf || (lane.outlet == Outlet::Discarded && !may_give_up) {
                continue;
            }
            let rows = lane.hand_out(durable_lsn);
            let Some(first) = rows.first().map(|row| row.seq) else {
                continue;
            };
            if lane.outlet == Outlet::Discarded {
                let last = rows.last().map_or(first, |row| row.seq);
                given_up.push((lane.id.clone(), lane.settle(first, last, Settlement::Dead)));
                continue;
            }
            let named = |d: &Destination| d.name == lane.id.destination;
            if let Some(destination) = self.destinations.iter().position(named) {
                shipments.push(Shipment {
                    destination,
                    priority: lane.id.priority,
                    rows,
                    stands_still: lane.take_stands_still(),
                });
            }
        }
        for (id, rows) in given_up {
            for row in rows {
                let reason = "its destination was taken out of the configuration".to_owned();
                self.bury_row(&id, row, reason, lsn);
            }
        }
        shipments
    }

    /// Says which rows go out as the next requests. Returns whether something is to be committed.
    pub fn cut_requests(&mut self, lsn: Lsn, durable_lsn: Lsn) -> bool {
        let mut cut = false;
        for lane in &mut self.lanes {
            cut |= lane.cut_request(lsn, durable_lsn);
        }
        cut
    }

    /// Interval between searches for rows that are too old, in milliseconds: a tenth of the
    /// shortest age limit of any lane. `None` if no waiting row can become too old.
    pub fn age_check_ms(&self) -> Option<u64> {
        let lanes = self.lanes.iter().filter_map(Lane::age_limit_ms);
        let shortest = lanes.min()?;
        Some((shortest / 10).clamp(AGE_CHECK_MS.0, AGE_CHECK_MS.1))
    }

    /// Drops what is older than its lane allows, by the age clock.
    pub fn drop_old(&mut self, ages: Ages<'_>) {
        self.lanes.iter_mut().for_each(|lane| lane.drop_old(ages));
    }

    /// Adds one gap record to each lane that dropped rows since the last commit, and says how many.
    pub fn record_gaps(&mut self, made: Made, lsn: Lsn) -> Vec<(LaneId, u64)> {
        let mut told = Vec::new();
        for lane in &mut self.lanes {
            if let Some(count) = lane.tell_gap(&self.gateway, made, lsn) {
                told.push((lane.id.clone(), count));
            }
        }
        told
    }

    /// `true` if a lane is so full that sensors should be held back.
    pub fn blocks(&self) -> bool {
        self.lanes.iter().any(Lane::blocks)
    }

    /// Takes the changes since the last commit.
    pub fn take_deltas(&mut self) -> Vec<LaneDelta> {
        let mut deltas = Vec::new();
        for lane in &mut self.lanes {
            if lane.delta == LaneDelta::default() {
                continue;
            }
            let mut delta = lane.take_delta();
            delta.lane = Some(lane.id.clone());
            deltas.push(delta);
        }
        deltas
    }

    /// `true` if something changed since the last commit.
    pub fn is_changed(&self) -> bool {
        let none = LaneDelta::default();
        self.lanes.iter().any(|lane| lane.delta != none)
    }

    /// `true` if rows were written again since the last commit.
    pub fn has_moved(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| !lane.delta.relocated.is_empty())
    }

    /// Bytes of what changed since the last commit, at most.
    pub fn delta_bytes(&self) -> usize {
        self.lanes.iter().map(Lane::delta_bytes).sum()
    }

    /// Applies a commit's changes of a lane.
    pub fn apply(&mut self, mut delta: LaneDelta, lsn: Lsn) {
        if let Some(id) = delta.lane.take() {
            self.lane(&id).apply(delta, lsn);
        }
    }

    /// Takes up the rows of a commit that the lanes' records cover, as far as they still wait.
    pub fn restore_rows(&mut self, delta: LaneDelta, lsn: Lsn) {
        let Some(place) = delta.lane.and_then(|id| self.places.get(&id).copied()) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(place) {
            for row in delta.rows.into_iter().chain(delta.relocated) {
                lane.restore_row(row, lsn);
            }
        }
    }

    /// Rows to read back from the journal, by lane.
    pub fn wants(&mut self, durable_lsn: Lsn) -> Vec<(LaneId, Wanted)> {
        let mut wants = Vec::new();
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| lane.outlet != Outlet::Shelf)
        {
            if let Some(wanted) = lane.wants(durable_lsn) {
                wants.push((lane.id.clone(), wanted));
            }
        }
        wants
    }

    /// Rows that were asked for have come, to be sent or (`relocate`) written again in the commit
    /// `lsn`. Returns how many the journal did not have.
    pub fn rows_read(&mut self, id: &LaneId, rows: Vec<(Lsn, Row)>, relocate: Option<Lsn>) -> u64 {
        let lane = self.lane(id);
        match relocate {
            Some(lsn) => lane.relocate_read(rows, lsn),
            None => lane.rows_read(rows),
        }
    }

    /// Drops rows that should wait and that nobody has found, because records of the journal cannot be read.
    /// Returns how many of each lane.
    pub fn drop_missing(&mut self) -> Vec<(LaneId, u64)> {
        let mut lost = Vec::new();
        for lane in &mut self.lanes {
            let count = lane.drop_missing();
            if count > 0 {
                lost.push((lane.id.clone(), count));
            }
        }
        lost
    }

    /// Rows that were asked for could not be read.
    pub fn read_failed(&mut self, id: &LaneId) {
        self.lane(id).read_failed();
    }

    /// Writes rows of commits before `floor_lsn` again in the commit `lsn`. Returns the rows to
    /// read first, if there are any.
    pub fn relocate(
        &mut self,
        floor_lsn: Lsn,
        lsn: Lsn,
        durable_lsn: Lsn,
    ) -> Option<(LaneId, Wanted)> {
        let old = |lane: &&mut Lane| lane.oldest_lsn().is_some_and(|oldest| oldest < floor_lsn);
        let lane = self
            .lanes
            .iter_mut()
            .filter(old)
            .min_by_key(|lane| lane.oldest_lsn())?;
        if lane.relocate(floor_lsn, lsn, self.bounds.relocated_bytes) > 0 {
            return None;
        }
        let wanted = lane.wants_to_relocate(floor_lsn, durable_lsn)?;
        Some((lane.id.clone(), wanted))
    }

    /// The earliest commit that has a waiting row.
    pub fn oldest_lsn(&self) -> Option<Lsn> {
        self.lanes.iter().filter_map(Lane::oldest_lsn).min()
    }

    /// Like [`Outbox::oldest_lsn`], but only if asked for, because it takes a search.
    pub fn oldest_lsn_if(&self, asked: bool) -> Option<Lsn> {
        if asked { self.oldest_lsn() } else { None }
    }

    /// Bytes that wait in all lanes.
    pub fn waiting_bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::waiting_bytes).sum()
    }
}

fn dead_letters() -> LaneId {
    LaneId {
        destination: DEAD_LETTERS.into(),
        priority: Priority::Normal,
    }
}

/// Limits of the shelf of dead letters.
const OF_DEAD_LETTERS: OutboxLimits = OutboxLimits {
    bytes: DEAD_LETTER_BYTES_MAX,
    age_ms: u64::MAX,
    count: Some(DEAD_LETTERS_MAX),
    when_full: WhenFull::DropOldest,
};

#[cfg(test)]
mod tests;
