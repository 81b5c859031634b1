//! Functions that remember. What they remember is a value that the caller keeps, one for each call in
//! the statement and each partition; before the first row it is nothing.

mod accumulating;
mod changes;

use super::arguments::{truth, whole};
use super::table::analytic;
use crate::{FnError, Function, Price, Value};

use accumulating::{acc_avg, acc_count, acc_max, acc_min, acc_sum};
use changes::{changed_col, changed_cols, had_changed};

/// The state after a row, and what the function gives for it.
type Answer = Result<(Value, Value), FnError>;

/// Rows that `lag` may look back.
const LAG_MAX: i64 = 1_000;

pub(super) const FUNCTIONS: &[Function] = &[
    analytic(
        1001,
        "lag",
        "value[, rows[, default[, ignore_null]]]",
        "the value so many rows ago, 1 to 1,000, 1 if not said; before that the default",
        "does not count as a row unless `ignore_null` is false",
        lag,
    ).price(Price::flat(60).makes(24).element(16).weight(6)),
    analytic(
        1002,
        "latest",
        "value[, default]",
        "the last value that was not `NULL`; before the first the default",
        "the one before",
        latest,
    ).price(Price::flat(60).weight(6)),
    analytic(
        1003,
        "changed_col",
        "ignore_null, value",
        "the value if it is another than in the row before, else `NULL`",
        "not looked at if `ignore_null`",
        changed_col,
    ).price(Price::flat(60).weight(6)),
    analytic(
        1004,
        "changed_cols",
        "prefix, ignore_null, value, …",
        "columns: those of its values that are others than in the row before, with the prefix before their names",
        "not looked at if `ignore_null`",
        changed_cols,
    ).price(Price::flat(150).makes(112).element(160).weight(16)),
    analytic(
        1005,
        "had_changed",
        "ignore_null, value, …",
        "whether one of the values is another than in the row before",
        "not looked at if `ignore_null`",
        had_changed,
    ).price(Price::flat(60).makes(24).element(16).weight(6)),
    analytic(
        1006,
        "acc_count",
        "value[, begin, reset]",
        "how many values there were so far",
        "does not count",
        acc_count,
    ).price(Price::flat(150)),
    analytic(
        1007,
        "acc_sum",
        "x[, begin, reset]",
        "the sum so far, a float",
        "does not count",
        acc_sum,
    ).price(Price::flat(150)),
    analytic(
        1008,
        "acc_avg",
        "x[, begin, reset]",
        "the mean so far, a float",
        "does not count",
        acc_avg,
    ).price(Price::flat(150)),
    analytic(
        1009,
        "acc_min",
        "x[, begin, reset]",
        "the smallest so far, a float",
        "does not count",
        acc_min,
    ).price(Price::flat(150)),
    analytic(
        1010,
        "acc_max",
        "x[, begin, reset]",
        "the largest so far, a float",
        "does not count",
        acc_max,
    ).price(Price::flat(150)),
    analytic(
        1011,
        "last_hit_count",
        "",
        "how often the condition has held before",
        "",
        hit_count,
    ).price(Price::flat(150)),
    analytic(
        1012,
        "last_hit_time",
        "",
        "the event's time when the condition last held, 0 before",
        "",
        hit_time,
    ).price(Price::flat(150)),
    analytic(
        1013,
        "last_agg_hit_count",
        "",
        "how often the condition on groups has held before",
        "",
        hit_count,
    ).price(Price::flat(150)),
    analytic(
        1014,
        "last_agg_hit_time",
        "",
        "the event's time when the condition on groups last held, 0 before",
        "",
        hit_time,
    ).price(Price::flat(150)),
];

/// The state is the rows that are still to come out, the oldest first.
fn lag(state: &Value, args: &[Value], counts: bool) -> Answer {
    let value = args.first().cloned().unwrap_or_default();
    let ignore_null = if args.len() > 3 {
        truth(args, 3)?
    } else {
        true
    };
    let mut rows = match state {
        Value::List(rows) if !rows.is_empty() => rows.to_vec(),
        Value::Null => {
            let count = if args.len() > 1 { whole(args, 1)? } else { 1 };
            if !(1..=LAG_MAX).contains(&count) {
                return Err(FnError::argument(args, 1, "a whole number from 1 to 1,000"));
            }
            vec![args.get(2).cloned().unwrap_or_default(); count as usize]
        }
        other => return Err(FnError::State(other.shown())),
    };
    let oldest = rows.first().cloned().unwrap_or_default();
    if counts && !(ignore_null && value.is_null()) {
        rows.rotate_left(1);
        if let Some(last) = rows.last_mut() {
            *last = value;
        }
    }
    Ok((Value::list(rows), oldest))
}

/// The state is the last value.
fn latest(state: &Value, args: &[Value], counts: bool) -> Answer {
    let value = args.first().cloned().unwrap_or_default();
    let (state, given) = match (counts && !value.is_null(), state) {
        (true, _) => (value.clone(), value),
        (false, Value::Null) => (Value::Null, args.get(1).cloned().unwrap_or_default()),
        (false, state) => (state.clone(), state.clone()),
    };
    Ok((state, given))
}

/// The state is the count. `counts` says that the condition holds now.
fn hit_count(state: &Value, _: &[Value], counts: bool) -> Answer {
    let before = match state {
        Value::Null => 0,
        Value::Int(count) => *count,
        other => return Err(FnError::State(other.shown())),
    };
    Ok((
        Value::Int(before.wrapping_add(counts.into())),
        Value::Int(before),
    ))
}

/// The state is the time. `counts` says that the condition holds now, and the argument, which SQL
/// does not write, what the time is.
fn hit_time(state: &Value, args: &[Value], counts: bool) -> Answer {
    let before = match state {
        Value::Null => Value::Int(0),
        Value::Int(_) => state.clone(),
        other => return Err(FnError::State(other.shown())),
    };
    let after = if counts {
        Value::Int(whole(args, 0)?)
    } else {
        state.clone()
    };
    Ok((after, before))
}

#[cfg(test)]
mod tests;
