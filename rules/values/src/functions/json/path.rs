//! Evaluation of paths in values.

use super::filter::Filter;
use super::parse::{PathError, parse};
use crate::{Budget, Value};

/// Places that one query may visit: `$..*..*` visits the same ones again and again.
const VISITS_MAX: usize = 100_000;
/// Fuel of a place that is visited.
const VISIT_FUEL: u64 = 60;
/// Fuel of a place that is found.
const FOUND_FUEL: u64 = 20;

/// Places that a query has visited, and what it pays them with.
pub(super) struct Visits<'a> {
    count: usize,
    budget: &'a mut Budget,
}

impl Visits<'_> {
    fn add(&mut self, visits: usize, fuel: u64) -> Result<(), QueryError> {
        self.count += visits;
        if self.count > VISITS_MAX {
            return Err(QueryError::TooMany);
        }
        let paid = self.budget.spend(visits as u64 * fuel);
        paid.map_err(|_| QueryError::OutOfFuel)
    }

    /// Pays for work of a filter.
    pub(super) fn spend(&mut self, fuel: u64) -> Result<(), QueryError> {
        self.budget.spend(fuel).map_err(|_| QueryError::OutOfFuel)
    }
}

/// A path that was read.
#[derive(Debug)]
pub(crate) struct Path {
    pub(super) steps: Vec<Step>,
}

/// From one place to others.
#[derive(Debug)]
pub(super) enum Step {
    /// `.name`, `['name']`
    Name(Box<str>),
    /// `[0]`, `[-1]`
    Place(i64),
    /// `*`
    All,
    /// `..`: to the place itself and everything in it.
    Descend,
    /// `['a', 'b']`, `[0, 2]`
    Several(Vec<Step>),
    /// `[start:end:step]`
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    /// `[? @.x > 1]`
    Filter(Filter),
}

/// Why a path finds nothing that could be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("the path has no {0:?} to go on with")]
    NoName(Box<str>),
    #[error("the path has no element {0} to go on with")]
    NoPlace(i64),
    #[error("the path looks at more than {VISITS_MAX} places")]
    TooMany,
    #[error("out of fuel")]
    OutOfFuel,
}

impl Step {
    /// `true` if the step leads to one place at most.
    fn is_plain(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Place(_))
    }
}

impl Path {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        parse(text)
    }

    /// The value at the path: one value, or a list if the path may lead to several.
    pub(crate) fn query(&self, root: &Value, budget: &mut Budget) -> Result<Value, QueryError> {
        let mut visits = Visits { count: 0, budget };
        let plain = self.steps.iter().take_while(|step| step.is_plain()).count();
        let (plain, others) = self.steps.split_at_checked(plain).unwrap_or_default();
        let mut at = root.clone();
        for step in plain {
            at = match step {
                Step::Name(name) => at
                    .as_map()
                    .and_then(|map| map.get(name))
                    .cloned()
                    .ok_or_else(|| QueryError::NoName(name.clone()))?,
                Step::Place(place) if at.as_list().is_some() => {
                    one(&at, step).next().unwrap_or_default()
                }
                Step::Place(place) => return Err(QueryError::NoPlace(*place)),
                _ => at,
            };
        }
        if others.is_empty() {
            return Ok(at);
        }
        let mut found = vec![at];
        for step in others {
            let mut next = Vec::new();
            for value in &found {
                follow(step, value, root, &mut next, &mut visits)?;
            }
            found = next;
        }
        Ok(Value::list(found))
    }

    /// The first value at the path, for filters.
    pub(super) fn first(
        &self,
        from: &Value,
        root: &Value,
        visits: &mut Visits<'_>,
    ) -> Result<Option<Value>, QueryError> {
        let mut found = vec![from.clone()];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in &found {
                follow(step, value, root, &mut next, visits)?;
            }
            found = next;
        }
        Ok(found.into_iter().next())
    }
}

fn follow(
    step: &Step,
    value: &Value,
    root: &Value,
    found: &mut Vec<Value>,
    visits: &mut Visits<'_>,
) -> Result<(), QueryError> {
    visits.add(1, VISIT_FUEL)?;
    match step {
        Step::Name(_) | Step::Place(_) => found.extend(one(value, step)),
        Step::All => {
            visits.spend(value.elements() as u64 * FOUND_FUEL)?;
            found.extend(inner(value).cloned());
        }
        Step::Descend => {
            found.push(value.clone());
            for inner in inner(value) {
                follow(step, inner, root, found, visits)?;
            }
        }
        Step::Several(steps) => {
            for step in steps {
                follow(step, value, root, found, visits)?;
            }
        }
        Step::Slice { start, end, step } => {
            visits.spend(value.elements() as u64 * FOUND_FUEL)?;
            found.extend(slice(
                value.as_list().unwrap_or_default(),
                *start,
                *end,
                *step,
            ));
        }
        Step::Filter(filter) => {
            for inner in inner(value) {
                visits.add(1, VISIT_FUEL)?;
                if filter.holds(inner, root, visits)? {
                    found.push(inner.clone());
                }
            }
        }
    }
    if visits.count + found.len() > VISITS_MAX {
        return Err(QueryError::TooMany);
    }
    Ok(())
}

fn one(value: &Value, step: &Step) -> impl Iterator<Item = Value> + use<> {
    match (step, value) {
        (Step::Name(name), Value::Map(map)) => map.get(name).cloned(),
        (Step::Place(place), Value::List(list)) => {
            let place = if *place < 0 {
                place.saturating_add(list.len() as i64)
            } else {
                *place
            };
            usize::try_from(place)
                .ok()
                .and_then(|place| list.get(place))
                .cloned()
        }
        _ => None,
    }
    .into_iter()
}

fn inner(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::List(list) => Box::new(list.iter()),
        Value::Map(map) => Box::new(map.iter().map(|(_, value)| value)),
        _ => Box::new(std::iter::empty()),
    }
}

fn slice(list: &[Value], start: Option<i64>, end: Option<i64>, step: i64) -> Vec<Value> {
    let len = list.len() as i64;
    let bound = |bound: i64| {
        let place = if bound < 0 {
            bound.saturating_add(len)
        } else {
            bound
        };
        place.clamp(0, len) as usize
    };
    let (start, end) = (start.map_or(0, bound), end.map_or(list.len(), bound));
    let part = list.get(start..end).unwrap_or_default();
    let stride = usize::try_from(step.unsigned_abs())
        .unwrap_or(usize::MAX)
        .max(1);
    if step < 0 {
        part.iter().rev().step_by(stride).cloned().collect()
    } else {
        part.iter().step_by(stride).cloned().collect()
    }
}
