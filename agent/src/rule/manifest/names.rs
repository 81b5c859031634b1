//! Names that a module gives to the parts of its state, checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidemill_abi::limit;

use super::{ManifestError, refuse};
use crate::event::state::HOST_PREFIX;
use crate::event::state::layout::{HITS_ENTRY, Name, Names, STEP_ENTRY};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Numbers of functions that remember stand in two bytes, those of conditions in one.
const STEPS_MAX: usize = 1 << 16;
const HITS_MAX: usize = 1 << 8;
/// Timers with names; the ids of others are any number.
const TIMERS_MAX: usize = 256;
/// Streams of a rule.
const STREAMS_MAX: usize = 32;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNames {
    whole: bool,
    slots: Vec<Option<String>>,
    steps: Vec<Option<String>>,
    hits: Vec<Option<String>>,
    entries: BTreeMap<String, String>,
    notes: Vec<Option<String>>,
    streams: Vec<Option<String>>,
    window: Option<String>,
    folds: Vec<String>,
    timers: Vec<Option<String>>,
}

/// Checks the names that a manifest gives.
pub(super) fn check(raw: RawNames) -> Result<Names, ManifestError> {
    let prefixes: Vec<&String> = raw.entries.keys().collect();
    for (prefix, name) in &raw.entries {
        check_name("entries", name)?;
        let reserved = [STEP_ENTRY, HITS_ENTRY, HOST_PREFIX];
        let first = prefix.as_bytes().first();
        if first.is_none_or(|first| reserved.contains(first)) {
            let reason = format!("{prefix:?} is no beginning of entries of its own");
            return refuse("state.names.entries", reason);
        }
        let mut others = prefixes.iter().filter(|other| **other != prefix);
        if let Some(other) = others.find(|other| other.starts_with(prefix.as_str())) {
            let reason = format!("{other:?} begins with {prefix:?}, which has another name");
            return refuse("state.names.entries", reason);
        }
    }
    let names: Vec<Box<str>> = raw
        .entries
        .values()
        .map(|name| name.as_str().into())
        .collect();
    unique("entries", names.iter().map(|name| &**name))?;
    for fold in &raw.folds {
        check_name("folds", fold)?;
    }
    // A window that nothing sets apart has an empty name.
    if let Some(window) = raw.window.as_ref().filter(|name| !name.is_empty()) {
        check_name("window", window)?;
    }
    let list = |key: &str, names: Vec<Option<String>>, most: usize, repeats: bool| {
        if names.len() > most {
            return refuse(format!("state.names.{key}"), format!("at most {most}"));
        }
        for name in names.iter().flatten() {
            check_name(key, name)?;
        }
        if !repeats {
            unique(key, names.iter().flatten().map(String::as_str))?;
        }
        let boxed = names.into_iter().map(|name| name.map(Into::into));
        Ok(boxed.collect::<Vec<Name>>())
    };
    Ok(Names {
        whole: raw.whole,
        slots: list("slots", raw.slots, limit::SLOTS_MAX, false)?,
        steps: list("steps", raw.steps, STEPS_MAX, false)?,
        hits: list("hits", raw.hits, HITS_MAX, false)?,
        entries: raw
            .entries
            .into_iter()
            .map(|(prefix, name)| (prefix.into(), name.into()))
            .collect(),
        notes: list("notes", raw.notes, limit::NOTES_MAX, true)?,
        streams: list("streams", raw.streams, STREAMS_MAX, false)?,
        window: raw.window.map(Into::into),
        folds: raw.folds.into_iter().map(Into::into).collect(),
        timers: list("timers", raw.timers, TIMERS_MAX, false)?,
    })
}

fn check_name(key: &str, name: &str) -> Result<(), ManifestError> {
    match name.len() {
        0 => refuse(format!("state.names.{key}"), "a name is empty"),
        1..=NAME_BYTES_MAX => Ok(()),
        bytes => refuse(
            format!("state.names.{key}"),
            format!("a name of {bytes} bytes; at most {NAME_BYTES_MAX}"),
        ),
    }
}

fn unique<'a>(
    key: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ManifestError> {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return refuse(
                format!("state.names.{key}"),
                format!("{name:?} is there twice"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::rule::manifest::ModuleManifest;

    fn parse(names: &str) -> Result<ModuleManifest, String> {
        let json = format!(r#"{{"abi":1,"state":{{"slots":2,"names":{names}}}}}"#);
        ModuleManifest::parse(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn any_module_may_name_its_slots_and_entries() {
        let manifest = parse(
            r#"{"slots":["total",null,"last"],"entries":{"l/":"last seen"},"timers":[null,"hold"]}"#,
        );
        let manifest = manifest.unwrap();
        assert_eq!(manifest.state.slots, 2);
        let names = manifest.names.unwrap();
        assert_eq!(names.of_slot(0), Some("total"));
        assert_eq!(names.of_slot(1), None);
        assert_eq!(names.of_entry(b"l/d1"), Some("last seen"));
        assert_eq!(names.of_entry(b"m"), None);
        assert_eq!((names.of_timer(0), names.of_timer(1)), (None, Some("hold")));
        assert!(!names.whole);
        let unnamed = ModuleManifest::parse(br#"{"abi":1,"state":{"schema":3}}"#).unwrap();
        assert_eq!((unnamed.names, unnamed.state.schema), (None, 3));
    }

    #[test]
    fn names_that_mean_two_things_are_refused() {
        let long = format!(r#"{{"slots":["{}"]}}"#, "x".repeat(129));
        let window = format!(r#"{{"window":"{}"}}"#, "x".repeat(129));
        let notes = format!(r#"{{"notes":[{}]}}"#, vec!["\"n\""; 257].join(","));
        for (names, reason) in [
            (
                r#"{"slots":["a","a"]}"#,
                "`state.names.slots`: \"a\" is there twice",
            ),
            (
                r#"{"timers":["a","a"]}"#,
                "`state.names.timers`: \"a\" is there twice",
            ),
            (r#"{"steps":[""]}"#, "`state.names.steps`: a name is empty"),
            (
                r#"{"entries":{"a":"x","ab":"y"}}"#,
                "\"ab\" begins with \"a\"",
            ),
            (r#"{"entries":{"a":"x","b":"x"}}"#, "\"x\" is there twice"),
            (
                r#"{"entries":{"":"x"}}"#,
                "is no beginning of entries of its own",
            ),
            (
                r#"{"entries":{"\u0001":"x"}}"#,
                "is no beginning of entries of its own",
            ),
            (r#"{"registers":["a"]}"#, "unknown field `registers`"),
            (&long, "a name of 129 bytes; at most 128"),
            (
                &long.replace("slots", "folds"),
                "a name of 129 bytes; at most 128",
            ),
            (&window, "`state.names.window`: a name of 129 bytes"),
            (&notes, "`state.names.notes`: at most 256"),
        ] {
            let error = parse(names).unwrap_err();
            assert!(error.contains(reason), "{names}: {error}");
        }
    }
}
