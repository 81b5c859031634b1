//! The part of the source that brings the session's filters from what is held to what is wanted.

use tidemill::mill::Input;
use tidemill::source::mqtt::subscriptions::Change;

use crate::broker::ToBroker;
use crate::run::Sim;

impl Sim<'_> {
    /// Goes from what is held to what is wanted.
    pub(crate) fn aim(&mut self) {
        let Some(source) = self.source() else {
            return;
        };
        let identifiers = source.five;
        if source.conn.is_none() || !source.may_subscribe() {
            return;
        }
        let wanted = source.wanted.clone();
        if source.subscriptions.aim(&wanted, identifiers) {
            let held = source.subscriptions.held();
            self.report(Input::Subscribed(held));
        }
        self.ask();
    }

    fn ask(&mut self) {
        while let Some(source) = self.source() {
            let Some(conn) = source.conn else {
                return;
            };
            let Some(change) = source.subscriptions.next_change() else {
                return;
            };
            source.last_request = source.last_request % 60 + 1;
            let packet = source.last_request;
            source.subscriptions.sent(packet);
            source.epochs.filter_sent(packet);
            let request = match change {
                Change::Subscribe(wanted) => ToBroker::Subscribe { packet, wanted },
                Change::Unsubscribe(filters) => ToBroker::Unsubscribe { packet, filters },
            };
            self.send_to_broker(conn, request);
        }
    }

    pub(super) fn filter_answered(&mut self, packet: u16) {
        let Some(source) = self.source() else {
            return;
        };
        let identifiers = source.five;
        let confirmation = source.epochs.filter_answered(packet);
        let taken = std::iter::repeat(None);
        source
            .subscriptions
            .acknowledged(packet, taken, identifiers);
        self.confirmed(confirmation);
        self.ask();
        let Some(source) = self.source() else {
            return;
        };
        if source.subscriptions.settled() {
            let held = source.subscriptions.held();
            let again = source.subscriptions.take_deferred();
            self.report(Input::Subscribed(held));
            if again {
                self.aim();
            }
        }
    }
}
