//! Functions that look into JSON by a path: `$.rings[? @.weight > 1].name`.

mod filter;
mod parse;
mod path;

use super::arguments::only_text;
use super::table::scalar;
use crate::{Budget, Context, FnError, Function, Price, Value, from_json, json_fuel, json_weight};

pub(crate) use path::Path;
use path::QueryError;

type Answer = Result<Value, FnError>;

pub(super) const FUNCTIONS: &[Function] = &[
    scalar(
        501,
        "json_path_query",
        "value, path",
        "what lies there; an array if the path may lead to several places",
        query,
    )
    .price(Price::flat(150))
    .seen("an error"),
    scalar(
        502,
        "json_path_query_first",
        "value, path",
        "the first element of the array that lies there",
        |context, args| match query(context, args)? {
            Value::List(found) => Ok(found.first().cloned().unwrap_or_default()),
            other => Err(FnError::Failed(format!(
                "the path leads to {}, no array",
                other.shown()
            ))),
        },
    )
    .price(Price::flat(150))
    .seen("an error"),
    scalar(
        503,
        "json_path_exists",
        "value, path",
        "whether anything lies there",
        |context, args| {
            let path = context.cache.path(only_text(args, 1)?, context.budget)?;
            let found = match document(args, context.budget) {
                Ok(document) => path.query(&document, context.budget),
                Err(error @ (FnError::OutOfFuel | FnError::NoRoom)) => return Err(error),
                Err(_) => return Ok(Value::Bool(false)),
            };
            Ok(Value::Bool(match found {
                Err(QueryError::OutOfFuel) => return Err(FnError::OutOfFuel),
                Ok(Value::Null) | Err(_) => false,
                Ok(Value::List(found)) => !found.is_empty(),
                Ok(_) => true,
            }))
        },
    )
    .price(Price::flat(150))
    .seen("false for a value"),
];

fn query(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let path = context.cache.path(only_text(args, 1)?, context.budget)?;
    let found = path.query(&document(args, context.budget)?, context.budget);
    found.map_err(|error| match error {
        QueryError::OutOfFuel => FnError::OutOfFuel,
        error => FnError::Failed(error.to_string()),
    })
}

/// An array or object, or a text that is JSON.
fn document(args: &[Value], budget: &mut Budget) -> Answer {
    match args.first() {
        Some(value @ (Value::List(_) | Value::Map(_))) => Ok(value.clone()),
        Some(Value::Text(text)) => {
            budget.spend(json_fuel(text.as_bytes()))?;
            budget.hold(json_weight(text.as_bytes()))?;
            from_json(text.as_bytes()).map_err(|error| FnError::Failed(error.to_string()))
        }
        _ => Err(FnError::argument(
            args,
            0,
            "an array, an object or JSON text",
        )),
    }
}

#[cfg(test)]
mod tests;
