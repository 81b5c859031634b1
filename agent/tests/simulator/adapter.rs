//! The gateway's destinations: models of their threads. What the mill hands out goes out in order, all
//! that is not settled goes again after a connection is lost, a request goes again unchanged.

use std::collections::VecDeque;

use tidemill::commit::outbox::Shipment;
use tidemill::event::emission::{LaneReport, Priority, Row};
use tidemill::mill::Input;

use crate::exchange::Sender;
use crate::plan::Moment;
use crate::receiver::Answer;
use crate::rules::HUB;
use crate::run::{Happening, Sim};

/// A destination of one process.
#[derive(Debug, Default)]
pub(crate) struct Adapter {
    /// The connection, of a broker.
    conn: Option<u64>,
    lanes: [OutLane; 2],
    senders: [Sender; 2],
    reports: Vec<LaneReport>,
    report_due: bool,
}

#[derive(Debug, Default)]
struct OutLane {
    rows: VecDeque<(Row, bool)>,
    /// Place of the next row to send.
    next: usize,
    /// A request is out: its number.
    request: Option<u64>,
    /// Every row was refused: it rests.
    rests: bool,
}

/// Number of a priority.
pub(crate) fn place(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
    }
}

pub(crate) fn priority(place: usize) -> Priority {
    [Priority::High, Priority::Normal][place]
}

impl Adapter {
    /// Returns `true` if a receiver took rows that the mill has not heard of.
    pub(crate) fn has_news(&self) -> bool {
        !self.reports.is_empty()
    }

    pub(crate) fn take_reports(&mut self) -> Vec<LaneReport> {
        self.report_due = false;
        std::mem::take(&mut self.reports)
    }

    pub(crate) fn sender(&mut self, lane: usize) -> &mut Sender {
        &mut self.senders[lane]
    }

    /// Lanes with a request that is out, and its number.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (usize, u64)> {
        let lanes = self.lanes.iter().enumerate();
        lanes.filter_map(|(lane, out)| Some((lane, out.request?)))
    }

    fn open_rows(&self, lane: usize) -> usize {
        self.lanes[lane]
            .rows
            .iter()
            .filter(|(_, done)| !done)
            .count()
    }
}

impl Sim<'_> {
    fn adapter(&mut self, destination: usize) -> Option<&mut Adapter> {
        self.process.as_mut().map(|p| &mut p.adapters[destination])
    }

    /// The mill hands rows out.
    pub(crate) fn ship(&mut self, shipment: Shipment) {
        let Shipment {
            destination,
            priority,
            rows,
            stands_still,
        } = shipment;
        let lane = place(priority);
        let max = self.setup.bounds.handed_rows;
        let Some(adapter) = self.adapter(destination) else {
            return;
        };
        let out = &mut adapter.lanes[lane];
        if destination == HUB && out.rows.iter().any(|(_, done)| !done) {
            let what = format!("a second request of lane {destination}/{lane}");
            return self.fail("4: HTTP batches", what);
        }
        out.rows.extend(rows.into_iter().map(|row| (row, false)));
        out.rests = stands_still;
        if stands_still {
            let process = self.process.as_ref().map_or(0, |p| p.id);
            let again = Happening::RequestAgain(process, lane);
            self.agenda.after(500_000, again);
        }
        let Some(adapter) = self.adapter(destination) else {
            return;
        };
        let open = adapter.open_rows(lane);
        if destination != HUB && open > max {
            let what = format!("{open} rows of lane {destination}/{lane} are on their way");
            self.fail("5: limits", what);
        }
        self.pump(destination);
    }

    /// Sends what may leave.
    fn pump(&mut self, destination: usize) {
        let receive_max = self.setup.learned.receive_max;
        if destination == HUB {
            (0..2).for_each(|lane| self.send_request(lane));
            return;
        }
        let Some(adapter) = self.adapter(destination) else {
            return;
        };
        let Some(conn) = adapter.conn else {
            return;
        };
        let on_their_way = |lane: &OutLane| {
            let sent = lane.rows.iter().take(lane.next);
            sent.filter(|(_, done)| !done).count()
        };
        let sent: usize = adapter.lanes.iter().map(on_their_way).sum();
        let mut room = receive_max.saturating_sub(sent);
        let mut leaving = Vec::new();
        for (number, lane) in adapter.lanes.iter_mut().enumerate() {
            while room > 0
                && let Some((row, done)) = lane.rows.get(lane.next)
            {
                lane.next += 1;
                if !done {
                    room -= 1;
                    leaving.push((number, row.clone()));
                }
            }
        }
        for (lane, row) in leaving {
            self.row_leaves(destination, conn, lane, row);
        }
    }

    fn send_request(&mut self, lane: usize) {
        self.requests += 1;
        let number = self.requests;
        let Some(adapter) = self.adapter(HUB) else {
            return;
        };
        let out = &mut adapter.lanes[lane];
        if out.request.is_some() || out.rests {
            return;
        }
        let rows: Vec<Row> = out
            .rows
            .iter()
            .filter(|(_, done)| !done)
            .map(|(row, _)| row.clone())
            .collect();
        if rows.is_empty() {
            return;
        }
        out.request = Some(number);
        self.request_leaves(number, lane, rows);
    }

    /// A destination's broker takes a connection, or does not.
    pub(crate) fn upstream_connects(&mut self, process: u64, destination: usize) {
        if self.process.as_ref().is_none_or(|p| p.id != process) {
            return;
        }
        let conn = self.receivers[destination].connect(process);
        let Some(conn) = conn else {
            let us = self.random.between(20_000, 200_000);
            let again = Happening::UpstreamConnects(process, destination);
            return self.agenda.after(us, again);
        };
        if let Some(adapter) = self.adapter(destination) {
            adapter.conn = Some(conn);
            adapter.lanes.iter_mut().for_each(|lane| lane.next = 0);
        }
        self.pump(destination);
    }

    /// A destination's connection is gone: what is not settled goes again.
    pub(crate) fn upstream_lost(&mut self, destination: usize, conn: u64) {
        let us = self.random.between(5_000, 200_000);
        let Some(process) = &mut self.process else {
            return;
        };
        let adapter = &mut process.adapters[destination];
        if adapter.conn == Some(conn) {
            adapter.conn = None;
            let again = Happening::UpstreamConnects(process.id, destination);
            self.agenda.after(us, again);
        }
    }

    /// A broker answers a row.
    pub(crate) fn row_answered(
        &mut self,
        destination: usize,
        conn: u64,
        lane: usize,
        seq: u64,
        answer: Answer,
    ) {
        let Some(adapter) = self.adapter(destination) else {
            return;
        };
        if adapter.conn != Some(conn) {
            return;
        }
        let out = &mut adapter.lanes[lane];
        let place = out.rows.iter().position(|(row, _)| row.seq == seq);
        let Some(slot) = place.and_then(|place| out.rows.get_mut(place)) else {
            return;
        };
        if std::mem::replace(&mut slot.1, true) {
            return;
        }
        while out.rows.front().is_some_and(|(_, done)| *done) {
            out.rows.pop_front();
            out.next = out.next.saturating_sub(1);
        }
        self.report_lane(destination, lane, seq, seq, answer);
        self.pump(destination);
    }

    /// The HTTP receiver answers a request, or nobody does in time.
    pub(crate) fn request_answered(&mut self, number: u64, lane: usize, answer: Option<Answer>) {
        let Some(adapter) = self.adapter(HUB) else {
            return;
        };
        let out = &mut adapter.lanes[lane];
        if out.request != Some(number) {
            return;
        }
        self.exchange_ended(number, lane, answer.is_some());
        let Some(adapter) = self.adapter(HUB) else {
            return;
        };
        let out = &mut adapter.lanes[lane];
        let Some(answer) = answer else {
            out.request = None;
            let us = self.random.between(20_000, 300_000);
            let process = self.process.as_ref().map_or(0, |p| p.id);
            return self
                .agenda
                .after(us, Happening::RequestAgain(process, lane));
        };
        out.request = None;
        let range = (out.rows.front(), out.rows.back());
        let (Some((first, _)), Some((last, _))) = range else {
            return;
        };
        let (first, last) = (first.seq, last.seq);
        out.rows.clear();
        self.report_lane(HUB, lane, first, last, answer);
    }

    pub(crate) fn request_again(&mut self, process: u64, lane: usize) {
        if self.process.as_ref().is_none_or(|p| p.id != process) {
            return;
        }
        if let Some(adapter) = self.adapter(HUB) {
            adapter.lanes[lane].rests = false;
        }
        self.send_request(lane);
    }

    fn report_lane(&mut self, destination: usize, lane: usize, first: u64, last: u64, how: Answer) {
        let us = self.random.pick(&[0, 500, 10_000]);
        let Some(process) = &mut self.process else {
            return;
        };
        let priority = priority(lane);
        let adapter = &mut process.adapters[destination];
        adapter.reports.push(match how {
            Answer::Taken => LaneReport::Acknowledged {
                destination,
                priority,
                first,
                last,
            },
            Answer::Refused => LaneReport::Refused {
                destination,
                priority,
                first,
                last,
                reason: "no".to_owned(),
            },
        });
        if !std::mem::replace(&mut adapter.report_due, true) {
            let hears = Happening::LanesReport(process.id, destination);
            self.agenda.after(us, hears);
        }
        self.moment(Moment::Received);
    }

    /// The mill hears what became of rows.
    pub(crate) fn lanes_report(&mut self, process: u64, destination: usize) {
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        for report in process.adapters[destination].take_reports() {
            self.turn_mill(Input::Lane(report));
        }
    }
}
