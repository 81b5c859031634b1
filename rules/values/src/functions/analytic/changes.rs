//! Changes of values since the row before.

use super::Answer;
use crate::functions::arguments::{map, only_text, truth};
use crate::{FnError, Map, Value};

/// The state is the last value. A whole number and the same float are no change.
pub(super) fn changed_col(state: &Value, args: &[Value], counts: bool) -> Answer {
    let ignore_null = truth(args, 0)?;
    let value = args.get(1).cloned().unwrap_or_default();
    let looked_at = counts && !(ignore_null && value.is_null());
    if looked_at && !value.same(state) {
        return Ok((value.clone(), value));
    }
    Ok((state.clone(), Value::Null))
}

/// The state is an array of the last values.
pub(super) fn had_changed(state: &Value, args: &[Value], counts: bool) -> Answer {
    let ignore_null = truth(args, 0)?;
    let values = args.get(1..).unwrap_or_default();
    let mut last = match state {
        Value::Null => Vec::new(),
        Value::List(last) => last.to_vec(),
        other => return Err(FnError::State(other.shown())),
    };
    last.resize(values.len(), Value::Null);
    let mut changed = false;
    if counts {
        for (last, value) in last.iter_mut().zip(values) {
            if value.same(last) || (ignore_null && value.is_null()) {
                continue;
            }
            *last = value.clone();
            changed = true;
        }
    }
    Ok((Value::list(last), Value::Bool(changed)))
}

/// The state is an object of the last values. The values come as one object too, since their names
/// matter.
pub(super) fn changed_cols(state: &Value, args: &[Value], counts: bool) -> Answer {
    let prefix = only_text(args, 0)?;
    let ignore_null = truth(args, 1)?;
    let columns = map(args, 2)?;
    let mut last = match state {
        Value::Null => Map::new(),
        Value::Map(last) => (**last).clone(),
        other => return Err(FnError::State(other.shown())),
    };
    let mut changed = Map::new();
    if counts {
        for (name, value) in columns.iter() {
            let before = last.get(name).unwrap_or(&Value::Null);
            if value.same(before) || (ignore_null && value.is_null()) {
                continue;
            }
            last.insert(name.clone(), value.clone());
            changed.insert(format!("{prefix}{name}"), value.clone());
        }
    }
    Ok((Value::map(last), Value::map(changed)))
}
