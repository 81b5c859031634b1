//! Epochs: the connection that a message came on decides whether its acknowledgement may still leave.
//! Also counts the acknowledgements that the broker is known to have read. Pure: a simulator drives
//! the same decisions.

use std::collections::VecDeque;

use crate::config::limits::CONFIRM_EVERY;
use crate::event::{Delivery, Fingerprint};
use tidemill_base::sabotage::{self, Sabotage};

/// Time between two questions of a quiet line: two bytes each way, in packets of their own at the worst.
const QUIET_APART_MS: u64 = 1_000;

/// The connections of one process, counted from 1, of which at most one lives.
#[derive(Debug, Default)]
pub struct Epochs {
    epoch: u64,
    connected: bool,
    /// Messages of this connection that want an acknowledgement.
    received: u64,
    acknowledged: u64,
    /// Acknowledgements covered by the latest question, even one that is not out yet.
    asked: u64,
    /// When the latest one of a quiet line was asked.
    asked_mono_ms: Option<u64>,
    /// Pings on their way, the oldest first: how many acknowledgements left before, and how many
    /// pings in a row share that number.
    pings: VecDeque<(u64, u64)>,
    /// Changes of subscriptions on their way: packet identifier, acknowledgements before.
    filters: VecDeque<(u16, u64)>,
    confirmed: u64,
}

/// Acknowledgements that the broker is known to have read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// The connection.
    pub epoch: u64,
    /// Number of acknowledgements, counted from the first of that connection.
    pub acknowledged: u64,
}

impl Epochs {
    /// The broker took a connection: the next epoch begins.
    pub fn connected(&mut self) -> u64 {
        *self = Self {
            epoch: self.epoch + 1,
            connected: true,
            ..Self::default()
        };
        self.epoch
    }

    /// Ends the connection, and drops messages received on it and not handed out yet: they come
    /// again, marked as duplicates. Taken now, one would be acknowledged on the next connection,
    /// where its packet identifier may stand for another message.
    pub fn lost<T>(&mut self, held: &mut VecDeque<T>) {
        self.connected = false;
        if !sabotage::is(Sabotage::StaleEventsKept) {
            held.clear();
        }
    }

    /// The living connection.
    pub fn current(&self) -> Option<u64> {
        self.connected.then_some(self.epoch)
    }

    /// The delivery of a message; `None` when there is no connection that it can have come on.
    pub fn stamp(&mut self, packet: u16, dup: bool, fingerprint: Fingerprint) -> Option<Delivery> {
        let epoch = self.current()?;
        self.received += 1;
        Some(Delivery {
            epoch,
            packet,
            dup,
            fingerprint,
        })
    }

    /// Returns `true` if messages of this epoch may be acknowledged now: on their own connection
    /// only.
    pub fn may_acknowledge(&self, epoch: u64) -> bool {
        self.connected && (epoch == self.epoch || sabotage::is(Sabotage::AckAcrossEpochs))
    }

    /// Counts acknowledgements that left.
    pub fn acknowledged(&mut self, count: u64) {
        self.acknowledged += count;
    }

    /// Returns `true`, once, if the broker has to be asked for an answer now.
    ///
    /// Until it answers, it may have read the acknowledgements or not, and so may use their identifiers
    /// again or send their messages again. So it is asked right behind the last of them, in the same
    /// packet, as soon as nothing is left to be acknowledged: at most once a second, and in a flood only
    /// in time for the identifiers not to come round.
    pub fn ask(&mut self, mono_ms: u64) -> bool {
        let many = self.connected && self.acknowledged >= self.asked + CONFIRM_EVERY;
        let quiet = self.ask_at_mono_ms().is_some_and(|at| at <= mono_ms);
        if quiet {
            self.asked_mono_ms = Some(mono_ms);
        }
        if quiet || many {
            self.asked = self.acknowledged;
        }
        quiet || many
    }

    /// When the broker is to be asked, if nothing comes before.
    pub fn ask_at_mono_ms(&self) -> Option<u64> {
        let is_quiet = self.connected
            && self.acknowledged > self.asked
            && self.acknowledged >= self.received
            && !sabotage::is(Sabotage::AskOnlyInFloods);
        let at = self.asked_mono_ms.map_or(0, |at| at + QUIET_APART_MS);
        is_quiet.then_some(at)
    }

    /// A ping left.
    pub fn ping_sent(&mut self) {
        self.asked = self.acknowledged;
        match self.pings.back_mut() {
            Some((acknowledged, pings)) if *acknowledged == self.acknowledged => *pings += 1,
            _ => self.pings.push_back((self.acknowledged, 1)),
        }
    }

    /// The oldest ping was answered.
    pub fn ping_answered(&mut self) -> Option<Confirmation> {
        let (acknowledged, pings) = self.pings.front_mut()?;
        let acknowledged = *acknowledged;
        *pings -= 1;
        if *pings == 0 {
            self.pings.pop_front();
        }
        self.confirm(acknowledged)
    }

    /// A SUBSCRIBE or an UNSUBSCRIBE left.
    pub fn filter_sent(&mut self, packet: u16) {
        self.asked = self.acknowledged;
        self.filters.push_back((packet, self.acknowledged));
    }

    /// One of them was answered.
    pub fn filter_answered(&mut self, packet: u16) -> Option<Confirmation> {
        let place = self.filters.iter().position(|(id, _)| *id == packet)?;
        let (_, acknowledged) = self.filters.remove(place)?;
        self.confirm(acknowledged)
    }

    fn confirm(&mut self, acknowledged: u64) -> Option<Confirmation> {
        if acknowledged <= self.confirmed {
            return None;
        }
        self.confirmed = acknowledged;
        Some(Confirmation {
            epoch: self.epoch,
            acknowledged,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(epoch: u64, acknowledged: u64) -> Option<Confirmation> {
        Some(Confirmation {
            epoch,
            acknowledged,
        })
    }

    #[test]
    fn only_the_living_connection_takes_its_own_acknowledgements() {
        let mut epochs = Epochs::default();
        assert!(!epochs.may_acknowledge(0) && epochs.current().is_none());
        assert_eq!(epochs.connected(), 1);
        assert!(epochs.may_acknowledge(1) && !epochs.may_acknowledge(2));
        epochs.lost::<()>(&mut VecDeque::new());
        assert!(!epochs.may_acknowledge(1));
        assert_eq!(epochs.connected(), 2);
        assert!(!epochs.may_acknowledge(1) && epochs.may_acknowledge(2));
    }

    #[test]
    fn what_a_dead_connection_left_is_dropped_and_cannot_be_stamped() {
        let mut epochs = Epochs::default();
        epochs.connected();
        let delivery = epochs.stamp(7, true, Fingerprint::default()).unwrap();
        assert_eq!(
            (delivery.epoch, delivery.packet, delivery.dup),
            (1, 7, true)
        );
        let mut held = VecDeque::from([1, 2]);
        epochs.lost(&mut held);
        assert!(held.is_empty());
        assert_eq!(epochs.stamp(7, true, Fingerprint::default()), None);
    }

    #[test]
    fn an_answer_confirms_what_left_before_its_question() {
        let mut epochs = Epochs::default();
        epochs.connected();
        epochs.ping_sent();
        epochs.acknowledged(3);
        epochs.filter_sent(5);
        epochs.acknowledged(4);
        epochs.ping_sent();
        epochs.ping_sent();
        assert_eq!(epochs.ping_answered(), None, "nothing left before it");
        assert_eq!(epochs.filter_answered(6), None, "nobody asked that");
        assert_eq!(epochs.filter_answered(5), confirmed(1, 3));
        epochs.acknowledged(1);
        assert_eq!(epochs.ping_answered(), confirmed(1, 7));
        assert_eq!(epochs.ping_answered(), None, "that was known");
        assert_eq!(epochs.ping_answered(), None, "nobody asked");
    }

    #[test]
    fn an_answer_that_overtakes_takes_nothing_back() {
        let mut epochs = Epochs::default();
        epochs.connected();
        epochs.acknowledged(1);
        epochs.filter_sent(1);
        epochs.acknowledged(1);
        epochs.filter_sent(2);
        assert_eq!(epochs.filter_answered(2), confirmed(1, 2));
        assert_eq!(epochs.filter_answered(1), None);
    }

    /// So many messages come.
    fn receive(epochs: &mut Epochs, count: u64) {
        for _ in 0..count {
            epochs.stamp(1, false, Fingerprint::default());
        }
    }

    #[test]
    fn a_question_is_due_long_before_identifiers_come_round() {
        let mut epochs = Epochs::default();
        epochs.connected();
        receive(&mut epochs, 10 * CONFIRM_EVERY);
        epochs.acknowledged(CONFIRM_EVERY - 1);
        assert!(!epochs.ask(0));
        epochs.acknowledged(1);
        assert!(epochs.ask(0));
        assert!(!epochs.ask(0), "it is on its way");
        epochs.acknowledged(CONFIRM_EVERY - 1);
        epochs.ping_sent();
        epochs.acknowledged(1);
        assert!(!epochs.ask(0), "the keep-alive's ping was one");
    }

    #[test]
    fn a_quiet_line_is_asked_right_behind_its_acknowledgements() {
        let mut epochs = Epochs::default();
        epochs.connected();
        assert!(!epochs.ask(100), "there is nothing to ask for");
        receive(&mut epochs, 2);
        epochs.acknowledged(1);
        assert_eq!((epochs.ask(100), epochs.ask_at_mono_ms()), (false, None));
        epochs.acknowledged(1);
        assert!(epochs.ask(100));
        epochs.ping_sent();
        assert_eq!(epochs.ask_at_mono_ms(), None, "an idle line is not asked");
        // At a trickle it is asked once a second, and the last time behind the last one.
        let mut asked = Vec::new();
        for ms in (110..=3_000).step_by(10) {
            receive(&mut epochs, 1);
            epochs.acknowledged(1);
            if epochs.ask(ms) {
                asked.push(ms);
                epochs.ping_sent();
            }
        }
        assert_eq!(asked, [1_100, 2_100]);
        assert_eq!(epochs.ask_at_mono_ms(), Some(3_100));
        assert!(epochs.ask(3_100) && !epochs.ask(9_000));
    }

    #[test]
    fn a_new_connection_counts_anew() {
        let mut epochs = Epochs::default();
        epochs.connected();
        epochs.acknowledged(5);
        epochs.ping_sent();
        epochs.connected();
        assert_eq!(epochs.ping_answered(), None);
        epochs.acknowledged(2);
        epochs.ping_sent();
        assert_eq!(epochs.ping_answered(), confirmed(2, 2));
    }
}
