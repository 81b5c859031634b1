//! The poll table of a port with `mode = "modbus"`: units, and what is read of each.

mod read;

use super::Check;
use super::file::{PortTable, UnitTable};
use super::line::{LineSettings, Parity, StopBits};
use super::words::{duration, number};
use crate::modbus::{Bus, Field, Unit, UnitId};
use crate::topics::{self, Below, Pattern};
use std::ops::{Range, RangeInclusive};
use toml::Spanned;

/// Values of one unit at most: an event of more is longer than most brokers take.
const VALUES_MAX: usize = 256;

const TIMEOUT_MS: u64 = 300;
const TIMEOUT_RANGE: RangeInclusive<u64> = 10..=10_000;
const GAP_MS_MIN: u64 = 5;
const GAP_RANGE: RangeInclusive<u64> = 1..=1_000;
const LATE_MS: u64 = 2_000;
const LATE_RANGE: RangeInclusive<u64> = 0..=60_000;
const EVERY_MS: u64 = 10_000;
const EVERY_RANGE: RangeInclusive<u64> = 10..=86_400_000;

/// Refuses what only a port with units has.
pub(super) fn refuse_keys_of_units(table: &PortTable, check: &mut Check<'_>) {
    let of_units = [
        ("timeout", table.timeout.as_ref().map(Spanned::span)),
        ("gap", table.gap.as_ref().map(Spanned::span)),
        ("late", table.late.as_ref().map(Spanned::span)),
        ("unit", table.unit.first().map(Spanned::span)),
    ];
    for (key, span) in of_units {
        if let Some(span) = span {
            let why = format!("{key}: only a port with mode = \"modbus\" has it");
            check.error(span, why);
        }
    }
}

/// Reads the bus of a port with `mode = "modbus"`; `None` where so much is wrong that nothing is left to go on with.
pub(super) fn bus(
    table: &PortTable,
    line: &LineSettings,
    bridge: &str,
    check: &mut Check<'_>,
) -> Option<Bus> {
    refuse_keys_of_lines(table, check);
    let bits =
        10 + u32::from(line.parity != Parity::None) + u32::from(line.stop_bits == StopBits::Two);
    let character_us = (bits * 1_000_000).div_ceil(line.baud.max(1));
    // The standard's three and a half characters; what counts is what a gateway and its adapters can keep.
    let standard_ms = u64::from(character_us) * 7 / 2_000 + 1;
    let gap = standard_ms.max(GAP_MS_MIN);
    let bus = Bus {
        timeout_ms: duration(
            table.timeout.as_ref(),
            "timeout",
            TIMEOUT_MS,
            TIMEOUT_RANGE,
            check,
        ),
        gap_ms: duration(table.gap.as_ref(), "gap", gap, GAP_RANGE, check),
        late_ms: duration(table.late.as_ref(), "late", LATE_MS, LATE_RANGE, check),
        character_us,
        units: Vec::new(),
    };
    if table.unit.is_empty() {
        let why = "there is no unit; write [[port.unit]] and below it id = 1, name = \"meter-a\" and read = […]";
        check.error(table.name.span(), why);
    }
    each_unit_once(&table.unit, check);
    let mut units = Vec::new();
    for given in &table.unit {
        units.extend(unit(given, table, bridge, check));
    }
    warn_of_one_topic(table, check);
    let bus = Bus { units, ..bus };
    warn_of_load(&bus, table, check);
    Some(bus)
}

fn unit(
    given: &Spanned<UnitTable>,
    port: &PortTable,
    bridge: &str,
    check: &mut Check<'_>,
) -> Option<Unit> {
    let table = given.get_ref();
    check.name("name", &table.name);
    let id = number(Some(&table.id), "id", 1, UnitId::RANGE, check);
    let every_ms = duration(table.every.as_ref(), "every", EVERY_MS, EVERY_RANGE, check);
    let reads = table.read.get_ref();
    if !(1..=VALUES_MAX).contains(&reads.len()) {
        let why = format!(
            "read: write 1 to {VALUES_MAX} values, such as {{ reg = \"holding:0\", as = \"volts\" }}"
        );
        check.error(table.read.span(), why);
    }
    let mut fields: Vec<Field> = Vec::new();
    for read in reads {
        let Some(field) = read::field(read, check) else {
            continue;
        };
        if fields.iter().any(|other| other.name == field.name) {
            let why = format!("as: {:?} stands there twice", field.name);
            check.error(read.get_ref().name.span(), why);
        }
        fields.push(field);
    }
    let topic = topic(port, table.name.get_ref(), bridge, check)?;
    Some(Unit {
        id: UnitId(id),
        name: table.name.get_ref().clone(),
        every_ms,
        fields,
        topic,
    })
}

fn topic(table: &PortTable, unit: &str, bridge: &str, check: &mut Check<'_>) -> Option<Pattern> {
    let port = table.name.get_ref();
    let default = topics::of_port(bridge, port, Below::Data);
    let given = table.topic.as_ref();
    let text = given.map_or(default.as_str(), |topic| topic.get_ref());
    Pattern::of_unit(text, bridge, port, unit)
        .map_err(|error| {
            let span = given.map_or(table.name.span(), Spanned::span);
            check.error_once(span, format!("topic: {error}"));
        })
        .ok()
}

/// No two units have one number or one name.
fn each_unit_once(units: &[Spanned<UnitTable>], check: &mut Check<'_>) {
    for (index, unit) in units.iter().enumerate() {
        let (unit, earlier) = (unit.get_ref(), units.iter().take(index));
        let mut earlier = earlier.map(Spanned::get_ref);
        let is_id = |other: &UnitTable| other.id.get_ref() == unit.id.get_ref();
        if let Some(other) = earlier.clone().find(|other| is_id(other)) {
            let why = format!(
                "id: unit {:?} has this number already; write all that is read of it there",
                other.name.get_ref()
            );
            check.error(unit.id.span(), why);
        }
        let name = unit.name.get_ref();
        if earlier.any(|other| other.name.get_ref() == name) {
            let why = format!("name: there are two units {name:?}; each has a name of its own");
            check.error(unit.name.span(), why);
        }
    }
}

/// Warns of events that nobody can tell apart.
fn warn_of_one_topic(table: &PortTable, check: &mut Check<'_>) {
    let given = table.topic.as_ref();
    let names_unit = given.is_some_and(|topic| topic.get_ref().contains("{unit}"));
    if table.unit.len() > 1 && !names_unit {
        let span = given.map_or(table.name.span(), Spanned::span);
        let why = "topic: the events of all units go to one topic and do not say whose they are; write topic = \"meters/{unit}\"";
        check.warn(span, why);
    }
}

/// Warns of more polls than a line has time for.
fn warn_of_load(bus: &Bus, table: &PortTable, check: &mut Check<'_>) {
    let busy_ms = bus.busy_ms();
    if busy_ms > 1_000 {
        let why = format!(
            "the polls of this port take {}.{} s of each second on the wire, without the units' own time; ask less often or for less, or take a faster line",
            busy_ms / 1_000,
            busy_ms / 100 % 10
        );
        check.warn(table.name.span(), why);
    }
}

/// Keys that say something of lines and packets, or of the way down.
fn refuse_keys_of_lines(table: &PortTable, check: &mut Check<'_>) {
    fn span<T>(given: &Option<Spanned<T>>) -> Option<Range<usize>> {
        given.as_ref().map(Spanned::span)
    }
    let of_lines = [
        ("end", span(&table.end)),
        ("decode", span(&table.decode)),
        ("columns", span(&table.columns)),
        ("pattern", span(&table.pattern)),
        ("log", span(&table.log)),
        ("plain", span(&table.plain)),
        ("write", span(&table.write)),
        ("line_bytes", span(&table.line_bytes)),
        ("frames", span(&table.frames)),
        ("silence", span(&table.silence)),
        ("length", span(&table.length)),
    ];
    for (key, span) in of_lines {
        if let Some(span) = span {
            let why =
                format!("{key}: a port with mode = \"modbus\" has no lines; take this key away");
            check.error(span, why);
        }
    }
    if let Some(bits) = table.bits.as_ref().filter(|bits| *bits.get_ref() != 8) {
        check.error(bits.span(), "bits: Modbus RTU has 8");
    }
}

#[cfg(test)]
mod tests;
