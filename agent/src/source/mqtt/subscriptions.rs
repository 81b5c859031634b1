//! Subscriptions of a session: those that it holds, those that it should hold, and the changes
//! between. Pure; sending and persisting are the owner's.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::retained::Retained;
pub use super::retained::Sent;
use crate::event::SubscriptionIds;
use tidemill_transport::topic::{FilterTree, Topic, TopicFilter};

/// Most SUBSCRIBE and UNSUBSCRIBE packets that may wait for their acknowledgements: their packet
/// identifiers must not meet.
pub(crate) const CHANGES_IN_FLIGHT_MAX: u16 = 32;

pub use tidemill_transport::topic::Subscription;

/// Filters of one packet, where they need no identifiers: brokers in the cloud take no more at once.
const FILTERS_IN_A_PACKET_MAX: usize = 8;

/// Most bytes of filters in one packet, unless a single one has more.
const FILTER_BYTES_IN_A_PACKET_MAX: usize = 4_096;

/// One packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Filters to hold; one where it has an identifier, which is the whole packet's.
    Subscribe(Vec<Subscription>),
    /// Filters to hold no more.
    Unsubscribe(Vec<TopicFilter>),
}

/// A filter that the broker did not take, or did not drop.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The filter.
    pub filter: TopicFilter,
    /// Reason that the broker gave.
    pub reason: String,
    /// `true` if nobody wants it, and the broker keeps it.
    pub is_kept: bool,
}

/// The subscriptions of one session.
///
/// Each connection asks for all of them anew. A kept session says nothing about its contents: a
/// killed broker may have restored an older state, and if the agent ended between the broker's word
/// that the session is new and taking note of it, the next start finds a session that was kept, and
/// is empty.
#[derive(Debug, Default)]
pub struct Subscriptions {
    held: HashMap<TopicFilter, u32>,
    /// The order in which filters are wanted, and in which held ones are reported.
    order: Vec<TopicFilter>,
    /// Filters that the broker took on this connection.
    taken: HashSet<TopicFilter>,
    /// Filters that are not held for all that is known, and perhaps held by the broker: a SUBSCRIBE
    /// or an UNSUBSCRIBE of them has no answer yet, or never had one because its connection ended.
    doubtful: BTreeSet<TopicFilter>,
    /// To be asked for.
    missing: VecDeque<Subscription>,
    /// To be dropped after that.
    unwanted: VecDeque<TopicFilter>,
    /// Most filters in one SUBSCRIBE.
    together_max: usize,
    /// Asked of the library, not yet on the wire: their packet identifiers are not known.
    asked: VecDeque<Change>,
    sent: Vec<(u16, Change)>,
    /// `true` if new subscriptions were asked for while changes were on their way.
    deferred: bool,
    /// Some filters of the session have identifiers, and others may have none yet: copies name a part of what
    /// they answer.
    partly_named: bool,
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

    /// The subscriptions that the session holds, as far as the broker has acknowledged them, in the
    /// order in which they are wanted; behind those, filters that the broker did not drop.
    pub fn held(&self) -> Vec<Subscription> {
        let held = |filter: &TopicFilter| {
            Some(Subscription {
                id: *self.held.get(filter)?,
                filter: filter.clone(),
            })
        };
        let mut all: Vec<_> = self.order.iter().filter_map(held).collect();
        if all.len() < self.held.len() {
            let wanted: HashSet<_> = self.order.iter().collect();
            let kept = self.held.keys().filter(|filter| !wanted.contains(filter));
            let mut kept: Vec<_> = kept.filter_map(held).collect();
            #[allow(clippy::disallowed_methods, reason = "filters are texts")]
            kept.sort_by(|one, other| one.filter.cmp(&other.filter));
            all.extend(kept);
        }
        all
    }

    /// All that is asked for, whether it is held or not.
    pub(crate) fn wanted(&self) -> &[TopicFilter] {
        &self.order
    }

    /// The filters to hold that a packet asked for, in its order, and none where it dropped some; `None`
    /// where no such packet waits for its answer.
    pub(crate) fn asked_with(&self, packet: u16) -> Option<Vec<TopicFilter>> {
        let (_, change) = self.sent.iter().find(|(id, _)| *id == packet)?;
        Some(match change {
            Change::Subscribe(wanted) => wanted.iter().map(|s| s.filter.clone()).collect(),
            Change::Unsubscribe(_) => Vec::new(),
        })
    }

    fn awaits_subscribed(&self) -> bool {
        let sent = self.sent.iter().map(|(_, change)| change);
        let mut on_their_way = self.asked.iter().chain(sent);
        on_their_way.any(|change| matches!(change, Change::Subscribe(_)))
    }

    /// `true` if an answer is waited for.
    pub(crate) fn awaits_answers(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Ends a connection: changes on their way count for nothing. A filter whose fate is unknown is
    /// not held, so that it will be subscribed once more rather than be missing; where nobody wants
    /// it any more, it is dropped on the next connection.
    pub fn interrupted(&mut self) {
        let asked = self
            .asked
            .iter()
            .chain(self.sent.iter().map(|(_, change)| change));
        for change in asked {
            if let Change::Subscribe(wanted) = change {
                let filters = wanted.iter().map(|s| &s.filter);
                let unknown = filters.filter(|filter| !self.held.contains_key(*filter));
                self.doubtful.extend(unknown.cloned());
            }
        }
        self.missing.clear();
        self.unwanted.clear();
        self.asked.clear();
        self.sent.clear();
        self.taken.clear();
        self.deferred = false;
    }

    /// The broker kept no session.
    pub fn lost(&mut self) {
        self.held.clear();
        self.doubtful.clear();
        self.retained.forget();
    }

    /// Prepares the changes from the held filters to the wanted ones. Returns `true` if less is
    /// held now than before, or without the identifiers that it had: that has to be known (and
    /// should be on disk) before anything is sent.
    pub fn aim(&mut self, wanted: &[Subscription], identifiers: bool) -> bool {
        if !self.asked.is_empty() || !self.sent.is_empty() {
            self.deferred = true;
            self.missing.clear();
            self.unwanted.clear();
            return false;
        }
        self.together_max = if identifiers {
            1
        } else {
            FILTERS_IN_A_PACKET_MAX
        };
        let mut is_less = false;
        let wanted = if identifiers {
            wanted.to_vec()
        } else {
            // Asked for without identifiers, filters lose those that they have.
            for id in self.held.values_mut() {
                is_less |= std::mem::take(id) != 0;
            }
            // A broker keeps no retained messages for those that are shared.
            let plain = self.held.keys().filter(|filter| !filter.is_shared());
            let held = FilterTree::new(plain.map(|filter| (filter, ())));
            let plain: Vec<Subscription> = wanted
                .iter()
                .filter(|s| !s.filter.is_shared())
                .cloned()
                .collect();
            self.retained.aim(&plain, |filter| held.covers(filter));
            without_covered(wanted)
        };
        let is_held = |s: &Subscription| match self.held.get(&s.filter) {
            Some(id) => self.taken.contains(&s.filter) && (*id == s.id || !identifiers),
            None => false,
        };
        self.order = wanted.iter().map(|s| s.filter.clone()).collect();
        // Subscribe first: where a filter takes another's place, nothing is missed in between.
        self.missing = wanted.iter().filter(|s| !is_held(s)).cloned().collect();
        self.partly_named =
            identifiers && !self.missing.is_empty() && self.held.values().any(|id| *id == 0);
        let wanted: HashSet<_> = wanted.iter().map(|s| &s.filter).collect();
        let unwanted = |filter: &&TopicFilter| !wanted.contains(filter);
        let dropped: Vec<_> = self.held.keys().filter(unwanted).cloned().collect();
        is_less |= !dropped.is_empty();
        for filter in dropped {
            self.held.remove(&filter);
            self.taken.remove(&filter);
            self.doubtful.insert(filter);
        }
        self.unwanted = self.doubtful.iter().filter(unwanted).cloned().collect();
        is_less
    }

    /// The next packet to ask the library for, once there is room for one more.
    pub fn next_change(&mut self) -> Option<Change> {
        if self.asked.len() + self.sent.len() >= usize::from(CHANGES_IN_FLIGHT_MAX) {
            return None;
        }
        let change = if self.missing.is_empty() {
            if self.unwanted.is_empty() {
                return None;
            }
            let filters = take(&mut self.unwanted, FILTERS_IN_A_PACKET_MAX, |filter| filter);
            Change::Unsubscribe(filters)
        } else {
            let wanted = take(&mut self.missing, self.together_max, |s| &s.filter);
            wanted.iter().for_each(|s| self.retained.asked(&s.filter));
            Change::Subscribe(wanted)
        };
        self.asked.push_back(change.clone());
        Some(change)
    }

    /// The oldest packet asked for went out under this packet identifier.
    pub fn sent(&mut self, packet: u16) {
        if let Some(change) = self.asked.pop_front() {
            self.sent.push((packet, change));
        }
    }

    /// The broker answered a packet: for each of its filters why that was refused, `None` where it
    /// was not. `identifiers`: it has taken note of the subscription's id.
    pub fn acknowledged(
        &mut self,
        packet: u16,
        refused: impl IntoIterator<Item = Option<String>>,
        identifiers: bool,
    ) -> Vec<Refusal> {
        let place = self.sent.iter().position(|(id, _)| *id == packet);
        let Some((_, change)) = place.map(|place| self.sent.swap_remove(place)) else {
            return Vec::new();
        };
        let mut refused = refused.into_iter();
        let mut refusals = Vec::new();
        let wanted = match change {
            Change::Subscribe(wanted) => wanted,
            Change::Unsubscribe(filters) => {
                for filter in filters {
                    self.doubtful.remove(&filter);
                    if let Some(reason) = refused.next().flatten() {
                        // Still there, and to be asked for again. Its number is of no use any more.
                        self.held.insert(filter.clone(), 0);
                        let is_kept = true;
                        refusals.push(Refusal {
                            filter,
                            reason,
                            is_kept,
                        });
                    }
                }
                return refusals;
            }
        };
        let unanswered = || Some("the broker's answer does not say that it took it".to_owned());
        for Subscription { id, filter } in wanted {
            self.doubtful.remove(&filter);
            match refused.next().unwrap_or_else(unanswered) {
                Some(reason) => refusals.push(Refusal {
                    filter,
                    reason,
                    is_kept: false,
                }),
                None => {
                    self.taken.insert(filter.clone());
                    self.held.insert(filter, if identifiers { id } else { 0 });
                }
            }
        }
        self.partly_named &= !self.missing.is_empty() || self.awaits_subscribed();
        refusals
    }

    /// A retained copy came that names no filter: which subscriptions it answers, `None` when all
    /// that it could answer have had the message.
    pub fn retained(&mut self, topic: &Topic, sent: Option<Sent>) -> Option<SubscriptionIds> {
        self.retained.take(topic, sent)
    }

    /// The subscriptions that a copy answers, given those that it names. After a session without
    /// identifiers, filters get them one packet after the other. A copy that comes meanwhile names
    /// only those that have one, so it counts as a copy that names none, and its topic decides.
    pub fn answered_by(&self, named: SubscriptionIds) -> SubscriptionIds {
        if self.partly_named {
            SubscriptionIds::Unknown
        } else {
            named
        }
    }

    /// Returns `true` if no change is on its way any more.
    pub fn settled(&self) -> bool {
        let idle = self.missing.is_empty() && self.unwanted.is_empty();
        idle && self.asked.is_empty() && self.sent.is_empty()
    }

    /// Returns `true`, once, if new subscriptions were asked for while changes were on their way,
    /// which are done now.
    pub fn take_deferred(&mut self) -> bool {
        self.settled() && std::mem::take(&mut self.deferred)
    }
}

/// Over 3.1.1 a copy does not tell its subscription, so a filter that another covers would only
/// bring copies that cannot be told apart.
fn without_covered(wanted: &[Subscription]) -> Vec<Subscription> {
    // A shared one brings copies of its own, whatever others match.
    let plain = wanted.iter().filter(|s| !s.filter.is_shared());
    let tree = FilterTree::new(plain.map(|s| (&s.filter, ())));
    let alone = |s: &&Subscription| s.filter.is_shared() || !tree.another_covers(&s.filter);
    wanted.iter().filter(alone).cloned().collect()
}

/// Takes from the front what fits into one packet.
fn take<T>(all: &mut VecDeque<T>, count_max: usize, filter: impl Fn(&T) -> &TopicFilter) -> Vec<T> {
    let mut bytes = 0;
    let mut fits = |place: usize, next: &T| {
        bytes += filter(next).as_str().len();
        place == 0 || (place < count_max && bytes <= FILTER_BYTES_IN_A_PACKET_MAX)
    };
    let mut places = all.iter().enumerate();
    let end = places.find(|(place, next)| !fits(*place, next));
    let end = end.map_or(all.len(), |(place, _)| place);
    all.drain(..end).collect()
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
                Change::Subscribe(all) => {
                    let all = all.iter().map(|s| format!("+{} {}", s.id, s.filter));
                    all.collect::<Vec<_>>().join(" ")
                }
                Change::Unsubscribe(all) => {
                    let all = all.iter().map(|filter| format!("-{filter}"));
                    all.collect::<Vec<_>>().join(" ")
                }
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
            subscriptions.acknowledged(1, [None], identifiers);
            subscriptions.acknowledged(2, [None], identifiers);
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
        check(&[], &[(1, "a/+"), (2, "+/b")], false, &["+1 a/+ +2 +/b"]);
    }

    #[test]
    fn an_interrupted_change_is_sent_again() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a"), (2, "b")]), true);
        assert_eq!(changes(&mut subscriptions).len(), 2);
        subscriptions.sent(11);
        subscriptions.sent(12);
        assert_eq!(subscriptions.acknowledged(12, [None], true), []);
        subscriptions.interrupted();
        assert_eq!(subscriptions.held(), list(&[(2, "b")]));
        subscriptions.aim(&list(&[(1, "a"), (2, "b")]), true);
        assert_eq!(changes(&mut subscriptions), ["+1 a", "+2 b"]);
    }

    #[test]
    fn copies_name_what_they_answer_once_all_filters_have_identifiers_again() {
        let named = || SubscriptionIds::One(1);
        let wanted = list(&[(1, "s/+"), (2, "s/k1")]);
        let mut subscriptions = Subscriptions::new(wanted.clone());
        assert_eq!(subscriptions.answered_by(named()), named());
        // Over 3.1.1, whether the broker answers or not.
        assert!(
            subscriptions.aim(&wanted, false),
            "no identifier counts now"
        );
        assert_eq!(changes(&mut subscriptions), ["+1 s/+", "-s/k1"]);
        subscriptions.sent(1);
        subscriptions.interrupted();
        assert_eq!(subscriptions.held(), list(&[(0, "s/+")]));
        // Over 5, also where a connection ends in between, or another process goes on.
        for ended in [true, false] {
            assert!(!subscriptions.aim(&wanted, true));
            assert_eq!(changes(&mut subscriptions), ["+1 s/+", "+2 s/k1"]);
            (2..4).for_each(|packet| subscriptions.sent(packet));
            let unknown = SubscriptionIds::Unknown;
            assert_eq!(subscriptions.answered_by(named()), unknown);
            subscriptions.acknowledged(3, [None], true);
            assert_eq!(subscriptions.answered_by(named()), unknown);
            if ended {
                subscriptions = Subscriptions::new(subscriptions.held());
            }
        }
        subscriptions.acknowledged(2, [None], true);
        assert_eq!(subscriptions.answered_by(named()), named());
    }

    #[test]
    fn what_may_be_held_and_is_not_wanted_is_dropped_until_the_broker_says_so() {
        let drops = |subscriptions: &mut Subscriptions| {
            subscriptions.aim(&list(&[(2, "b")]), true);
            let all = changes(subscriptions);
            (1..)
                .zip(&all)
                .for_each(|(packet, _)| subscriptions.sent(packet));
            all
        };
        // An UNSUBSCRIBE that nobody answered.
        let mut subscriptions = Subscriptions::new(list(&[(1, "a"), (2, "b")]));
        assert_eq!(drops(&mut subscriptions), ["+2 b", "-a"]);
        subscriptions.interrupted();
        assert_eq!(drops(&mut subscriptions), ["+2 b", "-a"]);
        subscriptions.acknowledged(2, [None], true);
        subscriptions.interrupted();
        assert_eq!(drops(&mut subscriptions), ["+2 b"]);
        // A SUBSCRIBE that nobody answered, of a filter that nobody wants since.
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a")]), true);
        changes(&mut subscriptions);
        subscriptions.sent(9);
        subscriptions.interrupted();
        assert_eq!(drops(&mut subscriptions), ["+2 b", "-a"]);
        subscriptions.interrupted();
        // A session that is gone holds nothing.
        subscriptions.lost();
        assert_eq!(drops(&mut subscriptions), ["+2 b"]);
    }

    #[test]
    fn a_refused_filter_is_named_and_not_held() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, "a")]), true);
        changes(&mut subscriptions);
        subscriptions.sent(3);
        let refusals = subscriptions.acknowledged(3, [Some("no".to_owned())], true);
        assert_eq!(refusals[0].filter.as_str(), "a");
        assert!(subscriptions.held().is_empty() && subscriptions.settled());
    }

    #[test]
    fn a_filter_that_the_broker_does_not_drop_is_held_and_asked_for_again() {
        let refused = || [None, Some("no".to_owned())];
        let mut subscriptions = Subscriptions::new(list(&[(1, "a"), (2, "b"), (3, "c")]));
        subscriptions.taken = subscriptions.held.keys().cloned().collect();
        for packet in 1..=2 {
            subscriptions.aim(&list(&[(1, "a")]), true);
            let expected = if packet == 1 { "-b -c" } else { "-c" };
            assert_eq!(changes(&mut subscriptions), [expected]);
            subscriptions.sent(packet);
            let answers = refused().into_iter().skip(usize::from(packet) - 1);
            let refusals = subscriptions.acknowledged(packet, answers, true);
            assert!(refusals.len() == 1 && refusals[0].is_kept, "{refusals:?}");
            assert_eq!(refusals[0].filter.as_str(), "c");
            assert_eq!(subscriptions.held(), list(&[(1, "a"), (0, "c")]));
            subscriptions.interrupted();
            subscriptions.taken = subscriptions.held.keys().cloned().collect();
        }
        // A rule wants it again: it is subscribed, with its number.
        subscriptions.aim(&list(&[(1, "a"), (4, "c")]), true);
        assert_eq!(changes(&mut subscriptions), ["+4 c"]);
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
        subscriptions.acknowledged(1, [None], true);
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
        subscriptions.acknowledged(1, [None], true);
        assert_eq!(changes(&mut subscriptions).len(), 1);
    }

    #[test]
    fn filters_without_identifiers_share_packets_and_have_answers_of_their_own() {
        let wanted: Vec<_> = (1..=20).map(|id| (id, format!("t/{id}"))).collect();
        let wanted: Vec<_> = wanted.iter().map(|(id, text)| (*id, &**text)).collect();
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&wanted), false);
        let packets = changes(&mut subscriptions);
        let counts: Vec<_> = packets.iter().map(|p| p.matches('+').count()).collect();
        assert_eq!(counts, [8, 8, 4]);
        (1..=3).for_each(|packet| subscriptions.sent(packet));
        let taken = || vec![None; 8];
        let refused = Some("no".to_owned());
        assert_eq!(subscriptions.acknowledged(2, taken(), false), []);
        let mut answers = taken();
        answers[7] = refused;
        let refusals = subscriptions.acknowledged(1, answers, false);
        assert_eq!(refusals[0].filter.as_str(), "t/8");
        // An answer that is too short says nothing of the rest.
        let refusals = subscriptions.acknowledged(3, [None], false);
        assert_eq!(refusals.len(), 3);
        assert_eq!(subscriptions.held().len(), 16);
        // Long ones go alone.
        let long = ["a", "b"].map(|level| level.repeat(4_000));
        let mut subscriptions = Subscriptions::default();
        subscriptions.aim(&list(&[(1, &long[0]), (2, &long[1])]), false);
        assert_eq!(changes(&mut subscriptions).len(), 2);
    }
}
