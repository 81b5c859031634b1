//! The imports that work on what a rule remembers about a key: slots, entries and timers.

use std::collections::BTreeMap;

use tidemill_abi::{Code, import, limit};
use wasmi::Error;

use super::{Call, no_such};
use crate::event::state::{Due, HOST_PREFIX};
use crate::function::host::{Answer, claim, with_memory};
use crate::function::number::canonical;

/// Fuel of a look into the state entries: a walk down a tree of byte strings.
const ENTRY_FUEL: u64 = 50;

pub(super) fn reg_get(caller: Call<'_>, slot: i32) -> Result<f64, Error> {
    let host = caller.data();
    host.with_key(import::REG_GET).map_err(Error::host)?;
    let Ok(slot) = u8::try_from(slot) else {
        return no_such("slot", slot);
    };
    Ok(host.slot(slot))
}

pub(super) fn reg_set(mut caller: Call<'_>, slot: i32, value: f64) -> Result<(), Error> {
    let host = caller.data_mut();
    host.with_key(import::REG_SET).map_err(Error::host)?;
    let Ok(slot) = u8::try_from(slot) else {
        return no_such("slot", slot);
    };
    host.frame.effects.slots.set(slot, canonical(value));
    Ok(())
}

pub(super) fn st_get(
    mut caller: Call<'_>,
    kp: i32,
    kl: i32,
    vp: i32,
    vc: i32,
) -> Result<i32, Error> {
    with_memory(&mut caller, ENTRY_FUEL, |memory, host| {
        let (key, target) = match (claim(kp, kl), claim(vp, vc)) {
            (Ok(key), Ok(target)) => (key, target),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Answer::code(Code::WrongContext));
        }
        let key = key.read(memory)?;
        if is_host(key) {
            return Ok(Answer::code(Code::BadArgument));
        }
        match host.entry(key) {
            None => Ok(Answer::code(Code::NotFound)),
            Some(value) => Ok(target.fill(memory, value)?.into()),
        }
    })
}

pub(super) fn st_put(
    mut caller: Call<'_>,
    kp: i32,
    kl: i32,
    vp: i32,
    vl: i32,
) -> Result<i32, Error> {
    with_memory(&mut caller, ENTRY_FUEL, |memory, host| {
        let (key, value) = match (claim(kp, kl), claim(vp, vl)) {
            (Ok(key), Ok(value)) => (key.read(memory)?, value.read(memory)?),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Answer::code(Code::WrongContext));
        }
        if is_host(key) {
            return Ok(Answer::code(Code::BadArgument));
        }
        if let Err(code) = host.write_entry(key, value) {
            return Ok(Answer::code(code));
        }
        Ok(Answer {
            result: 0,
            moved: key.len() + value.len(),
        })
    })
}

pub(super) fn st_del(mut caller: Call<'_>, kp: i32, kl: i32) -> Result<i32, Error> {
    with_memory(&mut caller, ENTRY_FUEL, |memory, host| {
        let key = match claim(kp, kl) {
            Ok(key) => key.read(memory)?,
            Err(refusal) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Answer::code(Code::WrongContext));
        }
        if is_host(key) {
            return Ok(Answer::code(Code::BadArgument));
        }
        Ok(if host.remove_entry(key) {
            Answer::of(0)
        } else {
            Answer::code(Code::NotFound)
        })
    })
}

/// `true` if an entry of this name belongs to the host.
fn is_host(name: &[u8]) -> bool {
    name.first() == Some(&HOST_PREFIX)
}

pub(super) fn timer(mut caller: Call<'_>, id: i32, delay_ms: i64) -> Result<i32, Error> {
    let host = caller.data_mut();
    if host.handler.is_none() {
        return Ok(Code::WrongContext.value());
    }
    if delay_ms > limit::TIMER_DELAY_MS_MAX {
        return Ok(Code::BadArgument.value());
    }
    let id = id.cast_unsigned();
    let delay = u64::try_from(delay_ms).ok();
    let armed = &host.frame.state.timers;
    let asked = &mut host.frame.effects.timers;
    let place = asked.iter().position(|(known, _)| *known == id);
    let runs = place
        .and_then(|place| asked.get(place))
        .map_or_else(|| armed.contains_key(&id), |(_, delay)| delay.is_some());
    if delay.is_some() && !runs && running(armed, asked) >= limit::TIMERS_MAX as usize {
        return Ok(Code::Quota.value());
    }
    match place.and_then(|place| asked.get_mut(place)) {
        Some(known) => known.1 = delay,
        // Cancelling what does not run leaves no mark, so that a guest cannot fill the host with marks.
        None if delay.is_none() && !runs => {}
        None => asked.push((id, delay)),
    }
    Ok(0)
}

/// Number of timers of the key that would run if the call ended here.
fn running(armed: &BTreeMap<u32, Due>, asked: &[(u32, Option<u64>)]) -> usize {
    let untouched = armed
        .keys()
        .filter(|id| !asked.iter().any(|(known, _)| known == *id));
    untouched.count() + asked.iter().filter(|(_, delay)| delay.is_some()).count()
}
