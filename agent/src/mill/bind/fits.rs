//! Capacity of a rule's state within its limits, for people: rows of its window, or keys.

use tidemill_abi::limit;

use super::BoundRule;
use crate::event::state::{Pane, entry_bytes};
use crate::mill::window::Window;
use crate::rule::manifest::Kept;

/// Bytes of a name that tells which row it is, and of the time in front of the row.
const ROW_NAME: [u8; 10] = [0; 10];
const ROW_TIME_BYTES: usize = 8;
/// Bytes around the columns of a row, where the topic has some 24.
const ROW_FRAME_BYTES: usize = 48;
/// Bytes of a value: a float has 9, and texts are often that short.
const VALUE_BYTES: usize = 10;
/// Bytes of a payload of which everything is kept, as a guess.
const PAYLOAD_BYTES: usize = 250;

impl BoundRule {
    /// The number of rows or keys that fit, and the sizes it is computed from.
    pub(super) fn fits(&self) -> String {
        let limits = &self.rule.limits;
        match self.window {
            Some(window) if window.rows => self.rows_that_fit(limits.state_bytes),
            window => {
                let slots = usize::from(self.module.manifest.state.slots);
                let panes = window.map_or(0, panes_bytes);
                let each = panes + 8 * slots.saturating_sub(window.map_or(0, |w| w.slots.into()));
                let most = limits.state_bytes.checked_div(each);
                let keys = most.map_or(limits.keys, |most| most.min(limits.keys));
                format!("{keys} keys of {each} bytes and what entries they have")
            }
        }
    }

    fn rows_that_fit(&self, state_bytes: usize) -> String {
        let sql = self.module.manifest.sql.as_ref();
        let kept = sql.and_then(|sql| sql.keeps.streams.iter().flatten().max_by_key(|k| bytes(k)));
        let (value, what) = match kept {
            Some(kept) => (bytes(kept), "the columns that are used"),
            None => (PAYLOAD_BYTES, "whole payloads, here of 250 bytes"),
        };
        let row = entry_bytes(&ROW_NAME, &[]) + ROW_TIME_BYTES + ROW_FRAME_BYTES + value;
        let rows = state_bytes / row;
        let most = limit::ROWS_MAX;
        format!("about {rows} rows, of some {row} bytes each ({what}); at most {most} of a key")
    }
}

/// Bytes of the names that are kept, with a value for each.
fn bytes(kept: &Kept) -> usize {
    let each = kept.0.iter();
    each.map(|(name, inner)| 2 + name.len() + inner.as_ref().map_or(VALUE_BYTES, bytes))
        .sum()
}

/// Bytes of the panes that a key has at a time.
fn panes_bytes(window: Window) -> usize {
    let panes = window
        .length_ms
        .unsigned_abs()
        .div_ceil(window.hop_ms.unsigned_abs().max(1));
    let pane = Pane {
        slots: vec![0.0; window.slots.into()],
        ..Pane::default()
    };
    usize::try_from(panes)
        .unwrap_or(usize::MAX)
        .saturating_mul(8 * pane.slots.len())
}
