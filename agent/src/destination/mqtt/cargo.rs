//! What a destination sends over MQTT: the next messages of lanes and queue, and what is on its way.
//! What becomes of them stands in `verdict`. Knows no connection; the loop in `outlet` does.

mod verdict;

use std::collections::VecDeque;
use std::time::Instant;

use super::super::lane::{Lane, Ticket};
use super::super::names::Names;
use super::super::{Outgoing, Seat, queue};
use crate::backoff::DELAY_MAX;
use crate::emission::{Priority, Row};
use crate::source::mqtt::link::{Limits, Sending};

/// Bytes written with one flush at most, beyond the first message.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// One message, ready for the wire.
#[derive(Debug)]
pub(super) struct Parcel {
    message: Outgoing,
    origin: Origin,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Lives in memory only.
    Queue,
    /// A row of a lane.
    Lane(Priority, Ticket),
}

/// What a destination has to send.
pub(super) struct Cargo {
    pub(super) seat: Seat,
    /// The destination's name, for logs.
    name: String,
    names: Names,
    envelope: bool,
    inflight_max: u16,
    packet_bytes_max: u32,
    /// Of the connection that stands.
    limits: Limits,
    /// Whether messages can bear properties.
    properties: bool,
    high: Lane,
    normal: Lane,
    /// Handed to the library, not yet on the wire.
    asked: VecDeque<Parcel>,
    /// On the wire, not yet acknowledged, by packet identifier.
    in_flight: VecDeque<(u16, Parcel)>,
    /// So many messages go one by one, because the broker ended the connection over one of them.
    suspects: usize,
    /// Connections in a row that ended without a reason before anything was taken.
    breaks: u32,
    /// Of the queue, not told yet.
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
            asked: VecDeque::new(),
            in_flight: VecDeque::new(),
            suspects: 0,
            breaks: 0,
            acknowledged: 0,
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, limits: Limits, properties: bool) {
        self.limits = limits;
        self.properties = properties;
    }

    /// Takes over what was shipped.
    pub(super) fn unload(&mut self) {
        let inbox = self.seat.shared().take_inbox();
        let (high, normal) = (inbox.high.rows(), inbox.normal.rows());
        high.for_each(|rows| self.high.push(rows));
        normal.for_each(|rows| self.normal.push(rows));
    }

    /// What waits in the library's channel goes first. Beyond that nothing is held back so that
    /// more could share a flush: while we are silent the kernel delays its acknowledgements, and a
    /// broker without TCP_NODELAY then waits 40 ms with its own (measured: a fifth of the speed).
    pub(super) fn may_write(&self) -> bool {
        self.asked.is_empty() && self.room() > 0
    }

    fn room(&self) -> usize {
        let window = match self.suspects {
            0 => self.inflight_max.min(self.limits.in_flight),
            _ => 1,
        };
        usize::from(window).saturating_sub(self.in_flight.len())
    }

    /// When a lane that rests goes on.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let lanes = [&self.high, &self.normal];
        lanes.into_iter().filter_map(Lane::wakes_at).min()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty() && self.asked.is_empty()
    }

    /// Whether nothing is on its way and nothing can leave now.
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

    /// Loads the next messages for the wire, at most `max`: what `asked` gives is to be sent.
    pub(super) fn load(&mut self, max: usize, now: Instant) {
        let mut room = self.room();
        let max = match self.suspects {
            0 => max,
            _ => 1,
        };
        let mut bytes = 0;
        self.load_lane(Priority::High, max, &mut room, &mut bytes, now);
        self.load_lane(Priority::Normal, max, &mut room, &mut bytes, now);
        self.load_queue(max, room);
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane {
        match priority {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
        }
    }

    fn load_lane(
        &mut self,
        priority: Priority,
        max: usize,
        room: &mut usize,
        bytes: &mut usize,
        now: Instant,
    ) {
        while self.asked.len() < max && *bytes < BATCH_BYTES_MAX {
            let Some(row) = self.lane(priority).peek(now).cloned() else {
                return;
            };
            let awaited = row.qos.min(self.limits.qos) > 0;
            if awaited && *room == 0 {
                return;
            }
            let Some(ticket) = self.lane(priority).advance() else {
                return;
            };
            let parcel = self.pack(priority, ticket, row);
            let size = self.size(&parcel);
            if size > self.limit() {
                let why = format!(
                    "{size} bytes are more than the {} of a packet",
                    self.limit()
                );
                self.refuse_row(priority, ticket, why);
                continue;
            }
            *bytes += size;
            *room -= usize::from(awaited);
            self.asked.push_back(parcel);
        }
    }

    fn pack(&self, priority: Priority, ticket: Ticket, row: Row) -> Parcel {
        Parcel {
            message: Outgoing {
                destination: self.seat.place,
                payload: match self.envelope {
                    true => self.names.envelope(priority, &row),
                    false => row.payload,
                },
                topic: row.topic,
                qos: row.qos,
                retain: row.retain,
            },
            origin: Origin::Lane(priority, ticket),
        }
    }

    /// The next messages of the queue; those that no packet can hold are dropped.
    fn load_queue(&mut self, max: usize, room: usize) {
        let max = max.saturating_sub(self.asked.len());
        let mut too_large = 0;
        let mut taken = self.seat.shared().queue().take(max, room);
        while !taken.is_empty() {
            for message in std::mem::take(&mut taken) {
                let origin = Origin::Queue;
                let parcel = Parcel { message, origin };
                if self.size(&parcel) > self.limit() {
                    too_large += 1;
                    self.seat.shared().queue().settled(&parcel.message);
                } else {
                    self.asked.push_back(parcel);
                }
            }
            if self.asked.is_empty() {
                taken = self.seat.shared().queue().take(max, room);
            }
        }
        if too_large > 0 {
            self.tell_dropped(too_large, format!("larger than {} bytes", self.limit()));
        }
    }

    /// Ours, or the broker's where that is less.
    fn limit(&self) -> usize {
        let limit = self.packet_bytes_max.min(self.limits.packet_bytes);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// The packet's length on the wire, at most: lengths take four bytes.
    fn size(&self, parcel: &Parcel) -> usize {
        let properties: usize = match (self.properties, parcel.origin) {
            (false, _) => 0,
            (true, Origin::Queue) => 1,
            (true, Origin::Lane(priority, ticket)) => {
                4 + self.names.properties_bytes(priority, ticket.seq)
            }
        };
        let fixed = 1 + 4 + 2 + 2;
        fixed + properties + queue::size(&parcel.message)
    }

    /// Whether something was loaded and has not left.
    pub(super) fn is_loaded(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What was loaded.
    pub(super) fn loaded(&self) -> impl Iterator<Item = Sending<'_>> {
        self.asked.iter().map(|parcel| Sending {
            topic: parcel.message.topic.as_str(),
            payload: &parcel.message.payload,
            qos: parcel.message.qos.min(self.limits.qos),
            retain: parcel.message.retain && self.limits.retains,
            properties: match parcel.origin {
                Origin::Lane(priority, ticket) if self.properties => {
                    self.names.properties(priority, ticket.seq)
                }
                _ => Vec::new(),
            },
        })
    }
}
