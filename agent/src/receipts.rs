//! Which messages of the broker's session were applied already: a receipt for each that the broker
//! may still send again. A packet identifier names a message only until it is used again, and DUP
//! says only that the broker tried before; so a receipt holds a hash of the content as well, and is
//! void once the broker has shown that it read the acknowledgement.
//!
//! There are brokers that send far more ahead than they were allowed: mosquitto 2.0.11 sends all that
//! it has queued upon the first acknowledgement. Beyond 65,535 messages it then gives out identifiers
//! that are still in use, and sends both messages again on the next connection.

use std::collections::{BTreeMap, HashMap, VecDeque};

pub use crate::record::Receipt;
use crate::sabotage::{self, Sabotage};

/// So many events lie between two messages with the same identifier, of which neither is confirmed,
/// only where the broker has given out all that there are. Else the first one has been settled.
const ROUND_EVENTS: u64 = 32_768;

/// The receipts of one session.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// Counts sessions; the broker may use identifiers as it likes in a new one.
    generation: u64,
    /// Everything up to this event is void.
    confirmed: u64,
    /// In the order of their events.
    kept: VecDeque<Receipt>,
    /// The latest receipt of each packet identifier: content and event.
    latest: HashMap<u16, (u128, u64)>,
    /// Receipts of an identifier that was given out again too early: identifier and event to content.
    older: BTreeMap<(u16, u64), u128>,
    /// The last event that the broker sent again on this connection: it does so in order.
    matched: u64,
    /// The last event of an earlier connection, until it is clear where on this one the broker began.
    earlier: Option<u64>,
}

impl Receipts {
    /// What was kept, to go on with.
    pub fn restore(
        generation: u64,
        confirmed: u64,
        kept: impl IntoIterator<Item = Receipt>,
    ) -> Self {
        let mut receipts = Self {
            generation,
            confirmed,
            ..Self::default()
        };
        kept.into_iter()
            .for_each(|receipt| receipts.insert(receipt));
        receipts
    }

    /// Counts the broker's sessions.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Everything up to this event is void.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// The receipts, in the order of their events.
    pub fn iter(&self) -> impl Iterator<Item = &Receipt> {
        self.kept.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// A message was applied.
    pub fn insert(&mut self, receipt: Receipt) {
        if receipt.in_seq <= self.confirmed || sabotage::is(Sabotage::NoReceipt) {
            return;
        }
        let Receipt {
            packet,
            hash,
            in_seq,
        } = receipt;
        if let Some((known, of)) = self.latest.insert(packet, (hash, in_seq))
            && in_seq - of >= ROUND_EVENTS
        {
            self.older.insert((packet, of), known);
        }
        self.kept.push_back(receipt);
    }

    /// A message came that the broker may have sent before: which event it was, if it was applied.
    pub fn repeats(&mut self, packet: u16, hash: u128) -> Option<u64> {
        let latest = self.latest.get(&packet)?;
        let older = self.older.range((packet, 0)..=(packet, u64::MAX));
        let older = older.map(|((_, in_seq), hash)| (*hash, *in_seq));
        let is_it = |(known, in_seq): &(u128, u64)| {
            let same = *known == hash || sabotage::is(Sabotage::ReceiptWithoutHash);
            same && *in_seq > self.matched
        };
        let (_, in_seq) = older.chain([*latest]).find(is_it)?;
        self.matched = in_seq;
        Some(in_seq)
    }

    /// A connection began: the broker sends again from the start of what it holds.
    pub fn reconnected(&mut self) {
        self.matched = 0;
        self.earlier = self.kept.back().map(|receipt| receipt.in_seq);
    }

    /// A message came that is sent for the first time (`again` is `None`), or `again` because of this
    /// event. What a broker holds from earlier connections it sends first, and in order: where that
    /// begins is clear now, and everything up to the event returned was settled before. That matters
    /// where the session was lost and the process ended before it had taken note: its receipts would
    /// be taken for some of the new session.
    pub fn begins(&mut self, again: Option<u64>) -> Option<u64> {
        let earlier = self.earlier.take()?;
        Some(again.map_or(earlier, |in_seq| in_seq - 1))
    }

    /// The broker has read the acknowledgements of all events up to this one.
    pub fn confirm(&mut self, in_seq: u64) {
        if in_seq <= self.confirmed {
            return;
        }
        self.confirmed = in_seq;
        while self
            .kept
            .front()
            .is_some_and(|receipt| receipt.in_seq <= in_seq)
        {
            if let Some(old) = self.kept.pop_front() {
                self.forget(old.packet, old.in_seq);
            }
        }
    }

    fn forget(&mut self, packet: u16, in_seq: u64) {
        if self
            .latest
            .get(&packet)
            .is_some_and(|(_, of)| *of == in_seq)
        {
            self.latest.remove(&packet);
        } else {
            self.older.remove(&(packet, in_seq));
        }
    }

    /// An acknowledgement is on its way; of no consequence, except where a test breaks this.
    pub fn acknowledged(&mut self, packet: u16) {
        if sabotage::is(Sabotage::ReceiptDroppedById) {
            self.latest.remove(&packet);
        }
    }

    /// The broker has lost the session: it holds nothing that was applied.
    pub fn renew(&mut self, generation: u64) {
        *self = Self {
            generation,
            confirmed: self.confirmed,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(packet: u16, hash: u128, in_seq: u64) -> Receipt {
        Receipt {
            packet,
            hash,
            in_seq,
        }
    }

    #[test]
    fn only_the_same_content_under_the_same_identifier_was_applied() {
        let mut receipts = Receipts::restore(1, 0, [receipt(5, 77, 1), receipt(6, 78, 2)]);
        assert_eq!(receipts.repeats(5, 78), None);
        assert_eq!(receipts.repeats(7, 77), None);
        assert_eq!(receipts.repeats(5, 77), Some(1));
        assert_eq!(receipts.repeats(6, 78), Some(2));
    }

    #[test]
    fn what_is_sent_again_comes_in_order_and_once_a_connection() {
        let mut receipts = Receipts::restore(1, 0, [receipt(5, 7, 1), receipt(6, 8, 2)]);
        assert_eq!(receipts.repeats(6, 8), Some(2));
        assert_eq!(
            receipts.repeats(5, 7),
            None,
            "it was confirmed by its successor"
        );
        assert_eq!(receipts.repeats(6, 8), None);
        receipts.reconnected();
        assert_eq!(receipts.repeats(5, 7), Some(1));
    }

    #[test]
    fn a_later_message_takes_the_identifier_over() {
        let mut receipts = Receipts::default();
        receipts.insert(receipt(5, 7, 1));
        receipts.insert(receipt(5, 9, 3));
        receipts.confirm(1);
        assert_eq!(receipts.repeats(5, 7), None);
        assert_eq!(receipts.repeats(5, 9), Some(3));
        receipts.confirm(3);
        receipts.reconnected();
        assert_eq!((receipts.repeats(5, 9), receipts.len()), (None, 0));
    }

    #[test]
    fn identifiers_that_were_given_out_twice_are_told_apart() {
        let mut receipts = Receipts::default();
        let first = (1..=70_000).map(|n| receipt((n % 65_535) as u16, u128::from(n % 3), n));
        first.for_each(|receipt| receipts.insert(receipt));
        // The broker has read the acknowledgements of the first six.
        for n in 7..=70_000 {
            let (packet, hash) = ((n % 65_535) as u16, u128::from(n % 3));
            assert_eq!(receipts.repeats(packet, hash), Some(n));
        }
        assert_eq!(receipts.repeats((70_001 % 65_535) as u16, 2), None);
        receipts.confirm(69_999);
        assert!(receipts.older.is_empty() && receipts.latest.len() == 1);
    }

    #[test]
    fn an_identifier_that_comes_back_soon_was_settled_and_one_that_comes_late_was_not() {
        for (events, known) in [(ROUND_EVENTS - 1, None), (ROUND_EVENTS, Some(1))] {
            let mut receipts = Receipts::default();
            receipts.insert(receipt(5, 7, 1));
            receipts.insert(receipt(5, 9, 1 + events));
            assert_eq!(receipts.repeats(5, 7), known, "{events} events later");
        }
    }

    #[test]
    fn where_the_broker_begins_tells_what_was_settled() {
        let kept = || Receipts::restore(1, 0, [receipt(5, 7, 1), receipt(6, 8, 2)]);
        let mut receipts = kept();
        assert_eq!(receipts.begins(None), None, "nothing is from before");
        receipts.reconnected();
        assert_eq!(receipts.begins(None), Some(2));
        assert_eq!(receipts.begins(None), None);
        let mut receipts = kept();
        receipts.reconnected();
        let again = receipts.repeats(6, 8);
        assert_eq!((again, receipts.begins(again)), (Some(2), Some(1)));
    }

    #[test]
    fn a_new_session_knows_nothing() {
        let mut receipts = Receipts::restore(1, 0, [receipt(5, 77, 9)]);
        receipts.renew(2);
        assert_eq!((receipts.repeats(5, 77), receipts.generation()), (None, 2));
    }
}
