//! Functions of arrays. Elements are the same if they are the same value: 3 and 3.0 are, 3 and `'3'`
//! are not.

use std::collections::HashSet;

use super::arguments::{count, list, only_text, room, text, whole};
use super::object::kvpair_array_to_obj;
use super::table::scalar;
use crate::{
    Context, FnError, Function, Identity, Kind, Nulls, Price, Purity, SLOT_BYTES, Value, index,
    registry, total_order,
};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        601,
        "cardinality",
        "array",
        "how many elements there are; 0 for what is no array",
        |_, args| {
            let count = args
                .first()
                .and_then(Value::as_list)
                .map_or(0, <[Value]>::len);
            Ok(Value::Int(count as i64))
        },
    ).price(Price::flat(30))
    .nulls(Nulls::Zero),
    scalar(
        602,
        "array_create",
        "…",
        "an array of its arguments; `NULL` if all are",
        |_, args| {
            let values: Vec<Value> = args.iter().filter(|arg| !arg.is_null()).cloned().collect();
            Ok(if values.is_empty() {
                Value::Null
            } else {
                Value::list(values)
            })
        },
    ).price(Price::flat(40).makes(24).element(2))
    .seen("left out"),
    scalar(
        603,
        "array_position",
        "array, value",
        "where the value is first, from 0; -1 if nowhere",
        |_, args| {
            position(args, |list, value| {
                list.iter().position(|element| element.same(value))
            })
        },
    ).price(Price::flat(40).element(8).weight(4))
    .seen("-1 for an array; `NULL` can be looked for"),
    scalar(
        604,
        "array_last_position",
        "array, value",
        "where the value is last, from 0; -1 if nowhere",
        |_, args| {
            position(args, |list, value| {
                list.iter().rposition(|element| element.same(value))
            })
        },
    ).price(Price::flat(40).element(8).weight(4))
    .seen("-1 for an array; `NULL` can be looked for"),
    scalar(
        605,
        "element_at",
        "array, place",
        "the element there, from 0, or below 0 from the end; of an object the value of a name",
        element_at,
    ).price(Price::flat(60)),
    scalar(
        606,
        "array_contains",
        "array, value",
        "whether the value is in the array",
        |_, args| {
            let Some(list) = optional(args, 0)? else {
                return Ok(Value::Bool(false));
            };
            let wanted = args.get(1).unwrap_or(&Value::Null);
            Ok(Value::Bool(list.iter().any(|element| element.same(wanted))))
        },
    ).price(Price::flat(40).element(8).weight(4))
    .seen("false for an array; `NULL` can be looked for"),
    scalar(
        607,
        "array_contains_any",
        "array, array",
        "whether they have an element in common",
        |_, args| {
            let known = keys(list(args, 0)?);
            Ok(Value::Bool(
                list(args, 1)?
                    .iter()
                    .any(|element| known.contains(&key(element))),
            ))
        },
    ).price(Price::flat(80).makes(80).element(80).weight(24).room(48))
    .nulls(Nulls::False),
    scalar(
        608,
        "array_remove",
        "array, value",
        "the array without that value",
        |_, args| {
            let Some(list) = optional(args, 0)? else {
                return Ok(Value::Null);
            };
            let unwanted = args.get(1).unwrap_or(&Value::Null);
            Ok(kept(list, |element| !element.same(unwanted)))
        },
    ).price(Price::flat(40).element(8).weight(4))
    .seen("`NULL` for an array; `NULL` can be removed"),
    scalar(
        609,
        "array_intersect",
        "array, array",
        "what is in both, each once, in the order of the second",
        |_, args| {
            let mut left = keys(list(args, 0)?);
            Ok(kept(list(args, 1)?, |element| left.remove(&key(element))))
        },
    ).price(Price::flat(80).makes(80).element(80).weight(24).room(48)),
    scalar(
        610,
        "array_union",
        "array, array",
        "what is in either, each once",
        |_, args| {
            let mut seen = HashSet::new();
            let (first, second) = (optional(args, 0)?, optional(args, 1)?);
            let both = first.into_iter().chain(second).flatten();
            Ok(Value::list(
                both.filter(|element| seen.insert(key(element)))
                    .cloned()
                    .collect(),
            ))
        },
    ).price(Price::flat(80).makes(80).element(80).weight(24).room(48))
    .seen("an empty array"),
    scalar(
        611,
        "array_except",
        "array, array",
        "what is in the first alone, each once",
        |_, args| {
            let Some(first) = optional(args, 0)? else {
                return Ok(Value::Null);
            };
            let mut seen = keys(optional(args, 1)?.unwrap_or_default());
            Ok(kept(first, |element| seen.insert(key(element))))
        },
    ).price(Price::flat(80).makes(80).element(80).weight(24).room(48))
    .seen("`NULL` for the first; an empty array as the second"),
    scalar(
        612,
        "array_distinct",
        "array",
        "each element once",
        |_, args| {
            let mut seen = HashSet::new();
            Ok(kept(list(args, 0)?, |element| seen.insert(key(element))))
        },
    ).price(Price::flat(80).makes(80).element(80).weight(24).room(48)),
    scalar(
        613,
        "array_max",
        "array",
        "the largest element",
        |_, args| super::aggregates::max(list(args, 0)?),
    ).price(Price::flat(40).element(16).weight(2)),
    scalar(
        614,
        "array_min",
        "array",
        "the smallest element",
        |_, args| super::aggregates::min(list(args, 0)?),
    ).price(Price::flat(40).element(16).weight(2)),
    scalar(
        615,
        "array_cardinality",
        "array",
        "how many elements are not `NULL`",
        |_, args| {
            let count = list(args, 0)?
                .iter()
                .filter(|element| !element.is_null())
                .count();
            Ok(Value::Int(count as i64))
        },
    ).price(Price::flat(40).element(2))
    .nulls(Nulls::Zero),
    scalar(
        616,
        "array_flatten",
        "array",
        "the array with arrays in it replaced by their elements",
        |context, args| {
            let mut flat = Vec::new();
            let inner = list(args, 0)?.iter().map(Value::elements).sum();
            elements(context, inner)?;
            for element in list(args, 0)? {
                match element {
                    Value::List(inner) => flat.extend(inner.iter().cloned()),
                    other => flat.push(other.clone()),
                }
            }
            Ok(Value::list(flat))
        },
    ).price(Price::flat(60).makes(24).element(4)),
    scalar(
        617,
        "array_map",
        "function, array",
        "what a function of one argument gives for each element",
        array_map,
    ).price(Price::flat(80).element(30)),
    scalar(
        618,
        "array_join",
        "array, separator[, instead]",
        "the elements as one text; `instead` stands for those that are `NULL`, which are left out otherwise",
        array_join,
    ).price(Price::flat(60).makes(48).weight(60).room(32)),
    scalar(
        619,
        "array_shuffle",
        "array",
        "the elements in a random order; a replay gives the same",
        |context, args| {
            let mut values = list(args, 0)?.to_vec();
            for place in (1..values.len()).rev() {
                // The bias is below 2^-40 for any list that fits into memory.
                values.swap(place, ((context.random)() % (place as u64 + 1)) as usize);
            }
            Ok(Value::list(values))
        },
    ).price(Price::flat(60).element(24))
    .purity(Purity::Random),
    scalar(
        620,
        "array_concat",
        "array, …",
        "all elements of all arrays",
        |context, args| {
            let mut all = Vec::new();
            let mut size = 0_usize;
            for (place, arg) in args.iter().enumerate() {
                size = size.saturating_add(arg.size());
                room(size)?;
                elements(context, arg.elements())?;
                all.extend_from_slice(optional(args, place)?.unwrap_or_default());
            }
            Ok(Value::list(all))
        },
    ).price(Price::flat(60).makes(48).element(4))
    .seen("an empty array"),
    scalar(
        621,
        "array_sort",
        "array",
        "the elements in order: false, true, numbers, dates, texts, the rest, `NULL`",
        |context, args| {
            let mut values = list(args, 0)?.to_vec();
            sorting(context, args)?;
            #[allow(clippy::disallowed_methods, reason = "it is a total order")]
            values.sort_by(total_order);
            Ok(Value::list(values))
        },
    ).price(Price::flat(60).element(16)),
    scalar(
        622,
        "repeat",
        "value, count",
        "an array of so many times the value",
        |context, args| {
            let count = count(args, 1)?;
            let value = args.first().cloned().unwrap_or_default();
            room(value.size().saturating_mul(count))?;
            elements(context, count)?;
            Ok(Value::list(vec![value; count]))
        },
    ).price(Price::flat(60)),
    scalar(
        623,
        "sequence",
        "start, stop[, step]",
        "the whole numbers from `start` to `stop`",
        sequence,
    ).price(Price::flat(60).makes(112)),
    scalar(
        624,
        "kvpair_array_to_obj",
        "array",
        "the object that an array of objects with `key` and `value` makes",
        kvpair_array_to_obj,
    ).price(Price::flat(80).element(300)),
];

/// Fuel of an element of an array that is made.
const MADE_FUEL: u64 = 12;

/// Pays for the elements of an array before they are made.
fn elements(context: &mut Context<'_>, count: usize) -> Result<(), FnError> {
    context.budget.spend(count as u64 * MADE_FUEL)?;
    context.budget.hold(count.saturating_mul(SLOT_BYTES))
}

/// An array, or nothing.
fn optional(args: &[Value], place: usize) -> Result<Option<&[Value]>, FnError> {
    match args.get(place) {
        None | Some(Value::Null) => Ok(None),
        _ => list(args, place).map(Some),
    }
}

/// Pays for the comparisons of a sort beyond the first of each element.
fn sorting(context: &mut Context<'_>, args: &[Value]) -> Result<(), FnError> {
    let all = args.first().unwrap_or(&Value::Null);
    let rounds = u64::from(all.elements().max(1).ilog2());
    // Objects are put in order for each comparison.
    let (weight, each) = (all.weight() as u64, all.elements() as u64);
    let deep = if all.depth() > 1 { weight } else { weight / 16 };
    context.budget.spend(rounds * (each * 12 + deep))
}

fn position(args: &[Value], of: fn(&[Value], &Value) -> Option<usize>) -> Answer {
    let place = optional(args, 0)?
        .and_then(|list| of(list, args.get(1).unwrap_or(&Value::Null)))
        .map_or(-1, |place| place as i64);
    Ok(Value::Int(place))
}

fn kept(list: &[Value], keep: impl FnMut(&&Value) -> bool) -> Value {
    Value::list(list.iter().filter(keep).cloned().collect())
}

fn keys(list: &[Value]) -> HashSet<Identity> {
    list.iter().map(key).collect()
}

fn key(value: &Value) -> Identity {
    Identity::of(value)
}

fn element_at(context: &mut Context<'_>, args: &[Value]) -> Answer {
    match args.first() {
        Some(Value::Map(map)) => {
            let name = only_text(args, 1)?;
            context.budget.spend(name.len() as u64 / 2)?;
            Ok(map.get(name).cloned().unwrap_or_default())
        }
        Some(list @ Value::List(_)) => Ok(index(list, &Value::Int(whole(args, 1)?))?),
        _ => Err(FnError::argument(args, 0, "an array or an object")),
    }
}

fn array_map(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let wanted = "the name of a function of one argument";
    let function = registry::lookup(only_text(args, 0)?)
        .filter(|function| {
            function.kind == Kind::Scalar
                && function.purity == Purity::Pure
                && function.arity.takes(1)
        })
        .ok_or_else(|| FnError::argument(args, 0, wanted))?;
    let elements = list(args, 1)?.iter();
    let mapped: Result<Vec<Value>, FnError> = elements
        .map(|element| registry::call(function, context, std::slice::from_ref(element)))
        .collect();
    Ok(Value::list(mapped?))
}

fn array_join(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let separator = only_text(args, 1)?;
    let instead = text(args, 2);
    let mut out = String::new();
    let mut first = true;
    for element in list(args, 0)? {
        let part = if element.is_null() {
            instead.clone()
        } else {
            element.to_text()
        };
        if element.is_null() && instead.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push_str(separator);
        }
        out.push_str(&part);
        room(out.len())?;
    }
    Ok(Value::text(out))
}

fn sequence(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let (start, stop) = (whole(args, 0)?, whole(args, 1)?);
    let step = match args.len() {
        2 if start <= stop => 1,
        2 => -1,
        _ => whole(args, 2)?,
    };
    if step == 0 {
        return Err(FnError::argument(args, 2, "a step other than 0"));
    }
    let span = i128::from(stop) - i128::from(start);
    let steps = span / i128::from(step);
    if span != 0 && (span < 0) != (step < 0) {
        return Ok(Value::list(Vec::new()));
    }
    let count = usize::try_from(steps + 1).unwrap_or(usize::MAX);
    room(count.saturating_mul(Value::Int(0).size()))?;
    elements(context, count)?;
    let numbers = (0..count as i64)
        .map(|place| Value::Int((i128::from(start) + i128::from(place) * i128::from(step)) as i64));
    Ok(Value::list(numbers.collect()))
}
