//! Functions that remember: what they keep is an entry in the state of the key.

use tidemill_abi::{Code, import};
use tidemill_values::{Value, by_number, decode, encode, step};
use wasmi::Error;

use super::work;
use crate::function::guest::GuestFault;
use crate::function::host::Host;
use crate::function::imports::{Call, no_such};
use crate::function::values::data;

/// State of a function that remembers: its name in front, then the partition.
const STEP_ENTRY: u8 = 1;
/// How often a condition was met.
const HITS_ENTRY: u8 = 2;
/// Longest partition that stands in a name as it is; a longer one is hashed.
const PARTITION_BYTES_MAX: usize = 200;

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
    work(&mut caller, |host| {
        host.with_key(import::V_STEP)?;
        let partition = host.values.take_args(partition)?;
        let args = host.values.take_args(count)?;
        let mut name = vec![STEP_ENTRY];
        name.extend_from_slice(&u16::try_from(slot).unwrap_or(u16::MAX).to_be_bytes());
        if !partition.is_empty() {
            let bytes = encode(&Value::list(partition)).map_err(|error| data(error.to_string()))?;
            match bytes.len() > PARTITION_BYTES_MAX {
                true => name.extend_from_slice(&crate::event::hash_bytes(&[&bytes]).to_be_bytes()),
                false => name.extend_from_slice(&bytes),
            }
        }
        let before = host.entry(&name).and_then(|bytes| decode(bytes).ok());
        let before = before.unwrap_or(Value::Null);
        let (after, value) = step(function, &before, &args, counts != 0)
            .map_err(|error| data(format!("{}: {error}", function.name)))?;
        if after != before {
            remember(host, &name, &after, function.name)?;
        }
        host.values.make(value)
    })
}

fn remember(host: &mut Host, name: &[u8], value: &Value, what: &str) -> Result<(), GuestFault> {
    let bytes = encode(value).map_err(|error| data(format!("{what}: {error}")))?;
    host.write_entry(name, &bytes).map_err(|code| {
        data(match code {
            Code::TooBig => format!("{what}: what it remembers is too large"),
            _ => format!("{what}: the rule's state is full"),
        })
    })
}

/// How often a condition was met, and when last.
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
    work(&mut caller, |host| {
        host.with_key(import::V_HITS)?;
        let (count, _) = hits(host, which);
        let of_row = host.values.time_ms().unwrap_or(host.frame.event_ms);
        let pane = host.frame.pane.as_ref().filter(|_| which != 0);
        let time_ms = pane.map_or(of_row, |pane| pane.end_ms);
        let value = Value::list(vec![Value::Int(count + 1), Value::Int(time_ms)]);
        remember(host, &hits_name(which), &value, "last_hit")
    })
}
