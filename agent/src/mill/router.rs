//! Routing of a topic to its rules. The filters of all rules stand in one tree, level by level, so
//! that a topic is matched in the time of its levels, not of the rules; the results are kept for
//! the topics seen last.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_transport::topic::{FilterTree, TopicFilter};

/// Topics whose routes are remembered, in each of two generations. Beyond that the topics not seen
/// for longest are matched anew: slower, never wrong.
pub const ROUTES_MAX: usize = 4_096;

/// Bytes of the routes of a generation: a route takes memory for each rule that it leads to, and for
/// each place that those read. A single route may have more.
const ROUTE_BYTES_MAX: usize = 4 << 20;

/// Bytes that the table of routes takes for each.
const PLACE_BYTES: usize = 64;

/// Routes of longer topics are not remembered, which bounds the memory: a publisher is free to choose
/// topics of 64 KB, each another one.
pub const TOPIC_BYTES_MAX: usize = 256;

/// A rule's number among the active ones, in the order of their names.
pub type RuleIndex = u32;

/// One rule that a topic reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: RuleIndex,
    /// The subscription whose copy the rule answers: where several of its filters match and the
    /// broker sends a copy for each, the rule runs for the one of lowest rank.
    pub subscription: u32,
    /// Rank of the subscription, by which one of several is chosen.
    pub rank: u32,
}

/// Finds the rules of a topic, and remembers a `R` for each topic, made of the hits.
#[derive(Debug)]
pub struct Router<R> {
    tree: FilterTree<Hit>,
    recent: HashMap<Box<str>, Known<R>>,
    /// Bytes of the routes of `recent`.
    recent_bytes: usize,
    older: HashMap<Box<str>, Known<R>>,
}

/// A route that is remembered.
#[derive(Debug)]
struct Known<R> {
    route: Arc<R>,
    /// Bytes that it takes, with its topic.
    bytes: usize,
}

impl<R> Router<R> {
    /// A router over the filters of all rules, with the hit of each.
    pub fn new<'a>(filters: impl IntoIterator<Item = (Hit, &'a TopicFilter)>) -> Self {
        let filters = filters.into_iter().map(|(hit, filter)| (filter, hit));
        Self {
            tree: FilterTree::new(filters),
            recent: HashMap::new(),
            recent_bytes: 0,
            older: HashMap::new(),
        }
    }

    /// The entry for `topic`. If it is not remembered, `make` makes it of the rules that the topic
    /// reaches, in the order of their names, each once, and says how many bytes it takes.
    pub fn route(&mut self, topic: &str, make: impl FnOnce(&[Hit]) -> (R, usize)) -> Arc<R> {
        if topic.len() > TOPIC_BYTES_MAX {
            return Arc::new(make(&self.hits(topic)).0);
        }
        if let Some(known) = self.recent.get(topic) {
            return Arc::clone(&known.route);
        }
        let known = self.older.remove(topic).unwrap_or_else(|| {
            let (route, bytes) = make(&self.hits(topic));
            Known {
                route: Arc::new(route),
                bytes: bytes + topic.len() + PLACE_BYTES,
            }
        });
        if self.recent.len() >= ROUTES_MAX || self.recent_bytes >= ROUTE_BYTES_MAX {
            self.older = std::mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
        self.recent_bytes += known.bytes;
        let route = Arc::clone(&known.route);
        self.recent.insert(topic.into(), known);
        route
    }

    fn hits(&self, topic: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.tree.each_match(topic, &mut |hit| hits.push(*hit));
        hits.sort_unstable_by_key(|hit| (hit.rule, hit.rank));
        hits.dedup_by_key(|hit| hit.rule);
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(filters: &[&str]) -> Router<Vec<u32>> {
        let filters: Vec<_> = filters
            .iter()
            .map(|f| TopicFilter::new(f).unwrap())
            .collect();
        Router::new((0..).zip(&filters).map(|(rule, filter)| {
            let hit = Hit {
                rule,
                subscription: rule + 1,
                rank: rule,
            };
            (hit, filter)
        }))
    }

    /// The numbers of the rules, each of which takes 200 bytes.
    fn rules(hits: &[Hit]) -> (Vec<u32>, usize) {
        (hits.iter().map(|h| h.rule).collect(), 200 * hits.len())
    }

    #[track_caller]
    fn check(filters: &[&str], topic: &str, expected: &[u32]) {
        let route = router(filters).route(topic, rules);
        assert_eq!(*route, expected, "{topic}");
    }

    #[test]
    fn finds_what_each_filter_would_match_alone() {
        let filters = [
            "a/b/c", "a/+/c", "a/#", "#", "+/+", "$SYS/#", "+", "a/b/c/#", "/a", "+/a", "a//c", "",
        ];
        let filters: Vec<_> = filters.into_iter().filter(|f| !f.is_empty()).collect();
        for topic in [
            "a/b/c", "a/x/c", "a", "b", "a/b", "$SYS/x", "$SYS", "/a", "a//c", "a/b/c/d", "a/", "/",
        ] {
            let expected: Vec<u32> = (0..)
                .zip(&filters)
                .filter(|(_, f)| TopicFilter::new(f).unwrap().matches(topic))
                .map(|(rule, _)| rule)
                .collect();
            check(&filters, topic, &expected);
        }
    }

    #[test]
    fn a_rule_whose_filters_overlap_answers_one_subscription() {
        let filters = ["a/+/c", "a/b/+"].map(|f| TopicFilter::new(f).unwrap());
        let [first, second] = &filters;
        let hit = |subscription, rank| Hit {
            rule: 0,
            subscription,
            rank,
        };
        let mut router = Router::new([(hit(3, 1), first), (hit(7, 0), second)]);
        let route = router.route("a/b/c", |hits| (hits.to_vec(), 0));
        assert_eq!(*route, [hit(7, 0)]);
    }

    #[test]
    fn more_topics_than_are_remembered_still_find_their_rules() {
        let mut router = router(&["s/+"]);
        for n in 0..3 * ROUTES_MAX {
            let route = router.route(&format!("s/{n}"), rules);
            assert_eq!(*route, [0]);
        }
        assert!(router.recent.len() <= ROUTES_MAX && router.older.len() <= ROUTES_MAX);
    }

    #[test]
    fn routes_of_long_topics_are_found_and_not_remembered() {
        let mut router = router(&["s/+"]);
        let mut route = |bytes: usize| {
            let topic = format!("s/{}", "t".repeat(bytes - 2));
            let route = router.route(&topic, rules);
            assert_eq!(*route, [0]);
            router.recent.len()
        };
        assert_eq!(route(TOPIC_BYTES_MAX + 1), 0);
        assert_eq!(route(60_000), 0);
        assert_eq!(route(TOPIC_BYTES_MAX), 1);
        // Topics that no rule wants take no memory either.
        router.route(&"u".repeat(60_000), rules);
        assert_eq!(router.recent.len(), 1);
    }

    #[test]
    fn routes_to_many_rules_are_fewer() {
        let mut router = router(&["#"; 1_000]);
        for n in 0..200 {
            let route = router.route(&format!("s/{n}"), rules);
            assert_eq!(route.len(), 1_000);
            assert!(router.recent_bytes < ROUTE_BYTES_MAX + 201_000);
        }
        let per_generation = ROUTE_BYTES_MAX / 200_000 + 1;
        assert_eq!(router.older.len(), per_generation);
        assert!(router.recent.len() <= per_generation);
    }
}
