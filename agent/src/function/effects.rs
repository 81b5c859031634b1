//! Effects requested by one call. They have not happened yet: the mill carries them out as a whole,
//! or drops them as a whole when the call ends in a fault.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::event::state::{Key, KeyState, Pane, write_slot};

/// Everything that one call asks for.
#[derive(Debug, Default)]
pub struct Effects {
    /// Slots written.
    pub slots: SlotWrites,
    /// Entries written, `None` if one is removed.
    pub entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// Partitions of functions that remember that had to go for others: the entries removed are among
    /// those above.
    pub partitions_dropped: u64,
    /// Rows that join the window of the key, in the order asked for.
    pub rows: Vec<Box<[u8]>>,
    /// Bytes of all rows so far.
    pub row_bytes: usize,
    /// The window of the key begins with this event.
    pub begins: bool,
    /// The window of the key fires at this event.
    pub fires: bool,
    /// The window of the key fires without this event, and the next one begins with it.
    pub cuts: bool,
    /// Timers armed with their delay in milliseconds, or cancelled (`None`), in the order asked for.
    pub timers: Vec<(u32, Option<u64>)>,
    /// Messages to send, in the order asked for.
    pub emissions: Vec<Emission>,
    /// Bytes of all emissions so far.
    pub emitted_bytes: usize,
    /// Lines to log.
    pub logs: Vec<LogLine>,
    /// Log lines that were over the limits and are only counted.
    pub logs_dropped: u32,
    /// Rows of the window that fires that do not fit what is done with them, by number, and why: as long
    /// as there are any, nothing that the call asks for counts.
    pub misfits: BTreeMap<usize, Box<str>>,
    /// Parts of a firing that failed alone, whose emissions are not among the others.
    pub spoiled: Vec<Spoiled>,
    /// Number of joined pairs that failed outside of a group, and the reason of the first failure.
    pub pairs: Option<(u64, Box<str>)>,
}

/// A group of a window for which a firing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoiled {
    /// The group's text, if it is known by one.
    pub key: Option<Key>,
    /// The reason.
    pub reason: Box<str>,
}

/// One message that a function asks to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// Number of the port in the function's manifest.
    pub port: u8,
    /// The payload to send.
    pub payload: Bytes,
    /// Emissions of a call with the same number belong together.
    pub group: u32,
    /// The key, if it differs from that of the call.
    pub key: Option<Key>,
}

/// A line that a function wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// 0 error, 1 warning, 2 information, 3 and above debugging.
    pub level: i32,
    /// At most 256 bytes of text.
    pub text: String,
}

impl Effects {
    /// Forgets everything, and keeps the memory for the next call.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.entries.clear();
        self.partitions_dropped = 0;
        self.rows.clear();
        self.row_bytes = 0;
        (self.begins, self.fires, self.cuts) = (false, false, false);
        self.timers.clear();
        self.emissions.clear();
        self.emitted_bytes = 0;
        self.logs.clear();
        self.logs_dropped = 0;
        self.misfits.clear();
        self.spoiled.clear();
        self.pairs = None;
    }

    /// `true` if the call had no effects (a log line is none).
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.entries.is_empty()
            && self.rows.is_empty()
            && !self.begins
            && !self.fires
            && !self.cuts
            && self.timers.is_empty()
            && self.emissions.is_empty()
    }
}

/// The slots that a call wrote: dense, so that a function that works on all of them costs no more
/// per slot than one that works on two.
#[derive(Debug, Default)]
pub struct SlotWrites {
    written: [u64; 4],
    /// As many values as the highest slot ever written needs.
    values: Vec<f64>,
}

impl SlotWrites {
    /// `true` if no slot was written.
    pub fn is_empty(&self) -> bool {
        self.written == [0; 4]
    }

    /// The value that this call wrote into a slot, if it did.
    #[inline]
    pub fn get(&self, slot: u8) -> Option<f64> {
        let word = self.written.get(usize::from(slot >> 6))?;
        if word & (1 << (slot & 63)) == 0 {
            return None;
        }
        self.values.get(usize::from(slot)).copied()
    }

    /// Writes a slot.
    #[inline]
    pub fn set(&mut self, slot: u8, value: f64) {
        if let Some(word) = self.written.get_mut(usize::from(slot >> 6)) {
            *word |= 1 << (slot & 63);
        }
        write_slot(&mut self.values, slot, value);
    }

    /// Forgets all writes.
    pub fn clear(&mut self) {
        self.written = [0; 4];
    }

    /// The writes, lowest slot first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, f64)> + '_ {
        self.written
            .iter()
            .zip([0u8, 64, 128, 192])
            .flat_map(move |(word, first)| {
                let mut left = *word;
                std::iter::from_fn(move || {
                    let bit = u8::try_from(left.trailing_zeros())
                        .ok()
                        .filter(|bit| *bit < 64)?;
                    left &= left - 1;
                    let slot = first + bit;
                    Some((slot, self.values.get(usize::from(slot)).copied()?))
                })
            })
    }
}

/// Carries out what `effects` say of slots and entries: slots below `pane_slots` belong to the pane
/// that the call was about, the others to the key.
pub fn apply_to_state(
    effects: &mut Effects,
    state: &mut KeyState,
    pane: &mut Option<Pane>,
    pane_slots: u8,
) {
    if !effects.slots.is_empty() {
        for (slot, value) in effects.slots.iter() {
            match pane {
                Some(pane) if slot < pane_slots => pane.set_slot(slot, value),
                _ => state.set_slot(slot, value),
            }
        }
    }
    while let Some((key, value)) = effects.entries.pop_first() {
        match value {
            Some(value) => state.entries.insert(key, value),
            None => state.entries.remove(&key),
        };
    }
}
