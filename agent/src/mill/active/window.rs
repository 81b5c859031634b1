//! The window of a rule: events are folded into panes, and panes close.

use crate::frame::Frame;
use crate::function::Handler;
use crate::ledger::Fate;
use crate::mill::due::What;
use crate::state::{Key, Pane};
use crate::window::OpenPane;

use super::fault::Fault;
use super::{Active, Step};

impl Active {
    /// Folds an event into the open pane, which it opens if need be.
    pub(super) fn fold(
        &mut self,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Result<Fate, Fault> {
        let Some(window) = self.window else {
            return Ok(Fate::Filtered);
        };
        let index = self.index;
        let open = *self.pane.get_or_insert_with(|| {
            let open = OpenPane::around(step.now, window.length_ms);
            step.due.insert(open.due_mono_ms, What::Pane(index));
            open
        });
        let first = frame.state.pane.is_none();
        frame.state.pane.get_or_insert_with(|| Pane {
            start_ms: open.start_ms,
            end_ms: open.end_ms,
            ..Pane::default()
        });
        let fate = self.call(Handler::Event, key, frame, step);
        match (&fate, &mut frame.state.pane) {
            (Ok(_), Some(pane)) => pane.folded += 1,
            // A fault leaves no trace: no pane of the key, and so no key that displaces another.
            (Err(_), pane) if first => *pane = None,
            _ => {}
        }
        Ok(match fate? {
            Fate::Filtered => Fate::Absorbed,
            fate => fate,
        })
    }

    /// Closes the open pane: calls `on_window` for each of its keys, in the order of their names.
    pub(in crate::mill) fn close_pane(&mut self, frame: &mut Box<Frame>, step: &mut Step<'_>) {
        let Some(open) = self.pane.take() else {
            return;
        };
        let labels = open.relabelled(step.now);
        for key in self.keys.collecting() {
            let Some(place) = self.keys.find(&key) else {
                continue;
            };
            let bytes = self.lend(&key, Some(place), frame);
            let folded = frame.state.pane.as_mut().map_or(0, |pane| {
                (pane.start_ms, pane.end_ms) = (labels.start_ms, labels.end_ms);
                pane.folded
            });
            if folded > 0 {
                self.without_event(Handler::Window, &key, frame, step);
            }
            frame.state.pane = None;
            self.take_back(&key, Some(place), bytes, true, frame, step);
        }
    }
}
