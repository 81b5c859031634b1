//! Columns with the types that a stream declares, and the columns that a window keeps.

use std::sync::Arc;

use tidemill_values::{Budget, FieldType, Map, Value, convert};

use super::{COLUMN_BYTES, data};
use crate::function::guest::GuestFault;
use crate::function::price::{LOOK_FUEL, NAME_FUEL};
use crate::rule::manifest::{Kept, SqlStream};

/// Fuel of converting a column to its declared type, beside its bytes.
const CONVERT_FUEL: u64 = 60;

/// The columns that are kept: of names that differ in case only the one that a statement finds.
pub(super) fn of_columns(
    columns: &Map,
    kept: &Kept,
    budget: &mut Budget,
) -> Result<Map, GuestFault> {
    let mut rest = Map::new();
    for (name, inner) in &kept.0 {
        let Some((found, value)) = found(columns, name, budget)? else {
            continue;
        };
        let value = match (inner, value) {
            // Two names for one column: what each of them wants is in the whole.
            (Some(_), whole) if rest.get(&found).is_some() => whole.clone(),
            (Some(inner), Value::Map(map)) => Value::map(of_columns(map, inner, budget)?),
            // There is nothing inside of what is no object.
            (Some(_), _) => continue,
            (None, whole) => whole.clone(),
        };
        budget.spend(NAME_FUEL)?;
        rest.insert(found, value);
    }
    Ok(rest)
}

/// Converts columns to their declared types, if nothing is lost. A declared name with points in it that is
/// no column leads into objects.
pub(super) fn with_types(
    columns: &mut Arc<Map>,
    declared: &SqlStream,
    budget: &mut Budget,
) -> Result<(), GuestFault> {
    for field in &declared.fields {
        let name = &field.name;
        let change = |value: &Value| {
            if declared.strict && !is_of(value, field.ty) {
                let (value, wanted) = (value.shown(), field.ty.name());
                return Err(data(format!(
                    "{name}: {value} is no {wanted}, and the stream is strict"
                )));
            }
            convert(value, field.ty).map_err(|error| data(format!("{name}: {error}")))
        };
        let own = std::slice::from_ref(name);
        if !convert_at(columns, own, &change, budget)? && field.path.len() > 1 {
            convert_at(columns, &field.path, &change, budget)?;
        }
    }
    Ok(())
}

/// `true` if a value has the type without conversion. Datetimes and bytes have no form of their own
/// in JSON.
fn is_of(value: &Value, ty: FieldType) -> bool {
    match ty {
        FieldType::Bigint => matches!(value, Value::Int(_) | Value::Wide(_)),
        FieldType::Float => matches!(value, Value::Int(_) | Value::Wide(_) | Value::Float(_)),
        FieldType::String => matches!(value, Value::Text(_)),
        FieldType::Boolean => matches!(value, Value::Bool(_)),
        FieldType::Array => matches!(value, Value::List(_)),
        FieldType::Struct => matches!(value, Value::Map(_)),
        FieldType::Datetime | FieldType::Bytea => true,
    }
}

/// Converts the value that the names lead to; says whether there is a column of the first one.
fn convert_at(
    columns: &mut Arc<Map>,
    names: &[Arc<str>],
    change: &dyn Fn(&Value) -> Result<Value, GuestFault>,
    budget: &mut Budget,
) -> Result<bool, GuestFault> {
    let Some((name, rest)) = names.split_first() else {
        return Ok(false);
    };
    let Some((found, value)) = found(columns, name, budget)? else {
        return Ok(false);
    };
    budget.spend(CONVERT_FUEL + value.as_text().map_or(0, str::len) as u64 * 2)?;
    let converted = match (rest, value) {
        (_, Value::Null) => return Ok(true),
        ([], value) => {
            let converted = change(value)?;
            if converted == *value {
                return Ok(true);
            }
            Some(converted)
        }
        (_, Value::Map(_)) => None,
        _ => return Ok(true),
    };
    if Arc::strong_count(columns) > 1 {
        // The decoded payload itself stays as it is, for other rules.
        budget.spend(columns.len() as u64 * NAME_FUEL)?;
        budget.hold(columns.len() * COLUMN_BYTES)?;
    }
    let mut outcome = Ok(());
    Arc::make_mut(columns).change(&found, |value| match (converted, value) {
        (Some(converted), value) => *value = converted,
        (None, Value::Map(inner)) => {
            outcome = convert_at(inner, rest, change, budget).map(drop);
        }
        (None, _) => {}
    });
    outcome.map(|()| true)
}

/// Fuel of looking at all columns for one whose name may differ in case: only names that are as long are compared.
pub(super) fn look_price(columns: &Map, name: &str) -> u64 {
    let compared = columns.len().saturating_mul(name.len()).min(columns.size());
    columns.len() as u64 * LOOK_FUEL + compared as u64 / 8
}

/// The column of a name: the one that is called so, else the last that differs in case only.
fn found<'a>(
    columns: &'a Map,
    name: &str,
    budget: &mut Budget,
) -> Result<Option<(Arc<str>, &'a Value)>, GuestFault> {
    if let Some(value) = columns.get(name) {
        return Ok(Some((name.into(), value)));
    }
    budget.spend(look_price(columns, name))?;
    let mut all = columns.iter();
    let found = all.rfind(|(column, _)| column.eq_ignore_ascii_case(name));
    Ok(found.map(|(name, value)| (name.clone(), value)))
}
