//! Messages of a destination over MQTT: the next ones of lanes and queue, and those in flight.
//! Their outcomes stand in `verdict`. Knows no connection; the loop in `outlet` does.

mod ids;
mod pace;
mod verdict;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::lane::{Lane, Ticket};
use super::super::names::Names;
use super::super::{Outgoing, Seat, queue};
use crate::event::emission::{Priority, Row};
use ids::PacketIds;
use pace::{Leg, Pace};
use tidemill_base::backoff::DELAY_MAX;
use tidemill_transport::link::{Limits, Sending};
use tidemill_transport::trouble::Trouble;

/// Most messages taken from the queue at once.
const QUEUE_AT_ONCE: usize = 64;

/// One message, ready for the wire.
#[derive(Debug)]
pub(super) struct Parcel {
    message: Outgoing,
    origin: Origin,
    /// Bytes on the wire, at most.
    size: usize,
}

impl Parcel {
    /// The row's lane and number; messages of the queue have no names.
    fn name(&self) -> Option<(Priority, u64)> {
        let row = self.origin.row();
        row.map(|(priority, ticket)| (priority, ticket.seq))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Lives in memory only.
    Queue,
    /// A row of a lane.
    Lane(Priority, Ticket),
    /// A gap record, which is a row of a lane that the agent itself has made.
    Gap(Priority, Ticket),
}

impl Origin {
    /// The row's lane and number, where it is one.
    fn row(self) -> Option<(Priority, Ticket)> {
        match self {
            Self::Queue => None,
            Self::Lane(priority, ticket) | Self::Gap(priority, ticket) => Some((priority, ticket)),
        }
    }
}

/// A message that waits for its acknowledgement.
#[derive(Debug)]
struct Flight {
    id: u16,
    /// Messages of the connection that left before it.
    before: u64,
    parcel: Parcel,
    leg: Leg,
}

/// Messages at QoS 0 of which nothing shows yet that the broker went on behind them: it may end the
/// connection over one of them.
#[derive(Debug, Clone, Copy)]
struct Unanswered {
    count: usize,
    /// Messages of the connection that left before the last of them, and when that left.
    before: u64,
    left: Instant,
    /// `true` once the broker was asked for an answer behind that message.
    is_asked: bool,
}

/// The send window of a destination.
pub(super) struct Cargo {
    pub(super) seat: Seat,
    /// The destination's name, for logs.
    name: String,
    names: Names,
    envelope: bool,
    inflight_max: u16,
    packet_bytes_max: u32,
    /// Limits of the connection that stands.
    limits: Limits,
    /// `true` if messages can bear properties.
    properties: bool,
    high: Lane,
    normal: Lane,
    /// Messages of the queue, not yet sent.
    taken: VecDeque<Outgoing>,
    ids: PacketIds,
    /// Messages not yet acknowledged, in the order in which they left.
    in_flight: VecDeque<Flight>,
    /// At QoS 0, with the place in the stream where each ends: done when that was written.
    unwritten: VecDeque<(u64, Parcel)>,
    /// Messages at QoS 0 without an answer behind them, written or not.
    unanswered: Option<Unanswered>,
    /// Messages that left on this connection.
    left: u64,
    pace: Pace,
    /// A message whose acknowledgement is missing though the broker answered a later packet, and when
    /// it did.
    owed: Option<(u16, Instant)>,
    /// Longest time for which an acknowledgement may be missing then.
    owed_for: Duration,
    /// Why a connection was given up while acknowledgements were awaited; none came since.
    unheard: Option<Trouble>,
    /// Number of messages that go one by one, because the broker ended the connection over one of
    /// them.
    suspects: usize,
    /// Connections in a row that ended before anything was taken.
    breaks: u32,
    /// The message that ends connections, and how many it did.
    accused: Option<(Option<(Priority, u64)>, u32)>,
    /// A gap record that the broker does not take for a reason that it does not tell, and how often.
    unsaid: Option<(Priority, u64, u32)>,
    /// Messages of the queue that were acknowledged and not told yet.
    acknowledged: usize,
}

impl Cargo {
    pub(super) fn new(settings: &super::DestinationSettings, seat: Seat) -> Self {
        Self {
            seat,
            name: settings.name.clone(),
            names: Names::new(settings.identity.clone(), &settings.name),
            envelope: settings.envelope,
            inflight_max: settings.inflight_max,
            packet_bytes_max: settings.packet_bytes_max,
            limits: Limits::NONE,
            properties: false,
            high: Lane::new(DELAY_MAX),
            normal: Lane::new(DELAY_MAX),
            taken: VecDeque::new(),
            ids: PacketIds::new(),
            in_flight: VecDeque::new(),
            unwritten: VecDeque::new(),
            unanswered: None,
            left: 0,
            pace: Pace::new(),
            owed: None,
            owed_for: settings.timeout,
            unheard: None,
            suspects: 0,
            breaks: 0,
            accused: None,
            unsaid: None,
            acknowledged: 0,
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, limits: Limits, properties: bool) {
        self.limits = limits;
        self.properties = properties;
        if limits.qos == 0 {
            // Nothing will be acknowledged, which is told of by itself.
            self.unheard = None;
        }
    }

    /// Why a connection was given up while acknowledgements were awaited, where none came since.
    pub(super) fn unheard(&self) -> Option<&Trouble> {
        self.unheard.as_ref()
    }

    /// Takes over the shipped batches.
    pub(super) fn unload(&mut self) {
        let inbox = self.seat.shared().take_inbox();
        let (high, normal) = (inbox.high.rows(), inbox.normal.rows());
        high.for_each(|rows| self.high.push(rows));
        normal.for_each(|rows| self.normal.push(rows));
    }

    /// Number of further messages that may wait for acknowledgements.
    fn room(&self) -> usize {
        let window = self.inflight_max.min(self.limits.in_flight);
        usize::from(window).saturating_sub(self.in_flight.len())
    }

    /// Messages over which the broker might end the connection now.
    fn exposed(&self) -> usize {
        let unanswered = self.unanswered.map_or(0, |unanswered| unanswered.count);
        self.in_flight.len() + unanswered
    }

    /// `true` if the broker is to be pinged: messages go one by one, and of one at QoS 0 only an answer to
    /// something behind it shows that it did no harm. Says so once.
    pub(super) fn asks(&mut self) -> bool {
        let is_next = self.suspects > 0 && self.in_flight.is_empty();
        let unanswered = self.unanswered.as_mut().filter(|_| is_next);
        unanswered.is_some_and(|unanswered| !std::mem::replace(&mut unanswered.is_asked, true))
    }

    /// Time at which a resting lane goes on.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let lanes = [&self.high, &self.normal];
        lanes.into_iter().filter_map(Lane::wakes_at).min()
    }

    /// `true` if messages are done with once they are written.
    pub(super) fn is_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Returns `true` if nothing is in flight.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.unwritten.is_empty()
    }

    /// Returns `true` if nothing is in flight and nothing can leave now.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let inbox_is_empty = self.seat.shared().inbox_is_empty();
        let lanes = [&self.high, &self.normal];
        let may_leave = lanes.into_iter().any(|lane| lane.peek(now).is_some());
        self.queued() == 0 && self.is_settled() && inbox_is_empty && !may_leave
    }

    /// Messages of the queue, those on their way included.
    pub(super) fn queued(&self) -> usize {
        self.seat.shared().queue().len()
    }

    /// Additional time for which the broker may be silent, because so much is in flight to it;
    /// `None` if it owes no acknowledgement.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.in_flight.is_empty()).then(|| self.pace.patience())
    }

    /// The next message that may leave now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Parcel> {
        let is_held = self.suspects > 0 && self.exposed() > 0;
        if is_held || !self.pace.has_room() {
            return None;
        }
        let of_lanes = [Priority::High, Priority::Normal];
        let row = of_lanes.into_iter().find_map(|p| self.next_row(p, now));
        row.or_else(|| self.next_queued())
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
        }
    }

    fn next_row(&mut self, priority: Priority, now: Instant) -> Option<Parcel> {
        loop {
            let has_room = self.room() > 0;
            let qos_max = self.limits.qos;
            let lane = self.lane(priority);
            let row = lane.peek(now)?;
            if row.qos.min(qos_max) > 0 && !has_room {
                return None;
            }
            let row = row.clone();
            let ticket = lane.advance()?;
            let parcel = self.pack(priority, ticket, row);
            if parcel.size <= self.limit() {
                return Some(parcel);
            }
            let (size, limit) = (parcel.size, self.limit());
            let why = format!("{size} bytes are more than the {limit} of a packet");
            self.refuse_row(priority, ticket, why);
        }
    }

    fn pack(&self, priority: Priority, ticket: Ticket, row: Row) -> Parcel {
        let origin = if row.is_gap() {
            Origin::Gap(priority, ticket)
        } else {
            Origin::Lane(priority, ticket)
        };
        let message = Outgoing {
            destination: self.seat.place,
            payload: if self.envelope {
                self.names.envelope(priority, &row)
            } else {
                row.payload
            },
            topic: row.topic,
            qos: row.qos,
            retain: row.retain,
        };
        self.parcel(message, origin)
    }

    fn parcel(&self, message: Outgoing, origin: Origin) -> Parcel {
        Parcel {
            size: self.size(&message, origin),
            message,
            origin,
        }
    }

    /// The next message of the queue; those that no packet can hold are dropped.
    fn next_queued(&mut self) -> Option<Parcel> {
        let mut too_large = 0;
        let found = loop {
            if self.taken.is_empty() {
                let taken = self.seat.shared().queue().take(QUEUE_AT_ONCE, usize::MAX);
                self.taken = taken.into();
            }
            let has_room = self.room() > 0;
            let may_leave = |next: &mut Outgoing| next.qos.min(self.limits.qos) == 0 || has_room;
            let Some(message) = self.taken.pop_front_if(may_leave) else {
                break None;
            };
            let parcel = self.parcel(message, Origin::Queue);
            if parcel.size <= self.limit() {
                break Some(parcel);
            }
            too_large += 1;
            self.seat.shared().queue().settled(&parcel.message);
        };
        if too_large > 0 {
            self.tell_dropped(too_large, format!("larger than {} bytes", self.limit()));
        }
        found
    }

    /// Ours, or the broker's where that is less.
    fn limit(&self) -> usize {
        let limit = self.packet_bytes_max.min(self.limits.packet_bytes);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// A packet's length on the wire, at most: lengths take four bytes.
    fn size(&self, message: &Outgoing, origin: Origin) -> usize {
        let properties: usize = match (self.properties, origin.row()) {
            (false, _) => 0,
            (true, None) => 1,
            (true, Some((priority, ticket))) => {
                4 + self.names.properties_bytes(priority, ticket.seq)
            }
        };
        let fixed = 1 + 4 + 2 + 2;
        fixed + properties + queue::size(message)
    }

    /// The message as it is sent, and the identifier to send it under; 0 at QoS 0.
    pub(super) fn sending<'a>(&mut self, parcel: &'a Parcel) -> (u16, Sending<'a>) {
        let message = &parcel.message;
        let qos = message.qos.min(self.limits.qos);
        let id = if qos == 0 { 0 } else { self.ids.take() };
        let row = parcel.origin.row().filter(|_| self.properties);
        let sending = Sending {
            topic: message.topic.as_str(),
            payload: &message.payload,
            qos,
            retain: message.retain && self.limits.retains,
            properties: match row {
                Some((priority, ticket)) => self.names.properties(priority, ticket.seq),
                None => Vec::new(),
            },
            correlation: None,
        };
        (id, sending)
    }

    /// Notes that the message is in flight, or in the stream up to this place.
    pub(super) fn sent(&mut self, id: u16, parcel: Parcel, end: u64, now: Instant) {
        let before = self.left;
        self.left += 1;
        if id == 0 {
            self.unwritten.push_back((end, parcel));
            self.unanswered = Some(Unanswered {
                count: self.unanswered.map_or(0, |older| older.count) + 1,
                before,
                left: now,
                is_asked: false,
            });
        } else {
            let leg = self.pace.left(parcel.size, now);
            self.in_flight.push_back(Flight {
                id,
                before,
                parcel,
                leg,
            });
        }
    }
}
