//! Names of what a rule keeps, as bytes.

use std::sync::Arc;

use super::codec::{Reader, RecordError, put_len, put_text};
use crate::event::state::layout::{FunctionUse, Layout, Name, Names, Naming};

/// Tags that precede names.
const SCHEMA: u8 = 0;
const NAMES: u8 = 1;
const AS_BEFORE: u8 = 2;
const UNKNOWN: u8 = 3;
const NAMES_AND_KEPT: u8 = 4;
/// All of the above, and timers and the use of the function: of a record of the newest format.
const NAMES_AND_FUNCTION: u8 = 5;

/// Writes how state is found again; `is_known` says that an earlier record holds it.
pub(super) fn put_naming(out: &mut Vec<u8>, naming: &Naming, is_known: bool) {
    let layout = match naming {
        _ if is_known => return out.push(AS_BEFORE),
        Naming::Unknown => return out.push(UNKNOWN),
        Naming::Schema => return out.push(SCHEMA),
        Naming::Names(layout) => layout,
    };
    let tag = match (layout.is_known_to_earlier(), layout.kept.is_empty()) {
        (false, _) => NAMES_AND_FUNCTION,
        (true, false) => NAMES_AND_KEPT,
        (true, true) => NAMES,
    };
    out.push(tag);
    put_text(out, layout.key.as_bytes());
    put_text(out, layout.window.as_bytes());
    out.push(layout.pane_slots);
    let names = &layout.names;
    out.push(u8::from(names.whole));
    for list in [
        &names.slots,
        &names.steps,
        &names.hits,
        &names.notes,
        &names.streams,
    ] {
        put_len(out, list.len());
        list.iter().for_each(|name| put_name(out, name));
    }
    put_len(out, names.entries.len());
    for (prefix, name) in &names.entries {
        put_text(out, prefix.as_bytes());
        put_text(out, name.as_bytes());
    }
    put_name(out, &names.window);
    put_len(out, names.folds.len());
    for fold in &names.folds {
        put_text(out, fold.as_bytes());
    }
    if tag != NAMES {
        put_len(out, layout.kept.len());
        let kept = layout.kept.iter();
        kept.for_each(|place| put_text(out, place.as_bytes()));
    }
    if tag == NAMES_AND_FUNCTION {
        put_len(out, names.timers.len());
        names.timers.iter().for_each(|name| put_name(out, name));
        put_function(out, layout.function.as_ref());
    }
}

fn put_function(out: &mut Vec<u8>, function: Option<&FunctionUse>) {
    out.push(u8::from(function.is_some()));
    let Some(function) = function else {
        return;
    };
    put_text(out, function.stock.as_bytes());
    put_len(out, function.params.len());
    for (name, value) in &function.params {
        put_text(out, name.as_bytes());
        put_text(out, value.as_bytes());
    }
}

/// Reads the output of [`put_naming`]; `None` if the naming is unchanged.
pub(super) fn naming(reader: &mut Reader<'_>) -> Result<Option<Naming>, RecordError> {
    let what = reader.u8()?;
    match what {
        SCHEMA => return Ok(Some(Naming::Schema)),
        AS_BEFORE => return Ok(None),
        UNKNOWN => return Ok(Some(Naming::Unknown)),
        NAMES | NAMES_AND_KEPT | NAMES_AND_FUNCTION => {}
        _ => return Err(RecordError::Damaged),
    }
    let (key, window) = (text(reader)?, text(reader)?);
    let (pane_slots, whole) = (reader.u8()?, reader.u8()? == 1);
    let mut names = Names {
        whole,
        ..Names::default()
    };
    let Names {
        slots,
        steps,
        hits,
        notes,
        streams,
        ..
    } = &mut names;
    for list in [slots, steps, hits, notes, streams] {
        for _ in 0..reader.count()? {
            list.push(name(reader)?);
        }
    }
    for _ in 0..reader.count()? {
        names.entries.push((text(reader)?, text(reader)?));
    }
    names.window = name(reader)?;
    for _ in 0..reader.count()? {
        names.folds.push(text(reader)?);
    }
    let mut kept = Vec::new();
    if what != NAMES {
        for _ in 0..reader.count()? {
            kept.push(text(reader)?);
        }
    }
    let mut used = None;
    if what == NAMES_AND_FUNCTION {
        for _ in 0..reader.count()? {
            names.timers.push(name(reader)?);
        }
        used = function(reader)?;
    }
    Ok(Some(Naming::Names(Arc::new(Layout {
        names: Arc::new(names),
        key,
        window,
        kept,
        pane_slots,
        function: used,
    }))))
}

fn function(reader: &mut Reader<'_>) -> Result<Option<FunctionUse>, RecordError> {
    if reader.u8()? == 0 {
        return Ok(None);
    }
    let stock = text(reader)?;
    let mut params = Vec::new();
    for _ in 0..reader.count()? {
        params.push((text(reader)?, text(reader)?));
    }
    Ok(Some(FunctionUse { stock, params }))
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    out.push(u8::from(name.is_some()));
    if let Some(name) = name {
        put_text(out, name.as_bytes());
    }
}

fn name(reader: &mut Reader<'_>) -> Result<Name, RecordError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => text(reader).map(Some),
        _ => Err(RecordError::Damaged),
    }
}

fn text(reader: &mut Reader<'_>) -> Result<Box<str>, RecordError> {
    Ok((*reader.short_text()?).into())
}
