//! Messages that wait for their acknowledgement, strictly first in, first out, and only on the
//! connection that brought them; and which of the acknowledgements the broker has certainly read.

use std::collections::VecDeque;

use crate::config::limits::CONFIRM_EVERY;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

/// Most acknowledgements that may be unconfirmed: fewer than there are packet identifiers, so that
/// messages that the broker sends again can only begin in one place. A broker that keeps to the
/// window answers long before that.
const SENT_MAX: usize = 3 * CONFIRM_EVERY as usize;

/// A message whose acknowledgement waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    packet: u16,
    /// The commit that has to be durable first.
    lsn: Lsn,
    /// The event of its receipt; 0 where it has none.
    receipt: u64,
}

/// The acknowledgements of one connection.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: VecDeque<Waiting>,
    /// Acknowledgements sent and not yet confirmed, oldest first: the event of each receipt, 0
    /// where there is none.
    sent: VecDeque<u64>,
    /// Number of acknowledgements confirmed on this connection.
    confirmed: u64,
}

impl Acks {
    /// Begins anew with a connection, or its end: messages that waited came on another one.
    pub(super) fn reset(&mut self) {
        if sabotage::is(Sabotage::AckAcrossEpochs) {
            return;
        }
        *self = Self::default();
    }

    /// Adds a message that is to be acknowledged once the commit `lsn` is durable. `receipt` is the
    /// event of its receipt, where it has one.
    pub(super) fn push(&mut self, packet: u16, lsn: Lsn, receipt: Option<u64>) {
        // One that needs no commit waits for those before it.
        let before = self.waiting.back().map_or(Lsn::ZERO, |waiting| waiting.lsn);
        self.waiting.push_back(Waiting {
            packet,
            lsn: lsn.max(before),
            receipt: receipt.unwrap_or(0),
        });
    }

    /// The packets that may be acknowledged now, in order.
    pub(super) fn release(&mut self, durable_lsn: Lsn) -> Vec<u16> {
        let may =
            |waiting: &Waiting| waiting.lsn <= durable_lsn || sabotage::is(Sabotage::AckBeforeSync);
        let count = self
            .waiting
            .iter()
            .take(SENT_MAX.saturating_sub(self.sent.len()))
            .take_while(|waiting| may(waiting))
            .count();
        let released = self.waiting.drain(..count);
        let sent = &mut self.sent;
        released
            .map(|waiting| {
                sent.push_back(waiting.receipt);
                waiting.packet
            })
            .collect()
    }

    /// Confirms the first `count` acknowledgements of this connection, which the broker has read;
    /// returns the event of the last receipt among them. A message without one confirms none:
    /// others may have come before it on an earlier connection, and be acknowledged after it on
    /// this one.
    pub(super) fn confirm(&mut self, count: u64) -> Option<u64> {
        let new = usize::try_from(count.saturating_sub(self.confirmed)).unwrap_or(usize::MAX);
        let new = new.min(self.sent.len());
        self.confirmed += new as u64;
        let mut confirmed = self.sent.drain(..new).filter(|event| *event > 0);
        if sabotage::is(Sabotage::ConfirmedByNumber) {
            confirmed.max()
        } else {
            confirmed.next_back()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_a_message_that_waits_for_its_commit() {
        let mut acks = Acks::default();
        acks.push(1, Lsn::new(5), Some(10));
        acks.push(2, Lsn::new(0), None);
        acks.push(3, Lsn::new(6), Some(12));
        assert!(acks.release(Lsn::new(4)).is_empty());
        assert_eq!(acks.release(Lsn::new(5)), [1, 2]);
        assert_eq!(acks.confirm(1), Some(10));
        assert_eq!(acks.confirm(1), None);
        assert_eq!(acks.release(Lsn::new(9)), [3]);
        assert_eq!(acks.confirm(3), Some(12));
        acks.push(4, Lsn::new(0), None);
        assert_eq!(
            acks.release(Lsn::new(9)),
            [4],
            "it needs no commit, and none is before it"
        );
    }

    #[test]
    fn no_more_leave_unconfirmed_than_can_be_told_apart() {
        let mut acks = Acks::default();
        (1..=60_000).for_each(|n| acks.push(n, Lsn::new(1), Some(u64::from(n))));
        assert_eq!(acks.release(Lsn::new(1)).len(), SENT_MAX);
        assert!(acks.release(Lsn::new(1)).is_empty());
        assert_eq!(acks.confirm(100), Some(100));
        assert_eq!(acks.release(Lsn::new(1)).len(), 100);
    }

    #[test]
    fn what_has_no_receipt_confirms_none() {
        let mut acks = Acks::default();
        acks.push(1, Lsn::new(0), None);
        acks.push(2, Lsn::new(0), Some(2));
        acks.push(1, Lsn::new(0), Some(1));
        assert_eq!(acks.release(Lsn::new(9)), [1, 2, 1]);
        assert_eq!(acks.confirm(1), None);
        assert_eq!(acks.confirm(3), Some(1), "the last, not the highest");
    }

    #[test]
    fn a_new_connection_starts_with_nothing() {
        let mut acks = Acks::default();
        acks.push(1, Lsn::new(1), Some(1));
        acks.reset();
        assert_eq!((acks.release(Lsn::new(9)), acks.confirm(5)), (vec![], None));
    }
}
