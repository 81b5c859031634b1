//! The imports that work on what a rule remembers about a key: slots, entries and timers.

use std::collections::BTreeMap;

use tidemill_abi::{Code, import, limit};
use wasmi::Error;

use super::{Call, copied, no_such};
use crate::event::state::{Due, HOST_PREFIX};
use crate::function::host::{charge, claim, with_memory};
use crate::function::number::canonical;
use crate::function::price::{BARE_FUEL, ENTRY_FUEL, TIMER_FUEL};

pub(super) fn reg_get(mut caller: Call<'_>, slot: i32) -> Result<f64, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let host = caller.data();
    host.with_key(import::REG_GET).map_err(Error::host)?;
    let Ok(slot) = u8::try_from(slot) else {
        return no_such("slot", slot);
    };
    Ok(host.slot(slot))
}

pub(super) fn reg_set(mut caller: Call<'_>, slot: i32, value: f64) -> Result<(), Error> {
    charge(&mut caller, BARE_FUEL)?;
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
    with_memory(&mut caller, ENTRY_FUEL, |memory, host, fuel| {
        let (key, target) = match (claim(kp, kl), claim(vp, vc)) {
            (Ok(key), Ok(target)) => (key, target),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Code::WrongContext.value());
        }
        let key = key.read(memory)?;
        if is_host(key) {
            return Ok(Code::BadArgument.value());
        }
        let Some(len) = host.entry(key).map(|value| copied(value, vc)) else {
            return Ok(Code::NotFound.value());
        };
        // The key may lie where the value goes.
        let key = key.to_vec();
        host.pay_copy(len, fuel)?;
        target.fill(memory, host.entry(&key).unwrap_or_default())
    })
}

pub(super) fn st_put(
    mut caller: Call<'_>,
    kp: i32,
    kl: i32,
    vp: i32,
    vl: i32,
) -> Result<i32, Error> {
    with_memory(&mut caller, ENTRY_FUEL, |memory, host, fuel| {
        let (key, value) = match (claim(kp, kl), claim(vp, vl)) {
            (Ok(key), Ok(value)) => (key.read(memory)?, value.read(memory)?),
            (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Code::WrongContext.value());
        }
        if is_host(key) {
            return Ok(Code::BadArgument.value());
        }
        host.pay_copy(
            key.len() + value.len().min(limit::STATE_VALUE_BYTES_MAX),
            fuel,
        )?;
        if let Err(code) = host.write_entry(key, value) {
            return Ok(code.value());
        }
        Ok(0)
    })
}

pub(super) fn st_del(mut caller: Call<'_>, kp: i32, kl: i32) -> Result<i32, Error> {
    with_memory(&mut caller, ENTRY_FUEL, |memory, host, _| {
        let key = match claim(kp, kl) {
            Ok(key) => key.read(memory)?,
            Err(refusal) => return Ok(refusal),
        };
        if host.handler.is_none() {
            return Ok(Code::WrongContext.value());
        }
        if is_host(key) {
            return Ok(Code::BadArgument.value());
        }
        Ok(if host.remove_entry(key) {
            0
        } else {
            Code::NotFound.value()
        })
    })
}

/// `true` if an entry of this name belongs to the host.
fn is_host(name: &[u8]) -> bool {
    name.first() == Some(&HOST_PREFIX)
}

pub(super) fn timer(mut caller: Call<'_>, id: i32, delay_ms: i64) -> Result<i32, Error> {
    charge(&mut caller, TIMER_FUEL)?;
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
    match place {
        // Cancelling what does not run leaves no mark, so that a guest cannot fill the host with marks.
        Some(place) if delay.is_none() && !armed.contains_key(&id) => {
            asked.remove(place);
        }
        Some(place) => {
            if let Some(known) = asked.get_mut(place) {
                known.1 = delay;
            }
        }
        None if delay.is_none() && !runs => {}
        None => asked.push((id, delay)),
    }
    Ok(0)
}

/// Number of timers of the key that would run if the call ended here. No more is asked for than may run,
/// and cancelled than run.
fn running(armed: &BTreeMap<u32, Due>, asked: &[(u32, Option<u64>)]) -> usize {
    let mut count = armed.len();
    for (id, delay) in asked {
        match (armed.contains_key(id), delay) {
            (true, None) => count = count.saturating_sub(1),
            (false, Some(_)) => count += 1,
            _ => {}
        }
    }
    count
}
