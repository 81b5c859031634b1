//! The fleet as its gateways tell it: statuses and reports, each judged by the key of its gateway.

use std::collections::BTreeMap;

use tidemill_bundle::report::{Presence, Reported, Status, read_reported, read_status};
use tidemill_bundle::{BundleName, PREFIX, Scope, Topics};

use super::client::Message;
use super::place::{Known, Place};

/// Filters of what gateways tell.
pub(super) fn filters() -> [String; 2] {
    [
        format!("{PREFIX}/gateway/+/status"),
        format!("{PREFIX}/gateway/+/reported/+"),
    ]
}

/// Documents of one gateway.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its status.
    pub(super) status: Option<Status>,
    /// Reports by bundle.
    pub(super) reported: BTreeMap<BundleName, Reported>,
    /// Why something under its name is not believed.
    pub(super) forged: Option<String>,
    /// Reports that came before the key was known.
    early: Vec<Message>,
}

/// All gateways.
#[derive(Debug, Default)]
pub(super) struct View {
    /// By their ids.
    pub(super) gateways: BTreeMap<String, Seen>,
}

impl View {
    /// Takes a message in; returns `false` if it is none of a gateway. A key that is seen for the first
    /// time is pinned in `place`.
    pub(super) fn take(&mut self, place: &mut Place, message: Message) -> bool {
        let (topic, payload) = &message;
        let Some((id, bundle)) = Topics::report_of(topic) else {
            return false;
        };
        if payload.is_empty() {
            return true;
        }
        let id = id.to_owned();
        let pinned = place.lock.gateways.get(&id).map(|known| known.key);
        let seen = self.gateways.entry(id.clone()).or_default();
        match bundle {
            None => match read_status(payload, &id, pinned.as_ref()) {
                Ok(status) => {
                    let known = Known {
                        key: status.key,
                        groups: status.groups.clone(),
                    };
                    place.lock.gateways.insert(id.clone(), known);
                    seen.status = Some(status);
                    for early in std::mem::take(&mut seen.early) {
                        self.take(place, early);
                    }
                }
                Err(refusal) => seen.forged = Some(refusal.to_string()),
            },
            Some(bundle) => match pinned {
                None => seen.early.push(message.clone()),
                Some(key) => match read_reported(payload, &id, &bundle, &key) {
                    Ok(reported) => {
                        seen.reported.insert(bundle, reported);
                    }
                    Err(refusal) => seen.forged = Some(refusal.to_string()),
                },
            },
        }
        true
    }

    /// Gateways that a scope is for, as far as they have told of themselves.
    pub(super) fn of<'a>(
        &'a self,
        scope: &'a Scope,
    ) -> impl Iterator<Item = (&'a str, &'a Seen, &'a Status)> {
        let told = self
            .gateways
            .iter()
            .filter_map(|(id, seen)| Some((id.as_str(), seen, seen.status.as_ref()?)));
        told.filter(move |(id, _, status)| match scope {
            Scope::All => true,
            Scope::Group(name) => status.groups.iter().any(|group| **group == **name),
            Scope::Gateway(gateway) => **gateway == **id,
        })
    }
}

/// `true` if the gateway's link is up.
pub(super) fn is_online(status: &Status) -> bool {
    status.state == Presence::Online
}
