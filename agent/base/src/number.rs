//! Numbers that name something, as types of their own: two of them cannot be swapped, and nobody adds
//! one to another.

/// Declares a type for a number that names something. With `counts`, the numbers rise by one each, so
/// that "so many further" and "so many between" mean something.
#[macro_export]
macro_rules! number {
    ($(#[$doc:meta])* $vis:vis struct $name:ident($inner:ty);) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        $vis struct $name($inner);

        impl $name {
            /// The number with this value, as a record, a message or a file bears it.
            $vis const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The value, for what is written, sent or shown.
            $vis const fn get(self) -> $inner {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }

        // Like the bare number, so that what is shown of a struct reads as its values.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
    ($(#[$doc:meta])* $vis:vis struct $name:ident($inner:ty) counts;) => {
        $crate::number! {
            $(#[$doc])*
            $vis struct $name($inner);
        }

        impl $name {
            /// The number so many behind this one; the highest there is, if that is beyond it.
            $vis const fn saturating_add(self, count: $inner) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// The number so many before this one; 0, if that is beyond it.
            $vis const fn saturating_sub(self, count: $inner) -> Self {
                Self(self.0.saturating_sub(count))
            }

            /// The number so many before this one, if there is one.
            $vis const fn checked_sub(self, count: $inner) -> Option<Self> {
                match self.0.checked_sub(count) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The count from `earlier` up to this one; 0, if `earlier` is later.
            $vis const fn since(self, earlier: Self) -> $inner {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl std::ops::Add<$inner> for $name {
            type Output = Self;

            fn add(self, count: $inner) -> Self {
                Self(self.0 + count)
            }
        }

        impl std::ops::AddAssign<$inner> for $name {
            fn add_assign(&mut self, count: $inner) {
                self.0 += count;
            }
        }

        impl std::ops::Sub<$inner> for $name {
            type Output = Self;

            fn sub(self, count: $inner) -> Self {
                Self(self.0 - count)
            }
        }
    };
}

number! {
    /// The number of a record in the journal: given by the journal, from 1 on, one more for each record and
    /// never again; 8 bytes in each record. 0 stands before the first one.
    pub struct Lsn(u64) counts;
}

impl Lsn {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The first record of a new journal.
    pub const FIRST: Self = Self(1);

    /// Behind all records.
    pub const MAX: Self = Self(u64::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_count_stop_at_both_ends() {
        let lsn = Lsn::new(5);
        assert_eq!((lsn + 2).get(), 7);
        assert_eq!((lsn - 5), Lsn::ZERO);
        assert_eq!(lsn.saturating_sub(6), Lsn::ZERO);
        assert_eq!(lsn.checked_sub(6), None);
        assert_eq!(Lsn::MAX.saturating_add(1), Lsn::MAX);
        assert_eq!(lsn.since(Lsn::new(2)), 3);
        assert_eq!(lsn.since(Lsn::new(9)), 0);
        assert_eq!(format!("{lsn} {lsn:?} {lsn:>3}"), "5 5   5");
    }
}
