//! Names of a rule's state: the place of each part, and the name by which the next version of its
//! function finds it again. One layout for each rule; the state of a key holds places alone.

use std::sync::Arc;

/// First byte of the names of entries in which functions that remember keep their state: two bytes
/// with the function's number follow, the high one first, then the partition.
pub const STEP_ENTRY: u8 = 1;

/// First byte of the names of entries that count how often a condition was met: a byte with its
/// number follows.
pub const HITS_ENTRY: u8 = 2;

/// A name; `None` if the place has none.
pub type Name = Option<Box<str>>;

/// Names that a module gives to the parts of its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// `true` if every part has a name, so that nothing else can be there.
    pub whole: bool,
    /// Names of slots.
    pub slots: Vec<Name>,
    /// Names of functions that remember, by their numbers.
    pub steps: Vec<Name>,
    /// Names of conditions that are counted.
    pub hits: Vec<Name>,
    /// Names of entries: a prefix, and the name of the entries that begin with it.
    pub entries: Vec<(Box<str>, Box<str>)>,
    /// Names of values noted with a row.
    pub notes: Vec<Name>,
    /// Names of the streams that rows come from.
    pub streams: Vec<Name>,
    /// Name of the window's content; another name means another content.
    pub window: Name,
    /// Aggregates computed from the window, for people.
    pub folds: Vec<Box<str>>,
    /// Names of timers, by their ids.
    pub timers: Vec<Name>,
}

/// The names of a module as one rule has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// The module's names.
    pub names: Arc<Names>,
    /// The key expression that separates the rule's states.
    pub key: Box<str>,
    /// The window: its kind, lengths and time; empty without a window.
    pub window: Box<str>,
    /// Places of the payload kept in rows of the window; none if all are kept.
    pub kept: Vec<Box<str>>,
    /// Number of slots that belong to a pane of the window, counted from the lowest.
    pub pane_slots: u8,
    /// The function, where the rule says more of it than the module does.
    pub function: Option<FunctionUse>,
}

/// The use that a rule makes of its function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionUse {
    /// A function that ships with the agent, and the places of its inputs; empty for others, whose
    /// names and schema decide.
    pub stock: Box<str>,
    /// Its parameters: names, and values as people write them.
    pub params: Vec<(Box<str>, Box<str>)>,
}

/// The way a rule's state is matched to a new version of the rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Naming {
    /// Written by an earlier build, which knew no names.
    Unknown,
    /// Without names: the schema's number decides.
    #[default]
    Schema,
    /// By names.
    Names(Arc<Layout>),
}

impl Layout {
    /// The function, where it ships with the agent, and the places of its inputs; else empty.
    pub fn stock(&self) -> &str {
        self.function.as_ref().map_or("", |used| &used.stock)
    }

    /// `true` if earlier builds can read all of it.
    pub fn is_known_to_earlier(&self) -> bool {
        self.function.is_none() && self.names.timers.is_empty()
    }
}

impl Names {
    /// `true` if no part of a key's state has a name.
    pub fn is_bare(&self) -> bool {
        let named = Self {
            folds: Vec::new(),
            ..self.clone()
        };
        named == Self::default()
    }

    /// The name of an entry: that of its kind, if it has one.
    pub fn of_entry(&self, entry: &[u8]) -> Option<&str> {
        if let Some(step) = step_of(entry) {
            return name_at(&self.steps, step);
        }
        if let [HITS_ENTRY, which] = entry {
            return name_at(&self.hits, usize::from(*which));
        }
        self.prefix_of(entry).map(|(_, name)| name)
    }

    /// The prefix of an entry's name, and the name declared for that prefix.
    pub fn prefix_of(&self, entry: &[u8]) -> Option<(&str, &str)> {
        let mut entries = self.entries.iter();
        let found = entries.find(|(prefix, _)| entry.starts_with(prefix.as_bytes()));
        found.map(|(prefix, name)| (&**prefix, &**name))
    }

    /// The name of a timer.
    pub fn of_timer(&self, id: u32) -> Option<&str> {
        name_at(&self.timers, usize::try_from(id).ok()?)
    }

    /// The name of a slot.
    pub fn of_slot(&self, slot: usize) -> Option<&str> {
        name_at(&self.slots, slot)
    }
}

/// The number of the function that remembers whose entry this is.
pub fn step_of(entry: &[u8]) -> Option<usize> {
    match entry {
        [STEP_ENTRY, high, low, ..] => Some(u16::from_be_bytes([*high, *low]).into()),
        _ => None,
    }
}

/// The partition in the name of a function's entry.
pub fn partition_of(entry: &[u8]) -> &[u8] {
    entry.get(3..).unwrap_or_default()
}

/// The name at a place.
pub fn name_at(names: &[Name], place: usize) -> Option<&str> {
    names.get(place)?.as_deref()
}

/// The place of a name, from one on.
pub fn place_of(names: &[Name], name: &str, from: usize) -> Option<usize> {
    let mut all = names.iter().enumerate().skip(from);
    let found = all.find(|(_, known)| known.as_deref() == Some(name));
    found.map(|(place, _)| place)
}
