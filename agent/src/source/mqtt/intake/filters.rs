//! The part of the loop that brings the session's filters from what is held to what is wanted, and
//! tells which of them a message is for. What to change stands in [`super::super::subscriptions`].

use tracing::{debug, info, warn};

use super::Intake;
use crate::event::SubscriptionIds;
use crate::source::mqtt::link::Requests;
use crate::source::mqtt::subscriptions::Change;
use crate::source::mqtt::{Flow, SourceReport};
use crate::topic::Topic;

impl<R: FnMut(SourceReport) -> Flow> Intake<R> {
    pub(super) fn aim(&mut self, requests: &Requests) {
        let identifiers = self.identifiers;
        let wanted = self.wishes.borrow().wanted.clone();
        if self.subscriptions.aim(&wanted, identifiers) {
            self.say_held();
        }
        self.ask(identifiers, requests);
    }

    fn ask(&mut self, identifiers: bool, requests: &Requests) {
        while let Some(change) = self.subscriptions.next() {
            let asked = match &change {
                Change::Subscribe(wanted) => {
                    let id = identifiers.then_some(wanted.id);
                    requests.subscribe(wanted.filter.as_str(), self.settings.qos, id)
                }
                Change::Unsubscribe(filter) => requests.unsubscribe(filter.as_str()),
            };
            debug!(?change, asked, "changing a subscription");
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        packet: u16,
        refused: Option<String>,
        requests: &Requests,
    ) {
        let identifiers = self.identifiers;
        let refusal = self
            .subscriptions
            .acknowledged(packet, refused, identifiers);
        if let Some(refusal) = refusal {
            let (filter, reason) = (refusal.filter, refusal.reason);
            warn!(%filter, reason, "the broker refused a subscription");
            self.reports.say(SourceReport::Refused { filter, reason });
        }
        self.ask(identifiers, requests);
        if self.subscriptions.settled() {
            info!(filters = self.subscriptions.held().len(), "subscribed");
            self.say_held();
            if self.subscriptions.take_deferred() {
                self.aim(requests);
            }
        }
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
