//! Partial failures of a firing window: a row whose values have the wrong type, or a group. The
//! function goes on as if it had met null there, and the results of that part are dropped.

use tidemill_values::{Budget, SLOT_BYTES, Value, total_order};

use super::Values;
use super::walk::{SEVERAL, Way};
use crate::event::state::Key;
use crate::function::guest::GuestFault;
use crate::function::price::{REASON_FUEL, STEP_FUEL};

/// The part of a firing that a fault of values affects.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::function) enum Spoil {
    /// The row with this number: the firing begins anew without it.
    Row(usize),
    /// A group: the firing continues without its emissions.
    Group(Option<Key>),
    /// A pair of rows, outside of a group: it is left out.
    Pair,
    /// A group or a pair that has failed before.
    Again,
    /// The call as a whole.
    Call,
}

impl Values {
    /// The part affected by a fault that occurs now; the part is marked as failed.
    pub(in crate::function) fn spoil(&mut self) -> Spoil {
        if !self.spec.apart {
            return Spoil::Call;
        }
        let key = self.group_key();
        let single = self.current.only();
        let in_group = self
            .walks
            .iter()
            .any(|walk| matches!(walk.way, Way::Groups));
        for walk in self.walks.iter_mut().rev() {
            let spoil = match (&walk.way, single) {
                // An element is part of the row or the group around it.
                (Way::List(_), _) => continue,
                (Way::Rows(_) | Way::Filter { .. }, Some(row)) => return Spoil::Row(row),
                (Way::Groups, _) => Spoil::Group(key),
                // Of pairs in a group none can be left out without the others.
                (Way::Rows(_), None) if in_group => continue,
                (Way::Rows(_) | Way::Filter { .. } | Way::Join(_), _) => Spoil::Pair,
            };
            return if std::mem::replace(&mut walk.spoiled, true) {
                Spoil::Again
            } else {
                spoil
            };
        }
        Spoil::Call
    }

    /// `true` if the current part has failed, so that nothing of it is sent.
    pub(super) fn is_spoiled(&self) -> bool {
        self.walks.iter().any(|walk| walk.spoiled)
    }

    /// Removes gathered values that are not comparable with the others, and returns them with their
    /// rows: if numbers and texts meet, the numbers count.
    pub(in crate::function) fn take_misfits(
        &self,
        budget: &mut Budget,
    ) -> Result<Vec<(usize, Value)>, GuestFault> {
        let Some(values) = self.gathered.first() else {
            return Ok(Vec::new());
        };
        let weight: usize = values.iter().map(Value::weight).sum();
        let steps = values.len() as u64;
        budget.spend(steps * STEP_FUEL + weight as u64 / 4)?;
        let present = values.iter().filter(|value| !value.is_null());
        let Some(first) = present.min_by(|a, b| total_order(a, b)) else {
            return Ok(Vec::new());
        };
        let first = class(first);
        let misfit = |value: &Value| !value.is_null() && class(value) != first;
        let all = values.iter().zip(&self.gathered_of);
        let found = all.filter(|(value, _)| misfit(value));
        let found = found.filter_map(|(value, row)| Some((single(*row)?, value.clone())));
        let found: Vec<(usize, Value)> = found.collect();
        budget.spend(found.len() as u64 * REASON_FUEL)?;
        budget.hold(found.len() * 2 * SLOT_BYTES)?;
        Ok(found)
    }
}

/// The number of a row that stands alone.
fn single(row: u32) -> Option<usize> {
    usize::try_from(row).ok().filter(|_| row != SEVERAL)
}

/// Classes of values that are comparable with each other.
fn class(value: &Value) -> u8 {
    match value {
        Value::Text(_) => 1,
        Value::Datetime(_) => 2,
        _ => 0,
    }
}
