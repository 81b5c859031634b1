//! The part of the loop that brings the session's filters from what is held to what is wanted, and
//! tells which of them a message is for. What to change stands in [`super::super::subscriptions`].

use tracing::{debug, info, warn};

use super::{End, Intake};
use crate::event::SubscriptionIds;
use crate::source::mqtt::connection::Connection;
use crate::source::mqtt::packets::Answer;
use crate::source::mqtt::subscriptions::{Change, Refusal};
use crate::source::mqtt::{Flow, SourceReport};
use crate::topic::Topic;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    pub(super) fn aim(&mut self, connection: &mut Connection) -> Result<(), End> {
        let wanted = self.wishes.borrow().wanted.clone();
        if self.subscriptions.aim(&wanted, self.identifiers) {
            self.say_held();
        }
        self.ask(connection)
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
        }
        Ok(())
    }

    pub(super) fn filter_answered(
        &mut self,
        packet: u16,
        answers: &[Answer],
        connection: &mut Connection,
    ) -> Result<(), End> {
        let confirmation = self.epochs.filter_answered(packet);
        self.confirmed(confirmation);
        let version = self.reconnect.version();
        let refused = answers.iter().map(|answer| answer.refusal(version));
        let refusals = self
            .subscriptions
            .acknowledged(packet, refused, self.identifiers);
        for Refusal { filter, reason } in refusals {
            warn!(%filter, reason, "the broker refused a subscription");
            self.reports.say(SourceReport::Refused { filter, reason });
        }
        self.ask(connection)?;
        if self.subscriptions.settled() {
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

    /// Which subscriptions a message answers; `None` when it is one too many of a retained message.
    pub(super) fn answers(
        &mut self,
        topic: &Topic,
        retained: bool,
        named: SubscriptionIds,
    ) -> Option<SubscriptionIds> {
        match retained && !self.identifiers {
            true => self.subscriptions.retained(topic),
            false => Some(named),
        }
    }
}
