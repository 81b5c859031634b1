//! The pairs of a join, in the order of both sides. Where the condition begins with an equality of two columns only pairs that meet it are gone
//! through: they are found by the column's value.

use std::collections::HashMap;
use std::sync::Arc;

use tidemill_abi::value::walk;
use tidemill_values::{Budget, Map, Value};

use super::Values;
use super::tuple::Tuple;
use crate::function::guest::GuestFault;
use crate::function::price::STEP_FUEL;

/// Bytes of a row in the index of a join.
const INDEXED_BYTES: usize = 64;

/// `true` if a walk is that of a join.
pub(super) fn is_join(what: i32) -> bool {
    (walk::INNER..=walk::FULL).contains(&(what & !walk::BY_COLUMN))
}

/// A join under way.
#[derive(Debug)]
pub(super) struct Join {
    kind: i32,
    left: Arc<Vec<Tuple>>,
    right: Vec<u32>,
    /// For each of the outer side the places of its partners on the inner side; all of them if there is no index.
    partners: Option<Vec<Arc<[u32]>>>,
    outer: usize,
    /// Number of partners of the outer one that were gone through.
    tried: usize,
    /// `true` if the outer one at hand has a partner.
    is_met: bool,
    right_met: Vec<bool>,
    pub(super) joined: Vec<Tuple>,
    /// Values and bytes of the call when the join began.
    pub(super) made: usize,
    pub(super) held: usize,
}

impl Values {
    /// Begins a join with the rows of a stream.
    pub(super) fn join(
        &mut self,
        what: i32,
        arg: i32,
        budget: &mut Budget,
    ) -> Result<Join, GuestFault> {
        let kind = what & !walk::BY_COLUMN;
        let by_column = what & walk::BY_COLUMN != 0;
        let columns = if by_column {
            self.take_args(2)?
        } else {
            Vec::new()
        };
        let (stream, left_stream) = if by_column {
            (arg & 0xff, arg >> 8)
        } else {
            (arg, 0)
        };
        let right = self.rows_of(usize::try_from(stream).unwrap_or(usize::MAX));
        let mut join = Join {
            kind,
            left: std::mem::take(&mut self.set),
            right_met: vec![false; right.len()],
            right,
            partners: None,
            outer: 0,
            tried: 0,
            is_met: false,
            joined: Vec::new(),
            made: 0,
            held: 0,
        };
        if let [Value::Text(left), Value::Text(right)] = &*columns {
            join.partners = self.partners(&join, (left_stream, left), right, budget)?;
        }
        (join.made, join.held) = (self.made.len(), self.held);
        Ok(join)
    }

    /// The partners of each of the outer side, by the values of a column on either side. `None` if some of these are not compared with others:
    /// then each pair says so by itself.
    fn partners(
        &mut self,
        join: &Join,
        (left_stream, left): (i32, &str),
        right: &str,
        budget: &mut Budget,
    ) -> Result<Option<Vec<Arc<[u32]>>>, GuestFault> {
        let left: Vec<Value> = join
            .left
            .iter()
            .map(|tuple| self.column_of(tuple.rows(), Some(left_stream), left, budget))
            .collect::<Result<_, _>>()?;
        let right: Vec<Value> = join
            .right
            .iter()
            .map(|row| self.column_of([*row].into_iter(), None, right, budget))
            .collect::<Result<_, _>>()?;
        let mut classes = left.iter().chain(&right).filter(|value| !value.is_null());
        let first = classes.next().and_then(class);
        if first.is_none() && !left.is_empty() && left.iter().chain(&right).any(|v| !v.is_null()) {
            return Ok(None);
        }
        if classes.any(|value| class(value) != first) {
            return Ok(None);
        }
        let weight: usize = left.iter().chain(&right).map(Value::weight).sum();
        budget.spend(weight as u64 * 2)?;
        self.hold((left.len() + right.len()) * INDEXED_BYTES + weight)?;
        let (outer, inner) = match join.kind {
            walk::RIGHT => (right, left),
            _ => (left, right),
        };
        let mut places: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for (place, value) in (0..).zip(&inner).filter(|(_, value)| !value.is_null()) {
            places
                .entry(value.identity_bytes())
                .or_default()
                .push(place);
        }
        let places: HashMap<Vec<u8>, Arc<[u32]>> = places
            .into_iter()
            .map(|(value, places)| (value, places.into()))
            .collect();
        let none: Arc<[u32]> = Arc::default();
        let of = |value: &Value| match value {
            Value::Null => none.clone(),
            value => places.get(&value.identity_bytes()).unwrap_or(&none).clone(),
        };
        Ok(Some(outer.iter().map(of).collect()))
    }

    /// A column of the first of some rows that belongs to a stream.
    fn column_of(
        &self,
        mut rows: impl Iterator<Item = u32>,
        stream: Option<i32>,
        name: &str,
        budget: &mut Budget,
    ) -> Result<Value, GuestFault> {
        let is_of = |row: usize| stream.is_none_or(|stream| usize::try_from(stream) == Ok(row));
        let columns: Option<&Map> = rows.find_map(|row| {
            let row = self.rows.get(row as usize)?;
            is_of(row.stream).then_some(&*row.columns)
        });
        let Some(columns) = columns else {
            return Ok(Value::Null);
        };
        let found = match columns.get(name) {
            Some(value) => Some(value),
            None => {
                budget.spend(columns.len() as u64 * STEP_FUEL)?;
                columns.get_column(name)
            }
        };
        Ok(found.cloned().unwrap_or_default())
    }
}

/// Classes of values that are equal exactly if they are the same; `None` for what an equality refuses, or reads first.
fn class(value: &Value) -> Option<u8> {
    match value {
        Value::Int(_) | Value::Wide(_) | Value::Float(_) => Some(0),
        Value::Text(_) => Some(1),
        Value::Bool(_) => Some(2),
        Value::Bytes(_) => Some(3),
        _ => None,
    }
}

impl Join {
    /// The next pair; what has no partner is dealt with on the way. A right join goes through the
    /// right side and looks for partners on the left, all others the other way round.
    pub(super) fn pair(&mut self) -> Option<Tuple> {
        let from_right = self.kind == walk::RIGHT;
        let keeps = matches!(self.kind, walk::LEFT | walk::RIGHT | walk::FULL);
        let (outers, inners) = if from_right {
            (self.right.len(), self.left.len())
        } else {
            (self.left.len(), self.right.len())
        };
        while self.outer < outers {
            if let Some(inner) = self.partner(inners) {
                self.tried += 1;
                let (left, right) = if from_right {
                    (inner, self.outer)
                } else {
                    (self.outer, inner)
                };
                let (left, right) = (self.left.get(left)?, *self.right.get(right)?);
                return Some(if from_right {
                    left.behind(right)
                } else {
                    left.and(right)
                });
            }
            if keeps && !self.is_met {
                let alone = self.alone(self.outer);
                self.joined.extend(alone);
            }
            self.outer += 1;
            self.tried = 0;
            self.is_met = false;
        }
        if std::mem::replace(&mut self.kind, walk::INNER) == walk::FULL {
            let alone = self.right.iter().zip(&self.right_met);
            let alone = alone.filter(|(_, met)| !**met);
            self.joined
                .extend(alone.map(|(row, _)| Tuple::single(*row)));
        }
        None
    }

    /// The place of the partner that comes next.
    fn partner(&self, inners: usize) -> Option<usize> {
        match &self.partners {
            None => Some(self.tried).filter(|place| *place < inners),
            Some(partners) => {
                let place = partners.get(self.outer)?.get(self.tried)?;
                usize::try_from(*place).ok()
            }
        }
    }

    /// The tuple at `place` of the outer side, without a partner.
    fn alone(&self, place: usize) -> Option<Tuple> {
        match self.kind {
            walk::RIGHT => self.right.get(place).copied().map(Tuple::single),
            _ => self.left.get(place).cloned(),
        }
    }

    /// The pair at hand belongs together.
    pub(super) fn met(&mut self) {
        self.is_met = true;
        // Only a full join, which goes through the left side, asks for these.
        let Some(before) = self.tried.checked_sub(1) else {
            return;
        };
        let place = match &self.partners {
            None => Some(before),
            Some(partners) => {
                let places = partners.get(self.outer);
                let place = places.and_then(|places| places.get(before));
                place.and_then(|place| usize::try_from(*place).ok())
            }
        };
        if let Some(met) = place.and_then(|place| self.right_met.get_mut(place)) {
            *met = true;
        }
    }
}
