//! Aggregates over all rows so far. With `begin` and `reset` they start afresh at the row where
//! `begin` holds and stop after the row where `reset` does; in between, and before the first, they
//! give their result for no rows.

use super::Answer;
use crate::functions::arguments::{number, truth};
use crate::{Arity, FnError, Value};

/// The state kept: whether accumulation has begun, and up to two numbers.
#[derive(Clone)]
struct State {
    begun: bool,
    value: Value,
    count: i64,
}

const EMPTY: State = State {
    begun: false,
    value: Value::Null,
    count: 0,
};

impl State {
    fn read(state: &Value) -> Result<Self, FnError> {
        match (state, state.as_list()) {
            (Value::Null, _) => Ok(EMPTY),
            (_, Some([Value::Bool(begun), value, Value::Int(count)])) => Ok(Self {
                begun: *begun,
                value: value.clone(),
                count: *count,
            }),
            _ => Err(FnError::State(state.shown())),
        }
    }

    fn write(self) -> Value {
        Value::list(vec![
            Value::Bool(self.begun),
            self.value,
            Value::Int(self.count),
        ])
    }

    fn float(&self) -> f64 {
        self.value.as_number().unwrap_or(0.0)
    }
}

pub(super) fn acc_count(state: &Value, args: &[Value], counts: bool) -> Answer {
    run(
        state,
        args,
        counts,
        |_, _| Ok(Value::Null),
        |state| Value::Int(state.count),
    )
}

pub(super) fn acc_sum(state: &Value, args: &[Value], counts: bool) -> Answer {
    run(state, args, counts, add, |state| {
        Value::float(state.float())
    })
}

pub(super) fn acc_avg(state: &Value, args: &[Value], counts: bool) -> Answer {
    run(state, args, counts, add, |state| {
        Value::float(state.float() / state.count.max(1) as f64)
    })
}

pub(super) fn acc_min(state: &Value, args: &[Value], counts: bool) -> Answer {
    let min = |state: &State, args: &[Value]| {
        let x = number(args, 0)?;
        Ok(Value::float(
            state.value.as_number().map_or(x, |min| min.min(x)),
        ))
    };
    run(state, args, counts, min, |state| {
        Value::float(state.float())
    })
}

pub(super) fn acc_max(state: &Value, args: &[Value], counts: bool) -> Answer {
    let max = |state: &State, args: &[Value]| {
        let x = number(args, 0)?;
        Ok(Value::float(
            state.value.as_number().map_or(x, |max| max.max(x)),
        ))
    };
    run(state, args, counts, max, |state| {
        Value::float(state.float())
    })
}

fn add(state: &State, args: &[Value]) -> Result<Value, FnError> {
    Ok(Value::float(state.float() + number(args, 0)?))
}

fn run(
    state: &Value,
    args: &[Value],
    counts: bool,
    take: impl Fn(&State, &[Value]) -> Result<Value, FnError>,
    given: impl Fn(&State) -> Value,
) -> Answer {
    let mut state = State::read(state)?;
    let (begin, reset) = match args.len() {
        1 => (true, false),
        3 => (truth(args, 1)?, truth(args, 2)?),
        count => {
            return Err(FnError::Arity {
                name: "an accumulating function with begin and reset",
                arity: Arity::exactly(3),
                count,
            });
        }
    };
    if !state.begun {
        state = EMPTY;
    }
    state.begun |= begin;
    let has_value = args.first().is_some_and(|value| !value.is_null());
    if state.begun && counts && has_value {
        state.value = take(&state, args)?;
        state.count += 1;
    }
    let value = given(&state);
    state.begun &= !reset;
    Ok((state.write(), value))
}
