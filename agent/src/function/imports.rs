//! The functions that guests may call: each looks at the frame, or adds to its effects, and does
//! nothing else. Deciding what becomes of the effects is left to the mill.

mod state;
mod values;
mod window;

pub use values::kept_value;

use bytes::Bytes;
use tidemill_abi::{Code, EvBytes, EvI64, import, limit};
use wasmi::{Caller, Engine, Error, Linker};

use super::grow;
use super::guest::{GuestFault, assembly_script_text};
use super::host::{Host, Terms, charge, claim, mix, with_memory};
use super::number::{NumberText, canonical};
use super::price::{BARE_FUEL, COPY_FUEL, EMIT_FUEL, FORMAT_FUEL, GROW_FUEL, LOG_FUEL, PAGE_FUEL};
use crate::event::state::Key;
use crate::event::value::Value;
use crate::function::effects::{Emission, LogLine};
use crate::function::frame::Frame;
use crate::rule::manifest::ConfigValue;

type Call<'a> = Caller<'a, Host>;

/// Everything that a guest can be linked with.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Host>, Error> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap(import::MODULE, import::IN_F64, in_f64)?
        .func_wrap(import::MODULE, import::IN_I64, in_i64)?
        .func_wrap(import::MODULE, import::IN_BYTES, in_bytes)?
        .func_wrap(import::MODULE, import::EV_BYTES, ev_bytes)?
        .func_wrap(import::MODULE, import::EV_I64, ev_i64)?
        .func_wrap(import::MODULE, import::REG_GET, state::reg_get)?
        .func_wrap(import::MODULE, import::REG_SET, state::reg_set)?
        .func_wrap(import::MODULE, import::ST_GET, state::st_get)?
        .func_wrap(import::MODULE, import::ST_PUT, state::st_put)?
        .func_wrap(import::MODULE, import::ST_DEL, state::st_del)?
        .func_wrap(import::MODULE, import::EMIT, emit)?
        .func_wrap(import::MODULE, import::EMIT_F64, emit_f64)?
        .func_wrap(import::MODULE, import::FMT_F64, fmt_f64)?
        .func_wrap(import::MODULE, import::TIMER, state::timer)?
        .func_wrap(import::MODULE, import::CFG_F64, cfg_f64)?
        .func_wrap(import::MODULE, import::CFG_BYTES, cfg_bytes)?
        .func_wrap(import::MODULE, import::LOG, log)?
        .func_wrap(import::MODULE, import::RAND, rand)?
        .func_wrap(import::MODULE, import::V_COL, values::v_col)?
        .func_wrap(import::MODULE, import::V_ROW, values::v_row)?
        .func_wrap(import::MODULE, import::V_META, values::v_meta)?
        .func_wrap(import::MODULE, import::V_OP, values::v_op)?
        .func_wrap(import::MODULE, import::V_ARG, values::v_arg)?
        .func_wrap(import::MODULE, import::V_CALL, values::v_call)?
        .func_wrap(import::MODULE, import::V_STEP, values::v_step)?
        .func_wrap(import::MODULE, import::V_TRUE, values::v_true)?
        .func_wrap(import::MODULE, import::V_F64, values::v_f64)?
        .func_wrap(import::MODULE, import::V_I64, values::v_i64)?
        .func_wrap(import::MODULE, import::V_SET, values::v_set)?
        .func_wrap(import::MODULE, import::V_STAR, values::v_star)?
        .func_wrap(import::MODULE, import::V_MERGE, values::v_merge)?
        .func_wrap(import::MODULE, import::V_ORDER, values::v_order)?
        .func_wrap(import::MODULE, import::V_EMIT, values::v_emit)?
        .func_wrap(import::MODULE, import::V_FLUSH, values::v_flush)?
        .func_wrap(import::MODULE, import::V_KEEP, values::v_keep)?
        .func_wrap(import::MODULE, import::V_LOAD, values::v_load)?
        .func_wrap(import::MODULE, import::V_OPEN, values::v_open)?
        .func_wrap(import::MODULE, import::V_NEXT, values::v_next)?
        .func_wrap(import::MODULE, import::V_HIT, values::v_hit)?
        .func_wrap(import::MODULE, import::V_GROUP, values::v_group)?
        .func_wrap(import::MODULE, import::V_GATHER, values::v_gather)?
        .func_wrap(import::MODULE, import::V_FOLD, values::v_fold)?
        .func_wrap(import::MODULE, import::V_HITS, values::v_hits)?
        .func_wrap(import::MODULE, import::V_FITS, values::v_fits)?
        .func_wrap(import::MODULE, import::V_TOTAL, values::v_total)?
        .func_wrap(import::MODULE, import::ROW_PUT, window::row_put)?
        .func_wrap(import::MODULE, import::ROWS, window::rows)?
        .func_wrap(import::MODULE, import::ROW_GET, window::row_get)?
        .func_wrap(import::MODULE, import::WIN, window::win)?
        .func_wrap(import::ABORT_MODULE, import::ABORT, abort)?
        .func_wrap(grow::MODULE, grow::NAME, memory_grow)?;
    Ok(linker)
}

fn input(host: &Host, index: i32) -> Result<Value, GuestFault> {
    let place = usize::try_from(index).ok();
    let value = place.and_then(|place| host.frame.inputs.get(place));
    let what = "input";
    value.copied().ok_or(GuestFault::NoSuch { what, index })
}

/// The bytes that are copied to a guest which claims room for `cap`.
fn copied(bytes: &[u8], cap: i32) -> usize {
    bytes.len().min(usize::try_from(cap).unwrap_or(0))
}

fn in_f64(mut caller: Call<'_>, index: i32) -> Result<f64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let host = caller.data();
    if !host.has_event() {
        return Ok(f64::NAN);
    }
    match input(host, index).map_err(Error::host)? {
        Value::F64(value) => Ok(canonical(value)),
        Value::I64(value) => Ok(value as f64),
        Value::I32(value) => Ok(value.into()),
        Value::Bytes(_) => wrong_type("input", index, "number"),
    }
}

fn in_i64(mut caller: Call<'_>, index: i32) -> Result<i64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let host = caller.data();
    if !host.has_event() {
        return wrong_context(import::IN_I64);
    }
    match input(host, index).map_err(Error::host)? {
        Value::I64(value) => Ok(value),
        Value::I32(value) => Ok(value.into()),
        Value::F64(_) | Value::Bytes(_) => wrong_type("input", index, "integer"),
    }
}

fn in_bytes(mut caller: Call<'_>, index: i32, ptr: i32, cap: i32) -> Result<i32, Error> {
    with_memory(&mut caller, COPY_FUEL, |memory, host, fuel| {
        if !host.has_event() {
            return Ok(Code::WrongContext.value());
        }
        let Value::Bytes(span) = input(host, index)? else {
            let (what, kind) = ("input", "string");
            return Err(GuestFault::WrongType { what, index, kind });
        };
        let (target, span) = match (claim(ptr, cap), span) {
            (Err(refusal), _) => return Ok(refusal),
            (Ok(_), None) => return Ok(Code::NotFound.value()),
            (Ok(target), Some(span)) => (target, span),
        };
        let len = copied(host.frame.decoded.bytes(span), cap);
        host.pay_copy(len, fuel)?;
        target.fill(memory, host.frame.decoded.bytes(span))
    })
}

fn ev_bytes(mut caller: Call<'_>, what: i32, from: i32, ptr: i32, cap: i32) -> Result<i32, Error> {
    with_memory(&mut caller, COPY_FUEL, |memory, host, fuel| {
        let target = match claim(ptr, cap) {
            Ok(target) => target,
            Err(refusal) => return Ok(refusal),
        };
        let (Some(what), Ok(from)) = (EvBytes::from_value(what), usize::try_from(from)) else {
            return Ok(Code::BadArgument.value());
        };
        // A key is what every handler has; the rest belongs to an event.
        if host.handler.is_none() || (what != EvBytes::Key && !host.has_event()) {
            return Ok(Code::WrongContext.value());
        }
        let len = copied(event_bytes(host, what).get(from..).unwrap_or_default(), cap);
        host.pay_copy(len, fuel)?;
        let rest = event_bytes(host, what).get(from..).unwrap_or_default();
        target.fill(memory, rest)
    })
}

/// Bytes of the event.
fn event_bytes(host: &Host, what: EvBytes) -> &[u8] {
    let event = &host.frame.event;
    match what {
        EvBytes::Payload => &event.payload[..],
        EvBytes::Topic => event.topic.as_str().as_bytes(),
        EvBytes::Key => host.frame.key.as_bytes(),
        EvBytes::Properties => &event.properties[..],
    }
}

fn ev_i64(mut caller: Call<'_>, what: i32) -> Result<i64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let frame = &caller.data().frame;
    let pane = frame.pane.as_ref();
    let Some(selector) = EvI64::from_value(what) else {
        return no_such("number about the event", what);
    };
    Ok(match selector {
        EvI64::EventMs => frame.event_ms,
        EvI64::ArrivalMs => frame.event.arrival_ms,
        EvI64::InSeq => frame.in_seq.cast_signed(),
        EvI64::Flags => frame.flags.into(),
        EvI64::PayloadLen => frame.event.payload.len() as i64,
        EvI64::PaneStart => pane.map_or(-1, |pane| pane.start_ms),
        EvI64::PaneEnd => pane.map_or(-1, |pane| pane.end_ms),
        EvI64::Revision => pane.map_or(0, |pane| pane.fired.into()),
        EvI64::Folded => pane.map_or(0, |pane| pane.folded.cast_signed()),
        EvI64::Streams => frame.streams.into(),
    })
}

fn emit(mut caller: Call<'_>, port: i32, ptr: i32, len: i32) -> Result<i32, Error> {
    with_memory(&mut caller, EMIT_FUEL, |memory, host, fuel| {
        let payload = match claim(ptr, len) {
            Ok(claim) => claim.read(memory)?,
            Err(refusal) => return Ok(refusal),
        };
        Ok(match host.check_port(port, payload.len()) {
            Err(code) => code.value(),
            Ok(port) => {
                host.pay_copy(payload.len(), fuel)?;
                push_emission(host, port, payload);
                0
            }
        })
    })
}

fn emit_f64(mut caller: Call<'_>, port: i32, value: f64) -> Result<i32, Error> {
    charge(&mut caller, EMIT_FUEL + FORMAT_FUEL)?;
    if !value.is_finite() {
        // JSON has no such number.
        return Ok(Code::BadArgument.value());
    }
    let text = NumberText::new(value);
    let host = caller.data_mut();
    Ok(match host.check_port(port, text.as_bytes().len()) {
        Err(code) => code.value(),
        Ok(port) => {
            push_emission(host, port, text.as_bytes());
            0
        }
    })
}

/// Adds a message to the effects.
pub(super) fn push_emission(host: &mut Host, port: u8, payload: &[u8]) {
    push_keyed(host, port, payload, None);
}

/// Adds a message with a key of its own.
pub(super) fn push_keyed(host: &mut Host, port: u8, payload: &[u8], key: Option<Key>) {
    let group = host.values.flushes();
    let effects = &mut host.frame.effects;
    effects.emitted_bytes += payload.len();
    effects.emissions.push(Emission {
        port,
        group,
        key,
        payload: Bytes::copy_from_slice(payload),
    });
}

fn fmt_f64(mut caller: Call<'_>, value: f64, ptr: i32, cap: i32) -> Result<i32, Error> {
    with_memory(&mut caller, FORMAT_FUEL, |memory, _, _| {
        match claim(ptr, cap) {
            Err(refusal) => Ok(refusal),
            Ok(target) => target.fill(memory, NumberText::new(value).as_bytes()),
        }
    })
}

fn cfg_f64(mut caller: Call<'_>, index: i32) -> Result<f64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    if let Some(number) = caller.data().terms.number(index) {
        return Ok(canonical(number));
    }
    match config(&caller.data().terms, index).map_err(Error::host)? {
        ConfigValue::F64(value) => Ok(canonical(*value)),
        ConfigValue::Bytes(_) => wrong_type("configuration entry", index, "number"),
    }
}

fn cfg_bytes(mut caller: Call<'_>, index: i32, ptr: i32, cap: i32) -> Result<i32, Error> {
    with_memory(&mut caller, COPY_FUEL, |memory, host, fuel| {
        let terms = std::sync::Arc::clone(&host.terms);
        let ConfigValue::Bytes(bytes) = config(&terms, index)? else {
            let (what, kind) = ("configuration entry", "string");
            return Err(GuestFault::WrongType { what, index, kind });
        };
        match claim(ptr, cap) {
            Err(refusal) => Ok(refusal),
            Ok(target) => {
                host.pay_copy(copied(bytes, cap), fuel)?;
                target.fill(memory, bytes)
            }
        }
    })
}

fn config(terms: &Terms, index: i32) -> Result<&ConfigValue, GuestFault> {
    let place = usize::try_from(index).ok();
    let what = "configuration entry";
    place
        .and_then(|place| terms.config.get(place))
        .ok_or(GuestFault::NoSuch { what, index })
}

fn log(mut caller: Call<'_>, level: i32, ptr: i32, len: i32) -> Result<(), Error> {
    with_memory(&mut caller, LOG_FUEL, |memory, host, _| {
        let Ok(claim) = claim(ptr, len) else {
            return Ok(0);
        };
        let line = claim.read(memory)?;
        let effects = &mut host.frame.effects;
        if effects.logs.len() >= host.frame.log_lines_free as usize {
            effects.logs_dropped = effects.logs_dropped.saturating_add(1);
            return Ok(0);
        }
        let line = line.get(..limit::LOG_LINE_BYTES_MAX).unwrap_or(line);
        let mut text = String::from_utf8_lossy(line).into_owned();
        // The replacement of a broken character is longer than the character was.
        text.truncate(text.floor_char_boundary(limit::LOG_LINE_BYTES_MAX));
        effects.logs.push(LogLine { level, text });
        Ok(0)
    })?;
    Ok(())
}

fn rand(mut caller: Call<'_>) -> Result<i64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let Host {
        frame,
        draws,
        terms,
        ..
    } = caller.data_mut();
    Ok(next_random(frame, draws, terms.seed))
}

/// The next of a call's random numbers.
fn next_random(frame: &Frame, draws: &mut u64, seed: u64) -> i64 {
    *draws += 1;
    let parts = [frame.in_seq, frame.call.into(), *draws];
    parts
        .iter()
        .fold(seed, |state, part| mix(state ^ part))
        .cast_signed()
}

fn abort(mut caller: Call<'_>, text: i32, file: i32, line: i32, column: i32) -> Result<(), Error> {
    let mut message = Box::default();
    with_memory(&mut caller, 0, |memory, _, _| {
        let text = assembly_script_text(memory, text).unwrap_or_else(|| "no message".to_owned());
        let file = assembly_script_text(memory, file).unwrap_or_else(|| "unknown".to_owned());
        message = format!("{text} at {file}:{line}:{column}").into();
        Ok(0)
    })?;
    Err(Error::host(GuestFault::Abort { message }))
}

/// Replaces the instruction `memory.grow`.
fn memory_grow(mut caller: Call<'_>, pages: i32) -> Result<i32, Error> {
    let Some(memory) = caller.data().memory else {
        return Ok(-1);
    };
    let pages = u64::from(pages.cast_unsigned());
    charge(&mut caller, GROW_FUEL)?;
    let after = memory.size(&caller).saturating_add(pages);
    // What is refused costs no more than the question.
    let limit = caller.data().terms.memory_pages;
    if pages > 0 && after <= limit.into() {
        charge(&mut caller, after * PAGE_FUEL)?;
    }
    match memory.grow(&mut caller, pages) {
        Err(_) => Ok(-1),
        // A memory of 32 bits has at most 65,536 pages.
        Ok(before) => Ok(i32::try_from(before).unwrap_or(-1)),
    }
}

fn no_such<T>(what: &'static str, index: i32) -> Result<T, Error> {
    Err(Error::host(GuestFault::NoSuch { what, index }))
}

fn wrong_type<T>(what: &'static str, index: i32, kind: &'static str) -> Result<T, Error> {
    Err(Error::host(GuestFault::WrongType { what, index, kind }))
}

fn wrong_context<T>(import: &'static str) -> Result<T, Error> {
    Err(Error::host(GuestFault::WrongContext { import }))
}
