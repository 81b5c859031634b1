//! What became of messages: left, acknowledged, refused for one reason or another, or lost with their
//! connection.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::super::DestinationReport;
use super::super::super::lane::Ticket;
use super::{Cargo, Origin, Parcel};
use crate::emission::{LaneReport, Priority};
use crate::source::mqtt::link::{Limits, Refusal};

/// How long a lane rests that the broker does not let us publish.
const STALL_REST: Duration = Duration::from_secs(30);

/// So many connections that end without a reason make one of the messages suspect.
const BREAKS_MAX: u32 = 3;

impl Cargo {
    /// The next loaded message left; 0 at QoS 0.
    pub(crate) fn sent(&mut self, id: u16) {
        let Some(parcel) = self.asked.pop_front() else {
            return;
        };
        if id == 0 {
            self.taken(&parcel);
        } else {
            self.in_flight.push_back((id, parcel));
        }
    }

    /// The broker's word on a message.
    pub(crate) fn acknowledge(&mut self, id: u16, refused: Option<Refusal>) {
        let place = self.in_flight.iter().position(|(other, _)| *other == id);
        let Some((_, parcel)) = place.and_then(|place| self.in_flight.remove(place)) else {
            return;
        };
        self.suspects = self.suspects.saturating_sub(1);
        let Some(refusal) = refused else {
            return self.taken(&parcel);
        };
        let now = Instant::now();
        match (parcel.origin, refusal) {
            (Origin::Queue, refusal) => {
                self.seat.shared().queue().settled(&parcel.message);
                let (Refusal::NotNow(why) | Refusal::NotAuthorized(why) | Refusal::Never(why)) =
                    refusal;
                self.tell_dropped(1, format!("the broker refused it: {why}"));
            }
            (Origin::Lane(priority, ticket), Refusal::NotNow(why)) => {
                let random = RandomState::new().hash_one(());
                let lane = self.names.lane(priority);
                let why = format!("lane {lane} waits: the broker takes nothing now ({why})");
                self.lane(priority).put_off(ticket, now, random, why);
            }
            (Origin::Lane(priority, ticket), Refusal::NotAuthorized(why)) => {
                let lane = self.names.lane(priority);
                let why = format!(
                    "lane {lane} stands still: the broker does not let us publish to {} ({why}): \
                     mend its access list, or take the rule's port away",
                    parcel.message.topic
                );
                self.lane(priority).stall(ticket, now + STALL_REST, why);
            }
            (Origin::Lane(priority, ticket), Refusal::Never(why)) => {
                self.refuse_row(priority, ticket, format!("the broker refused it: {why}"));
            }
        }
    }

    fn taken(&mut self, parcel: &Parcel) {
        self.breaks = 0;
        match parcel.origin {
            Origin::Queue => {
                self.acknowledged += 1;
                self.seat.shared().queue().settled(&parcel.message);
            }
            Origin::Lane(priority, ticket) => {
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

    /// The broker ended the connection because of a message. Where only one was on its way, that
    /// was it; else they go one by one until it is found.
    pub(crate) fn suspect(&mut self, why: &str) {
        if self.in_flight.len() > 1 {
            self.suspects = self.in_flight.len();
            return;
        }
        self.suspects = 0;
        if let Some((id, _)) = self.in_flight.front() {
            let refused = Refusal::Never(why.to_owned());
            self.acknowledge(*id, Some(refused));
        }
    }

    /// The connection ended without a reason. If that goes on it may be because of a message: then
    /// they go one by one, and the owner is told of the first.
    pub(crate) fn broke(&mut self) {
        let Some((_, first)) = self.in_flight.front() else {
            return;
        };
        self.breaks += 1;
        if self.breaks < BREAKS_MAX {
            return;
        }
        self.suspects = self.in_flight.len();
        let why = format!(
            "the connection ends whenever a message of {} bytes to {} is sent: if the broker takes \
             none so large, lower packet_bytes_max",
            first.message.payload.len(),
            first.message.topic
        );
        self.seat.shared().set_status(|status| {
            if status.stalled.as_ref() != Some(&why) {
                warn!(destination = self.name, "{why}");
                status.stalled = Some(why);
            }
        });
    }

    /// The connection is gone. The session is clean, so for the broker what goes again is new.
    pub(crate) fn lost(&mut self) {
        let again = self.in_flight.drain(..).map(|(_, parcel)| parcel);
        let again = again.chain(self.asked.drain(..));
        let queued = again.filter(|parcel| matches!(parcel.origin, Origin::Queue));
        let messages: Vec<_> = queued.map(|parcel| parcel.message).collect();
        self.seat.shared().queue().put_back(messages.into_iter());
        self.high.lost();
        self.normal.lost();
        self.limits = Limits::NONE;
        self.tell();
    }

    /// Tells what became of messages, and how lanes do.
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
        let breaks = self.breaks >= BREAKS_MAX;
        self.seat.shared().set_status(|status| {
            status.rows = rows;
            if status.stalled.as_deref() != stalled && !breaks {
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
