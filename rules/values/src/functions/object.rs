//! Functions of objects. Names keep their order.

use std::sync::Arc;

use super::arguments::{list, map};
use super::table::scalar;
use crate::{Context, FnError, Function, Map, Nulls, Price, Value};

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(701, "keys", "object", "its names", |_, args| {
        let names = map(args, 0)?
            .iter()
            .map(|(name, _)| Value::Text(name.clone()));
        Ok(Value::list(names.collect()))
    })
    .price(Price::flat(60).makes(24).element(16)),
    scalar(702, "values", "object", "its values", |_, args| {
        let values = map(args, 0)?.iter().map(|(_, value)| value.clone());
        Ok(Value::list(values.collect()))
    })
    .price(Price::flat(60).makes(24).element(16)),
    scalar(
        703,
        "object",
        "names, values",
        "the object that an array of names and one of values make; both have the same length",
        object,
    )
    .price(Price::flat(150).makes(112).element(120)),
    scalar(
        704,
        "zip",
        "pairs",
        "the object that an array of arrays of name and value makes",
        zip,
    )
    .price(Price::flat(100).makes(112).element(160)),
    scalar(
        705,
        "items",
        "object",
        "an array of arrays of name and value; `NULL` if it is empty",
        |_, args| {
            let object = map(args, 0)?;
            let pairs = object
                .iter()
                .map(|(name, value)| Value::list(vec![Value::Text(name.clone()), value.clone()]));
            Ok(if object.is_empty() {
                Value::Null
            } else {
                Value::list(pairs.collect())
            })
        },
    )
    .price(Price::flat(60).makes(160).element(140)),
    scalar(
        706,
        "object_concat",
        "object, object, …",
        "all names of all objects; of a name that comes twice the last value",
        object_concat,
    )
    .price(Price::flat(150).element(120))
    .seen("left out"),
    scalar(
        707,
        "object_construct",
        "name, value, …",
        "the object of these names and values",
        object_construct,
    )
    .price(Price::flat(150).makes(112).element(120))
    .seen("a name that is `NULL` is left out with its value; a value stays"),
    scalar(
        708,
        "erase",
        "object, names",
        "the object without a name, or without an array of names",
        erase,
    )
    .price(Price::flat(150).makes(112).element(120)),
    scalar(
        709,
        "object_size",
        "object",
        "how many names it has",
        |_, args| Ok(Value::Int(map(args, 0)?.len() as i64)),
    )
    .price(Price::flat(30))
    .nulls(Nulls::Zero),
    scalar(
        710,
        "object_pick",
        "object, name, …",
        "the object with these names only, or with those of an array; `a.b` picks inside",
        object_pick,
    )
    .price(Price::flat(150))
    .seen("`NULL` for an object; names that are `NULL` are left out"),
    scalar(
        711,
        "obj_to_kvpair_array",
        "object",
        "an array of objects with `key` and `value`",
        |_, args| {
            let pairs = map(args, 0)?.iter().map(|(name, value)| {
                let pair = [("key", Value::Text(name.clone())), ("value", value.clone())];
                Value::map(pair.into_iter().collect())
            });
            Ok(Value::list(pairs.collect()))
        },
    )
    .price(Price::flat(60).makes(320).element(400)),
];

fn object(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let (names, values) = (list(args, 0)?, list(args, 1)?);
    if names.len() != values.len() {
        return Err(FnError::argument(args, 1, "an array as long as the names"));
    }
    if names.is_empty() {
        return Ok(Value::Null);
    }
    let mut map = Map::new();
    for (name, value) in names.iter().zip(values) {
        let Value::Text(name) = name else {
            return Err(FnError::argument(args, 0, "an array of strings"));
        };
        map.insert(name.clone(), value.clone());
    }
    Ok(Value::map(map))
}

fn zip(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let pairs = list(args, 0)?;
    if pairs.is_empty() {
        return Ok(Value::Null);
    }
    let mut map = Map::new();
    for pair in pairs.iter().filter(|pair| !pair.is_null()) {
        let Some([Value::Text(name), value]) = pair.as_list() else {
            return Err(FnError::argument(
                args,
                0,
                "an array of arrays of name and value",
            ));
        };
        map.insert(name.clone(), value.clone());
    }
    Ok(Value::map(map))
}

fn object_concat(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let mut all = Map::new();
    for (place, arg) in args.iter().enumerate() {
        if arg.is_null() {
            continue;
        }
        let entries = map(args, place)?.iter();
        all.extend(entries.map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(Value::map(all))
}

fn object_construct(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let mut map = Map::new();
    for (pair, place) in args.chunks(2).zip((0..).step_by(2)) {
        match pair {
            [Value::Null, _] => {}
            [Value::Text(name), value] => map.insert(name.clone(), value.clone()),
            [_, _] => return Err(FnError::argument(args, place, "a string")),
            _ => return Err(FnError::Failed("a name without a value".to_owned())),
        }
    }
    Ok(Value::map(map))
}

fn erase(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let mut left = map(args, 0)?.clone();
    match args.get(1) {
        Some(Value::Text(name)) => left.retain(|other| *other != **name),
        _ => {
            let names: std::collections::HashSet<_> = list(args, 1)
                .map_err(|_| FnError::argument(args, 1, "a string or an array of strings"))?
                .iter()
                .map(Value::to_text)
                .collect();
            left.retain(|other| !names.contains(other));
        }
    }
    Ok(Value::map(left))
}

fn object_pick(context: &mut Context<'_>, args: &[Value]) -> Answer {
    if args.first().is_some_and(Value::is_null) {
        return Ok(Value::Null);
    }
    // A name with points in it is looked for at each level that there is.
    let levels = args.first().map_or(0, Value::depth) as u64;
    let names = args.iter().skip(1).map(Value::weight).sum::<usize>() as u64;
    context
        .budget
        .spend(names.saturating_mul(levels.min(names)) / 4)?;
    let from = map(args, 0)?;
    let mut picked = Map::new();
    for (place, names) in args.iter().enumerate().skip(1) {
        match names {
            Value::Null => {}
            Value::Text(name) => pick(from, name, &mut picked),
            Value::List(names) => {
                for name in names.iter().filter_map(Value::as_text) {
                    pick(from, name, &mut picked);
                }
            }
            _ => {
                return Err(FnError::argument(
                    args,
                    place,
                    "a string or an array of strings",
                ));
            }
        }
    }
    Ok(Value::map(picked))
}

/// Copies a name, or what lies at a path of names with points between, to the same place.
fn pick(from: &Map, path: &str, into: &mut Map) {
    if let Some(value) = from.get(path) {
        into.insert(path, value.clone());
        return;
    }
    let Some((name, rest)) = path.split_once('.') else {
        return;
    };
    let Some(inner) = from.get(name).and_then(Value::as_map) else {
        return;
    };
    let picked = into.get(name).and_then(Value::as_map);
    if picked.is_some_and(|picked| std::ptr::eq(picked, inner)) {
        // All of it was picked before.
        return;
    }
    if picked.is_some() {
        // Changed where it is: a copy for each name would cost the square of their number.
        into.change(name, |picked| {
            if let Value::Map(picked) = picked {
                pick(inner, rest, Arc::make_mut(picked));
            }
        });
        return;
    }
    let mut picked = Map::new();
    pick(inner, rest, &mut picked);
    if !picked.is_empty() || into.get(name).is_some() {
        into.insert(name, Value::map(picked));
    }
}

/// The names and values of an array of objects with `key` and `value`.
pub(super) fn kvpair_array_to_obj(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let wanted = "an array of objects with key and value alone";
    let mut map = Map::new();
    for pair in list(args, 0)? {
        let pair = pair.as_map().filter(|pair| pair.len() == 2);
        match pair.map(|pair| (pair.get("key"), pair.get("value"))) {
            Some((Some(Value::Text(name)), Some(value))) => map.insert(name.clone(), value.clone()),
            _ => return Err(FnError::argument(args, 0, wanted)),
        }
    }
    Ok(Value::map(map))
}
