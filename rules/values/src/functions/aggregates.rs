//! One value from many rows. Each argument is an array of its values over the rows; those that are
//! nothing do not count. Whole numbers give whole numbers as long as no float is among them.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::arguments::list;
use super::table::aggregate;
use crate::{Context, FnError, Function, Identity, Map, Price, Total, Value, order};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    aggregate(901, "count", "value", "how many rows have a value; `count(*)` how many there are", |_, args| {
        Ok(Value::Int(present(list(args, 0)?).count() as i64))
    }).price(Price::flat(40).element(3))
    .seen("rows without a value do not count; 0 without any row"),
    aggregate(902, "sum", "x", "the sum; of whole numbers a whole number", |_, args| {
        Ok(match Numbers::of(args, 0)? {
            Numbers::None => Value::Null,
            Numbers::Whole(numbers) => Value::Int(total(&numbers)),
            Numbers::Mixed(_) => Value::float(mixed_total(list(args, 0)?)),
        })
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(903, "avg", "x", "the mean; of whole numbers a whole number, cut off", |_, args| {
        Ok(match Numbers::of(args, 0)? {
            Numbers::None => Value::Null,
            Numbers::Whole(numbers) => Value::Int(total(&numbers) / numbers.len() as i64),
            Numbers::Mixed(numbers) => Value::float(mixed_total(list(args, 0)?) / numbers.len() as f64),
        })
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(904, "min", "x", "the smallest number or text", |_, args| min(list(args, 0)?)).price(Price::flat(40).element(16).weight(2)),
    aggregate(905, "max", "x", "the largest number or text", |_, args| max(list(args, 0)?)).price(Price::flat(40).element(16).weight(2)),
    aggregate(906, "collect", "value", "an array of all values; `collect(*)` of all rows", |_, args| {
        list(args, 0)?;
        Ok(args.first().cloned().unwrap_or_default())
    }).price(Price::flat(40))
    .seen("kept in the array"),
    aggregate(907, "last_value", "value, ignore_null", "the value of the last row, or of the last that has one", last_value).price(Price::flat(40).element(3))
        .seen("passed over if `ignore_null`"),
    aggregate(908, "merge_agg", "object", "all names of all objects; of a name that comes twice the last value; `merge_agg(*)` of all rows", |_, args| {
        let mut all = Map::new();
        for object in list(args, 0)?.iter().filter_map(Value::as_map) {
            all.extend(object.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Ok(if all.is_empty() { Value::Null } else { Value::map(all) })
    }).price(Price::flat(60).deep(60))
    .seen("what is no object is passed over; `NULL` if nothing is left"),
    aggregate(909, "deduplicate", "value, all", "the rows of which `value` was not there before, or, if not `all`, the last row if it is one of them", deduplicate).price(Price::flat(80).makes(80).element(80).weight(24).room(48))
        .seen("a value like others"),
    aggregate(910, "stddev", "x", "the standard deviation of all rows", |_, args| {
        Ok(variance(args, 0)?.map_or(Value::Null, |variance| Value::float(variance.sqrt())))
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(911, "stddevs", "x", "the standard deviation estimated from a sample; `NULL` for one row", |_, args| {
        Ok(variance(args, 1)?.map_or(Value::Null, |variance| Value::float(variance.sqrt())))
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(912, "var", "x", "the variance of all rows", |_, args| {
        Ok(variance(args, 0)?.map_or(Value::Null, Value::float))
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(913, "vars", "x", "the variance estimated from a sample; `NULL` for one row", |_, args| {
        Ok(variance(args, 1)?.map_or(Value::Null, Value::float))
    }).price(Price::flat(60).makes(16).element(16)),
    aggregate(914, "percentile_cont", "x, share", "the number below which that share of the rows lies, 0 to 1, between two rows where it falls between", percentile_cont).price(Price::flat(60).makes(16).element(60)),
    aggregate(915, "percentile_disc", "x, share", "the number of the first row up to which that share of the rows lies, 0 to 1", percentile_disc).price(Price::flat(60).makes(16).element(60)),
    aggregate(916, "median", "x", "the number in the middle; between two the float halfway", median).price(Price::flat(60).element(60)),
];

fn present(rows: &[Value]) -> impl Iterator<Item = &Value> {
    rows.iter().filter(|value| !value.is_null())
}

/// The numbers of an argument.
enum Numbers {
    None,
    Whole(Vec<i64>),
    Mixed(Vec<f64>),
}

impl Numbers {
    fn of(args: &[Value], place: usize) -> Result<Self, FnError> {
        let rows = list(args, place)?;
        let whole: Option<Vec<i64>> = present(rows)
            .map(|value| match value {
                Value::Int(number) => Some(*number),
                _ => None,
            })
            .collect();
        match whole {
            Some(numbers) if numbers.is_empty() => Ok(Self::None),
            Some(numbers) => Ok(Self::Whole(numbers)),
            None => floats(rows).map(Self::Mixed),
        }
    }
}

fn floats(rows: &[Value]) -> Result<Vec<f64>, FnError> {
    present(rows)
        .map(|value| {
            value
                .as_number()
                .ok_or_else(|| FnError::Failed(format!("{} is no number", value.shown())))
        })
        .collect()
}

/// Wraps around, as `+` does.
fn total(numbers: &[i64]) -> i64 {
    numbers
        .iter()
        .fold(0, |sum, number| sum.wrapping_add(*number))
}

/// The sum of numbers with floats among them: exact up to the first float, as in slots.
fn mixed_total(rows: &[Value]) -> f64 {
    let (mut total, mut is_whole) = (Total::default(), true);
    for value in rows {
        match value {
            Value::Int(number) if is_whole => total.add_whole(*number),
            value => {
                let Some(number) = value.as_number() else {
                    continue;
                };
                is_whole &= matches!(value, Value::Int(_));
                total.add_float(number);
            }
        }
    }
    total.float()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The smallest of numbers or of texts.
pub(super) fn min(rows: &[Value]) -> Answer {
    extreme(rows, Ordering::Less)
}

/// The largest of numbers or of texts.
pub(super) fn max(rows: &[Value]) -> Answer {
    extreme(rows, Ordering::Greater)
}

fn extreme(rows: &[Value], wanted: Ordering) -> Answer {
    let mut best: Option<&Value> = None;
    for value in present(rows) {
        let fits = matches!(
            value,
            Value::Int(_) | Value::Wide(_) | Value::Float(_) | Value::Text(_) | Value::Datetime(_)
        );
        if !fits {
            let text = format!("{} is neither number nor text", value.shown());
            return Err(FnError::Failed(text));
        }
        best = match best {
            Some(best) if order(value, best)? != wanted => Some(best),
            _ => Some(value),
        };
    }
    Ok(best.cloned().unwrap_or_default())
}

/// The value of a second argument that is the same in all rows: that of the first row with a value.
fn constant(args: &[Value], place: usize) -> Result<&Value, FnError> {
    Ok(present(list(args, place)?).next().unwrap_or(&Value::Null))
}

fn flag(args: &[Value], place: usize) -> Result<bool, FnError> {
    match constant(args, place)? {
        Value::Bool(value) => Ok(*value),
        other => Err(FnError::Argument {
            place: place + 1,
            wanted: "true or false",
            found: other.shown(),
        }),
    }
}

fn last_value(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let rows = list(args, 0)?;
    if rows.is_empty() {
        return Ok(Value::Null);
    }
    let ignore_null = flag(args, 1)?;
    let last = present(rows).last().filter(|_| ignore_null).or(rows.last());
    Ok(last.cloned().unwrap_or_default())
}

/// With a third argument the first one holds the rows themselves; otherwise the values serve as the
/// rows.
fn deduplicate(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let values = list(args, args.len().saturating_sub(2))?;
    if values.is_empty() {
        return Ok(Value::Null);
    }
    let rows = list(args, 0)?;
    let all = flag(args, args.len().saturating_sub(1))?;
    let mut seen = HashSet::new();
    let mut last_is_new = false;
    let mut fresh = Vec::new();
    for (row, value) in rows.iter().zip(values) {
        last_is_new = seen.insert(Identity::of(value));
        if last_is_new {
            fresh.push(row.clone());
        }
    }
    Ok(match (all, last_is_new) {
        (true, _) => Value::list(fresh),
        (false, true) => fresh.pop().unwrap_or_default(),
        (false, false) => Value::Null,
    })
}

/// The variance; `None` for fewer rows than needed.
fn variance(args: &[Value], less: usize) -> Result<Option<f64>, FnError> {
    let numbers = floats(list(args, 0)?)?;
    if numbers.len() <= less {
        return Ok(None);
    }
    let mean = mean(&numbers);
    let squares = numbers
        .iter()
        .map(|number| (number - mean) * (number - mean));
    Ok(Some(squares.sum::<f64>() / (numbers.len() - less) as f64))
}

/// Pays for the rounds of a sort.
fn sorting(context: &mut Context<'_>, args: &[Value]) -> Result<(), FnError> {
    let rows = list(args, 0)?.len();
    let rounds = u64::from(rows.max(1).ilog2());
    context.budget.spend(rounds * rows as u64 * 4)
}

fn sorted(context: &mut Context<'_>, args: &[Value]) -> Result<Vec<f64>, FnError> {
    sorting(context, args)?;
    let mut numbers = floats(list(args, 0)?)?;
    #[allow(clippy::disallowed_methods, reason = "it is a total order")]
    numbers.sort_by(f64::total_cmp);
    Ok(numbers)
}

fn share(args: &[Value]) -> Result<f64, FnError> {
    let value = constant(args, 1)?;
    value
        .as_number()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| FnError::Argument {
            place: 2,
            wanted: "a number from 0 to 1",
            found: value.shown(),
        })
}

fn at(numbers: &[f64], place: f64) -> f64 {
    numbers.get(place as usize).copied().unwrap_or(f64::NAN)
}

fn percentile_cont(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let numbers = sorted(context, args)?;
    if numbers.is_empty() {
        return Ok(Value::Null);
    }
    let place = share(args)? * (numbers.len() - 1) as f64;
    let (low, high) = (at(&numbers, place.floor()), at(&numbers, place.ceil()));
    Ok(Value::float(low + (high - low) * place.fract()))
}

fn percentile_disc(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let numbers = sorted(context, args)?;
    if numbers.is_empty() {
        return Ok(Value::Null);
    }
    let rank = (share(args)? * numbers.len() as f64).ceil();
    Ok(Value::float(at(&numbers, (rank - 1.0).max(0.0))))
}

fn median(context: &mut Context<'_>, args: &[Value]) -> Answer {
    sorting(context, args)?;
    Ok(match Numbers::of(args, 0)? {
        Numbers::None => Value::Null,
        Numbers::Whole(mut numbers) => {
            numbers.sort_unstable();
            match middle(&numbers) {
                (a, b) if numbers.len() % 2 == 0 => Value::float((a as f64 + b as f64) / 2.0),
                (_, b) => Value::Int(b),
            }
        }
        Numbers::Mixed(mut numbers) => {
            #[allow(clippy::disallowed_methods, reason = "it is a total order")]
            numbers.sort_by(f64::total_cmp);
            match middle(&numbers) {
                (a, b) if numbers.len() % 2 == 0 => Value::float(a / 2.0 + b / 2.0),
                (_, b) => Value::float(b),
            }
        }
    })
}

/// The two around the middle, or the one before it and the one in it.
fn middle<T: Copy + Default>(numbers: &[T]) -> (T, T) {
    let half = numbers.len() / 2;
    let at = |place: usize| numbers.get(place).copied().unwrap_or_default();
    (at(half.saturating_sub(1)), at(half))
}
