//! A pane that closes for all keys of its rule, one key at a time in the order of their names. The
//! cursor, the last key for which it has fired, is part of the rule's record: a pane goes on to close
//! where the last commit left it. Events of the rule wait meanwhile.

use crate::event::state::{Closing, Key, KeyState, OpenPane};
use crate::function::frame::Frame;
use crate::mill::due::What;
use crate::mill::pace::LOOK_COST;
use crate::mill::window::{Window, is_part_of, relabelled};
use tidemill_base::sabotage::{self, Sabotage};

use super::{Active, Step};

/// A pane that closes, or is forgotten, and the keys that are still to come.
#[derive(Debug)]
pub(in crate::mill) struct InClosing {
    /// The pane, and how far it has got.
    pub(in crate::mill) cursor: Closing,
    /// `false` for a pane that has fired and cannot fire again: its keys only let go of it.
    pub(in crate::mill) fires: bool,
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
            fires: true,
            keys: None,
        }
    }
}

impl Active {
    /// Begins to close the first pane that is due by then, or to forget one that cannot fire again.
    pub(in crate::mill) fn close_panes(&mut self, until: i64, step: &mut Step<'_>) {
        let Some(window) = self.window.filter(|_| self.closing.is_none()) else {
            return;
        };
        let late_ms = window.allowed_late_ms;
        let is_due = |pane: &OpenPane| !pane.fired && pane.due <= until;
        let is_over = |pane: &OpenPane| pane.fired && pane.due.saturating_add(late_ms) <= until;
        let due = self.panes.iter().position(is_due);
        let fires = due.is_some();
        let at = due.or_else(|| self.panes.iter().position(is_over));
        let Some((at, pane)) = at.and_then(|at| Some((at, *self.panes.get(at)?))) else {
            return;
        };
        if fires && late_ms > 0 {
            if let Some(kept) = self.panes.get_mut(at) {
                kept.fired = true;
            }
            if let Some(time) = &mut self.time {
                time.look_at(pane.due.saturating_add(late_ms), None);
            }
        } else if fires {
            self.panes.remove(at);
        }
        // One to forget stays until the last key has let go of it: after a crash that begins anew.
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
            fires,
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
            let InClosing { cursor, fires, .. } = &*closing;
            self.lend(&key, Some(place), frame);
            let labels = (cursor.start_ms, cursor.end_ms);
            if !fires {
                frame
                    .state
                    .panes
                    .retain(|pane| !is_part_of(pane, &cursor.pane));
                self.let_go_of_rows_but_for(Some(&cursor.pane), &key, frame);
            } else if window.rows {
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
        if !closing.fires {
            self.panes.retain(|pane| *pane != closing.cursor.pane);
        }
        self.close_panes(closing.until, step);
    }

    /// The keys for which a pane is still to be closed, the last one first.
    fn keys_to_close(&self, closing: &InClosing, window: Window) -> Vec<Key> {
        let Closing { pane, after, .. } = &closing.cursor;
        let has_part = |state: &KeyState| {
            if window.rows && closing.fires {
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
        let closing = self.closing.as_ref().filter(|closing| closing.fires)?;
        let is_kept = !sabotage::is(Sabotage::PaneCursorNotJournalled);
        is_kept.then(|| closing.cursor.clone())
    }
}
