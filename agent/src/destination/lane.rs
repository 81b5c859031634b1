//! The committed rows of one lane that the mill has handed out: which are on their way, which have
//! to go again, and when. Pure: time is an argument.
//!
//! Rows leave in their order. Where a receiver puts a row off, everything behind it goes again too,
//! even what it took meanwhile: so its last word on the lane is in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::event::emission::Row;
use tidemill_base::backoff::Backoff;

#[derive(Debug)]
pub(super) struct Lane {
    rows: VecDeque<Slot>,
    /// Rows that are not settled.
    open: usize,
    /// Place of the next row to send.
    next: usize,
    /// Incremented on every resend; reports about an earlier attempt are ignored.
    round: u32,
    on_its_way: usize,
    /// Most rows that may be on their way; one after a refusal, until it is taken.
    window: usize,
    rests_until: Option<Instant>,
    stalled: Option<String>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Slot {
    row: Row,
    settled: bool,
}

/// Names one attempt to send a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) seq: u64,
    pub(super) round: u32,
}

impl Lane {
    /// A lane whose receiver may put rows off for at most `rest_max` at a time.
    pub(super) fn new(rest_max: Duration) -> Self {
        Self {
            rows: VecDeque::new(),
            open: 0,
            next: 0,
            round: 0,
            on_its_way: 0,
            window: usize::MAX,
            rests_until: None,
            stalled: None,
            backoff: Backoff::up_to(rest_max),
        }
    }

    /// Rows to send after all others.
    pub(super) fn push(&mut self, rows: Vec<Row>) {
        for row in rows {
            let last = self.rows.back().map_or(0, |slot| slot.row.seq);
            debug_assert!(last < row.seq, "row {} after {last}", row.seq);
            let settled = false;
            self.rows.push_back(Slot { row, settled });
            self.open += 1;
        }
    }

    /// Rows that are not settled.
    pub(super) fn len(&self) -> usize {
        self.open
    }

    /// Why nothing is taken, where it needs the owner.
    pub(super) fn stalled(&self) -> Option<&str> {
        self.stalled.as_deref()
    }

    /// Time at which a resting lane with something to send goes on.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.rests_until.filter(|_| self.next < self.rows.len())
    }

    /// The next row that may leave now.
    pub(super) fn peek(&self, now: Instant) -> Option<&Row> {
        let rests = self.rests_until.is_some_and(|until| now < until);
        let may = !rests && self.on_its_way < self.window;
        let next = self.rows.get(self.next).filter(|_| may)?;
        Some(&next.row)
    }

    /// The row that [`Lane::peek`] showed leaves.
    pub(super) fn advance(&mut self) -> Option<Ticket> {
        let row = &self.rows.get(self.next)?.row;
        let ticket = self.ticket(row.seq);
        self.on_its_way += 1;
        self.rests_until = None;
        self.next += 1;
        self.skip_settled();
        Some(ticket)
    }

    fn ticket(&self, seq: u64) -> Ticket {
        let round = self.round;
        Ticket { seq, round }
    }

    /// Settles a row, because it was taken or never will be. Returns `true` if that is news.
    pub(super) fn settle(&mut self, ticket: Ticket) -> bool {
        let Some(place) = self.place(ticket) else {
            return false;
        };
        let Some(slot) = self.rows.get_mut(place) else {
            return false;
        };
        if std::mem::replace(&mut slot.settled, true) {
            return false;
        }
        self.open = self.open.saturating_sub(1);
        self.on_its_way = self.on_its_way.saturating_sub(1);
        self.window = self.window.saturating_mul(2);
        self.backoff.reset();
        self.stalled = None;
        while self.rows.front().is_some_and(|slot| slot.settled) {
            self.rows.pop_front();
            self.next = self.next.saturating_sub(1);
        }
        true
    }

    /// The receiver may take this row later: it and all behind it go again after a rest.
    pub(super) fn put_off(&mut self, ticket: Ticket, now: Instant, random: u64, why: String) {
        if self.place(ticket).is_some() {
            let rest = self.backoff.after_failure(random);
            self.stall(ticket, now + rest, why);
        }
    }

    /// The receiver takes this row only after its owner has done something.
    pub(super) fn stall(&mut self, ticket: Ticket, until: Instant, why: String) {
        if let Some(place) = self.place(ticket) {
            self.go_back(place);
            self.rests_until = Some(until);
            self.stalled = Some(why);
        }
    }

    /// Notes that the connection is gone, and with it every report on rows in flight.
    pub(super) fn lost(&mut self) {
        let window = self.window;
        self.go_back(0);
        self.window = window;
    }

    fn go_back(&mut self, place: usize) {
        self.round = self.round.wrapping_add(1);
        self.on_its_way = 0;
        self.window = 1;
        self.next = place;
        self.skip_settled();
    }

    fn skip_settled(&mut self) {
        while self.rows.get(self.next).is_some_and(|slot| slot.settled) {
            self.next += 1;
        }
    }

    /// The place of a ticket's row, unless it was sent again since.
    fn place(&self, ticket: Ticket) -> Option<usize> {
        if ticket.round != self.round {
            return None;
        }
        let found = self
            .rows
            .binary_search_by_key(&ticket.seq, |slot| slot.row.seq);
        found.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn row(seq: u64) -> Row {
        Row {
            seq,
            rule: "r".into(),
            topic: Topic::new("t").unwrap(),
            payload: bytes::Bytes::new(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        }
    }

    fn lane(rows: std::ops::RangeInclusive<u64>) -> Lane {
        let mut lane = Lane::new(Duration::from_secs(10));
        lane.push(rows.map(row).collect());
        lane
    }

    /// Sends all that may leave now.
    fn send(lane: &mut Lane, now: Instant) -> Vec<Ticket> {
        let mut sent = Vec::new();
        while lane.peek(now).is_some() {
            sent.push(lane.advance().unwrap());
        }
        sent
    }

    fn seqs(tickets: &[Ticket]) -> Vec<u64> {
        tickets.iter().map(|ticket| ticket.seq).collect()
    }

    #[test]
    fn rows_leave_in_order_and_settled_ones_are_forgotten() {
        let now = Instant::now();
        let mut lane = lane(3..=5);
        let sent = send(&mut lane, now);
        assert_eq!(seqs(&sent), [3, 4, 5]);
        assert!(lane.settle(sent[1]));
        assert!(!lane.settle(sent[1]));
        assert_eq!((lane.rows.len(), lane.len()), (3, 2));
        assert!(lane.settle(sent[0]));
        assert_eq!((lane.rows.len(), lane.len()), (1, 1));
        lane.push(vec![row(6)]);
        assert_eq!(seqs(&send(&mut lane, now)), [6]);
    }

    #[test]
    fn after_a_lost_connection_all_but_settled_rows_go_again() {
        let now = Instant::now();
        let mut lane = lane(1..=4);
        let sent = send(&mut lane, now);
        lane.settle(sent[0]);
        lane.settle(sent[2]);
        lane.lost();
        assert!(!lane.settle(sent[1]), "a word of the lost connection");
        assert_eq!(seqs(&send(&mut lane, now)), [2, 4]);
    }

    #[test]
    fn a_row_put_off_holds_back_what_is_behind_it() {
        let now = Instant::now();
        let mut lane = lane(1..=4);
        let sent = send(&mut lane, now);
        lane.settle(sent[0]);
        lane.put_off(sent[1], now, 0, "busy".to_owned());
        assert!(!lane.settle(sent[2]), "its order would be lost");
        assert!(send(&mut lane, now).is_empty());
        let later = lane.wakes_at().unwrap();
        let again = send(&mut lane, later);
        assert_eq!(seqs(&again), [2], "one at a time until one is taken");
        assert!(lane.settle(again[0]));
        assert_eq!(seqs(&send(&mut lane, later)), [3, 4]);
    }

    #[test]
    fn a_stalled_lane_says_why_until_a_row_is_taken() {
        let now = Instant::now();
        let mut lane = lane(1..=2);
        let sent = send(&mut lane, now);
        let until = now + Duration::from_secs(30);
        lane.stall(sent[0], until, "may not".to_owned());
        assert_eq!(lane.wakes_at(), Some(until));
        assert_eq!(lane.stalled(), Some("may not"));
        let again = send(&mut lane, until);
        assert_eq!(lane.stalled(), Some("may not"));
        lane.settle(again[0]);
        assert_eq!(lane.stalled(), None);
    }
}
