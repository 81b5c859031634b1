//! The part of the loop that brings the session's filters to the wanted ones, and tells which of
//! them a message is for. The changes stand in [`super::super::subscriptions`].

use std::time::Instant;

use tracing::{debug, info, warn};

use super::{End, Intake};
use crate::event::SubscriptionIds;
use crate::source::mqtt::awaited::Step;
use crate::source::mqtt::subscriptions::{Change, Refusal, Sent};
use crate::source::mqtt::{Flow, SourceReport};
use tidemill_transport::connection::Connection;
use tidemill_transport::packets::Answer;
use tidemill_transport::topic::Topic;
use tidemill_transport::trouble::Trouble;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    /// On a new session only once the agent has taken note that the old one is gone.
    pub(super) fn may_subscribe(&self) -> bool {
        let told = self.wishes.borrow().proceed;
        self.kept || self.epochs.current().is_some_and(|epoch| epoch <= told)
    }

    pub(super) fn aim(&mut self, connection: &mut Connection) -> Result<(), End> {
        let wanted = self.wishes.borrow().wanted.clone();
        if self.subscriptions.aim(&wanted, self.identifiers) {
            self.say_held();
        }
        self.shortfalls.wanted(self.subscriptions.wanted());
        self.ask(connection)?;
        if self.subscriptions.settled() {
            self.shortfalls.answered(true);
        }
        self.say_shortfalls();
        Ok(())
    }

    /// Time at which the broker is to be asked after answers, or they are given up; never once the
    /// good-bye is said.
    pub(super) fn answers_due(&self, connection: &Connection) -> Option<(Instant, Step)> {
        let due = || self.awaited.due(connection.answered_ping());
        if self.leaving { None } else { due() }
    }

    /// Asks after answers that do not come, and gives the connection up where the broker has passed the
    /// requests over.
    pub(super) fn miss_answers(&mut self, connection: &mut Connection) -> Result<(), End> {
        let Some((at, step)) = self.answers_due(connection) else {
            return Ok(());
        };
        if Instant::now() < at {
            return Ok(());
        }
        match step {
            Step::Ping => {
                connection.ping()?;
                self.epochs.ping_sent();
                Ok(())
            }
            Step::GiveUp => {
                self.shortfalls.answered(false);
                Err(Trouble::Unsubscribed.into())
            }
        }
    }

    fn ask(&mut self, connection: &mut Connection) -> Result<(), End> {
        while let Some(change) = self.subscriptions.next_change() {
            debug!(?change, "changing a subscription");
            let packet = match &change {
                Change::Subscribe(wanted) => {
                    connection.subscribe(wanted, self.settings.qos, self.identifiers)?
                }
                Change::Unsubscribe(filters) => connection.unsubscribe(filters)?,
            };
            self.subscriptions.sent(packet);
            self.epochs.filter_sent(packet);
            self.awaited.asked(Instant::now());
        }
        Ok(())
    }

    pub(super) fn filter_answered(
        &mut self,
        packet: u16,
        answers: &[Answer],
        connection: &mut Connection,
    ) -> Result<(), End> {
        let Some(asked) = self.subscriptions.asked_with(packet) else {
            debug!(packet, "the broker answers a request that was not made");
            return Ok(());
        };
        let confirmation = self.epochs.filter_answered(packet);
        self.confirmed(confirmation);
        let version = self.reconnect.version();
        let refused = answers.iter().map(|answer| answer.refusal(version));
        let refusals = self
            .subscriptions
            .acknowledged(packet, refused, self.identifiers);
        let more = self.subscriptions.awaits_answers();
        self.awaited.answered(more, Instant::now());
        for (filter, answer) in asked.into_iter().zip(answers) {
            if let Answer::Granted(qos) = answer {
                self.shortfalls.granted(filter, *qos < self.settings.qos);
            }
        }
        for Refusal {
            filter,
            reason,
            is_kept,
        } in refusals
        {
            if is_kept {
                self.shortfalls.kept(&filter, &reason);
                continue;
            }
            self.shortfalls.refused(&filter, &reason);
            // Of many only the outcome is told.
            if self.shortfalls.are_few() {
                self.reports.say(SourceReport::Refused { filter, reason });
            }
        }
        self.ask(connection)?;
        if self.shortfalls.are_few() {
            self.say_shortfalls();
        }
        if self.subscriptions.settled() {
            for words in self.shortfalls.outcome_in_words() {
                warn!("{words}");
            }
            self.shortfalls.answered(true);
            self.say_shortfalls();
            info!(filters = self.subscriptions.held().len(), "subscribed");
            self.say_held();
            if self.subscriptions.take_deferred() {
                self.aim(connection)?;
            }
        }
        Ok(())
    }

    pub(super) fn say_held(&mut self) {
        let held = self.subscriptions.held();
        self.reports.say(SourceReport::Subscribed { held });
    }

    /// Reports the requests that the broker does not fulfil, where that has changed.
    pub(super) fn say_shortfalls(&mut self) {
        if let Some(all) = self.shortfalls.news() {
            self.reports.say(SourceReport::FallsShort(all));
        }
    }

    /// The subscriptions that a message answers; `None` when it is one too many of a retained
    /// message.
    pub(super) fn answers(
        &mut self,
        topic: &Topic,
        (retained, sent): (bool, Option<Sent>),
        named: SubscriptionIds,
    ) -> Option<SubscriptionIds> {
        if !retained {
            Some(self.subscriptions.answered_by(named))
        } else if self.identifiers {
            Some(named)
        } else {
            self.subscriptions.retained(topic, sent)
        }
    }
}
