//! Shortfalls: requests that a broker does not fulfil, in words for a person. While there is any,
//! the promise that no event is lost is off. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use tidemill_transport::topic::TopicFilter;

/// Most filters that are named.
const NAMED_MAX: usize = 10;

/// Most characters of each.
const NAME_CHARS_MAX: usize = 200;

/// All that the broker falls short of now.
#[derive(Debug, Default)]
pub(super) struct Shortfalls {
    /// Filters that it did not take, and why.
    refused: BTreeMap<TopicFilter, String>,
    /// Filters that it did not drop, though nobody wants them, and why.
    kept: BTreeMap<TopicFilter, String>,
    /// Filters for which it sends at QoS 0 only.
    downgraded: BTreeSet<TopicFilter>,
    /// Requests for subscriptions were given up, and not answered since.
    unanswered: bool,
    /// Time for which the broker keeps the session, and the time that was asked for.
    session: Option<(Duration, Duration)>,
    /// An attempt to connect has taken longer than this.
    connecting: Option<Duration>,
    said: Vec<String>,
}

impl Shortfalls {
    /// Notes that a filter was not taken.
    pub(super) fn refused(&mut self, filter: &TopicFilter, reason: &str) {
        self.downgraded.remove(filter);
        self.refused.insert(filter.clone(), reason.to_owned());
    }

    /// A filter that nobody wants was not dropped.
    pub(super) fn kept(&mut self, filter: &TopicFilter, reason: &str) {
        self.kept.insert(filter.clone(), reason.to_owned());
    }

    /// Notes that a filter was taken, at QoS 0 only if it `is_downgraded`.
    pub(super) fn granted(&mut self, filter: TopicFilter, is_downgraded: bool) {
        self.refused.remove(&filter);
        if is_downgraded {
            self.downgraded.insert(filter);
        } else {
            self.downgraded.remove(&filter);
        }
    }

    /// Only these filters are wanted now. Those that the broker did not drop are asked for again.
    pub(super) fn wanted(&mut self, filters: &[TopicFilter]) {
        self.kept.clear();
        if self.refused.is_empty() && self.downgraded.is_empty() {
            return;
        }
        let wanted: HashSet<_> = filters.iter().collect();
        self.refused.retain(|filter, _| wanted.contains(filter));
        self.downgraded.retain(|filter| wanted.contains(filter));
    }

    /// The requests for subscriptions were answered, or given up.
    pub(super) fn answered(&mut self, answered: bool) {
        self.unanswered = !answered;
    }

    /// An attempt to connect takes longer than this.
    pub(super) fn connecting(&mut self, longer_than: Duration) {
        self.connecting = Some(longer_than);
    }

    /// The broker took the connection, and keeps the session for as long as is `given`, if it said so.
    pub(super) fn connected(&mut self, given: Option<Duration>, asked: Duration) {
        self.connecting = None;
        self.session = given
            .filter(|given| *given < asked)
            .map(|given| (given, asked));
    }

    /// Notes that the connection is gone, or never came to be.
    pub(super) fn disconnected(&mut self) {
        self.connecting = None;
        self.session = None;
    }

    /// `true` if each change of filters is worth telling; of many only the outcome is.
    pub(super) fn are_few(&self) -> bool {
        self.refused.len() + self.downgraded.len() + self.kept.len() <= NAMED_MAX
    }

    /// All shortfalls, if they are others than those reported last.
    pub(super) fn news(&mut self) -> Option<Vec<String>> {
        let now: Vec<_> = [
            self.connecting_in_words(),
            self.session_in_words(),
            self.unanswered_in_words(),
            self.refused_in_words(),
            self.downgraded_in_words(),
            self.kept_in_words(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if now == self.said {
            return None;
        }
        self.said.clone_from(&now);
        Some(now)
    }

    pub(super) fn connecting_in_words(&self) -> Option<String> {
        let seconds = self.connecting?.as_secs();
        let words = format!(
            "an attempt to connect takes longer than {seconds} s: bytes move, but the broker has not taken \
             the connection"
        );
        Some(words)
    }

    pub(super) fn session_in_words(&self) -> Option<String> {
        let (given, asked) = self.session?;
        Some(format!(
            "the broker keeps the session for {} s only, {} s were asked for: what sensors publish \
             while the agent is away for longer is lost",
            given.as_secs(),
            asked.as_secs()
        ))
    }

    fn unanswered_in_words(&self) -> Option<String> {
        let words = "the broker does not answer requests for subscriptions: rules get nothing, \
                     or less than they want";
        self.unanswered.then(|| words.to_owned())
    }

    fn refused_in_words(&self) -> Option<String> {
        let named = self.refused.iter();
        let named = named.map(|(filter, reason)| format!("{} ({reason})", name(filter)));
        let named = list(named, self.refused.len())?;
        let words = "the broker refused subscriptions, their rules get nothing";
        Some(format!("{words}: {named}"))
    }

    fn kept_in_words(&self) -> Option<String> {
        let named = self.kept.iter();
        let named = named.map(|(filter, reason)| format!("{} ({reason})", name(filter)));
        let named = list(named, self.kept.len())?;
        let words = "the broker goes on sending what no rule wants, it did not drop subscriptions";
        Some(format!("{words}: {named}"))
    }

    /// Lines for the log once all requests are answered. Single refusals were told as they came,
    /// where they are few.
    pub(super) fn outcome_in_words(&self) -> impl Iterator<Item = String> {
        let refused = self.refused_in_words().filter(|_| !self.are_few());
        let others = [self.downgraded_in_words(), self.kept_in_words()];
        refused.into_iter().chain(others.into_iter().flatten())
    }

    fn downgraded_in_words(&self) -> Option<String> {
        let named = list(self.downgraded.iter().map(name), self.downgraded.len())?;
        let words =
            "the broker grants QoS 0 only where QoS 1 was asked for, what it sends may be lost";
        Some(format!("{words}: {named}"))
    }
}

fn name(filter: &TopicFilter) -> String {
    let text = filter.as_str();
    match text.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first of them, and how many more there are; `None` where there is none.
fn list(named: impl Iterator<Item = String>, count: usize) -> Option<String> {
    let named: Vec<_> = named.take(NAMED_MAX).collect();
    let more = match count - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| named.join(", ") + &more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::new(text).unwrap()
    }

    #[test]
    fn a_filter_falls_short_until_it_is_granted_or_not_wanted() {
        let mut shortfalls = Shortfalls::default();
        assert_eq!(shortfalls.news(), None);
        shortfalls.refused(&filter("a/+"), "not authorized");
        shortfalls.granted(filter("b"), true);
        shortfalls.granted(filter("c"), true);
        let said = shortfalls.news().unwrap();
        assert_eq!(said.len(), 2);
        assert!(
            said[0].ends_with("nothing: a/+ (not authorized)"),
            "{said:?}"
        );
        assert!(said[1].ends_with("lost: b, c"), "{said:?}");
        assert_eq!(shortfalls.news(), None, "said once");
        shortfalls.disconnected();
        assert_eq!(shortfalls.news(), None, "they outlast the connection");
        shortfalls.granted(filter("a/+"), false);
        shortfalls.wanted(&[filter("a/+"), filter("c")]);
        let said = shortfalls.news().unwrap();
        assert!(said.len() == 1 && said[0].ends_with("lost: c"), "{said:?}");
        shortfalls.granted(filter("c"), false);
        assert_eq!(shortfalls.news().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_filter_that_is_not_dropped_is_named_until_it_is_asked_for_again() {
        let mut shortfalls = Shortfalls::default();
        shortfalls.kept(&filter("old/+"), "not authorized");
        let said = shortfalls.news().unwrap();
        assert!(said[0].ends_with("old/+ (not authorized)"), "{said:?}");
        assert_eq!(shortfalls.outcome_in_words().collect::<Vec<_>>(), said);
        shortfalls.wanted(&[filter("a")]);
        assert_eq!(shortfalls.news().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn single_refusals_are_not_told_once_more_with_the_outcome() {
        let mut shortfalls = Shortfalls::default();
        for number in 0..=NAMED_MAX {
            assert_eq!(shortfalls.outcome_in_words().count(), 0, "{number}");
            shortfalls.refused(&filter(&format!("t/{number:02}")), "no");
        }
        let words: Vec<_> = shortfalls.outcome_in_words().collect();
        assert!(
            words.len() == 1 && words[0].contains("and 1 more"),
            "{words:?}"
        );
    }

    #[test]
    fn no_more_than_a_few_filters_are_named_and_no_long_one_whole() {
        let mut shortfalls = Shortfalls::default();
        for number in 0..10_000 {
            shortfalls.granted(filter(&format!("t/{number:05}")), true);
        }
        shortfalls.refused(&filter(&"x".repeat(60_000)), "no");
        let said = shortfalls.news().unwrap();
        assert!(said.iter().all(|words| words.len() < 500), "{said:?}");
        assert!(said[1].contains("t/00009 and 9990 more"), "{said:?}");
        assert!(!shortfalls.are_few());
    }
}
