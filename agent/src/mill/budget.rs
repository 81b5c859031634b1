//! Bytes of effects that one event may cost, shared among the rules that it reaches: each has an equal
//! part for sure, what others leave goes round, and the order of names gives nobody more.

use crate::config::limits::EFFECT_BYTES_MAX;

/// Bytes of effects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(pub(super) usize);

/// Budget of one event, or of one due time.
#[derive(Debug)]
pub(super) struct Budget {
    /// Cost that all rules together may still cause.
    free: Cost,
    /// Part of it that belongs to rules other than the one at work.
    reserved: Cost,
    /// Cost that calls of the rule at work may still cause, where it is called once more after the others
    /// if it needs more.
    own: Option<Cost>,
    /// Cost granted in the present turn.
    taken: Cost,
    /// Cost that the turn would have had so far, a call that was refused included.
    needed: Cost,
}

impl Budget {
    /// A budget in which no other rule has a part.
    pub(super) fn alone() -> Self {
        Self {
            free: Cost(EFFECT_BYTES_MAX),
            reserved: Cost(0),
            own: None,
            taken: Cost(0),
            needed: Cost(0),
        }
    }

    /// Begins the turn of a rule beside others, to which `reserved` belongs; `own` is its own part where
    /// it comes again if it needs more.
    pub(super) fn begin(&mut self, reserved: Cost, own: Option<Cost>) {
        (self.reserved, self.own) = (reserved, own);
        (self.taken, self.needed) = (Cost(0), Cost(0));
    }

    /// Cost that all rules together may still cause.
    pub(super) fn free(&self) -> Cost {
        self.free
    }

    /// Cost that the rule at work was granted in this turn.
    pub(super) fn taken(&self) -> Cost {
        self.taken
    }

    /// Cost that it would have had, as far as that is known.
    pub(super) fn needed(&self) -> Cost {
        self.needed
    }

    /// Returns `true` if an event that costs too much is worked on once more after the other rules.
    pub(super) fn comes_again(&self) -> bool {
        self.own.is_some()
    }

    /// Lets the rule at work have what belongs to no other: it is too late for another turn.
    pub(super) fn comes_no_more(&mut self) {
        self.own = None;
    }

    /// Grants bytes to a call; returns `false` if they are too many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let own = self.own.map(|own| own.0.saturating_sub(self.taken.0));
        let room = own.map_or(self.unclaimed(), |own| Cost(own).min(self.free));
        self.grant(bytes, room)
    }

    /// Does the same for a window that fires because of the event, which cannot come again.
    pub(super) fn take_for_window(&mut self, bytes: usize) -> bool {
        self.grant(bytes, self.unclaimed())
    }

    fn unclaimed(&self) -> Cost {
        Cost(self.free.0.saturating_sub(self.reserved.0))
    }

    fn grant(&mut self, bytes: usize, room: Cost) -> bool {
        let needed = Cost(self.taken.0.saturating_add(bytes));
        self.needed = self.needed.max(needed);
        if bytes > room.0 {
            return false;
        }
        self.free.0 -= bytes;
        self.taken.0 += bytes;
        true
    }

    /// Gives back what was granted after `taken` was: a call that failed costs nothing.
    pub(super) fn give_back_to(&mut self, taken: Cost) {
        let bytes = self.taken.0.saturating_sub(taken.0);
        self.free.0 += bytes;
        self.taken.0 -= bytes;
    }
}

/// The highest level at which all needs, cut to it, are no more than `total` together.
pub(super) fn equal_part(mut needs: Vec<usize>, total: usize) -> usize {
    needs.sort_unstable();
    let (mut left, mut others) = (total, needs.len());
    for need in needs {
        let part = left / others.max(1);
        if need > part {
            return part;
        }
        left -= need;
        others -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_leave_goes_round_in_equal_parts() {
        assert_eq!(equal_part(vec![], 9), usize::MAX);
        assert_eq!(equal_part(vec![5, 4], 9), usize::MAX);
        assert_eq!(equal_part(vec![5, 5], 9), 4);
        assert_eq!(equal_part(vec![9, 1, 9], 9), 4);
        assert_eq!(equal_part(vec![100, 1, 2], 9), 6);
    }

    #[test]
    fn what_belongs_to_others_is_not_granted_and_what_failed_is_given_back() {
        let mut budget = Budget::alone();
        let half = EFFECT_BYTES_MAX / 2;
        budget.begin(Cost(half), Some(Cost(half)));
        assert!(budget.take(half - 1) && !budget.take(2));
        assert_eq!(budget.taken(), Cost(half - 1));
        assert_eq!(budget.needed(), Cost(half + 1));
        budget.give_back_to(Cost(10));
        assert_eq!(budget.free(), Cost(EFFECT_BYTES_MAX - 10));
        // A window takes what nobody else has a part in.
        budget.begin(Cost(half), Some(Cost(10)));
        assert!(!budget.take(11));
        assert!(budget.take_for_window(half - 10) && !budget.take_for_window(1));
        assert_eq!(budget.free(), Cost(half));
    }
}
