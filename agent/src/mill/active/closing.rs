//! A pane that closes for all keys of its rule, one key at a time in the order of their names. The
//! cursor, the last key for which it has fired, is part of the rule's record: a pane goes on to close
//! where the last commit left it. Events of the rule wait meanwhile.

use crate::event::state::{Closing, Key, KeyState};
use crate::function::frame::Frame;
use crate::mill::due::What;
use crate::mill::pace::LOOK_COST;
use crate::mill::window::{Window, is_part_of, relabelled};
use tidemill_base::sabotage::{self, Sabotage};

use super::{Active, Step};

/// A pane that closes, and the keys that are still to come.
#[derive(Debug)]
pub(in crate::mill) struct InClosing {
    /// The pane, and how far it has got.
    pub(in crate::mill) cursor: Closing,
    /// Panes due until then come next.
    until: i64,
    /// The keys to come, the last one first; `None` before they were looked for.
    keys: Option<Vec<Key>>,
}

impl InClosing {
    /// One that goes on from where an earlier process left it.
    pub(in crate::mill) fn resumed(mut cursor: Closing) -> Self {
        if sabotage::is(Sabotage::PaneFiredTwice) {
            cursor.after = None;
        }
        Self {
            until: cursor.pane.due,
            cursor,
            keys: None,
        }
    }
}

impl Active {
    /// Begins to close the first pane that is due by then.
    pub(in crate::mill) fn close_panes(&mut self, until: i64, step: &mut Step<'_>) {
        let Some(window) = self.window.filter(|_| self.closing.is_none()) else {
            return;
        };
        self.forget_kept(until, step);
        let Some(at) = self.panes.iter().position(|pane| pane.due <= until) else {
            return;
        };
        let pane = self.panes.remove(at);
        let (start_ms, end_ms) = if window.event_time {
            (pane.start_ms, pane.end_ms)
        } else {
            relabelled(pane.start_ms, pane.end_ms, pane.due, step.now)
        };
        self.closing = Some(Box::new(InClosing {
            cursor: Closing {
                pane,
                start_ms,
                end_ms,
                after: None,
            },
            until,
            keys: None,
        }));
        step.due.insert(0, What::Closing(self.index));
    }

    /// Closes the pane for the next key.
    pub(in crate::mill) fn close_next(&mut self, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let (Some(mut closing), Some(window)) = (self.closing.take(), self.window) else {
            return;
        };
        let mut keys = match closing.keys.take() {
            Some(keys) => keys,
            None => {
                step.fuel += LOOK_COST * self.keys.len() as u64;
                self.keys_to_close(&closing, window)
            }
        };
        let Some(key) = keys.pop() else {
            self.end_closing(&closing, step);
            return;
        };
        if let Some(place) = self.keys.find(&key) {
            let InClosing { cursor, .. } = &*closing;
            self.lend(&key, Some(place), frame);
            let labels = (cursor.start_ms, cursor.end_ms);
            if window.rows {
                self.close_rows(&cursor.pane, labels, &key, frame, step);
            } else {
                self.close_slots(&cursor.pane, labels, &key, frame, step);
            }
            self.take_back(&key, Some(place), true, frame, step);
        }
        let is_last = keys.is_empty();
        closing.cursor.after = Some(if sabotage::is(Sabotage::PaneCursorAhead) {
            keys.first().cloned().unwrap_or(key)
        } else {
            key
        });
        closing.keys = Some(keys);
        if is_last {
            self.end_closing(&closing, step);
        } else {
            self.closing = Some(closing);
            step.due.insert(0, What::Closing(self.index));
        }
    }

    /// Ends the closing of a pane, and begins that of the next one that is due.
    fn end_closing(&mut self, closing: &InClosing, step: &mut Step<'_>) {
        self.close_panes(closing.until, step);
    }

    /// The keys for which a pane is still to be closed, the last one first.
    fn keys_to_close(&self, closing: &InClosing, window: Window) -> Vec<Key> {
        let Closing { pane, after, .. } = &closing.cursor;
        let has_part = |state: &KeyState| {
            if window.rows {
                state.rows().any(|(_, at)| pane.holds(at))
            } else {
                state.panes.iter().any(|part| is_part_of(part, pane))
            }
        };
        let mut keys = self.keys.like(has_part);
        let done = after
            .as_ref()
            .map_or(0, |after| keys.partition_point(|key| key <= after));
        keys.drain(..done);
        keys.reverse();
        keys
    }

    /// The pane that closes and how far it has got, as far as it has to be written down.
    pub(in crate::mill) fn cursor(&self) -> Option<Closing> {
        let closing = self.closing.as_ref()?;
        let is_kept = !sabotage::is(Sabotage::PaneCursorNotJournalled);
        is_kept.then(|| closing.cursor.clone())
    }
}
