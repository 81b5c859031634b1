//! Sentences about an edit of a rule: which parts of its state are kept, begin anew or are given up.

use std::fmt;
use std::sync::Arc;

use crate::commit::image::SavedRule;
use crate::commit::record::RuleRecord;
use crate::event::state::carry::{Carry, Lost};
use crate::event::state::layout::{Layout, Naming};
use crate::event::state::time::RULE_KEY;
use crate::mill::bind::BoundRule;
use crate::mill::window::open_windows;

/// Effect of a rule's edit on its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The rule.
    pub rule: Arc<str>,
    /// One sentence for each part of the state.
    parts: Vec<String>,
    /// `true` if the edit changes some of the state.
    changes: bool,
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.parts.join("; "))
    }
}

impl Edit {
    /// Describes the way from the state of one naming to another; of windows also if they go on,
    /// and how many are open, where that is known.
    pub(super) fn new(
        rule: &Arc<str>,
        (old, new): (&Naming, &Naming),
        carry: &Carry,
        (goes_on, windows): (bool, Option<u64>),
    ) -> Self {
        let mut parts = Vec::new();
        let lost = match carry {
            Carry::Nothing(lost) => Some(*lost),
            Carry::Same | Carry::Moves(_) => None,
        };
        parts.extend(lost.map(|lost| reason(lost, old, new)));
        parts.extend(params(old, new));
        let (before, now) = (key_parts(old), key_parts(new));
        // What had no names lies where the new version expects it.
        let is_adopted = lost.is_none() && has_no_names(old);
        let keeps = |name: &&String| (is_adopted || before.contains(name)) && lost.is_none();
        let is_new = |name: &&String| !keeps(name) && !matches!(old, Naming::Unknown);
        let kept: Vec<&String> = now.iter().filter(keeps).collect();
        let begun: Vec<&String> = now.iter().filter(is_new).collect();
        let gone: Vec<&String> = before.iter().filter(|name| !now.contains(name)).collect();
        for (names, one, several) in [
            (begun, "begins anew", "begin anew"),
            (kept, "keeps its state", "keep their state"),
            (gone, "is dropped", "are dropped"),
        ] {
            parts.extend(said(&names, one, several));
        }
        let (folds, new_folds) = (folds(old), folds(new));
        let open = match windows {
            Some(0) => ", no open window".to_owned(),
            Some(1) => ", 1 open window".to_owned(),
            Some(count) => format!(", {count} open windows"),
            None => String::new(),
        };
        if goes_on && lost.is_none() {
            let folds: Vec<&String> = new_folds.iter().collect();
            let sentence = said(&folds, "keeps its state", "keep their state");
            parts.extend(sentence.map(|sentence| sentence + &open));
        } else {
            let old_folds: Vec<&String> = folds.iter().collect();
            let given_up = said(&old_folds, "is given up", "are given up");
            parts.extend(given_up.map(|sentence| sentence + &open));
            let begun: Vec<&String> = new_folds.iter().filter(|f| !folds.contains(f)).collect();
            parts.extend(said(&begun, "begins anew", "begin anew"));
        }
        let says_nothing = |part: &String| lost.is_some_and(|lost| *part == reason(lost, old, new));
        if parts.iter().all(says_nothing) && !parts.is_empty() {
            parts.push("all that was kept is dropped".to_owned());
        }
        Self {
            rule: rule.clone(),
            changes: *old != *new && !matches!(old, Naming::Unknown | Naming::Schema),
            parts,
        }
    }

    /// The effect that installing a rule has on the state kept of an earlier version of it.
    pub fn of_record(record: &RuleRecord, windows: u64, new: &BoundRule) -> Option<Self> {
        let edit = Self::between(record.window, &record.naming, Some(windows), new);
        edit.tells(false).then_some(edit)
    }

    /// The same of all that a data directory keeps of the rule.
    pub fn of_saved(saved: &SavedRule, new: &BoundRule) -> Option<Self> {
        Self::of_record(&saved.record, saved_windows(saved), new)
    }

    /// The effect of replacing one version of a rule by another.
    pub fn of_versions(old: &BoundRule, new: &BoundRule) -> Option<Self> {
        let edit = Self::between(old.window_code(), &old.naming, None, new);
        edit.tells(true).then_some(edit)
    }

    fn between(window: u8, old: &Naming, windows: Option<u64>, new: &BoundRule) -> Self {
        let same_window = window == new.window_code();
        let carry = Carry::new(old, &new.naming, same_window);
        let goes_on = same_window && carry.keeps_windows();
        Self::new(new.name(), (old, &new.naming), &carry, (goes_on, windows))
    }

    /// Returns `true` if the edit is worth a line, given that the function is another one or not.
    pub(super) fn tells(&self, is_another: bool) -> bool {
        (is_another || self.changes) && !self.parts.is_empty()
    }
}

/// Number of open windows in the saved state of a rule.
pub fn saved_windows(saved: &SavedRule) -> u64 {
    let record = &saved.record;
    let keys = saved.keys.iter().filter(|(key, _)| &***key != RULE_KEY);
    keys.map(|(_, state)| open_windows(record.window, &record.panes, state))
        .sum()
}

fn reason(lost: Lost, old: &Naming, new: &Naming) -> String {
    match lost {
        Lost::OtherKey => "its key is another one".to_owned(),
        Lost::OtherStreams => "its streams are others".to_owned(),
        Lost::OtherFunction => {
            let what = match (stock(old), stock(new)) {
                ("", _) | (_, "") => "its function is another one".to_owned(),
                (old, new) => format!("{old} is {new} now"),
            };
            format!("{what}, and all that was kept is dropped")
        }
    }
}

fn stock(naming: &Naming) -> &str {
    match naming {
        Naming::Names(layout) => layout.stock(),
        Naming::Unknown | Naming::Schema => "",
    }
}

fn has_no_names(naming: &Naming) -> bool {
    match naming {
        Naming::Names(layout) => layout.names.is_bare(),
        Naming::Unknown | Naming::Schema => true,
    }
}

/// Parameters that differ; nothing where those of before are not known.
fn params(old: &Naming, new: &Naming) -> Vec<String> {
    let (Naming::Names(old), Naming::Names(new)) = (old, new) else {
        return Vec::new();
    };
    let (Some(old), Some(new)) = (&old.function, &new.function) else {
        return Vec::new();
    };
    if old.stock.split(' ').next() != new.stock.split(' ').next() {
        return Vec::new();
    }
    let value = |params: &[(Box<str>, Box<str>)], name: &str| {
        let found = params.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value.clone())
    };
    let told = new
        .params
        .iter()
        .filter_map(|(name, now)| match value(&old.params, name) {
            Some(before) if before == *now => None,
            Some(before) => Some(format!("{name} was {before}, is {now}")),
            None => Some(format!("{name} is {now}")),
        });
    told.collect()
}

/// Names of the parts of each key's state, besides windows.
fn key_parts(naming: &Naming) -> Vec<String> {
    let Naming::Names(layout) = naming else {
        return Vec::new();
    };
    let names = &layout.names;
    let slots = names.slots.iter().skip(layout.pane_slots.into());
    let places = names.steps.iter().chain(&names.hits).chain(slots);
    let entries = names.entries.iter().map(|(_, name)| &**name);
    let timers = names.timers.iter().flatten();
    let timers: Vec<String> = timers.map(|name| format!("timer {name}")).collect();
    let timers = timers.iter().map(String::as_str);
    let mut all: Vec<String> = Vec::new();
    for name in places
        .flatten()
        .map(|name| &**name)
        .chain(entries)
        .chain(timers)
    {
        if !all.iter().any(|known| *known == *name) {
            all.push(name.to_owned());
        }
    }
    all
}

/// Names of the aggregates over a window.
fn folds(naming: &Naming) -> Vec<String> {
    let Naming::Names(layout) = naming else {
        return Vec::new();
    };
    match &**layout {
        Layout { window, .. } if window.is_empty() => Vec::new(),
        Layout { names, .. } if names.folds.is_empty() => vec!["what the window holds".to_owned()],
        Layout { names, .. } => names.folds.iter().map(|fold| fold.to_string()).collect(),
    }
}

fn said(names: &[&String], one: &str, several: &str) -> Option<String> {
    let texts: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let verb = if texts.len() == 1 { one } else { several };
    (!texts.is_empty()).then(|| format!("{} {verb}", texts.join(", ")))
}
