//! Filters that a retained copy is for, where copies do not say it: over MQTT 3.1.1 every SUBSCRIBE
//! brings the retained messages of all its topics, even for filters that have had them already.
//! Pure; [`super::subscriptions`] decides when a filter is subscribed.

use std::collections::{BTreeMap, HashMap};

use crate::event::SubscriptionIds;
use tidemill_transport::topic::{FilterTree, Subscription, Topic, TopicFilter};

/// Most topics remembered as having brought their retained message; beyond it all are forgotten,
/// and a message that another SUBSCRIBE brings again may count again.
const TOPICS_MAX: usize = 16_384;

/// Topics longer than this are not remembered, which bounds the memory; the same may happen to them.
const TOPIC_BYTES_MAX: usize = 256;

/// Most copies remembered by their packet identifiers; beyond it all are forgotten, and one of them
/// that is sent again counts as the first of its topic that comes in this process.
const COPIES_MAX: usize = 4_096;

/// Most bytes of their topics; beyond it all are forgotten as well.
const COPIES_BYTES_MAX: usize = 1 << 20;

/// Delivery of a copy at QoS 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its packet identifier.
    pub packet: u16,
    /// `true` if it was sent before.
    pub dup: bool,
}

/// Filters that have had the retained messages of one session.
#[derive(Debug, Default)]
pub(super) struct Retained {
    /// Counts the aims.
    round: u32,
    filters: BTreeMap<TopicFilter, Wanted>,
    /// The same filters, by the topics that they match.
    tree: FilterTree<TopicFilter>,
    /// In which round a topic's retained message came last: filters wanted by then have had it.
    had: HashMap<Topic, u32>,
    /// Copies that the broker may send again, by packet identifier: the filters that they would be
    /// for then do not hang on the first time, because its results may be lost.
    copies: HashMap<u16, Copy>,
    /// Bytes of their topics.
    copies_bytes: usize,
}

/// A copy, as it was when it came for the first time.
#[derive(Debug, Clone)]
struct Copy {
    topic: Topic,
    /// The round in which the message came before.
    had: Option<u32>,
    round: u32,
    /// An earlier process asked for it and left it in the session.
    is_left: bool,
}

/// A filter that some rule has, subscribed itself or covered by one that is.
#[derive(Debug)]
struct Wanted {
    id: u32,
    /// The round that brought it; 0 where a filter held before covers it, which brought the retained
    /// messages in its time.
    since: u32,
    /// `true` if it was subscribed in this process.
    asked: bool,
}

impl Retained {
    /// Sets the filters that are wanted from now on. `was_covered`: the session held a filter that
    /// brings all that this one matches.
    pub(super) fn aim(
        &mut self,
        wanted: &[Subscription],
        was_covered: impl Fn(&TopicFilter) -> bool,
    ) {
        self.round += 1;
        let round = self.round;
        let mut before = std::mem::take(&mut self.filters);
        let enter = |Subscription { id, filter }: &Subscription| {
            // One that was wanted before and is not held yet is no newer for it: since then it was
            // given every retained message that came.
            let (since, asked) = match before.remove(filter) {
                Some(old) => (old.since, old.asked),
                None if was_covered(filter) => (0, false),
                None => (round, false),
            };
            let id = *id;
            (filter.clone(), Wanted { id, since, asked })
        };
        self.filters = wanted.iter().map(enter).collect();
        self.tree = FilterTree::new(self.filters.keys().map(|filter| (filter, filter.clone())));
    }

    /// Notes that this filter is being subscribed.
    pub(super) fn asked(&mut self, filter: &TopicFilter) {
        if let Some(wanted) = self.filters.get_mut(filter) {
            wanted.asked = true;
        }
    }

    /// Forgets all: the broker kept no session, and sends everything to everyone anew.
    pub(super) fn forget(&mut self) {
        self.filters.clear();
        self.tree = FilterTree::default();
        self.had.clear();
        self.forget_copies();
    }

    fn forget_copies(&mut self) {
        self.copies.clear();
        self.copies_bytes = 0;
    }

    /// A retained copy came: which filters have not had it, `None` when all have. One that is sent again
    /// is for those that it was for the first time: whether it was applied then is not decided here.
    pub(super) fn take(&mut self, topic: &Topic, sent: Option<Sent>) -> Option<SubscriptionIds> {
        let known = sent.filter(|sent| sent.dup);
        let known = known.and_then(|sent| self.copies.get(&sent.packet));
        let known = known.filter(|copy| copy.topic == *topic).cloned();
        let copy = known.unwrap_or_else(|| self.first(topic, sent));
        if copy.had == Some(copy.round) {
            return None;
        }
        if copy.is_left {
            // Nothing tells which filters it was for.
            return Some(SubscriptionIds::Unknown);
        }
        let had = copy.had.unwrap_or(0);
        let is_new = |wanted: &&&Wanted| wanted.since > had && wanted.since <= copy.round;
        let matching = self.matching(topic);
        let ids: Vec<u32> = matching.iter().filter(is_new).map(|it| it.id).collect();
        match ids.as_slice() {
            [] => None,
            [one] => Some(SubscriptionIds::One(*one)),
            _ => Some(SubscriptionIds::Many(ids.into())),
        }
    }

    fn matching(&self, topic: &Topic) -> Vec<&Wanted> {
        let mut matching = Vec::new();
        self.tree
            .each_match(topic.as_str(), &mut |filter| matching.push(filter));
        matching.sort_unstable();
        let wanted = |filter: &&TopicFilter| self.filters.get(*filter);
        matching.iter().filter_map(wanted).collect()
    }

    /// A copy that is not known yet.
    fn first(&mut self, topic: &Topic, sent: Option<Sent>) -> Copy {
        let had = self.remember(topic);
        let is_again = sent.is_some_and(|sent| sent.dup);
        let is_asked = || self.matching(topic).iter().any(|wanted| wanted.asked);
        let copy = Copy {
            topic: topic.clone(),
            had,
            round: self.round,
            is_left: had.is_none() && (is_again || !is_asked()),
        };
        if let Some(Sent { packet, .. }) = sent {
            let bytes = topic.as_str().len();
            if self.copies.len() >= COPIES_MAX || self.copies_bytes + bytes > COPIES_BYTES_MAX {
                self.forget_copies();
            }
            let before = self.copies.insert(packet, copy.clone());
            let before = before.map_or(0, |copy| copy.topic.as_str().len());
            self.copies_bytes += bytes;
            self.copies_bytes -= before;
        }
        copy
    }

    /// Notes that the topic's message came in this round; returns in which it came before.
    fn remember(&mut self, topic: &Topic) -> Option<u32> {
        if let Some(had) = self.had.get_mut(topic) {
            return Some(std::mem::replace(had, self.round));
        }
        if topic.as_str().len() <= TOPIC_BYTES_MAX {
            if self.had.len() >= TOPICS_MAX {
                self.had.clear();
            }
            self.had.insert(topic.clone(), self.round);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SubscriptionIds::{One, Unknown};

    fn aim(retained: &mut Retained, wanted: &[(u32, &str)], held: &[&str]) {
        let filter = |text: &str| TopicFilter::new(text).unwrap();
        let list = |(id, text): &(u32, &str)| Subscription {
            id: *id,
            filter: filter(text),
        };
        let wanted: Vec<_> = wanted.iter().map(list).collect();
        let was_covered = |f: &TopicFilter| held.iter().any(|text| filter(text).covers(f));
        retained.aim(&wanted, was_covered);
        for s in wanted.iter().filter(|s| !held.contains(&s.filter.as_str())) {
            retained.asked(&s.filter);
        }
    }

    fn take(retained: &mut Retained, topic: &str) -> Option<SubscriptionIds> {
        retained.take(&Topic::new(topic).unwrap(), None)
    }

    fn take_sent(
        retained: &mut Retained,
        topic: &str,
        packet: u16,
        dup: bool,
    ) -> Option<SubscriptionIds> {
        let sent = Some(Sent { packet, dup });
        retained.take(&Topic::new(topic).unwrap(), sent)
    }

    fn many(ids: &[u32]) -> Option<SubscriptionIds> {
        Some(SubscriptionIds::Many(ids.into()))
    }

    #[test]
    fn the_first_copy_is_for_all_new_filters_and_the_second_for_none() {
        let mut retained = Retained::default();
        aim(
            &mut retained,
            &[(1, "a/+/c"), (2, "a/b/+"), (3, "z/#")],
            &[],
        );
        assert_eq!(take(&mut retained, "a/b/c"), many(&[1, 2]));
        assert_eq!(take(&mut retained, "a/b/c"), None);
        assert_eq!(take(&mut retained, "a/x/c"), Some(One(1)));
        assert_eq!(take(&mut retained, "z"), Some(One(3)));
    }

    #[test]
    fn a_filter_that_comes_later_gets_what_the_older_ones_have_had() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "a/+/c")], &[]);
        assert_eq!(take(&mut retained, "a/b/c"), Some(One(1)));
        aim(&mut retained, &[(1, "a/+/c"), (2, "a/b/+")], &["a/+/c"]);
        // The copy for the older filter was still on its way when the newer one came.
        assert_eq!(take(&mut retained, "a/b/c"), Some(One(2)));
        assert_eq!(take(&mut retained, "a/b/c"), None);
        aim(
            &mut retained,
            &[(1, "a/+/c"), (2, "a/b/+"), (3, "a/#")],
            &["a/+/c", "a/b/+"],
        );
        assert_eq!(take(&mut retained, "a/b/c"), Some(One(3)));
    }

    #[test]
    fn filters_of_an_earlier_process_have_had_what_a_new_one_brings() {
        let mut retained = Retained::default();
        // The covered a/b/c is not held by the session, but its rules have had all messages.
        let wanted = [(0, "a/+/c"), (1, "a/b/c"), (2, "a/b/+")];
        aim(&mut retained, &wanted, &["a/+/c"]);
        assert_eq!(take(&mut retained, "a/b/c"), Some(One(2)));
        assert_eq!(take(&mut retained, "a/b/c"), None);
    }

    #[test]
    fn a_filter_that_takes_the_place_of_a_wider_one_brings_nothing_new() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(0, "a/+/c"), (1, "a/b/c")], &["a/+/c"]);
        aim(&mut retained, &[(1, "a/b/c")], &["a/+/c"]);
        assert_eq!(take(&mut retained, "a/b/c"), None);
    }

    #[test]
    fn what_an_earlier_process_left_in_the_session_is_for_everybody_once() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(0, "a/+/c"), (1, "z")], &["a/+/c"]);
        assert_eq!(take(&mut retained, "a/b/c"), Some(Unknown));
        assert_eq!(take(&mut retained, "a/b/c"), None);
    }

    #[test]
    fn a_filter_asked_for_once_more_is_no_new_one() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "a/+")], &[]);
        assert_eq!(take(&mut retained, "a/b"), Some(One(1)));
        // The connection broke before the answer.
        aim(&mut retained, &[(1, "a/+")], &[]);
        assert_eq!(take(&mut retained, "a/b"), None);
        assert_eq!(take(&mut retained, "a/c"), Some(One(1)));
        // It went and came back.
        aim(&mut retained, &[], &["a/+"]);
        aim(&mut retained, &[(1, "a/+")], &[]);
        assert_eq!(take(&mut retained, "a/b"), Some(One(1)));
    }

    #[test]
    fn a_new_session_brings_everything_anew() {
        let mut retained = Retained::default();
        for _ in 0..2 {
            aim(&mut retained, &[(0, "a/+/c"), (0, "a/b/+")], &[]);
            assert_eq!(take(&mut retained, "a/b/c"), many(&[0, 0]));
            assert_eq!(take(&mut retained, "a/b/c"), None);
            retained.forget();
        }
    }

    #[test]
    fn a_copy_that_is_sent_again_is_for_whom_it_was_the_first_time() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "a/+/c"), (2, "a/b/+")], &[]);
        assert_eq!(take_sent(&mut retained, "a/b/c", 7, false), many(&[1, 2]));
        assert_eq!(take_sent(&mut retained, "a/b/c", 8, false), None);
        // The connection is lost, and with it what came; a filter is added meanwhile.
        let wanted = [(1, "a/+/c"), (2, "a/b/+"), (3, "a/#")];
        aim(&mut retained, &wanted, &["a/+/c", "a/b/+"]);
        for _ in 0..2 {
            assert_eq!(take_sent(&mut retained, "a/b/c", 7, true), many(&[1, 2]));
            assert_eq!(take_sent(&mut retained, "a/b/c", 8, true), None);
        }
        assert_eq!(take_sent(&mut retained, "a/b/c", 9, false), Some(One(3)));
        assert_eq!(take_sent(&mut retained, "a/b/c", 9, true), Some(One(3)));
        // An identifier may come to stand for another message.
        assert_eq!(take_sent(&mut retained, "a/x/c", 7, false), many(&[3, 1]));
        assert_eq!(take_sent(&mut retained, "a/x/c", 7, true), many(&[3, 1]));
    }

    #[test]
    fn a_copy_of_an_earlier_process_that_is_sent_again_is_for_everybody() {
        let mut retained = Retained::default();
        // That process held both filters; this one asks for them again, as after each connection.
        aim(&mut retained, &[(1, "a/+"), (2, "+/b")], &["a/+", "+/b"]);
        retained.asked(&TopicFilter::new("a/+").unwrap());
        retained.asked(&TopicFilter::new("+/b").unwrap());
        assert_eq!(take_sent(&mut retained, "a/b", 5, true), Some(Unknown));
        assert_eq!(take_sent(&mut retained, "a/b", 6, false), None);
        assert_eq!(take_sent(&mut retained, "a/b", 5, true), Some(Unknown));
        // In a session that was lost nothing is sent again.
        retained.forget();
        aim(&mut retained, &[(1, "a/+")], &[]);
        assert_eq!(take_sent(&mut retained, "a/b", 5, false), Some(One(1)));
    }

    #[test]
    fn copies_are_bounded() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "t/+")], &[]);
        for packet in 1..=u16::MAX {
            take_sent(&mut retained, &format!("t/{packet}"), packet, false);
            assert!(retained.copies.len() <= COPIES_MAX);
        }
        for number in 0..200_u16 {
            let topic = format!("t/{}{number}", "x".repeat(60_000));
            take_sent(&mut retained, &topic, number % 50, false);
            let bytes = retained
                .copies
                .values()
                .map(|copy| copy.topic.as_str().len());
            assert_eq!(bytes.sum::<usize>(), retained.copies_bytes);
            assert!(retained.copies_bytes <= COPIES_BYTES_MAX);
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_not_lost() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "t/+")], &[]);
        for number in 0..=TOPICS_MAX {
            assert_eq!(take(&mut retained, &format!("t/{number}")), Some(One(1)));
            assert!(retained.had.len() <= TOPICS_MAX);
        }
        assert_eq!(take(&mut retained, "t/0"), Some(One(1)));
        let known = retained.had.len();
        let long = format!("t/{}", "x".repeat(TOPIC_BYTES_MAX));
        assert_eq!(take(&mut retained, &long), Some(One(1)));
        assert_eq!(retained.had.len(), known);
    }

    #[test]
    fn so_many_copies_are_remembered_and_then_all_are_forgotten() {
        let mut retained = Retained::default();
        aim(&mut retained, &[(1, "a/+")], &[]);
        let last = u16::try_from(COPIES_MAX).unwrap();
        let topic = |packet: u16| format!("a/{packet}");
        for packet in 1..=last {
            let taken = take_sent(&mut retained, &topic(packet), packet, false);
            assert_eq!(taken, Some(One(1)));
        }
        assert_eq!(retained.copies.len(), COPIES_MAX);
        for packet in [1, last] {
            let again = take_sent(&mut retained, &topic(packet), packet, true);
            assert_eq!(again, Some(One(1)), "as it was for the first time");
        }
        // One more takes the place of all: what is sent again then has been had already.
        let more = last + 1;
        assert_eq!(
            take_sent(&mut retained, &topic(more), more, false),
            Some(One(1))
        );
        assert_eq!(retained.copies.len(), 1);
        assert_eq!(take_sent(&mut retained, &topic(last), last, true), None);
    }
}
