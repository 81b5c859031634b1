//! Gap records among a lane's waiting rows, and the ranges they tell. One whose record of the journal cannot be read
//! any more is known by nothing else, and then the next one tells what it told.

use super::gap::Gap;
use crate::commit::record::GapRow;
use crate::event::emission::Row;

/// So many are kept apart; of more, the two oldest count as one.
const APART_MAX: usize = 32;

/// The gap records among these rows: numbers, and what they tell.
pub(super) fn among(rows: &[Row]) -> Vec<(u64, Gap)> {
    let gaps = rows.iter();
    gaps.filter_map(|row| Some((row.seq, Gap::of(row)?)))
        .collect()
}

/// The gap records of a lane that wait, in the order of their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct GapRows(Vec<GapRow>);

impl GapRows {
    pub(super) fn new(kept: &[GapRow]) -> Self {
        Self(kept.to_vec())
    }

    pub(super) fn to_vec(&self) -> Vec<GapRow> {
        self.0.clone()
    }

    /// A gap record waits. One that is known may come again: where it is read, or written anew.
    pub(super) fn insert(&mut self, seq: u64, gap: Gap) {
        if self.0.last().is_some_and(|known| seq <= known.last) {
            return;
        }
        let Gap { from, to, count } = gap;
        self.0.push(GapRow {
            first: seq,
            last: seq,
            from,
            to,
            count,
        });
        if self.0.len() > APART_MAX
            && let [one, other, ..] = self.0.as_mut_slice()
        {
            let both = gap_of(one).and(Some(gap_of(other)));
            *other = GapRow {
                first: one.first,
                last: other.last,
                from: both.from,
                to: both.to,
                count: both.count,
            };
            self.0.remove(0);
        }
    }

    /// Rows were settled; `waiting` counts those of a range that are not.
    pub(super) fn settled(&mut self, waiting: impl Fn(u64, u64) -> u64) {
        self.0.retain(|row| waiting(row.first, row.last) > 0);
    }

    /// Union of what those among the rows of a range tell.
    pub(super) fn told_in(&self, first: u64, last: u64) -> Option<Gap> {
        let among = |row: &&GapRow| row.first <= last && row.last >= first;
        let told = self.0.iter().filter(among).map(gap_of);
        told.fold(None, |all, gap| Some(gap.and(all)))
    }
}

fn gap_of(row: &GapRow) -> Gap {
    let GapRow {
        from, to, count, ..
    } = *row;
    Gap { from, to, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64) -> Gap {
        let count = to + 1 - from;
        Gap { from, to, count }
    }

    #[test]
    fn each_is_known_until_it_is_settled() {
        let mut rows = GapRows::default();
        rows.insert(5, gap(2, 4));
        rows.insert(9, gap(6, 7));
        rows.insert(5, gap(2, 4));
        assert_eq!((rows.told_in(1, 4), rows.told_in(6, 8)), (None, None));
        assert_eq!(rows.told_in(5, 5), Some(gap(2, 4)));
        let both = Gap {
            from: 2,
            to: 7,
            count: 5,
        };
        assert_eq!(rows.told_in(4, 9), Some(both));
        rows.settled(|first, _| u64::from(first > 5));
        assert_eq!(rows.told_in(1, 20), Some(gap(6, 7)));
    }

    #[test]
    fn of_many_the_oldest_count_as_one() {
        let mut rows = GapRows::default();
        for n in 1..=100 {
            rows.insert(10 * n, gap(10 * n - 5, 10 * n - 1));
        }
        assert_eq!(rows.0.len(), APART_MAX);
        let all = Gap {
            from: 5,
            to: 999,
            count: 500,
        };
        assert_eq!(rows.told_in(1, 1_000), Some(all));
        assert_eq!(rows.told_in(1_000, 1_000), Some(gap(995, 999)));
        assert_eq!(rows.told_in(10, 10).map(|gap| gap.from), Some(5));
    }
}
