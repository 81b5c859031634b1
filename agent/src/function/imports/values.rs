//! The imports that work on values which are no numbers. Each checks what it is handed, pays for the
//! work, and passes it on to the values of the call.

mod memory;

use std::cmp::Ordering;

use tidemill_abi::value::{kind, op};
use tidemill_abi::{Code, import, limit};
use tidemill_values::{
    BinaryOp, Budget, Context, FnError, Map, Total, Value, between, binary, by_number, call,
    case_equal, contains, extreme::Extreme, field, fits, fits_arithmetic, from_json, index, like,
    negate, not, price_of_binary, price_of_field, price_of_in, price_of_like, price_of_slice,
    slice,
};
use wasmi::Error;

use super::{Call, next_random, push_keyed};
use crate::function::Handler;
use crate::function::effects::Spoiled;
use crate::function::guest::GuestFault;
use crate::function::host::{Host, charge, grant, paying, take_back};
use crate::function::number::canonical;
use crate::function::price::{CALL_FUEL, NAME_FUEL, REASON_FUEL, STEP_FUEL, VALUE_FUEL};
use crate::function::values::{STREAMS_MAX, Sent, Spoil, data, read_price, too_much};

use memory::hits;
pub use memory::kept_value;
pub(super) use memory::{v_hits, v_step};

/// The registry's numbers of `min` and `max`, whose values have to be comparable with each other.
const MIN: i32 = 904;
const MAX: i32 = 905;

/// Does some work on the host, for its price.
fn work<T: Default>(
    caller: &mut Call<'_>,
    work: impl FnOnce(&mut Host) -> Result<T, GuestFault>,
) -> Result<T, Error> {
    charge(caller, VALUE_FUEL)?;
    let host = caller.data_mut();
    host.values.touch();
    let done = work(host);
    or_spoil(caller, done)
}

/// Does some work that costs more than a bare import, and pays as it goes along.
fn paid_work<T: Default>(
    caller: &mut Call<'_>,
    work: impl FnOnce(&mut Host, &mut Budget) -> Result<T, GuestFault>,
) -> Result<T, Error> {
    charge(caller, VALUE_FUEL)?;
    let done = paying(caller, |host, budget| {
        host.values.touch();
        work(host, budget)
    })?;
    or_spoil(caller, done)
}

/// In a firing, a fault of values affects the current row, pair of rows or group alone, if there is
/// one: the function goes on with null instead.
pub(super) fn or_spoil<T: Default>(
    caller: &mut Call<'_>,
    done: Result<T, GuestFault>,
) -> Result<T, Error> {
    let host = caller.data_mut();
    let (reason, fault) = match done {
        Ok(value) => return Ok(value),
        Err(GuestFault::Data { reason }) if host.handler == Some(Handler::Window) => {
            (reason.clone(), GuestFault::Data { reason })
        }
        Err(fault) => return Err(Error::host(fault)),
    };
    charge(caller, REASON_FUEL)?;
    let host = caller.data_mut();
    let bytes = reason.len() + REASON_BYTES;
    host.values.hold(bytes).map_err(Error::host)?;
    let effects = &mut host.frame.effects;
    match host.values.spoil() {
        Spoil::Row(row) => {
            effects.misfits.entry(row).or_insert(reason);
        }
        Spoil::Group(key) => effects.spoiled.push(Spoiled { key, reason }),
        Spoil::Pair => {
            let (pairs, _) = effects.pairs.get_or_insert((0, reason));
            *pairs = pairs.saturating_add(1);
        }
        Spoil::Again => {}
        Spoil::Call => return Err(Error::host(fault)),
    }
    Ok(T::default())
}

/// Bytes of a fault that a firing goes on after, beside its reason.
const REASON_BYTES: usize = 128;

/// Makes sure that the event can be read as a row.
fn with_row(caller: &mut Call<'_>) -> Result<(), Error> {
    let host = caller.data();
    if !host.has_event() || host.values.event_row().is_some() {
        return Ok(());
    }
    // Reading the event is what the call is there for.
    let price = read_price(&host.frame);
    grant(caller, price)?;
    let read = paying(caller, |host, budget| {
        let Host { values, frame, .. } = host;
        values.touch();
        let stream = values.first_stream(frame);
        values.read_event(frame, stream, budget)
    })?;
    read.map_err(Error::host)
}

pub(super) fn v_col(mut caller: Call<'_>, stream: i32, name: i32) -> Result<i32, Error> {
    with_row(&mut caller)?;
    paid_work(&mut caller, |host, budget| {
        let values = &mut host.values;
        let name = values.text(name)?;
        budget.spend(name.len() as u64 / 8)?;
        let value = match values.column_spelt(stream, &name) {
            Some(value) => value,
            None => {
                budget.spend(values.look_price(stream, &name))?;
                values.column_in_any_case(stream, &name)
            }
        };
        values.make(value)
    })
}

pub(super) fn v_row(mut caller: Call<'_>, stream: i32) -> Result<i32, Error> {
    with_row(&mut caller)?;
    paid_work(&mut caller, |host, budget| {
        let row = host.values.whole(stream, budget)?;
        host.values.make(Value::Map(row))
    })
}

pub(super) fn v_meta(mut caller: Call<'_>, stream: i32, name: i32) -> Result<i32, Error> {
    with_row(&mut caller)?;
    paid_work(&mut caller, |host, budget| {
        let values = &mut host.values;
        let name = values.text(name)?;
        let properties = values.properties(stream) as u64;
        budget.spend(name.len() as u64 / 8 + properties * NAME_FUEL)?;
        let value = values.meta(stream, &name);
        values.make(value)
    })
}

pub(super) fn v_arg(mut caller: Call<'_>, handle: i32) -> Result<(), Error> {
    work(&mut caller, |host| host.values.push_arg(handle))
}

pub(super) fn v_true(mut caller: Call<'_>, handle: i32) -> Result<i32, Error> {
    work(&mut caller, |host| match host.values.get(handle)? {
        Value::Null | Value::Bool(false) => Ok(0),
        Value::Bool(true) => Ok(1),
        other => {
            let found = other.type_name();
            Err(data(format!("a condition is a {found}, not true or false")))
        }
    })
}

pub(super) fn v_f64(mut caller: Call<'_>, value: f64) -> Result<i32, Error> {
    work(&mut caller, |host| host.values.make(Value::float(value)))
}

pub(super) fn v_i64(mut caller: Call<'_>, value: i64) -> Result<i32, Error> {
    work(&mut caller, |host| host.values.make(Value::Int(value)))
}

pub(super) fn v_op(
    mut caller: Call<'_>,
    number: i32,
    a: i32,
    b: i32,
    c: i32,
) -> Result<i32, Error> {
    if matches!(number, op::EVENT_TIME | op::NOTE) {
        with_row(&mut caller)?;
    }
    paid_work(&mut caller, |host, budget| {
        let value = match number {
            op::LIST => {
                budget.spend(u64::try_from(a).unwrap_or(0) * ELEMENT_FUEL)?;
                Value::list(host.values.take_args(a)?)
            }
            op::OBJECT => host.values.object(a, budget)?,
            op::WINDOW_START | op::WINDOW_END | op::WINDOW_TRIGGER | op::EVENT_TIME => {
                moment(host, number)
            }
            op::ROW_NUMBER => Value::Int(host.values.row_number()),
            op::ELEMENT => host.values.element(),
            op::KEY => {
                budget.spend(KEY_CALL_FUEL + host.frame.key.len() as u64 * KEY_FUEL)?;
                key(&host.frame.key, a)
            }
            op::NOTE => {
                let value = host.values.get(a)?.clone();
                host.values.note(b, value)?;
                Value::Null
            }
            op::NUMBER_ROWS => {
                host.values.number(a, b, c, budget)?;
                Value::Null
            }
            op::NOTED => host.values.noted(b, a),
            op::DISTINCT => {
                host.values.distinct();
                Value::Null
            }
            op::LEAST | op::GREATEST => {
                let wanted = match number {
                    op::LEAST => Ordering::Less,
                    _ => Ordering::Greater,
                };
                extreme(host, a, (b, c), wanted)?;
                Value::Null
            }
            op::EXTREME => {
                let (value, mark) = (slot(a)?, slot(b)?);
                let (value, mark) = (host.slot(value), host.slot(mark));
                Extreme { value, mark }.value()
            }
            op::FAIL => {
                let text = host.values.text(a)?;
                budget.spend(text.len() as u64 / 8)?;
                return Err(data(text.to_string()));
            }
            op::HIT_COUNT | op::HIT_TIME => {
                budget.spend(HITS_FUEL)?;
                let (count, time_ms) = hits(host, b);
                Value::Int(if number == op::HIT_COUNT {
                    count
                } else {
                    time_ms
                })
            }
            _ => {
                let values = &host.values;
                let (a, b) = (values.get_or_absent(a)?, values.get_or_absent(b)?);
                let c = values.get_or_absent(c)?;
                pay_operator(number, (a, b, c), budget)?;
                apply(number, a, b, c)?
            }
        };
        host.values.make(value)
    })
}

/// Fuel of an element of a list that is made of arguments.
const ELEMENT_FUEL: u64 = 8;
/// Fuel of the key as a value, beside its bytes.
const KEY_CALL_FUEL: u64 = 400;
/// Fuel of a byte of the key that is read as a value.
const KEY_FUEL: u64 = 8;
/// Fuel of how often and when a condition was met.
pub(super) const HITS_FUEL: u64 = 400;

/// Pays for an operator by its operands.
fn pay_operator(
    number: i32,
    (a, b, c): (Option<&Value>, Option<&Value>, Option<&Value>),
    budget: &mut Budget,
) -> Result<(), GuestFault> {
    let nothing = Value::Null;
    let (first, second) = (a.unwrap_or(&nothing), b.unwrap_or(&nothing));
    let fuel = match number {
        op::LIKE | op::NOT_LIKE => price_of_like(first, second),
        op::IN | op::NOT_IN => price_of_in(first, second),
        op::FIELD => price_of_field(first, second.as_text().unwrap_or_default()),
        op::CASE_EQUAL => price_of_binary(BinaryOp::Eq, first, second),
        op::BETWEEN | op::NOT_BETWEEN => {
            let third = c.unwrap_or(&nothing);
            price_of_binary(BinaryOp::Ge, first, second)
                + price_of_binary(BinaryOp::Le, first, third)
        }
        op::SLICE => {
            let (fuel, bytes) = price_of_slice(first, b, c);
            budget.hold(bytes)?;
            fuel
        }
        _ => match u8::try_from(number).ok().and_then(BinaryOp::numbered) {
            Some(op) => price_of_binary(op, first, second),
            None => 0,
        },
    };
    Ok(budget.spend(fuel)?)
}

/// Stops the event unless the aggregate of that number can use the value; with a number below 0, unless
/// arithmetic can use what the aggregate gives back.
pub(super) fn v_fits(mut caller: Call<'_>, number: i32, handle: i32) -> Result<(), Error> {
    work(&mut caller, |host| {
        let function = u16::try_from(number.unsigned_abs())
            .ok()
            .and_then(by_number);
        let name = function.map_or("", |function| function.name);
        let value = host.values.get(handle)?;
        if number < 0 {
            return fits_arithmetic(name, value).map_err(data);
        }
        fits(name, value).map_err(data)
    })
}

/// The number of a slot, which the guest claims to be one.
fn slot(number: i32) -> Result<u8, GuestFault> {
    u8::try_from(number).map_err(|_| GuestFault::NoSuch {
        what: "slot",
        index: number,
    })
}

/// Lets a value into the two slots of an extreme.
fn extreme(
    host: &mut Host,
    handle: i32,
    (value, mark): (i32, i32),
    wanted: Ordering,
) -> Result<(), GuestFault> {
    host.with_key(import::V_OP)?;
    let (value, mark) = (slot(value)?, slot(mark)?);
    let Some(new) = Extreme::of(host.values.get(handle)?) else {
        return Ok(());
    };
    let mut held = Extreme {
        value: host.slot(value),
        mark: host.slot(mark),
    };
    held.take(new, wanted);
    let slots = &mut host.frame.effects.slots;
    slots.set(value, canonical(held.value));
    slots.set(mark, canonical(held.mark));
    Ok(())
}

/// Adds a value to a sum that is kept in two slots.
pub(super) fn v_total(
    mut caller: Call<'_>,
    handle: i32,
    rest: i32,
    high: i32,
) -> Result<(), Error> {
    work(&mut caller, |host| {
        host.with_key(import::V_TOTAL)?;
        let (rest, high) = (slot(rest)?, slot(high)?);
        let mut total = Total {
            high: host.slot(high),
            rest: host.slot(rest),
        };
        match host.values.get(handle)? {
            Value::Int(number) => total.add_whole(*number),
            other => total.add_float(other.as_number().unwrap_or(0.0)),
        }
        let slots = &mut host.frame.effects.slots;
        slots.set(rest, canonical(total.rest));
        slots.set(high, canonical(total.high));
        Ok(())
    })
}

/// An operator on up to three values.
fn apply(
    number: i32,
    a: Option<&Value>,
    b: Option<&Value>,
    c: Option<&Value>,
) -> Result<Value, GuestFault> {
    let nothing = Value::Null;
    let (first, second) = (a.unwrap_or(&nothing), b.unwrap_or(&nothing));
    let third = c.unwrap_or(&nothing);
    let result = match number {
        op::NEGATE => negate(first),
        op::NOT => not(first),
        op::IS_NULL => Ok(Value::Bool(first.is_null())),
        op::FIELD => Ok(field(first, second.as_text().unwrap_or_default())),
        op::INDEX => index(first, second),
        op::SLICE => slice(first, b, c),
        op::IN => contains(first, second, false).map(Value::Bool),
        op::NOT_IN => contains(first, second, true).map(Value::Bool),
        op::BETWEEN => between(first, second, third, false).map(Value::Bool),
        op::NOT_BETWEEN => between(first, second, third, true).map(Value::Bool),
        op::LIKE => like(first, second, false).map(Value::Bool),
        op::NOT_LIKE => like(first, second, true).map(Value::Bool),
        op::CASE_EQUAL => case_equal(first, second).map(Value::Bool),
        _ => match u8::try_from(number).ok().and_then(BinaryOp::numbered) {
            Some(op) => binary(op, first, second),
            None => {
                let what = "operator";
                return Err(GuestFault::NoSuch {
                    what,
                    index: number,
                });
            }
        },
    };
    result.map_err(|error| data(error.to_string()))
}

/// The key as a value of a kind: [`Value::key_text`] the other way round.
fn key(key: &str, kind: i32) -> Value {
    const NEGATIVE_ZERO: i32 = -kind::FLOAT;
    let value = match kind {
        kind::MISSING => return Value::Null,
        NEGATIVE_ZERO => Some(Value::Float(-0.0)),
        kind::WHOLE => key.parse().ok().map(Value::Int),
        kind::FLOAT => match (key.parse::<i64>(), key.parse()) {
            (Err(_), Ok(wide)) => Some(Value::whole(wide)),
            _ => key.parse().ok().map(Value::float),
        },
        kind::TRUTH => key.parse().ok().map(Value::Bool),
        kind::OTHER => from_json(key.as_bytes()).ok(),
        _ => None,
    };
    value.unwrap_or_else(|| Value::text(key))
}

/// When the row or the window was.
fn moment(host: &Host, number: i32) -> Value {
    let frame = &host.frame;
    let pane = frame.pane.as_ref();
    let ms = match number {
        op::WINDOW_START => pane.map(|pane| pane.start_ms),
        op::WINDOW_END => pane.map(|pane| pane.end_ms),
        op::WINDOW_TRIGGER => Some(frame.event_ms),
        _ => Some(host.values.time_ms().unwrap_or(frame.event_ms)),
    };
    ms.map_or(Value::Null, Value::Int)
}

pub(super) fn v_call(mut caller: Call<'_>, number: i32, count: i32) -> Result<i32, Error> {
    charge(&mut caller, CALL_FUEL)?;
    let args = work(&mut caller, |host| host.values.take_args(count))?;
    function(&mut caller, number, &args)
}

pub(super) fn v_fold(mut caller: Call<'_>, number: i32, count: i32) -> Result<i32, Error> {
    charge(&mut caller, CALL_FUEL)?;
    if matches!(number, MIN | MAX) {
        misfits(&mut caller, number)?;
    }
    let args = paid_work(&mut caller, |host, budget| {
        host.values.gathered(count, budget)
    })?;
    function(&mut caller, number, &args)
}

/// Takes out what is not comparable with the others: each is a fault of its row.
fn misfits(caller: &mut Call<'_>, number: i32) -> Result<(), Error> {
    let name = by_number(number.unsigned_abs() as u16).map_or("", |function| function.name);
    paid_work(caller, |host, budget| {
        host.values.touch();
        for (row, value) in host.values.take_misfits(budget)? {
            let reason = format!("{name}: {} stands among others", value.shown());
            host.values.hold(reason.len() + REASON_BYTES)?;
            let misfits = &mut host.frame.effects.misfits;
            misfits.entry(row).or_insert(reason.into());
        }
        Ok(())
    })
}

fn function(caller: &mut Call<'_>, number: i32, args: &[Value]) -> Result<i32, Error> {
    let Some(function) = u16::try_from(number).ok().and_then(by_number) else {
        return super::no_such("function", number);
    };
    let value = paying(caller, |host, budget| {
        let topic = host.values.topic();
        let meta = host.values.meta_map();
        let no_meta = Map::new();
        let Host {
            values,
            frame,
            draws,
            terms,
            ..
        } = host;
        let mut random = || next_random(frame, draws, terms.seed).cast_unsigned();
        let mut context = Context {
            now_ms: frame.event_ms,
            rule: &terms.rule,
            rule_start_ms: frame.rule_start_ms,
            topic: topic.as_deref().unwrap_or_default(),
            meta: meta.as_deref().unwrap_or(&no_meta),
            random: &mut random,
            cache: &mut values.cache,
            budget,
        };
        call(function, &mut context, args).map_err(|error| named(function.name, error))
    })?;
    let value = or_spoil(caller, value)?;
    caller.data_mut().values.make(value).map_err(Error::host)
}

/// The fault that an error of a function is.
fn named(function: &str, error: FnError) -> GuestFault {
    match error.into() {
        GuestFault::Data { reason } => data(format!("{function}: {reason}")),
        other => other,
    }
}

pub(super) fn v_set(mut caller: Call<'_>, name: i32, handle: i32) -> Result<(), Error> {
    charge(&mut caller, NAME_FUEL)?;
    work(&mut caller, |host| host.values.set(name, handle))
}

pub(super) fn v_star(mut caller: Call<'_>, stream: i32, except: i32) -> Result<(), Error> {
    with_row(&mut caller)?;
    paid_work(&mut caller, |host, budget| {
        host.values.star(stream, except, budget)
    })
}

pub(super) fn v_merge(mut caller: Call<'_>, handle: i32, name: i32) -> Result<(), Error> {
    paid_work(&mut caller, |host, budget| {
        host.values.merge(handle, name, budget)
    })
}

pub(super) fn v_order(mut caller: Call<'_>, handle: i32, descending: i32) -> Result<(), Error> {
    work(&mut caller, |host| host.values.order(handle, descending))
}

pub(super) fn v_emit(mut caller: Call<'_>) -> Result<(), Error> {
    work(&mut caller, |host| host.values.emit())
}

pub(super) fn v_flush(mut caller: Call<'_>, port: i32, limit: i32) -> Result<(), Error> {
    let most = caller.data().terms.emission_bytes;
    let rows: Vec<Sent> = paid_work(&mut caller, |host, budget| {
        host.values.finish(limit, most, budget)
    })?;
    let host = caller.data_mut();
    for row in rows {
        match host.check_row_port(port, row.json.len()) {
            Ok(port) => push_keyed(host, port, row.json.as_bytes(), row.key),
            Err(Code::Denied) => {}
            Err(code) => {
                let limit = host.terms.emission_bytes;
                let reason = format!(
                    "the rows that go out have more than {limit} bytes (code {})",
                    code.value()
                );
                return Err(Error::host(data(reason)));
            }
        }
    }
    Ok(())
}

pub(super) fn v_keep(mut caller: Call<'_>, stream: i32) -> Result<(), Error> {
    let host = caller.data();
    if host.has_event() && host.values.event_row().is_none() {
        let price = read_price(&host.frame);
        grant(&mut caller, price)?;
    }
    paid_work(&mut caller, |host, budget| {
        if !host.has_event() {
            return Err(GuestFault::WrongContext {
                import: import::V_KEEP,
            });
        }
        let number = usize::try_from(stream).ok();
        let number = number.filter(|number| *number < STREAMS_MAX);
        let (what, index) = ("stream", stream);
        let number = number.ok_or(GuestFault::NoSuch { what, index })?;
        let Host { values, frame, .. } = host;
        values.read_event(frame, number, budget)?;
        let keeps = &values.spec.keeps;
        let row = values.event_row().map(|row| row.encode(keeps, budget));
        let row = row.transpose()?;
        host.put_row(&row.unwrap_or_default()).map_err(|code| {
            data(match code {
                Code::TooBig => "the row is too large to be kept".to_owned(),
                code => format!("the row cannot be kept (code {})", code.value()),
            })
        })
    })
}

/// Fuel that loading a row may take at most, beside its bytes.
const LOADED_ROW_FUEL: u64 = 2_000;
/// Fuel that a byte of a row may take at most: the shortest name with a value has four.
const LOADED_BYTE_FUEL: u64 = 120;

pub(super) fn v_load(mut caller: Call<'_>) -> Result<i32, Error> {
    // So is reading the rows of the window.
    let host = caller.data();
    let most = host.frame.rows.len() as u64 * LOADED_ROW_FUEL
        + host.frame.row_bytes() as u64 * LOADED_BYTE_FUEL;
    let most = if host.values.is_loaded() { 0 } else { most };
    grant(&mut caller, most)?;
    let before = caller.get_fuel()?.saturating_sub(caller.data().owed);
    let rows = paid_work(&mut caller, |host, budget| {
        if host.handler != Some(Handler::Window) {
            return Err(GuestFault::WrongContext {
                import: import::V_LOAD,
            });
        }
        let Host { values, frame, .. } = host;
        let rows = frame.rows.iter();
        values.load(rows.filter_map(|name| frame.state.row(*name)), budget)
    })?;
    let after = caller.get_fuel()?.saturating_sub(caller.data().owed);
    take_back(
        &mut caller,
        most.saturating_sub(before.saturating_sub(after)),
    )?;
    Ok(i32::try_from(rows).unwrap_or(i32::MAX))
}

pub(super) fn v_open(mut caller: Call<'_>, what: i32, arg: i32) -> Result<(), Error> {
    with_row(&mut caller)?;
    paid_work(&mut caller, |host, budget| {
        host.values.open(what, arg, budget)
    })
}

pub(super) fn v_next(mut caller: Call<'_>) -> Result<i32, Error> {
    charge(&mut caller, STEP_FUEL)?;
    let joins = caller.data().values.is_joining();
    let goes_on = work(&mut caller, |host| host.values.next().map(i32::from))?;
    if joins && goes_on != 0 {
        grant_pair(&mut caller)?;
    }
    Ok(goes_on)
}

/// A firing has fuel for each pair that its joins look at, as far as there may be pairs.
fn grant_pair(caller: &mut Call<'_>) -> Result<(), Error> {
    let host = caller.data_mut();
    host.pairs += 1;
    if host.pairs > limit::PAIRS_MAX {
        let pairs = limit::PAIRS_MAX;
        let reason = format!("a join looks at more than {pairs} pairs of rows");
        return Err(Error::host(too_much(reason)));
    }
    if host.handler == Some(Handler::Window) {
        grant(caller, limit::FUEL_PER_PAIR)?;
    }
    Ok(())
}

pub(super) fn v_hit(mut caller: Call<'_>) -> Result<(), Error> {
    work(&mut caller, |host| host.values.hit())
}

pub(super) fn v_group(mut caller: Call<'_>, count: i32) -> Result<(), Error> {
    paid_work(&mut caller, |host, budget| host.values.group(count, budget))
}

pub(super) fn v_gather(mut caller: Call<'_>, count: i32) -> Result<(), Error> {
    work(&mut caller, |host| host.values.gather(count))
}
