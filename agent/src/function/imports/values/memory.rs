//! Functions that remember: what they keep is an entry in the state of the key.

use std::ops::Bound;

use tidemill_abi::{Code, import};
use tidemill_values::{
    Budget, DecodeError, FnError, Names, Value, by_number, decode, decode_within, encode,
    encode_into, step,
};
use wasmi::Error;

use super::{HITS_FUEL, named, paid_work};
use crate::event::state::layout::{HITS_ENTRY, STEP_ENTRY};
use crate::function::guest::GuestFault;
use crate::function::host::Host;
use crate::function::imports::{Call, no_such};
use crate::function::values::data;

/// Longest partition that is part of a name as it is; a longer one is hashed.
const PARTITION_BYTES_MAX: usize = 200;
/// Bytes of a name in front of the partition.
const STEP_NAME_BYTES: usize = 3;
/// In front of the state of a partition: the number of the event that it was last seen with follows.
/// Encoded values begin otherwise.
const SEEN: u8 = 2;
/// A partition that was seen again after fewer events is not written anew for that alone: it would cost
/// a card more than its place among those that may have to go is worth.
const SEEN_EVENTS: u64 = 256;
/// When one partition has to go, at least one in this many is dropped, so that searching for them is
/// rare.
const SHARE_DROPPED: usize = 64;

/// Fuel of finding and writing what a function remembers, beside the bytes of it.
const STEP_STATE_FUEL: u64 = 500;
/// Fuel of a byte of the values of a partition: its name is written down in both ways that it may have.
const PARTITION_FUEL: u64 = 3;
/// Fuel of an entry among which those are looked for that have to go.
const SEARCH_FUEL: u64 = 12;

/// State kept by a function that remembers.
#[derive(Default)]
struct Kept {
    value: Value,
    /// The number of the event at which the state was last used; 0 if it was not kept.
    seen: u64,
}

impl Kept {
    fn read(bytes: Option<&[u8]>, budget: &mut Budget) -> Result<Self, FnError> {
        let Some(bytes) = bytes else {
            return Ok(Self::default());
        };
        let value = match bytes.strip_prefix(&[SEEN]) {
            Some(rest) => rest.get(size_of::<u64>()..).unwrap_or_default(),
            None => bytes,
        };
        let value = match decode_within(value, budget, &mut Names::default()) {
            Err(DecodeError::OutOfFuel) => return Err(FnError::OutOfFuel),
            Err(DecodeError::NoRoom) => return Err(FnError::NoRoom),
            value => value.unwrap_or_default(),
        };
        Ok(Self {
            value,
            seen: Self::seen_of(bytes),
        })
    }

    /// The number of the event that it was last seen with.
    fn seen_of(bytes: &[u8]) -> u64 {
        let seen = bytes.strip_prefix(&[SEEN]);
        let seen = seen.and_then(|rest| rest.first_chunk());
        seen.map_or(0, |seen| u64::from_le_bytes(*seen))
    }
}

/// The value kept in an entry by a function that remembers, or the count of a condition.
pub fn kept_value(bytes: &[u8]) -> Value {
    let kept = Kept::read(Some(bytes), &mut { Budget::PLENTY });
    kept.unwrap_or_default().value
}

pub(in crate::function::imports) fn v_step(
    mut caller: Call<'_>,
    number: i32,
    slot: i32,
    count: i32,
    partition: i32,
    counts: i32,
) -> Result<i32, Error> {
    let Some(function) = u16::try_from(number).ok().and_then(by_number) else {
        return no_such("function", number);
    };
    paid_work(&mut caller, |host, budget| {
        budget.spend(STEP_STATE_FUEL)?;
        host.with_key(import::V_STEP)?;
        let partition = host.values.take_args(partition)?;
        let args = host.values.take_args(count)?;
        let is_part = !partition.is_empty();
        let weight: usize = partition.iter().map(Value::weight).sum();
        budget.spend(weight as u64 * PARTITION_FUEL)?;
        budget.hold(weight * 3)?;
        let name = step_name(slot, &partition);
        let former = match host.entry(&name) {
            None if is_part => former_name(host, slot, partition)?,
            _ => None,
        };
        let bytes = host.entry(former.as_ref().unwrap_or(&name));
        let (is_known, kept) = (bytes.is_some(), Kept::read(bytes, budget)?);
        let (after, value) = step(function, &kept.value, &args, counts != 0, budget)
            .map_err(|error| named(function.name, error))?;
        // The state after is compared with the one before, and written down.
        budget.spend(after.weight() as u64 * 2)?;
        let seen = host.frame.in_seq.max(kept.seen);
        let is_stale = is_part && is_known && seen - kept.seen >= SEEN_EVENTS;
        if after != kept.value || is_stale || former.is_some() {
            if let Some(former) = former {
                host.remove_entry(&former);
            }
            let mut bytes = Vec::new();
            if is_part {
                bytes.push(SEEN);
                bytes.extend(seen.to_le_bytes());
            }
            encode_into(&after, &mut bytes)
                .map_err(|error| data(format!("{}: {error}", function.name)))?;
            budget.spend(bytes.len() as u64 / 8)?;
            remember(host, &name, &bytes, function.name, budget)?;
        }
        host.values.make(value)
    })
}

/// The name of the state of a function that remembers, the same for partitions that are the same.
fn step_name(slot: i32, partition: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in partition {
        value.identity(&mut bytes);
    }
    with_slot(slot, &bytes)
}

/// The name under which a version before kept it, which wrote partitions down otherwise.
fn former_name(
    host: &Host,
    slot: i32,
    partition: Vec<Value>,
) -> Result<Option<Vec<u8>>, GuestFault> {
    let bytes = encode(&Value::list(partition)).map_err(|error| data(error.to_string()))?;
    let name = with_slot(slot, &bytes);
    Ok(host.entry(&name).is_some().then_some(name))
}

fn with_slot(slot: i32, partition: &[u8]) -> Vec<u8> {
    let mut name = vec![STEP_ENTRY];
    name.extend_from_slice(&u16::try_from(slot).unwrap_or(u16::MAX).to_be_bytes());
    if partition.len() > PARTITION_BYTES_MAX {
        let hash = crate::event::hash_bytes(&[partition]);
        name.extend_from_slice(&hash.to_be_bytes());
    } else {
        name.extend_from_slice(partition);
    }
    name
}

/// Stores the state of a function that remembers. If there is no room for it, other keys are
/// evicted as soon as the call has ended well; if there are none, the partitions of this key that
/// were not seen for longest.
fn remember(
    host: &mut Host,
    name: &[u8],
    bytes: &[u8],
    what: &str,
    budget: &mut Budget,
) -> Result<(), GuestFault> {
    let mut written = host.write_own_entry(name, bytes);
    if written == Err(Code::Quota) {
        budget.spend(host.frame.state.entries.len() as u64 * SEARCH_FUEL)?;
        make_room(host, name, bytes);
        written = host.write_own_entry(name, bytes);
    }
    written.map_err(|code| {
        data(match code {
            Code::TooBig => format!("{what}: what it remembers is too large"),
            _ => format!("{what}: the rule's state is full"),
        })
    })
}

/// Removes the partitions that were not seen for longest, until there is room for an entry.
fn make_room(host: &mut Host, name: &[u8], bytes: &[u8]) {
    let all = partitions(host, name).len();
    let at_least = all / SHARE_DROPPED;
    let (mut dropped, mut batch) = (0, at_least + 1);
    loop {
        // Only those that may go are put in order: more of them each time, should they be too few.
        let mut others = partitions(host, name);
        let Some(last) = batch.min(others.len()).checked_sub(1) else {
            return;
        };
        others.select_nth_unstable(last);
        others.truncate(last + 1);
        others.sort_unstable();
        let going: Vec<Box<[u8]>> = others.iter().map(|(_, name)| (*name).into()).collect();
        for other in going {
            if dropped >= at_least && host.has_room_for(name, bytes) {
                return;
            }
            host.remove_entry(&other);
            host.frame.effects.partitions_dropped += 1;
            dropped += 1;
        }
        batch = batch.saturating_mul(4);
    }
}

/// Partitions other than the one at hand, each with the number of the event that it was last seen with.
fn partitions<'a>(host: &'a Host, name: &[u8]) -> Vec<(u64, &'a [u8])> {
    let effects = &host.frame.effects.entries;
    let first: &[u8] = &[STEP_ENTRY];
    let kept = host
        .frame
        .state
        .entries
        .range::<[u8], _>((Bound::Included(first), Bound::Unbounded));
    let kept = kept.take_while(|(name, _)| name.starts_with(first));
    let others = kept.filter(|(other, _)| {
        other.len() > STEP_NAME_BYTES && ***other != *name && !effects.contains_key(*other)
    });
    others
        .map(|(name, value)| (Kept::seen_of(value), &**name))
        .collect()
}

/// Number of times a condition was met, and the time of the last one in milliseconds since 1970.
pub(super) fn hits(host: &Host, which: i32) -> (i64, i64) {
    let known = host
        .entry(&hits_name(which))
        .and_then(|bytes| decode(bytes).ok());
    match known.as_ref().and_then(Value::as_list) {
        Some([Value::Int(count), Value::Int(time_ms)]) => (*count, *time_ms),
        _ => (0, 0),
    }
}

fn hits_name(which: i32) -> [u8; 2] {
    [HITS_ENTRY, u8::try_from(which).unwrap_or(u8::MAX)]
}

pub(in crate::function::imports) fn v_hits(mut caller: Call<'_>, which: i32) -> Result<(), Error> {
    paid_work(&mut caller, |host, budget| {
        budget.spend(HITS_FUEL)?;
        host.with_key(import::V_HITS)?;
        let (count, _) = hits(host, which);
        let of_row = host.values.time_ms().unwrap_or(host.frame.event_ms);
        let pane = host.frame.pane.as_ref().filter(|_| which != 0);
        let time_ms = pane.map_or(of_row, |pane| pane.end_ms);
        let value = Value::list(vec![Value::Int(count + 1), Value::Int(time_ms)]);
        let bytes = encode(&value).map_err(|error| data(error.to_string()))?;
        remember(host, &hits_name(which), &bytes, "last_hit", budget)
    })
}
