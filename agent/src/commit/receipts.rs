//! Receipts of messages in the broker's session that were applied: one for each that the broker may
//! still send again. A packet identifier names a message only until it is reused, and DUP says only
//! that the broker tried before; so a receipt holds a hash of the content as well, and is void once
//! the broker has shown that it read the acknowledgement.
//!
//! The receipts are in the order in which the broker would send their messages again: first those
//! that it sent again on this connection, then those that it has yet to, then new ones. The
//! acknowledgements have the same order, so one answer always confirms a run from the start. This
//! is not the order of the events: a message that had no receipt gets one when it comes again.
//!
//! Some brokers send far more ahead than they were allowed: mosquitto 2.0.11 sends all that it has
//! queued upon the first acknowledgement. Beyond 65,535 messages it then gives out identifiers that
//! are still in use, and sends both messages again on the next connection.

mod unseen;

use std::collections::{HashMap, VecDeque};

pub use crate::commit::record::{Receipt, Voided};
use crate::event::{Delivery, Fingerprint, Version, lower_half};
use tidemill_base::sabotage::{self, Sabotage};

use unseen::Unseen;

/// Least number of events between two unconfirmed messages with the same identifier: the broker has
/// then been through all identifiers. If fewer lie between them, the first one has been settled.
const ROUND_EVENTS: u64 = 32_768;

/// The receipts of one session.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// Counts sessions; the broker may use identifiers as it likes in a new one.
    generation: u64,
    /// Receipts of messages that came again on this connection, or that the broker passed over.
    seen: VecDeque<Receipt>,
    /// Receipts of messages of earlier connections that may still come again on this one.
    unseen: Unseen,
    /// Receipts of messages that came after them.
    fresh: VecDeque<Receipt>,
    /// The latest receipt made on this connection of each packet identifier: half of its hash, which
    /// is enough for a message that comes twice on one connection, and its event.
    latest: HashMap<u16, (u64, u64)>,
    /// The version of MQTT that this connection speaks.
    spoken: Option<Version>,
    /// The broker may still be sending what it holds from earlier connections.
    is_repeating: bool,
    /// No message of this connection has shown yet where the broker began.
    is_undecided: bool,
}

/// A message, compared with the receipts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// Number of the event, if the message was applied before.
    pub applied: Option<u64>,
    /// Receipts that are void because the broker has passed over their messages.
    pub voided: Option<Voided>,
    /// The receipt that has a new place.
    pub moved: Option<Receipt>,
}

impl Receipts {
    /// Restores receipts from a saved state, in their order.
    pub fn restore(generation: u64, kept: impl IntoIterator<Item = Receipt>) -> Self {
        Self {
            generation,
            unseen: kept.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Counts the broker's sessions.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The receipts, in the order in which the broker would send their messages again.
    pub fn iter(&self) -> impl Iterator<Item = &Receipt> {
        let unseen = self.unseen.iter();
        self.seen.iter().chain(unseen).chain(&self.fresh)
    }

    /// Number of receipts.
    pub fn len(&self) -> usize {
        self.seen.len() + self.unseen.len() + self.fresh.len()
    }

    /// `true` if there are no receipts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A connection began, which speaks this version: the broker sends again what it holds, in its
    /// order.
    pub fn reconnected(&mut self, spoken: Version) {
        let mut kept = std::mem::take(&mut self.seen);
        kept.extend(self.unseen.take());
        kept.append(&mut self.fresh);
        self.unseen = kept.into_iter().collect();
        self.unseen.look_up(ROUND_EVENTS);
        if sabotage::is(Sabotage::ReceiptDroppedById) {
            let latest = &self.latest;
            self.unseen
                .drop_packets(|packet| !latest.contains_key(&packet));
        }
        self.latest.clear();
        self.spoken = Some(spoken);
        (self.is_repeating, self.is_undecided) = (true, true);
    }

    /// A message was applied. Returns its receipt with its place, to be written down.
    pub fn insert(
        &mut self,
        packet: u16,
        Fingerprint { hash, content }: Fingerprint,
        in_seq: u64,
    ) -> Receipt {
        let mut receipt = Receipt {
            packet,
            hash,
            content,
            spoken: self.spoken,
            in_seq,
            before: 0,
        };
        if sabotage::is(Sabotage::NoReceipt) {
            return receipt;
        }
        let next = self.unseen.first().map(|next| next.in_seq);
        let in_turn = self.is_repeating && !sabotage::is(Sabotage::RepeatedWithoutReceiptLast);
        match next.filter(|_| in_turn) {
            Some(before) => {
                self.seen.push_back(receipt);
                receipt.before = before;
            }
            None => self.fresh.push_back(receipt),
        }
        self.latest.insert(packet, (lower_half(hash), in_seq));
        receipt
    }

    /// Takes up a receipt as it was written down.
    pub fn take_up(&mut self, receipt: Receipt) {
        if sabotage::is(Sabotage::NoReceipt) {
            return;
        }
        self.unseen.take_up(receipt);
    }

    /// Looks up a message that arrived: whether it was applied before, and the consequences for
    /// other receipts.
    ///
    /// A broker first sends the messages it holds from earlier connections, in order. So the first
    /// message that is new, or known, shows where they began: everything before was settled. That
    /// matters if the session was lost and the process ended before it had taken note: its receipts
    /// would be taken for some of the new session.
    pub fn meets(&mut self, delivery: &Delivery) -> Met {
        if !delivery.dup {
            self.is_repeating = false;
            let first = std::mem::take(&mut self.is_undecided);
            let count = if first { self.unseen.len() } else { 0 };
            return Met {
                voided: self.pass_over(count),
                ..Met::default()
            };
        }
        let Some(place) = self.find(delivery) else {
            return Met {
                applied: self.retried(delivery),
                ..Met::default()
            };
        };
        let mut met = Met::default();
        let known = if self.is_repeating {
            if std::mem::take(&mut self.is_undecided) {
                met.voided = self.pass_over(place)
            } else {
                self.seen.extend(self.unseen.pop(place))
            }
            let known = self.unseen.pop(1).next();
            self.seen.extend(known);
            known
        } else {
            // It comes out of turn, so its acknowledgement leaves behind those of new ones.
            let known = self.unseen.remove(place);
            self.fresh.extend(known);
            met.moved = known.map(|known| Receipt {
                before: known.in_seq,
                ..known
            });
            known
        };
        met.applied = known.map(|known| known.in_seq);
        met
    }

    /// The first receipt that a message of an earlier connection may be known by.
    fn find(&self, delivery: &Delivery) -> Option<usize> {
        let Delivery {
            packet,
            fingerprint,
            ..
        } = delivery;
        let latest = self.latest.get(packet).map(|(_, in_seq)| *in_seq);
        self.unseen.find(*packet, |receipt| {
            let used_again = |latest: u64| latest.abs_diff(receipt.in_seq) < ROUND_EVENTS;
            !latest.is_some_and(used_again) && self.is_of(receipt, *fingerprint)
        })
    }

    /// Across a change of version only topic and payload are left to compare. Elsewhere they would
    /// let two events pass for each other that differ in their user properties.
    fn is_of(&self, receipt: &Receipt, fingerprint: Fingerprint) -> bool {
        if sabotage::is(Sabotage::ReceiptWithoutHash) {
            return true;
        }
        match (receipt.spoken, self.spoken) {
            (Some(then), Some(now)) if then != now && !sabotage::is(Sabotage::OneHash) => {
                receipt.content == fingerprint.content
            }
            _ => receipt.hash == fingerprint.hash,
        }
    }

    /// The event that came first on this very connection, for an impatient broker.
    fn retried(&self, delivery: &Delivery) -> Option<u64> {
        let (known, in_seq) = self.latest.get(&delivery.packet)?;
        let hash = lower_half(delivery.fingerprint.hash);
        let same = *known == hash || sabotage::is(Sabotage::ReceiptWithoutHash);
        same.then_some(*in_seq)
    }

    /// The broker has settled the first `count` that have not come again.
    fn pass_over(&mut self, count: usize) -> Option<Voided> {
        let before = !self.seen.is_empty();
        let first = self.unseen.first()?.in_seq;
        let last = self.unseen.pop(count).last()?.in_seq;
        Some(Voided {
            first: if before { first } else { 0 },
            last,
        })
    }

    /// Notes that the broker has read the acknowledgement of this event, and so those of all before
    /// it: their receipts are void. Returns them; `None` if there are none any more.
    pub fn confirm(&mut self, in_seq: u64) -> Option<Voided> {
        let place = |some: &VecDeque<Receipt>| some.iter().position(|one| one.in_seq == in_seq);
        let mut void: Vec<Receipt> = if sabotage::is(Sabotage::ConfirmedByNumber) {
            self.confirm_by_number(in_seq)
        } else if let Some(last) = place(&self.seen) {
            self.seen.drain(..=last).collect()
        } else {
            let last = place(&self.fresh)?;
            self.unseen.take().for_each(drop);
            let seen = self.seen.drain(..);
            seen.chain(self.fresh.drain(..=last)).collect()
        };
        for Receipt { packet, in_seq, .. } in void.drain(..) {
            let is_latest = |(_, of): &(u64, u64)| *of == in_seq;
            if self.latest.get(&packet).is_some_and(is_latest) {
                self.latest.remove(&packet);
            }
        }
        Some(Voided {
            first: 0,
            last: in_seq,
        })
    }

    /// Confirms by number instead of by order, so that tests can show that this is wrong.
    fn confirm_by_number(&mut self, in_seq: u64) -> Vec<Receipt> {
        let (void, kept): (Vec<_>, Vec<_>) = self.unseen.take().partition(|r| r.in_seq <= in_seq);
        self.unseen = kept.into_iter().collect();
        self.unseen.look_up(ROUND_EVENTS);
        for some in [&mut self.seen, &mut self.fresh] {
            some.retain(|receipt| receipt.in_seq > in_seq);
        }
        void
    }

    /// Takes up what was written down of receipts that are void.
    pub fn void(&mut self, voided: Voided) {
        self.unseen.void(voided);
    }

    /// Notes that an acknowledgement is on its way; without effect, except when a test breaks this.
    pub fn acknowledged(&mut self, packet: u16) {
        if sabotage::is(Sabotage::ReceiptDroppedById) {
            self.latest.remove(&packet);
        }
    }

    /// The broker has lost the session: it holds nothing that was applied.
    pub fn renew(&mut self, generation: u64) {
        *self = Self {
            generation,
            spoken: self.spoken,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests;
