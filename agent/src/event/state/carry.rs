//! State carried from one version of a rule's function to the next, by the names of its parts:
//! parts that moved keep their content, new parts begin empty, removed parts are dropped. A window
//! continues if the old one holds all that the new one asks for.

use std::sync::Arc;

use super::layout::{HITS_ENTRY, Layout, Name, Names, Naming, STEP_ENTRY};
use super::layout::{name_at, partition_of, place_of, step_of};
use super::{Entries, HOST_PREFIX, KeyState, RowName, kept};

/// Effect of a new rule version on the rule's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carry {
    /// Places keep their meaning.
    Same,
    /// No part of the state has a meaning any more.
    Nothing(Lost),
    /// Parts of it move.
    Moves(Box<Moves>),
}

/// Reasons why a state is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The state was separated by another key.
    OtherKey,
    /// The state was that of other streams.
    OtherStreams,
    /// The state was that of a function that names nothing.
    OtherFunction,
}

/// New places of the parts of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    old: Arc<Names>,
    new: Arc<Names>,
    /// For each slot, the one that it had before; those of panes first.
    slots: Vec<Option<usize>>,
    pane_slots: usize,
    /// For each note of a row, the place that it had before.
    notes: Vec<usize>,
    /// For each stream, the number that it has now.
    streams: Vec<usize>,
    /// `true` if windows continue.
    keeps_windows: bool,
}

impl Carry {
    /// Decides how state under the `old` naming is carried over to the `new` one. `same_window`:
    /// the windows are of one kind, for namings that do not name them.
    pub fn new(old: &Naming, new: &Naming, same_window: bool) -> Self {
        match (old, new) {
            (Naming::Unknown | Naming::Schema, Naming::Schema) => Self::Same,
            // The build before numbered its places as this one does.
            (Naming::Unknown, Naming::Names(new)) => Self::adopted(new, same_window),
            (Naming::Schema, Naming::Names(new)) if new.names.whole => {
                Self::Nothing(Lost::OtherFunction)
            }
            (Naming::Schema, Naming::Names(new)) => Self::adopted(new, same_window),
            (Naming::Names(old), Naming::Names(new)) => match other(old, new) {
                Some(lost) => Self::Nothing(lost),
                None if old.names.is_bare() && !new.names.is_bare() => {
                    Self::adopted(new, same_window && old.window == new.window)
                }
                None => Self::between(old, new),
            },
            (Naming::Names(old), _) if old.names.whole => Self::Nothing(Lost::OtherFunction),
            // Named parts of the old state are gone.
            (Naming::Names(old), _) => {
                let streams = old.names.streams.clone();
                let names = Arc::new(Names {
                    streams,
                    ..Names::default()
                });
                let layout = Layout::clone(old);
                Self::between(old, &Layout { names, ..layout })
            }
            (_, Naming::Unknown) => Self::Same,
        }
    }

    /// State kept without names lies where the new layout expects it.
    fn adopted(new: &Arc<Layout>, same_window: bool) -> Self {
        match Self::between(new, new) {
            Self::Same if !new.names.whole => Self::Same,
            // Of several places with one meaning, one is left.
            Self::Same => Self::Moves(Box::new(Moves {
                keeps_windows: same_window,
                ..Moves::between(new, new)
            })),
            other => other,
        }
    }

    fn between(old: &Layout, new: &Layout) -> Self {
        let places = |layout: &Layout| {
            let Names {
                slots,
                steps,
                hits,
                timers,
                ..
            } = &*layout.names;
            (
                slots.clone(),
                steps.clone(),
                hits.clone(),
                timers.clone(),
                layout.pane_slots,
            )
        };
        let moves = Moves::between(old, new);
        let same = places(old) == places(new)
            && old.names.entries == new.names.entries
            && moves.keeps_rows_as_they_are()
            && moves.keeps_windows;
        if same {
            Self::Same
        } else {
            Self::Moves(Box::new(moves))
        }
    }

    /// `true` if open windows continue.
    pub fn keeps_windows(&self) -> bool {
        match self {
            Self::Same => true,
            Self::Nothing(_) => false,
            Self::Moves(moves) => moves.keeps_windows,
        }
    }

    /// The number that each stream has now, where that changed.
    pub fn streams(&self) -> Option<&[usize]> {
        match self {
            Self::Moves(moves) if !is_identity(&moves.streams) => Some(&moves.streams),
            _ => None,
        }
    }

    /// Moves the parts of a key's state. `row` converts a kept row to one with its notes and its
    /// stream at their new places; if it cannot, the row is dropped.
    pub fn apply(
        &self,
        state: &mut KeyState,
        row: impl Fn(&[u8], &[usize], &[usize]) -> Option<Vec<u8>>,
    ) {
        match self {
            Self::Same => {}
            Self::Nothing(_) => *state = KeyState::default(),
            Self::Moves(moves) => moves.apply(state, row),
        }
    }
}

impl Moves {
    fn between(old: &Layout, new: &Layout) -> Self {
        let (before, now) = (&old.names, &new.names);
        let (old_panes, new_panes) = (usize::from(old.pane_slots), usize::from(new.pane_slots));
        let count = now.slots.len().max(before.slots.len()).max(SLOTS_MAX);
        let slots = (0..count).map(|slot| {
            let of_pane = slot < new_panes;
            let from = if of_pane { 0 } else { old_panes };
            match name_at(&now.slots, slot) {
                Some(name) => {
                    let place = place_of(&before.slots, name, from)?;
                    (!of_pane || place < old_panes).then_some(place)
                }
                // A slot without a name keeps its place.
                None => {
                    let stays = name_at(&before.slots, slot).is_none() && !now.whole;
                    (stays && of_pane == (slot < old_panes)).then_some(slot)
                }
            }
        });
        let slots: Vec<Option<usize>> = slots.collect();
        let place = |names: &[Name], name: &Name| place_of(names, name.as_deref()?, 0);
        let notes: Vec<Option<usize>> = now
            .notes
            .iter()
            .map(|name| place(&before.notes, name))
            .collect();
        let streams = before.streams.iter();
        let mut streams: Vec<Option<usize>> =
            streams.map(|name| place(&now.streams, name)).collect();
        if before.streams.len() < 2 && now.streams.len() < 2 {
            streams.clear();
        }
        let has_all = slots.iter().take(new_panes).all(Option::is_some)
            && notes.iter().chain(&streams).all(Option::is_some);
        Self {
            old: Arc::clone(before),
            new: Arc::clone(now),
            slots,
            pane_slots: new_panes,
            notes: notes.into_iter().flatten().collect(),
            streams: streams.into_iter().flatten().collect(),
            keeps_windows: old.window == new.window
                && keeps_all(&old.kept, &new.kept)
                && before.window == now.window
                && has_all,
        }
    }

    /// `true` if rows can stay as they are.
    fn keeps_rows_as_they_are(&self) -> bool {
        let as_many = self.old.notes.len() == self.notes.len();
        as_many && is_identity(&self.notes) && is_identity(&self.streams)
    }

    fn apply(
        &self,
        state: &mut KeyState,
        row: impl Fn(&[u8], &[usize], &[usize]) -> Option<Vec<u8>>,
    ) {
        state.slots = moved(&state.slots, &self.slots, self.pane_slots..self.slots.len());
        if self.keeps_windows {
            for pane in &mut state.panes {
                pane.slots = moved(&pane.slots, &self.slots, 0..self.pane_slots);
            }
        } else {
            state.drop_window();
        }
        let timers = std::mem::take(&mut state.timers).into_iter();
        state.timers = timers
            .filter_map(|(id, due)| Some((self.timer(id)?, due)))
            .collect();
        let rewrites = !self.keeps_rows_as_they_are();
        let entries = std::mem::take(&mut state.entries).into_iter();
        state.entries = entries
            .filter_map(|(name, value)| match name.first() {
                Some(&HOST_PREFIX) if rewrites && RowName::is_one(&name) => {
                    let (at, bytes) = value.split_at_checked(RowName::TIME_BYTES)?;
                    let bytes = row(bytes, &self.notes, &self.streams)?;
                    Some((name, [at, &bytes].concat().into()))
                }
                Some(&HOST_PREFIX) if kept::is_one(&name) => {
                    let slots = |slots: &[f64]| moved(slots, &self.slots, 0..self.pane_slots);
                    let value = kept::with_slots(&name, &value, slots).unwrap_or(value);
                    Some((name, value))
                }
                Some(&HOST_PREFIX) => Some((name, value)),
                _ => Some((self.entry(&name)?, value)),
            })
            .collect::<Entries>();
    }

    /// The id that a timer has now; none if it is dropped.
    fn timer(&self, id: u32) -> Option<u32> {
        match self.old.of_timer(id) {
            Some(name) => place_of(&self.new.timers, name, 0)?.try_into().ok(),
            None => (!self.new.whole && self.new.of_timer(id).is_none()).then_some(id),
        }
    }

    /// The name that an entry has now; none if it is dropped.
    fn entry(&self, name: &[u8]) -> Option<Box<[u8]>> {
        let place = |names: &[Name], name: &str| place_of(names, name, 0);
        if let Some(step) = step_of(name) {
            if let Some(named) = name_at(&self.old.steps, step) {
                let number = u16::try_from(place(&self.new.steps, named)?).ok()?;
                let [high, low] = number.to_be_bytes();
                return Some(
                    [&[STEP_ENTRY, high, low], partition_of(name)]
                        .concat()
                        .into(),
                );
            }
        } else if let [HITS_ENTRY, which] = name {
            if let Some(named) = name_at(&self.old.hits, (*which).into()) {
                let number = u8::try_from(place(&self.new.hits, named)?).ok()?;
                return Some([HITS_ENTRY, number].into());
            }
        } else if let Some((prefix, named)) = self.old.prefix_of(name) {
            let mut entries = self.new.entries.iter();
            let (now, _) = entries.find(|(_, known)| **known == *named)?;
            let rest = name.get(prefix.len()..)?;
            return Some([now.as_bytes(), rest].concat().into());
        }
        let is_free = !self.new.whole && self.new.of_entry(name).is_none();
        is_free.then(|| name.into())
    }
}

/// Why nothing of an old state has a meaning under the new names, if that is so.
fn other(old: &Layout, new: &Layout) -> Option<Lost> {
    if old.names.whole != new.names.whole || old.stock() != new.stock() {
        return Some(Lost::OtherFunction);
    }
    if old.key != new.key {
        return Some(Lost::OtherKey);
    }
    (!are_same_streams(&old.names.streams, &new.names.streams)).then_some(Lost::OtherStreams)
}

/// Slots of a key, by the ABI.
const SLOTS_MAX: usize = tidemill_abi::limit::SLOTS_MAX;

/// `true` if rows come from the same streams, in any order. A single stream without a name, because
/// nothing else triggers the rule, may get a name or lose it.
fn are_same_streams(old: &[Name], new: &[Name]) -> bool {
    if old.is_empty() && new.len() < 2 || new.is_empty() && old.len() < 2 {
        return true;
    }
    let sorted = |streams: &[Name]| {
        let mut streams = streams.to_vec();
        streams.sort();
        streams
    };
    sorted(old) == sorted(new)
}

/// `true` if rows kept with the old places have all of the new ones: a place includes everything
/// inside it.
fn keeps_all(old: &[Box<str>], new: &[Box<str>]) -> bool {
    let has = |place: &str| {
        let holds = |known: &str| {
            let rest = place.strip_prefix(known);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || known.ends_with('/')
            })
        };
        old.iter().any(|known| holds(known))
    };
    // Without places rows have everything.
    let mut asked = new.iter().filter(|place| ***place != *NOTHING);
    old.is_empty() || (!new.is_empty() && asked.all(|place| has(place)))
}

/// Stands alone for rows of which nothing is kept.
pub const NOTHING: &str = "-";

fn is_identity(places: &[usize]) -> bool {
    places.iter().enumerate().all(|(at, place)| at == *place)
}

/// The values of slots at their new places, no longer than they have to be.
fn moved(values: &[f64], from: &[Option<usize>], places: std::ops::Range<usize>) -> Vec<f64> {
    let value = |slot: usize| {
        let before = places.contains(&slot).then(|| from.get(slot).copied()?)??;
        values.get(before).copied()
    };
    let mut moved: Vec<f64> = (0..places.end)
        .map(|slot| value(slot).unwrap_or(0.0))
        .collect();
    let is_unset = |value: &f64| value.to_bits() == 0;
    while moved.last().is_some_and(is_unset) {
        moved.pop();
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_serve_what_asks_for_no_more_than_they_have() {
        let places =
            |text: &str| -> Vec<Box<str>> { text.split_whitespace().map(Box::from).collect() };
        for (old, new, serves) in [
            ("", "/a", true),
            ("", "", true),
            ("/a", "", false),
            ("/a /b", "/a", true),
            ("/a", "/a /b", false),
            ("/a", "/a/b", true),
            ("/a/b", "/a", false),
            ("/a", "/ab", false),
            ("/a", NOTHING, true),
            (NOTHING, "/a", false),
            (NOTHING, NOTHING, true),
            ("l/ r/a", "l/x r/a", true),
            ("l/ r/a", "r/b", false),
            ("/a", "/a meta", false),
        ] {
            assert_eq!(keeps_all(&places(old), &places(new)), serves, "{old} {new}");
        }
    }
}
