//! Rows that belong together, by number. Most are one, two or three, which takes no memory beside the tuple's own.

/// Bytes of a tuple in a set.
pub(in crate::function) const TUPLE_BYTES: usize = 16;
/// Rows that a tuple holds by itself.
const FEW: usize = 3;

/// Rows that belong together. If several have a column, the first one's counts.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::function) enum Tuple {
    /// As many as the first number says.
    Few(u8, [u32; FEW]),
    /// Any number; boxed twice, so that the others take no room for a length.
    #[allow(clippy::box_collection, reason = "a tuple is to take two words")]
    Many(Box<Vec<u32>>),
}

impl Default for Tuple {
    fn default() -> Self {
        Self::Few(0, [0; FEW])
    }
}

impl Tuple {
    /// A single row.
    pub(in crate::function) fn single(row: u32) -> Self {
        Self::Few(1, [row, 0, 0])
    }

    /// The same and one row more, behind the others.
    pub(in crate::function) fn and(&self, row: u32) -> Self {
        Self::of(self.rows().chain([row]))
    }

    /// The same and one row more, in front of the others.
    pub(in crate::function) fn behind(&self, row: u32) -> Self {
        Self::of([row].into_iter().chain(self.rows()))
    }

    fn of(rows: impl Iterator<Item = u32> + Clone) -> Self {
        let mut few = [0; FEW];
        let mut count = 0;
        for row in rows.clone() {
            let Some(place) = few.get_mut(usize::from(count)) else {
                return Self::Many(Box::new(rows.collect()));
            };
            *place = row;
            count += 1;
        }
        Self::Few(count, few)
    }

    /// The number of the row, if it is one alone.
    pub(in crate::function) fn only(&self) -> Option<usize> {
        match self {
            Self::Few(1, [row, ..]) => usize::try_from(*row).ok(),
            _ => None,
        }
    }

    /// The rows, the left-most first.
    pub(in crate::function) fn rows(&self) -> impl Iterator<Item = u32> + Clone + '_ {
        let rows = match self {
            Self::Few(count, rows) => rows.get(..usize::from(*count)).unwrap_or_default(),
            Self::Many(rows) => rows,
        };
        rows.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_holds_its_rows_in_order() {
        let mut tuple = Tuple::default();
        for row in 0..5 {
            let rows: Vec<u32> = tuple.rows().collect();
            assert_eq!(rows, (0..row).collect::<Vec<_>>());
            assert_eq!(tuple.only(), (row == 1).then_some(0));
            tuple = tuple.and(row);
        }
        let rows: Vec<u32> = tuple.behind(9).rows().collect();
        assert_eq!(rows, [9, 0, 1, 2, 3, 4]);
        assert_eq!(Tuple::single(7).only(), Some(7));
        assert!(size_of::<Tuple>() <= TUPLE_BYTES);
    }
}
