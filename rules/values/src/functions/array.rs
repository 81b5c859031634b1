//! Functions of arrays. Elements are the same if they are the same value: 3 and 3.0 are, 3 and `'3'`
//! are not.

use std::collections::HashSet;

use super::arguments::{count, list, only_text, room, text, whole};
use super::object::kvpair_array_to_obj;
use super::table::scalar;
use crate::{Context, FnError, Function, Kind, Nulls, Purity, Value, index, registry, total_order};

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
    )
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
    )
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
    )
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
    )
    .seen("-1 for an array; `NULL` can be looked for"),
    scalar(
        605,
        "element_at",
        "array, place",
        "the element there, from 0, or below 0 from the end; of an object the value of a name",
        element_at,
    ),
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
    )
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
    )
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
    )
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
    ),
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
    )
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
    )
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
    ),
    scalar(
        613,
        "array_max",
        "array",
        "the largest element",
        |_, args| super::aggregates::max(list(args, 0)?),
    ),
    scalar(
        614,
        "array_min",
        "array",
        "the smallest element",
        |_, args| super::aggregates::min(list(args, 0)?),
    ),
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
    )
    .nulls(Nulls::Zero),
    scalar(
        616,
        "array_flatten",
        "array",
        "the array with arrays in it replaced by their elements",
        |_, args| {
            let mut flat = Vec::new();
            for element in list(args, 0)? {
                match element {
                    Value::List(inner) => flat.extend(inner.iter().cloned()),
                    other => flat.push(other.clone()),
                }
            }
            Ok(Value::list(flat))
        },
    ),
    scalar(
        617,
        "array_map",
        "function, array",
        "what a function of one argument gives for each element",
        array_map,
    ),
    scalar(
        618,
        "array_join",
        "array, separator[, instead]",
        "the elements as one text; `instead` stands for those that are `NULL`, which are left out otherwise",
        array_join,
    ),
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
    )
    .purity(Purity::Random),
    scalar(
        620,
        "array_concat",
        "array, …",
        "all elements of all arrays",
        |_, args| {
            let mut all = Vec::new();
            let mut size = 0_usize;
            for (place, arg) in args.iter().enumerate() {
                size = size.saturating_add(arg.size());
                room(size)?;
                all.extend_from_slice(optional(args, place)?.unwrap_or_default());
            }
            Ok(Value::list(all))
        },
    )
    .seen("an empty array"),
    scalar(
        621,
        "array_sort",
        "array",
        "the elements in order: false, true, numbers, dates, texts, the rest, `NULL`",
        |_, args| {
            let mut values = list(args, 0)?.to_vec();
            #[allow(clippy::disallowed_methods, reason = "it is a total order")]
            values.sort_by(total_order);
            Ok(Value::list(values))
        },
    ),
    scalar(
        622,
        "repeat",
        "value, count",
        "an array of so many times the value",
        |_, args| {
            let count = count(args, 1)?;
            let value = args.first().cloned().unwrap_or_default();
            room(value.size().saturating_mul(count))?;
            Ok(Value::list(vec![value; count]))
        },
    ),
    scalar(
        623,
        "sequence",
        "start, stop[, step]",
        "the whole numbers from `start` to `stop`",
        sequence,
    ),
    scalar(
        624,
        "kvpair_array_to_obj",
        "array",
        "the object that an array of objects with `key` and `value` makes",
        kvpair_array_to_obj,
    ),
];

/// An array, or nothing.
fn optional(args: &[Value], place: usize) -> Result<Option<&[Value]>, FnError> {
    match args.get(place) {
        None | Some(Value::Null) => Ok(None),
        _ => list(args, place).map(Some),
    }
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

fn keys(list: &[Value]) -> HashSet<Vec<u8>> {
    list.iter().map(key).collect()
}

fn key(value: &Value) -> Vec<u8> {
    let mut key = Vec::new();
    value.identity(&mut key);
    key
}

fn element_at(_: &mut Context<'_>, args: &[Value]) -> Answer {
    match args.first() {
        Some(Value::Map(map)) => Ok(map.get(only_text(args, 1)?).cloned().unwrap_or_default()),
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

fn sequence(_: &mut Context<'_>, args: &[Value]) -> Answer {
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
    let numbers = (0..count as i64)
        .map(|place| Value::Int((i128::from(start) + i128::from(place) * i128::from(step)) as i64));
    Ok(Value::list(numbers.collect()))
}
