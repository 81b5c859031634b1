//! The functions by name and by number.

use std::sync::LazyLock;

use crate::function::Run;
use crate::functions::ALL;
use crate::{Budget, Context, FnError, Function, Kind, NESTING_MAX, Nulls, VALUE_BYTES_MAX, Value};

/// Similar names suggested for an unknown one.
const NEAREST_MAX: usize = 3;

static BY_NUMBER: LazyLock<Vec<Option<&'static Function>>> = LazyLock::new(|| {
    let mut numbered = Vec::new();
    for function in functions() {
        let place = usize::from(function.number);
        if numbered.len() <= place {
            numbered.resize(place + 1, None);
        }
        if let Some(slot) = numbered.get_mut(place) {
            *slot = Some(function);
        }
    }
    numbered
});

/// All functions, chapter by chapter.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    ALL.iter().copied().flatten()
}

/// The function of this name, in whatever case.
pub fn lookup(name: &str) -> Option<&'static Function> {
    functions().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// The function of this number.
pub fn by_number(number: u16) -> Option<&'static Function> {
    BY_NUMBER.get(usize::from(number)).copied().flatten()
}

/// The names most like a misspelt one, the likest first; none if nothing comes near.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.to_ascii_lowercase();
    // A third of the letters may be wrong; beyond that the name is another word.
    let limit = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &'static str)> = functions()
        .map(|function| (distance(&name, function.name), function.name))
        .filter(|(distance, candidate)| {
            *distance <= limit || (name.len() > 2 && candidate.starts_with(&name))
        })
        .collect();
    near.sort_unstable();
    near.truncate(NEAREST_MAX);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Letters to put in, take out, exchange or swap with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, wanted) in to.iter().enumerate() {
            let mut cost = (at(&last, j) + usize::from(letter != wanted))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && from.get(i - 1) == Some(wanted) && to.get(j - 1) == Some(letter);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, to.len())
}

/// Calls a scalar function, or an aggregate with each argument's values over the rows as a list;
/// for `deduplicate` the list of the rows themselves comes first.
///
/// # Errors
///
/// If the arguments are not what the function takes, or it cannot be called like this.
pub fn call(
    function: &Function,
    context: &mut Context<'_>,
    args: &[Value],
) -> Result<Value, FnError> {
    let Run::Call(run) = function.run else {
        return Err(FnError::NotCallable(function.name));
    };
    // `deduplicate` is handed the rows too, which SQL does not write.
    if function.kind == Kind::Scalar || args.len() < function.arity.min {
        check_arity(function, args)?;
    }
    if function.kind == Kind::Scalar && args.iter().any(Value::is_null) {
        match function.nulls {
            Nulls::Null => return Ok(Value::Null),
            Nulls::False => return Ok(Value::Bool(false)),
            Nulls::Zero => return Ok(Value::Int(0)),
            Nulls::MinusOne => return Ok(Value::Int(-1)),
            Nulls::Seen(_) => {}
        }
    }
    pay(function, context.budget, args)?;
    within_limits(run(context, args)?)
}

/// Pays for a call before it begins.
fn pay(function: &Function, budget: &mut Budget, args: &[Value]) -> Result<(), FnError> {
    budget.spend(function.price.fuel(args))?;
    let bytes = function.price.bytes(args);
    if bytes > budget.bytes {
        return Err(FnError::NoRoom);
    }
    Ok(())
}

/// Lets an analytic function see one more row. `counts` says whether the row is one of those that
/// `OVER (WHEN …)` asks for; `state` is what the last call for the same partition gave, at first
/// [`Value::Null`]. Gives the state after the row, and the value.
///
/// # Errors
///
/// If the arguments are not what the function takes; the state then stays as it was.
pub fn step(
    function: &Function,
    state: &Value,
    args: &[Value],
    counts: bool,
    budget: &mut Budget,
) -> Result<(Value, Value), FnError> {
    let Run::Step(run) = function.run else {
        return Err(FnError::NotCallable(function.name));
    };
    // Functions that count hits are handed the time, which SQL does not write.
    if args.len() < function.arity.min {
        check_arity(function, args)?;
    }
    pay(function, budget, args)?;
    pay(function, budget, std::slice::from_ref(state))?;
    let (state, value) = run(state, args, counts)?;
    Ok((within_limits(state)?, within_limits(value)?))
}

/// Without this a module could double a value again and again, or wrap it until a walk through it
/// ends the process.
fn within_limits(value: Value) -> Result<Value, FnError> {
    if value.size() > VALUE_BYTES_MAX || value.depth() > NESTING_MAX {
        return Err(FnError::TooLarge);
    }
    Ok(value)
}

fn check_arity(function: &Function, args: &[Value]) -> Result<(), FnError> {
    if function.arity.takes(args.len()) {
        return Ok(());
    }
    Err(FnError::Arity {
        name: function.name,
        arity: function.arity,
        count: args.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_answered_with_near_ones() {
        assert_eq!(nearest("avgg"), ["avg"]);
        assert_eq!(nearest("CONCAAT"), ["concat"]);
        assert_eq!(nearest("legnth"), ["length"]);
        assert_eq!(
            nearest("json_path"),
            [
                "json_path_query",
                "json_path_exists",
                "json_path_query_first"
            ]
        );
        assert!(nearest("frobnicate").is_empty());
    }
}
