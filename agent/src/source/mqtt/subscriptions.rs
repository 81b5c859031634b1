//! What a session holds, what it should hold, and the way between: which filters to subscribe and
//! which to drop. Pure; sending and persisting are the owner's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::retained::Retained;
use crate::event::SubscriptionIds;
use crate::topic::{Topic, TopicFilter};

/// How many SUBSCRIBE and UNSUBSCRIBE packets may wait for their acknowledgements: their packet
/// identifiers must not meet.
pub(crate) const CHANGES_IN_FLIGHT_MAX: u16 = 32;

pub use crate::topic::Subscription;

/// One packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A filter to hold, under its identifier.
    Subscribe(Subscription),
    /// A filter to hold no more.
    Unsubscribe(TopicFilter),
}

/// A filter that the broker did not take.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The filter.
    pub filter: TopicFilter,
    /// What the broker said.
    pub reason: String,
}

/// The subscriptions of one session.
///
/// Each connection asks for all of them anew. That a broker kept the session is no word on what is in
/// it: one that was killed may have gone back to an older stand, and where the agent ended between the
/// broker's word that the session is new and taking note of it, the next start finds a session that
/// was kept, and is empty.
#[derive(Debug, Default)]
pub struct Subscriptions {
    held: BTreeMap<TopicFilter, u32>,
    /// The order in which filters are wanted: what is held is told in it.
    order: Vec<TopicFilter>,
    /// Those that the broker took on this connection.
    taken: BTreeSet<TopicFilter>,
    waiting: VecDeque<Change>,
    /// Asked of the library, not yet on the wire: their packet identifiers are not known.
    asked: VecDeque<Change>,
    sent: Vec<(u16, Change)>,
    /// A wish came while changes were on their way.
    deferred: bool,
    /// Kept over connections, as the session is; of use where copies do not name their filters.
    retained: Retained,
}

impl Subscriptions {
    /// Subscriptions of a session that is known to hold these.
    pub fn new(held: Vec<Subscription>) -> Self {
        Self {
            order: held.iter().map(|s| s.filter.clone()).collect(),
            held: held.into_iter().map(|s| (s.filter, s.id)).collect(),
            ..Self::default()
        }
    }

    /// What the session holds, as far as the broker has acknowledged it, in the order in which it is
    /// wanted.
    pub fn held(&self) -> Vec<Subscription> {
        let held = |filter: &TopicFilter| {
            Some(Subscription {
                id: *self.held.get(filter)?,
                filter: filter.clone(),
            })
        };
        self.order.iter().filter_map(held).collect()
    }

    /// A connection ended: what was on its way counts for nothing. A filter whose fate is unknown
    /// is not held, so that it will be subscribed once more rather than be missing.
    pub fn interrupted(&mut self) {
        self.waiting.clear();
        self.asked.clear();
        self.sent.clear();
        self.taken.clear();
        self.deferred = false;
    }

    /// The broker kept no session.
    pub fn lost(&mut self) {
        self.held.clear();
        self.retained.forget();
    }

    /// Prepares the way from what is held to what is wanted. Returns whether less is held now than
    /// before: that has to be known (and should be on disk) before anything is sent.
    pub fn aim(&mut self, wanted: &[Subscription], identifiers: bool) -> bool {
        if !self.asked.is_empty() || !self.sent.is_empty() {
            self.deferred = true;
            self.waiting.clear();
            return false;
        }
        let wanted = if identifiers {
            wanted.to_vec()
        } else {
            let was_covered = |filter: &TopicFilter| {
                self.held.contains_key(filter) || self.held.keys().any(|held| held.covers(filter))
            };
            self.retained.aim(wanted, was_covered);
            without_covered(wanted)
        };
        let is_held = |s: &Subscription| match self.held.get(&s.filter) {
            Some(id) => self.taken.contains(&s.filter) && (*id == s.id || !identifiers),
            None => false,
        };
        self.order = wanted.iter().map(|s| s.filter.clone()).collect();
        let missing = wanted.iter().filter(|s| !is_held(s)).cloned();
        let unwanted: Vec<_> = self
            .held
            .keys()
            .filter(|filter| wanted.iter().all(|s| s.filter != **filter))
            .cloned()
            .collect();
        // Subscribe first: where a filter takes another's place, nothing is missed in between.
        self.waiting = missing.map(Change::Subscribe).collect();
        for filter in &unwanted {
            self.held.remove(filter);
            self.taken.remove(filter);
        }
        let shrunk = !unwanted.is_empty();
        self.waiting
            .extend(unwanted.into_iter().map(Change::Unsubscribe));
        shrunk
    }

    /// The next packet to ask the library for, once there is room for one more.
    pub fn next_change(&mut self) -> Option<Change> {
        if self.asked.len() + self.sent.len() >= usize::from(CHANGES_IN_FLIGHT_MAX) {
            return None;
        }
        let change = self.waiting.pop_front()?;
        if let Change::Subscribe(wanted) = &change {
            self.retained.asked(&wanted.filter);
        }
        self.asked.push_back(change.clone());
        Some(change)
    }

    /// The oldest packet asked for went out under this packet identifier.
    pub fn sent(&mut self, packet: u16) {
        if let Some(change) = self.asked.pop_front() {
            self.sent.push((packet, change));
        }
    }

    /// The broker answered a packet. `identifiers`: it has taken note of the subscription's id.
    pub fn acknowledged(
        &mut self,
        packet: u16,
        refused: Option<String>,
        identifiers: bool,
    ) -> Option<Refusal> {
        let place = self.sent.iter().position(|(id, _)| *id == packet)?;
        let (_, change) = self.sent.swap_remove(place);
        let Change::Subscribe(Subscription { id, filter }) = change else {
            return None;
        };
        match refused {
            Some(reason) => Some(Refusal { filter, reason }),
            None => {
                self.taken.insert(filter.clone());
                self.held.insert(filter, if identifiers { id } else { 0 });
                None
            }
        }
    }

    /// A retained copy came that names no filter: which subscriptions it answers, `None` when all
    /// that it could answer have had the message.
    pub fn retained(&mut self, topic: &Topic) -> Option<SubscriptionIds> {
        self.retained.take(topic)
    }

    /// Whether nothing is on its way any more.
    pub fn settled(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty() && self.sent.is_empty()
    }

    /// Whether a wish waited for the changes before it, which are done now.
    pub fn take_deferred(&mut self) -> bool {
        self.settled() && std::mem::take(&mut self.deferred)
    }
}

/// Over 3.1.1 a copy does not tell its subscription, so a filter that another covers would only
/// bring copies that cannot be told apart.
fn without_covered(wanted: &[Subscription]) -> Vec<Subscription> {
    wanted
        .iter()
        .filter(|s| {
            let covers = |o: &&Subscription| o.filter != s.filter && o.filter.covers(&s.filter);
            !wanted.iter().any(|other| covers(&other))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[(u32, &str)]) -> Vec<Subscription> {
        texts
            .iter()
            .map(|(id, text)| Subscription {
                id: *id,
                filter: TopicFilter::new(text).unwrap(),
            })
            .collect()
    }

    fn changes(subscriptions: &mut Subscriptions) -> Vec<String> {
        std::iter::from_fn(|| subscriptions.next_change())
            .map(|change| match change {
                Change::Subscribe(s) => format!("+{} {}", s.id, s.filter),
                Change::Unsubscribe(filter) => format!("-{filter}"),
            })
            .collect()
    }

    fn check(held: &[(u32, &str)], wanted: &[(u32, &str)], identifiers: bool, expected: &[&str]) {
        let mut subscriptions = Subscriptions::new(list(held));
        subscriptions.taken = subscriptions.held.keys().cloned().collect();
        subscriptions.aim(&list(wanted), identifiers);
        assert_eq!(
            changes(&mut subscriptions),
            expected,
            "{held:?} -> {wanted:?}"
        );
    }

    #[test]
    fn only_the_difference_is_sent() {
        let (five, old) = (true, false);
        check(&[], &[(1, "a"), (2, "b")], five, &["+1 a", "+2 b"]);
        check(&[(1, "a")], &[(1, "a"), (2, "b")], five, &["+2 b"]);
        check(&[(1, "a"), (2, "b")], &[(2, "b")], five, &["-a"]);
        check(&[(1, "a")], &[(1, "a")], five, &[]);
        check(&[(1, "a")], &[(7, "a")], five, &["+7 a"]);
        check(&[(0, "a")], &[(1, "a")], five, &["+1 a"]);
        check(&[(0, "a")], &[(1, "a")], old, &[]);
        check(&[(9, "a")], &[(1, "a")], old, &[]);
    }

    #[test]
    fn each_connection_subscribes_anew_whatever_the_session_is_known_to_hold() {
        for identifiers in [true, false] {
            let mut subscriptions = Subscriptions::new(list(&[(1, "a"), (2, "b")]));
            subscriptions.aim(&list(&[(1, "a")]), identifiers);
            assert_eq!(changes(&mut subscriptions), ["+1 a", "-b"]);
            subscriptions.sent(1);
            subscriptions.sent(2);
            subscriptions.acknowledged(1, None, identifiers);
            subscriptions.acknowledged(2, None, identifiers);
            subscriptions.aim(&list(&[(1, "a")]), identifiers);
            assert_eq!(changes(&mut subscriptions), Vec::<String>::new());
            subscriptions.interrupted();
            subscriptions.aim(&list(&[(1, "a")]), identifiers);
            assert_eq!(changes(&mut subscriptions), ["+1 a"]);
        }
    }

    #[test]
    fn covered_filters_are_subscribed_only_where_copies_tell_them_apart() {
        let both = [(1, "a/+/c"), (2, "a/b/c")];
        check(&[], &both, true, &["+1 a/+/c", "+2 a/b/c"]);
        check(&[], &both, false, &["+1 a/+/c"]);
        check(&[(2, "a/b/c")], &both, false, &["+1 a/+/c", "-a/b/c"]);
        // Neither covers the other.
        check(&[], &[(1, "a/+"), (2, "+/b")], false, &["+1 a/+", "+2 +/b"]);
    }

    #[test]
    fn an_interrupted_change_is_sent_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a"), (2, "b")]), true);
        assert_eq!(changes(&mut subscriptions).len(), 2);
        subscriptions.sent(11);
        subscriptions.sent(12);
        assert_eq!(subscriptions.acknowledged(12, None, true), None);
        subscriptions.interrupted();
        assert_eq!(subscriptions.held(), list(&[(2, "b")]));
        subscriptions.aim(&list(&[(1, "a"), (2, "b")]), true);
        assert_eq!(changes(&mut subscriptions), ["+1 a", "+2 b"]);
    }

    #[test]
    fn a_refused_filter_is_named_and_not_held() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a")]), true);
        changes(&mut subscriptions);
        subscriptions.sent(3);
        let refusal = subscriptions.acknowledged(3, Some("no".to_owned()), true);
        assert_eq!(refusal.unwrap().filter.as_str(), "a");
        assert!(subscriptions.held().is_empty() && subscriptions.settled());
    }

    #[test]
    fn a_wish_waits_for_the_changes_before_it() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a")]), true);
        changes(&mut subscriptions);
        subscriptions.sent(1);
        subscriptions.aim(&list(&[(2, "b")]), true);
        assert_eq!(changes(&mut subscriptions), Vec::<String>::new());
        assert!(!subscriptions.take_deferred());
        subscriptions.acknowledged(1, None, true);
        assert!(subscriptions.take_deferred());
        assert!(
            subscriptions.aim(&list(&[(2, "b")]), true),
            "a is not held any more"
        );
        assert_eq!(changes(&mut subscriptions), ["+2 b", "-a"]);
    }

    #[test]
    fn no_more_than_the_limit_is_on_its_way() {
        let wanted: Vec<_> = (1..=100)
            .map(|id| Subscription {
                id,
                filter: TopicFilter::new(&format!("t/{id}")).unwrap(),
            })
            .collect();
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&wanted, true);
        assert_eq!(
            changes(&mut subscriptions).len(),
            usize::from(CHANGES_IN_FLIGHT_MAX)
        );
        subscriptions.sent(1);
        subscriptions.acknowledged(1, None, true);
        assert_eq!(changes(&mut subscriptions).len(), 1);
    }
}
