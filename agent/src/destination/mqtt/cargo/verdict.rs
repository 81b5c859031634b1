//! Outcomes of messages: left, acknowledged, refused for one reason or another, or lost with their
//! connection.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::super::DestinationReport;
use super::super::super::lane::Ticket;
use super::{Cargo, Flight, Origin, Parcel};
use crate::event::emission::{LaneReport, Priority};
use tidemill_base::text::shown;
use tidemill_transport::link::{Limits, Refusal};
use tidemill_transport::trouble::Trouble;

/// Rest of a lane that the broker does not let us publish.
const STALL_REST: Duration = Duration::from_secs(30);

/// Rest of a lane whose row ends connections, times the number of those, and its limit.
const BREAK_REST: Duration = Duration::from_secs(2);

/// Connections ended without a reason until one of the messages is suspect.
const BREAKS_MAX: u32 = 3;

/// Number of connections ended over a message that was alone in flight after which it is given up,
/// where it may be: a gap record, or a message that lives in memory only.
const BREAKS_ALONE_MAX: u32 = 3;

/// Most times that the broker may put a gap record off without saying why.
const UNSAID_MAX: u32 = 6;

/// Longest time for which an acknowledgement may be missing behind a packet that was answered.
const OWED_MAX: Duration = Duration::from_secs(300);

impl Cargo {
    /// Notes that the stream was written up to this place.
    pub(crate) fn written(&mut self, place: u64) {
        while let Some((_, parcel)) = self.unwritten.pop_front_if(|(end, _)| *end <= place) {
            self.taken(&parcel);
        }
    }

    /// The broker's word on a message, in whatever order it comes.
    pub(crate) fn acknowledge(&mut self, id: u16, refused: Option<Refusal>) {
        let place = self.in_flight.iter().position(|flight| flight.id == id);
        let Some(flight) = place.and_then(|place| self.in_flight.remove(place)) else {
            return;
        };
        let now = Instant::now();
        if self.unheard.take().is_some() {
            self.seat.shared().set_status(|status| {
                status.trouble = None;
                status.unheard = false;
            });
        }
        self.ids.free(id);
        self.pace.arrived(flight.leg, now);
        if self.unanswered.is_some_and(|it| it.before < flight.before) {
            self.unanswered = None;
        }
        self.suspects = self.suspects.saturating_sub(1);
        match refused {
            None => {
                // Only an acknowledgement shows that the broker gets on: at QoS 0 it says nothing.
                self.breaks = 0;
                self.taken(&flight.parcel);
            }
            Some(refusal) => self.refused(&flight.parcel, refusal, now),
        }
    }

    fn refused(&mut self, parcel: &Parcel, refusal: Refusal, now: Instant) {
        let why = match &refusal {
            Refusal::NotNow(why)
            | Refusal::Unsaid(why)
            | Refusal::NotAuthorized(why)
            | Refusal::Never(why) => format!("the broker refused it: {why}"),
        };
        match (parcel.origin, refusal) {
            (Origin::Queue, _) => self.give_up(parcel, why),
            (Origin::Lane(priority, ticket), Refusal::NotNow(why) | Refusal::Unsaid(why))
            | (Origin::Gap(priority, ticket), Refusal::NotNow(why)) => {
                self.put_off(priority, ticket, now, &why);
            }
            (Origin::Gap(priority, ticket), Refusal::Unsaid(unsaid)) => {
                let times = match self.unsaid {
                    Some((lane, seq, times)) if (lane, seq) == (priority, ticket.seq) => times + 1,
                    _ => 1,
                };
                self.unsaid = Some((priority, ticket.seq, times));
                if times < UNSAID_MAX {
                    self.put_off(priority, ticket, now, &unsaid)
                } else {
                    self.give_up(parcel, why)
                }
            }
            (Origin::Lane(priority, ticket), Refusal::NotAuthorized(why)) => {
                let lane = self.names.lane(priority);
                let why = format!(
                    "lane {lane} stands still: the broker does not let us publish to {} ({why}): \
                     mend its access list, or take the rule's port away",
                    shown(parcel.message.topic.as_str())
                );
                self.lane(priority).stall(ticket, now + STALL_REST, why);
            }
            (Origin::Lane(priority, ticket), Refusal::Never(_)) => {
                self.refuse_row(priority, ticket, why);
            }
            (Origin::Gap(..), Refusal::NotAuthorized(_) | Refusal::Never(_)) => {
                self.give_up(parcel, why);
            }
        }
    }

    fn put_off(&mut self, priority: Priority, ticket: Ticket, now: Instant, why: &str) {
        let random = RandomState::new().hash_one(());
        let lane = self.names.lane(priority);
        let why = format!("lane {lane} waits: the broker takes nothing now ({why})");
        self.lane(priority).put_off(ticket, now, random, why);
    }

    fn taken(&mut self, parcel: &Parcel) {
        match parcel.origin.row() {
            None => {
                self.acknowledged += 1;
                self.seat.shared().queue().settled(&parcel.message);
            }
            Some((priority, ticket)) => {
                if self.lane(priority).settle(ticket) {
                    self.seat.desk.tell_lane(LaneReport::Acknowledged {
                        destination: self.seat.place,
                        priority,
                        first: ticket.seq,
                        last: ticket.seq,
                    });
                }
            }
        }
    }

    /// Gives a message up, whatever the broker makes of it. A fault that an owner cannot mend at a
    /// rule must not hold up the rows behind: a gap record becomes a dead letter.
    fn give_up(&mut self, parcel: &Parcel, why: String) {
        match parcel.origin.row() {
            None => {
                self.seat.shared().queue().settled(&parcel.message);
                self.tell_dropped(1, why);
            }
            Some((priority, ticket)) => {
                let (destination, topic) = (&self.name, parcel.message.topic.as_str());
                warn!(
                    destination,
                    topic = %shown(topic), "a gap record cannot be delivered: {why}"
                );
                self.refuse_row(priority, ticket, why);
            }
        }
    }

    pub(crate) fn refuse_row(&mut self, priority: Priority, ticket: Ticket, reason: String) {
        if self.lane(priority).settle(ticket) {
            self.seat.desk.tell_lane(LaneReport::Refused {
                destination: self.seat.place,
                priority,
                first: ticket.seq,
                last: ticket.seq,
                reason,
            });
        }
    }

    /// Notes that the broker ended the connection because of a message. If it can only have meant
    /// one, that was it; else messages go one by one until it is found.
    pub(crate) fn suspect(&mut self, refusal: Refusal) {
        if self.exposed() > 1 {
            self.suspects = self.in_flight.len() + self.unwritten.len();
            return;
        }
        self.suspects = 0;
        if let Some(id) = self.in_flight.front().map(|flight| flight.id) {
            self.acknowledge(id, Some(refusal));
        } else if let Some((_, parcel)) = self.unwritten.pop_front() {
            self.refused(&parcel, refusal, Instant::now());
        }
    }

    /// Notes that the connection ended, and the broker did not say that it was because of a
    /// message. If that goes on it may be: then messages go one by one until it is found. A row is
    /// never given up for that, but its lane stands still.
    pub(crate) fn broke(&mut self, how: &str) {
        let is_tried = self.suspects > 0 && !self.unwritten.is_empty();
        if self.in_flight.is_empty() && !is_tried {
            return;
        }
        self.breaks += 1;
        let known = self.accused.and_then(|accused| {
            let is_known = |flight: &Flight| flight.parcel.name() == accused.0;
            self.in_flight.iter().position(is_known)
        });
        let is_alone = self.exposed() == 1;
        let is_suspect = self.suspects > 0 || self.breaks >= BREAKS_MAX;
        match known {
            Some(place) if is_alone || place == 0 => self.accuse(place, how),
            _ if is_suspect && is_alone => self.accuse(0, how),
            _ if is_suspect => self.suspects = self.in_flight.len() + self.unwritten.len(),
            _ => {}
        }
    }

    /// The message at this place ends connections, or one at QoS 0 that was being written alone.
    fn accuse(&mut self, place: usize, how: &str) {
        let Some(flight) = self.in_flight.remove(place) else {
            if let Some((_, parcel)) = self.unwritten.pop_front() {
                self.suspects = self.suspects.saturating_sub(1);
                self.hold(&parcel, 1, how);
            }
            return;
        };
        let parcel = &flight.parcel;
        let times = match &self.accused {
            Some((name, times)) if *name == parcel.name() => times + 1,
            _ => 1,
        };
        self.accused = Some((parcel.name(), times));
        let is_kept = matches!(parcel.origin, Origin::Lane(..));
        if is_kept || times >= BREAKS_ALONE_MAX {
            self.hold(parcel, times, how);
        } else {
            // It goes again with what else the connection left open.
            self.in_flight.insert(place, flight);
        }
    }

    /// Stops a row that ended so many connections, with its lane, or gives up a message that is no
    /// row.
    fn hold(&mut self, parcel: &Parcel, times: u32, how: &str) {
        let topic = shown(parcel.message.topic.as_str());
        let bytes = parcel.message.payload.len();
        let what = format!("whenever a message of {bytes} bytes to {topic} is sent");
        match parcel.origin {
            Origin::Lane(priority, ticket) => {
                let why = format!(
                    "lane {} stands still: the connection ends {what} ({how}): if the broker takes \
                     none so large, lower packet_bytes_max; if it does not let us publish there, \
                     mend its access list",
                    self.names.lane(priority)
                );
                let rest = STALL_REST.min(BREAK_REST * times);
                self.lane(priority)
                    .stall(ticket, Instant::now() + rest, why);
            }
            Origin::Queue | Origin::Gap(..) => {
                self.give_up(parcel, format!("the connection ends {what} ({how})"));
            }
        }
    }

    /// Notes that the broker answered a packet that was sent at this moment: acknowledgements of
    /// earlier messages should be here.
    pub(crate) fn answered(&mut self, sent: Instant, now: Instant) {
        if self.unanswered.is_some_and(|it| it.left <= sent) {
            self.unanswered = None;
            if self.in_flight.is_empty() {
                self.suspects = self.suspects.saturating_sub(1);
            }
        }
        let oldest = self.in_flight.front();
        let owes = oldest.filter(|oldest| oldest.leg.left() < sent);
        match (owes, self.owed) {
            (Some(oldest), Some((id, _))) if id == oldest.id => {}
            (owes, _) => self.owed = owes.map(|oldest| (oldest.id, now)),
        }
    }

    /// Time at which the connection is given up because an acknowledgement did not come that should
    /// have: the message was lost on the way, or the broker forgot it.
    pub(crate) fn owed_until(&self) -> Option<Instant> {
        let (id, since) = self.owed?;
        let oldest = self.in_flight.front();
        oldest.filter(|oldest| oldest.id == id)?;
        Some(since + self.owed_for)
    }

    /// Notes that the connection is given up because the broker said nothing, or nothing on the
    /// messages sent. The next connection does not make that good; an acknowledgement does.
    pub(crate) fn gave_up(&mut self, trouble: &Trouble) {
        if !self.in_flight.is_empty() {
            self.unheard = Some(trouble.clone());
        }
    }

    /// Notes that the connection is given up for a missing acknowledgement. A broker that takes so
    /// long is given more time from now on.
    pub(crate) fn gave_up_waiting(&mut self) {
        self.owed_for = (self.owed_for * 2).min(OWED_MAX);
    }

    /// Notes that the connection is gone. The session is clean, so for the broker every message
    /// that goes again is new. `silent`: it was given up because the broker gave no sign of life.
    pub(crate) fn lost(&mut self, silent: bool) {
        let again = self.in_flight.drain(..).map(|flight| flight.parcel);
        let again = again.chain(self.unwritten.drain(..).map(|(_, parcel)| parcel));
        let queued = again.filter(|parcel| parcel.origin == Origin::Queue);
        let queued = queued.map(|parcel| parcel.message);
        let messages: Vec<_> = queued.chain(self.taken.drain(..)).collect();
        self.seat.shared().queue().put_back(messages.into_iter());
        self.high.lost();
        self.normal.lost();
        self.ids.free_all();
        self.pace.lost(silent);
        (self.unanswered, self.left) = (None, 0);
        self.owed = None;
        self.limits = Limits::NONE;
        self.tell();
    }

    /// Reports the outcomes of messages, and the state of the lanes.
    pub(crate) fn tell(&mut self) {
        let destination = self.seat.place;
        let count = std::mem::take(&mut self.acknowledged);
        if count > 0 {
            let report = DestinationReport::Acknowledged { destination, count };
            self.seat.desk.tell(report);
        }
        let dropped = self.seat.shared().queue().take_dropped();
        if dropped > 0 {
            self.tell_dropped(dropped, "the queue was full".to_owned());
        }
        let rows = self.high.len() + self.normal.len();
        let stalled = self.high.stalled().or(self.normal.stalled());
        self.seat.shared().set_status(|status| {
            status.rows = rows;
            if status.stalled.as_deref() != stalled {
                match stalled {
                    Some(why) => warn!(destination = self.name, "{why}"),
                    None => info!(destination = self.name, "goes on"),
                }
                status.stalled = stalled.map(str::to_owned);
            }
        });
    }

    pub(crate) fn tell_dropped(&self, count: usize, why: String) {
        self.seat.desk.tell(DestinationReport::Dropped {
            destination: self.seat.place,
            count,
            why,
        });
    }
}
