//! What a rule remembers about one key: numeric slots, byte entries, timers, open panes. Plain
//! data; functions see it through a [`crate::frame::Frame`], the pond writes it down.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What an event is about, usually the device.
pub type Key = Arc<str>;

/// The state of one (rule, key).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyState {
    /// Numeric slots up to the highest one ever written; what lies beyond is 0.0.
    pub slots: Vec<f64>,
    /// The entries of `st_put`.
    pub entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Armed timers, by id.
    pub timers: BTreeMap<u32, Due>,
    /// The pane that collects at the moment.
    pub pane: Option<Pane>,
}

/// What an entry costs besides its bytes: without it, many tiny ones would cost the host far more
/// than they count for.
const ENTRY_OVERHEAD_BYTES: usize = 48;

/// Bytes that an entry counts for.
pub fn entry_bytes(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

/// When something falls due, in monotonic time of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Milliseconds of monotonic time.
    pub mono_ms: u64,
}

/// A window's span for one key, while it collects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pane {
    /// First moment that belongs to it, wall time in milliseconds.
    pub start_ms: i64,
    /// First moment that no longer does.
    pub end_ms: i64,
    /// Events folded so far.
    pub folded: u64,
    /// The pane's own slots, 0.0 at first.
    pub slots: Vec<f64>,
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
            entries: BTreeMap::new(),
            timers: self.timers.clone(),
            pane: self.pane.clone(),
        }
    }

    /// Bytes that this state counts for against the limit of its rule.
    pub fn bytes(&self) -> usize {
        let entries: usize = self.entries.iter().map(|(k, v)| entry_bytes(k, v)).sum();
        self.slots.len() * 8 + entries
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
