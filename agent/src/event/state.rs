//! State of a rule for one key: numeric slots, byte entries, timers, open panes, rows of its
//! window. Plain data; functions see it through a [`crate::function::frame::Frame`], and the state
//! database stores it.

pub mod births;
pub mod carry;
mod entries;
pub mod kept;
pub mod layout;
mod row;
pub mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use entries::{Entries, HOST_PREFIX, entry_bytes};
pub use row::{RowName, shift_rows};

/// The subject of an event, usually the device.
pub type Key = Arc<str>;

/// Bytes that a pane of a key counts for besides its slots, with its place among what is due. The first one
/// of a key is bounded by the number of keys.
pub const PANE_BYTES: usize = 128;

/// Bytes that a timer counts for, with its place among what is due; but for the first one of a key.
pub const TIMER_BYTES: usize = 96;

/// The state of one (rule, key).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyState {
    /// Numeric slots up to the highest one ever written; what lies beyond is 0.0.
    pub slots: Vec<f64>,
    /// The entries of `st_put`, and what the host keeps beside them.
    pub entries: Entries,
    /// Armed timers, by id.
    pub timers: BTreeMap<u32, Due>,
    /// The panes that the host keeps for this key, earliest first. Those of a window whose rows are
    /// kept are the rule's, unless each key has its own (session, state, count, sliding).
    pub panes: Vec<Pane>,
}

/// When something falls due, in monotonic time of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Milliseconds of monotonic time.
    pub mono_ms: u64,
}

/// A window's span for one key, while it collects. Its labels are wall time; it runs on the time
/// scale of its window: monotonic time, or event time if the rule has one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pane {
    /// First moment that belongs to the pane, wall time in milliseconds since 1970.
    pub start_ms: i64,
    /// First moment that no longer belongs to it.
    pub end_ms: i64,
    /// First moment that belongs to it, on the time scale of its window.
    pub from: i64,
    /// Time of firing, on the time scale of its window; `None` if only an event can tell.
    pub due: Option<i64>,
    /// Events folded, or rows added, so far.
    pub folded: u64,
    /// Number of times the pane has fired.
    pub fired: u32,
    /// The pane's own slots, 0.0 at first.
    pub slots: Vec<f64>,
}

/// A pane that is the same for all keys of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPane {
    /// First moment that belongs to the pane, wall time in milliseconds since 1970.
    pub start_ms: i64,
    /// First moment that no longer belongs to it.
    pub end_ms: i64,
    /// First moment that belongs to it, on the time scale of its window.
    pub from: i64,
    /// Time of firing, on the time scale of its window: the first moment that no longer belongs to it.
    pub due: i64,
    /// The pane has fired, and is kept for late events.
    pub fired: bool,
}

/// A pane that closes, key by key in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The pane.
    pub pane: OpenPane,
    /// First moment that belongs to it, as its keys are told.
    pub start_ms: i64,
    /// First moment that no longer belongs to it, as its keys are told.
    pub end_ms: i64,
    /// The last key for which it has fired; the cursor.
    pub after: Option<Key>,
}

impl OpenPane {
    /// `true` if a moment on the time scale of its window belongs to the pane.
    pub fn holds(&self, at: i64) -> bool {
        (self.from..self.due).contains(&at)
    }
}

impl KeyState {
    /// The value of a slot of the key.
    pub fn slot(&self, slot: u8) -> f64 {
        self.slots.get(usize::from(slot)).copied().unwrap_or(0.0)
    }

    /// Writes a slot of the key.
    pub fn set_slot(&mut self, slot: u8, value: f64) {
        write_slot(&mut self.slots, slot, value);
    }

    /// The same without its entries.
    pub fn without_entries(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            entries: Entries::default(),
            timers: self.timers.clone(),
            panes: self.panes.clone(),
        }
    }

    /// Lets go of its windows: panes and rows.
    pub fn drop_window(&mut self) {
        self.panes.clear();
        self.drop_kept_until(i64::MAX);
        self.entries.remove(&kept::GONE_UNTIL);
        let rows: Vec<_> = self.rows().map(|(name, _)| name).collect();
        rows.into_iter().for_each(|name| self.remove_row(name));
    }

    /// Bytes that this state counts for against the limit of its rule.
    pub fn bytes(&self) -> usize {
        let panes: usize = self.panes.iter().map(|pane| pane.slots.len() * 8).sum();
        let more_panes = self.panes.len().saturating_sub(1) * PANE_BYTES;
        let more_timers = self.timers.len().saturating_sub(1) * TIMER_BYTES;
        self.slots.len() * 8 + self.entries.bytes() + panes + more_panes + more_timers
    }
}

impl Pane {
    /// The value of one of the pane's slots.
    pub fn slot(&self, slot: u8) -> f64 {
        self.slots.get(usize::from(slot)).copied().unwrap_or(0.0)
    }

    /// Writes one of the pane's slots.
    pub fn set_slot(&mut self, slot: u8, value: f64) {
        write_slot(&mut self.slots, slot, value);
    }
}

/// Writes a slot into a list that is as long as it has to be.
pub(crate) fn write_slot(slots: &mut Vec<f64>, slot: u8, value: f64) {
    let index = usize::from(slot);
    if index >= slots.len() {
        slots.resize(index + 1, 0.0);
    }
    if let Some(place) = slots.get_mut(index) {
        *place = value;
    }
}
