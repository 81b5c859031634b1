//! Entry of an event into the mill: the check whether it was applied before, what has to be remembered
//! of it, and the commit that its acknowledgement waits for.

use std::str;
use std::sync::Arc;

use crate::commit::event_ids::{self, EventId, EventIdChange, Standing};
use crate::commit::outbox;
use crate::config::EventIdSource;
use crate::event::clock::Now;
use crate::event::value::{Decoded, Scalar};
use crate::event::{Delivery, Event, EventFault, Origin};
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

use super::durable::{DEAD_LETTER_BYTES_MAX, Durable, nobody};
use super::output::{DeadLetter, Output};
use super::{Mill, Worked};

/// Bytes of a commit that a receipt takes.
const RECEIPT_BYTES: usize = 30;

/// The user property that tells the kind of an event's name, and its value for a number.
const KIND: &str = "eid-kind";
const NUMBER: &str = "number";

impl Mill {
    /// Takes an event in. A request is answered also where its event was applied before.
    pub(super) fn take_in(&mut self, now: Now, event: Event, out: &mut Vec<Output>) {
        let origin = event.origin;
        let wanted = self.apply(now, event, out);
        if let Origin::Local(ticket) = origin {
            self.answer(ticket, wanted, out);
        }
    }

    /// Applies an event, unless it was applied before; returns `true` if some rule wanted it.
    fn apply(&mut self, now: Now, event: Event, out: &mut Vec<Output>) -> bool {
        if self.durable.is_none() {
            self.in_seq += 1;
            return self.work_on(now, event, false, out).wanted;
        }
        let delivery = event.delivery();
        let Some(id) = self.first_time(now, &event, out) else {
            return true;
        };
        self.in_seq += 1;
        let worked = match event.fault {
            None => self.work_on(now, event, id.is_some(), out),
            Some(fault) => self.set_aside(now, &event, fault, out),
        };
        let in_seq = self.in_seq;
        let Some(durable) = &mut self.durable else {
            return worked.wanted;
        };
        if worked.kept {
            durable.remember_event(now, in_seq, delivery, id, worked.effects);
        } else if let Some(Delivery { packet, .. }) = delivery {
            // Nothing of it has to last: its turn comes after those before it.
            durable.session.acks.push(packet, Lsn::ZERO, None);
        }
        if delivery.is_some() {
            durable
                .session
                .stall
                .event(now.mono_ms, durable.batch.receipts.len());
        }
        worked.wanted
    }

    /// Counts an event that comes for the first time and returns its own name, where it has one;
    /// `None` where it was applied before, or is left over from another connection.
    fn first_time(
        &mut self,
        now: Now,
        event: &Event,
        out: &mut Vec<Output>,
    ) -> Option<Option<EventId>> {
        let in_seq = self.in_seq;
        let durable = self.durable.as_deref_mut()?;
        if let Some(delivery) = &event.delivery() {
            let stale = durable.session.epoch != Some(delivery.epoch);
            if stale && !sabotage::is(Sabotage::StaleEventsKept) {
                // The broker sends it again on this connection.
                return None;
            }
            let met = durable.session.receipts.meets(delivery);
            durable.voids(now, met.voided);
            if let Some(moved) = met.moved {
                durable.batch.receipts.push(moved);
                durable.batch.open_lazily(now);
            }
            if let Some(applied) = met.applied {
                durable.count(|counts| &mut counts.repeated);
                // Its commit is the last one or the next one.
                let lsn = if applied > durable.record.in_seq {
                    durable.next_lsn
                } else {
                    durable.next_lsn - 1
                };
                durable
                    .session
                    .acks
                    .push(delivery.packet, lsn, Some(applied));
                return None;
            }
        }
        let id = durable.event_id(event);
        let Some(known) = &id else {
            return Some(None);
        };
        let is_too_old = match durable.event_ids.standing(known) {
            Standing::New => return Some(id),
            Standing::Repeated => false,
            Standing::TooOld => true,
        };
        durable.count(|counts| {
            if is_too_old {
                &mut counts.too_old
            } else {
                &mut counts.repeated
            }
        });
        let mark = durable.event_ids.refuse(known, is_too_old, now.mono_ms);
        if let (EventId::Numbered { producer, n }, Some(mark)) = (known, mark) {
            out.push(Output::Silenced {
                producer: Arc::clone(producer),
                n: *n,
                mark,
            });
        }
        if let Some(delivery) = event.delivery() {
            self.in_seq = in_seq + 1;
            durable.remember_event(now, in_seq + 1, Some(delivery), None, false);
        }
        None
    }

    /// Runs the rules that want an event, which has a name of its own or not.
    fn work_on(&mut self, now: Now, event: Event, is_named: bool, out: &mut Vec<Output>) -> Worked {
        // Messages of Tidemill's own are no business of rules.
        let worked = if event.topic.as_str().starts_with("tidemill/") {
            Worked::default()
        } else {
            self.route(now, event, is_named, out)
        };
        if !worked.wanted {
            self.unrouted += 1;
        }
        if let Some(durable) = &mut self.durable {
            durable.count(|counts| {
                if worked.wanted {
                    &mut counts.routed
                } else {
                    &mut counts.unrouted
                }
            });
        }
        worked
    }

    /// Makes a dead letter of a message that no rule can be given.
    fn set_aside(
        &mut self,
        now: Now,
        event: &Event,
        fault: EventFault,
        out: &mut Vec<Output>,
    ) -> Worked {
        let reason = fault.reason_with(event.bad_topic.as_deref());
        if let Some(durable) = &mut self.durable {
            durable.count(|counts| match reason {
                None => &mut counts.surplus,
                Some(_) => &mut counts.dead,
            });
        }
        if let Some(reason) = reason {
            let dead = DeadLetter {
                rule: nobody(),
                version: 0,
                topic: event.topic.clone(),
                payload: event.payload.clone(),
                properties: event.properties.clone(),
                volatile: false,
                reason,
                fuel: 0,
                at_ms: now.wall_ms,
            };
            self.keep_dead_letter(&dead, Some(DEAD_LETTER_BYTES_MAX), now);
            out.push(Output::DeadLetter(dead));
        }
        Worked {
            wanted: false,
            kept: true,
            effects: true,
        }
    }
}

impl Durable {
    /// Counts a message. That alone is no reason for a commit: it goes along with the next one.
    fn count(&mut self, column: impl FnOnce(&mut crate::commit::record::IntakeCounts) -> &mut u64) {
        let counts = &mut self.batch.counts;
        counts.received += 1;
        *column(counts) += 1;
    }

    /// Remembers an event that has to count once, whatever happens.
    fn remember_event(
        &mut self,
        now: Now,
        in_seq: u64,
        delivery: Option<Delivery>,
        id: Option<EventId>,
        effects: bool,
    ) {
        let lsn = self.lsn();
        let batch = &mut self.batch;
        batch.events += 1;
        if let Some(Delivery {
            packet,
            fingerprint,
            ..
        }) = delivery
        {
            let receipt = self.session.receipts.insert(packet, fingerprint, in_seq);
            batch.receipts.push(receipt);
            batch.bytes += RECEIPT_BYTES;
            self.session.acks.push(packet, lsn, Some(in_seq));
        }
        if let Some(id) = id {
            self.event_ids.insert(&id);
            batch.event_ids.push(EventIdChange::Applied(id));
            batch.bytes += RECEIPT_BYTES;
        }
        if delivery.is_some() || effects {
            batch.open(now)
        } else {
            batch.open_lazily(now)
        }
    }

    /// The event's own name. A copy that the broker kept goes without: it is no event that happened
    /// now, and rules that ask for it want it even where others were given the event.
    fn event_id(&self, event: &Event) -> Option<EventId> {
        if event.retained {
            return None;
        }
        match &self.keeping.event_id {
            EventIdSource::None => None,
            EventIdSource::UserProperty(_) if event.properties.is_empty() => None,
            EventIdSource::UserProperty(name) => {
                let all: serde_json::Value = serde_json::from_slice(&event.properties).ok()?;
                let is_number = || is_number(&all);
                Some(self.read_id(all.get(name)?.as_str()?, is_number))
            }
            EventIdSource::Pointer(_) => {
                let mut decoded = Decoded::default();
                let plan = self.event_id_plan.as_ref()?;
                plan.decode(&event.payload, &mut decoded).ok()?;
                let is_number = || {
                    let all = serde_json::from_slice(&event.properties);
                    all.is_ok_and(|all| is_number(&all))
                };
                match decoded.scalars.first()? {
                    Scalar::Text(span) => {
                        let id = str::from_utf8(decoded.bytes(*span)).ok()?;
                        Some(self.read_id(id, is_number))
                    }
                    Scalar::Int(number) => Some(self.read_id(&number.to_string(), is_number)),
                    _ => None,
                }
            }
        }
    }

    fn read_id(&self, text: &str, is_number: impl FnOnce() -> bool) -> EventId {
        let is_number =
            event_ids::may_be_number(text) && (self.keeping.event_id_numbers || is_number());
        self.event_ids.read(text, is_number)
    }
}

/// `true` if the sender of these user properties calls its event's name a number.
fn is_number(properties: &serde_json::Value) -> bool {
    properties.get(KIND).is_some_and(|kind| kind == NUMBER)
}

/// The lane of a dead letter's row.
pub(super) fn shelf(durable: &Durable) -> Option<&outbox::Lane> {
    durable.outbox.dead_letters()
}
