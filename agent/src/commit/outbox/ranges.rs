//! A set of numbers above a cursor, as ranges: what is settled of a lane. The cursor moves over what
//! is contiguous with it, so a few ranges are all there ever is.

use std::collections::BTreeMap;

/// The numbers 1 to `cursor`, and ranges beyond it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    cursor: u64,
    /// First to last, neither touching nor overlapping.
    beyond: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(super) fn new(cursor: u64, beyond: &[(u64, u64)]) -> Self {
        let mut ranges = Self {
            cursor,
            beyond: BTreeMap::new(),
        };
        for (first, last) in beyond {
            ranges.insert(*first, *last);
        }
        ranges
    }

    /// All numbers up to this one are in the set.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn beyond(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.beyond.iter().map(|(first, last)| (*first, *last))
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number <= self.cursor
            || self
                .beyond
                .range(..=number)
                .next_back()
                .is_some_and(|(_, last)| number <= *last)
    }

    /// Number of members of a range that are not in the set.
    pub(super) fn absent(&self, first: u64, last: u64) -> u64 {
        let first = first.max(self.cursor + 1);
        if last < first {
            return 0;
        }
        let overlap =
            |(start, end): (&u64, &u64)| (end.min(&last) + 1).saturating_sub(*start.max(&first));
        let known: u64 = self.beyond.range(..=last).map(overlap).sum();
        last - first + 1 - known
    }

    /// Puts a range in; returns how many of its numbers were new.
    pub(super) fn insert(&mut self, first: u64, last: u64) -> u64 {
        let first = first.max(self.cursor + 1);
        if last < first {
            return 0;
        }
        let (mut from, mut to, mut known) = (first, last, 0);
        let touching: Vec<_> = self
            .beyond
            .range(..=last.saturating_add(1))
            .rev()
            .take_while(|(_, end)| **end >= first - 1)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touching {
            let overlap_end = end.min(last);
            let overlap_start = start.max(first);
            known += (overlap_end + 1).saturating_sub(overlap_start);
            from = from.min(start);
            to = to.max(end);
            self.beyond.remove(&start);
        }
        if from == self.cursor + 1 {
            self.cursor = to;
        } else {
            self.beyond.insert(from, to);
        }
        last - first + 1 - known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    proptest::proptest! {
        #[test]
        fn it_is_a_set(inserts in proptest::collection::vec((1u64..60, 0u64..12), 1..40)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, more) in inserts {
                let new = (first..=first + more).filter(|n| model.insert(*n)).count() as u64;
                assert_eq!(ranges.absent(first, first + more), new);
                assert_eq!(ranges.insert(first, first + more), new);
                for n in 1..80 {
                    assert_eq!(ranges.contains(n), model.contains(&n), "{n}");
                }
                let cursor = (1..).take_while(|n| model.contains(n)).last().unwrap_or(0);
                assert_eq!(ranges.cursor(), cursor);
                let ends: Vec<_> = ranges.beyond().collect();
                for pair in ends.windows(2) {
                    assert!(pair[0].1 + 1 < pair[1].0, "{ends:?}");
                }
            }
        }
    }
}
