//! Many filters at once: a tree of their levels, in which a topic, or another filter, is held against
//! all of them in the time of its own levels.

use super::TopicFilter;

/// Filters, each with a value.
#[derive(Debug)]
pub struct FilterTree<T> {
    /// Children by name, in order: smaller than a hash map with one child, as most nodes have.
    literal: Vec<(Box<str>, Self)>,
    any_level: Option<Box<Self>>,
    ends_here: Vec<T>,
    takes_rest: Vec<T>,
}

impl<T> Default for FilterTree<T> {
    fn default() -> Self {
        Self {
            literal: Vec::new(),
            any_level: None,
            ends_here: Vec::new(),
            takes_rest: Vec::new(),
        }
    }
}

impl<T> FilterTree<T> {
    /// A tree over these filters.
    pub fn new<'a>(filters: impl IntoIterator<Item = (&'a TopicFilter, T)>) -> Self {
        let mut filters: Vec<_> = filters.into_iter().collect();
        // In this order a new child is the last one. In front of ten thousand it would move them all.
        #[allow(clippy::disallowed_methods, reason = "levels are texts")]
        filters.sort_by(|(a, _), (b, _)| a.levels().cmp(b.levels()));
        let mut tree = Self::default();
        for (filter, value) in filters {
            tree.insert(filter, value);
        }
        tree
    }

    fn insert(&mut self, filter: &TopicFilter, value: T) {
        let mut tree = self;
        for level in filter.levels() {
            tree = match level {
                "#" => return tree.takes_rest.push(value),
                "+" => tree.any_level.get_or_insert_default(),
                literal => tree.child(literal),
            };
        }
        tree.ends_here.push(value);
    }

    fn child(&mut self, level: &str) -> &mut Self {
        let place = match self.find(level) {
            Ok(place) => place,
            Err(place) => {
                if self.literal.is_empty() {
                    self.literal.reserve_exact(1);
                }
                self.literal.insert(place, (level.into(), Self::default()));
                place
            }
        };
        let (_, tree) = self
            .literal
            .get_mut(place)
            .expect("it was just found or put there");
        tree
    }

    fn find(&self, level: &str) -> Result<usize, usize> {
        self.literal
            .binary_search_by(|(name, _)| (**name).cmp(level))
    }

    fn literal(&self, level: &str) -> Option<&Self> {
        let place = self.find(level).ok()?;
        self.literal.get(place).map(|(_, tree)| tree)
    }

    /// Hands over the values of all filters that match a topic, in no particular order.
    pub fn each_match<'t>(&'t self, topic: &str, found: &mut impl FnMut(&'t T)) {
        let (level, rest) = split(topic);
        self.collect(level, rest, topic.starts_with('$'), found);
    }

    /// Wildcards do not match a first level that begins with `$`.
    fn collect<'t>(
        &'t self,
        level: &str,
        rest: Option<&str>,
        system: bool,
        found: &mut impl FnMut(&'t T),
    ) {
        if !system {
            self.takes_rest.iter().for_each(&mut *found);
        }
        let wild = self.any_level.as_deref().filter(|_| !system);
        for tree in self.literal(level).into_iter().chain(wild) {
            match rest {
                None => {
                    tree.ends_here.iter().for_each(&mut *found);
                    tree.takes_rest.iter().for_each(&mut *found);
                }
                Some(rest) => {
                    let (level, rest) = split(rest);
                    tree.collect(level, rest, false, found);
                }
            }
        }
    }

    /// `true` if one of the filters matches whatever this one matches; a filter that is in the tree
    /// covers itself.
    pub fn covers(&self, filter: &TopicFilter) -> bool {
        self.covers_levels(filter, Own::Counts)
    }

    /// The same, of filters other than this one.
    pub fn another_covers(&self, filter: &TopicFilter) -> bool {
        self.covers_levels(filter, Own::Met)
    }

    fn covers_levels(&self, filter: &TopicFilter, own: Own) -> bool {
        let text = filter.as_str();
        if !text.starts_with('$') {
            return self.covers_rest(Some(text), own);
        }
        let (level, rest) = split(text);
        self.literal(level)
            .is_some_and(|tree| tree.covers_rest(rest, own))
    }

    fn covers_rest(&self, rest: Option<&str>, own: Own) -> bool {
        let is_own_rest = own == Own::Met && rest == Some("#");
        if !self.takes_rest.is_empty() && !is_own_rest {
            return true;
        }
        let Some(rest) = rest else {
            return !self.ends_here.is_empty() && own != Own::Met;
        };
        let wild = self.any_level.as_deref();
        match split(rest) {
            ("#", None) => false,
            ("+", rest) => wild.is_some_and(|tree| tree.covers_rest(rest, own)),
            (level, rest) => {
                let literal = self.literal(level);
                literal.is_some_and(|tree| tree.covers_rest(rest, own))
                    || wild.is_some_and(|tree| tree.covers_rest(rest, own.wider()))
            }
        }
    }
}

/// Relation of a path through the tree to the filter asked for, which may be in the tree itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    /// The path may be that filter, which counts.
    Counts,
    /// The path is that filter so far, which would not count.
    Met,
    /// The path is another filter.
    Left,
}

impl Own {
    /// The path takes a wildcard where the filter has a name.
    fn wider(self) -> Self {
        match self {
            Self::Counts => Self::Counts,
            Self::Met | Self::Left => Self::Left,
        }
    }
}

/// The first level, and what follows the slash after it.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filters() -> impl Strategy<Value = Vec<TopicFilter>> {
        let level = prop::sample::select(vec!["a", "b", "+", "", "$x", "#"]);
        let filter = prop::collection::vec(level, 1..5).prop_filter_map("no filter", |levels| {
            TopicFilter::new(&levels.join("/")).ok()
        });
        prop::collection::vec(filter, 1..20)
    }

    proptest! {
        #[test]
        fn a_tree_covers_and_matches_what_its_filters_do(all in filters(), more in filters()) {
            let tree = FilterTree::new(all.iter().zip(0..));
            for asked in all.iter().chain(&more) {
                let others = all.iter().filter(|filter| *filter != asked);
                let another = others.clone().any(|filter| filter.covers(asked));
                prop_assert_eq!(tree.another_covers(asked), another, "{} in {:?}", asked, all);
                let any = another || all.contains(asked);
                prop_assert_eq!(tree.covers(asked), any, "{} in {:?}", asked, all);
                let topic = asked.as_str().replace(['+', '#'], "b");
                let mut found = Vec::new();
                tree.each_match(&topic, &mut |place| found.push(*place));
                found.sort_unstable();
                let expected: Vec<usize> =
                    (0..all.len()).filter(|place| all[*place].matches(&topic)).collect();
                prop_assert_eq!(found, expected, "{} in {:?}", topic, all);
            }
        }
    }
}
