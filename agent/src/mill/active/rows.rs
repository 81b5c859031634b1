//! Windows whose rows are kept: opening, joining and dropping of rows for each kind. Firing them is
//! left to `firing`.

use tidemill_abi::limit;

use crate::event::state::{Key, Pane, RowName};
use crate::function::frame::Frame;
use crate::mill::window::{Moment, Window};

use super::{Active, Step};

impl Active {
    /// Keeps rows; the oldest of the key go where there is no room.
    pub(super) fn put_rows(
        &mut self,
        rows: &[Box<[u8]>],
        moment: Moment,
        key: &Key,
        frame: &mut Frame,
    ) {
        for row in rows {
            let name = frame.state.put_row(moment.at, row);
            self.keys.entry_changed(key, name.as_bytes());
        }
        while !rows.is_empty() && self.has_too_many(frame) {
            if span(frame) > limit::ROWS_MAX {
                self.reached.rows = true;
            } else {
                self.reached.bytes = true;
            }
            let Some((oldest, at)) = frame.state.rows().next() else {
                break;
            };
            self.remove_row(oldest, key, frame);
            if !self.drop_kept_with(at, key, frame) {
                self.ledger.rows_dropped += 1;
            }
        }
    }

    /// Returns `true` if the key has more rows than it may have, or more than its share of what the
    /// rule may keep in all.
    fn has_too_many(&self, frame: &Frame) -> bool {
        span(frame) > limit::ROWS_MAX || self.has_too_much(frame)
    }

    /// Returns `true` if the key has more than its share of what the rule may keep, which is full.
    pub(super) fn has_too_much(&self, frame: &Frame) -> bool {
        let own = frame.state.bytes();
        let all = (self.keys.bytes() + own).saturating_sub(self.lent_bytes);
        let share = self.state_bytes_max / self.keys.len().max(1);
        all > self.state_bytes_max && own > share
    }

    /// Lets go of a row.
    pub(super) fn remove_row(&mut self, name: RowName, key: &Key, frame: &mut Frame) {
        frame.state.remove_row(name);
        self.keys.entry_changed(key, name.as_bytes());
    }

    /// Lets go of the rows of which that is true.
    pub(super) fn remove_rows(&mut self, key: &Key, frame: &mut Frame, is: impl Fn(i64) -> bool) {
        let rows = frame.state.rows().filter(|(_, at)| is(*at));
        let rows: Vec<RowName> = rows.map(|(name, _)| name).collect();
        for name in rows {
            self.remove_row(name, key, frame);
        }
    }

    /// Lets go of the first rows, as long as that is true: without a look at all others.
    fn remove_first(&mut self, key: &Key, frame: &mut Frame, is: impl Fn(i64, &Frame) -> bool) {
        loop {
            let first = frame.state.rows().next();
            let Some((name, _)) = first.filter(|(_, at)| is(*at, frame)) else {
                return;
            };
            self.remove_row(name, key, frame);
        }
    }

    /// Drops all rows but the last `count`; none is missing among them.
    fn keep_last(&mut self, count: u64, key: &Key, frame: &mut Frame) {
        self.remove_first(key, frame, |_, frame| span(frame) > count);
    }

    /// Rows join the session of their key, or begin one.
    pub(super) fn extend_session(
        &mut self,
        window: Window,
        rows: &[Box<[u8]>],
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let mut pane = frame.state.panes.pop().unwrap_or_else(|| Pane {
            start_ms: moment.wall_ms,
            ..Pane::default()
        });
        let cut_at = |from: i64| {
            let first_ms = moment.wall_at(from);
            from.saturating_add(window.cut_ms(first_ms).saturating_sub(first_ms))
        };
        if window.event_time && pane.folded > 0 && moment.at > cut_at(pane.from) {
            let cut = cut_at(pane.from);
            pane.end_ms = cut;
            if let Some(due) = pane.due {
                self.look_away(due, key, step.due);
            }
            self.fire(pane, |_| true, key, frame, step);
            self.remove_rows(key, frame, |_| true);
            pane = Pane {
                start_ms: cut,
                ..Pane::default()
            };
        }
        if pane.folded == 0 {
            pane.from = moment.at;
        }
        self.put_rows(rows, moment, key, frame);
        pane.folded += rows.len() as u64;
        let quiet = moment.at.saturating_add(window.gap_ms);
        let due = if window.event_time {
            quiet
        } else {
            quiet.min(cut_at(pane.from))
        };
        pane.end_ms = moment.wall_at(due);
        if pane.due != Some(due) {
            if let Some(old) = pane.due.replace(due) {
                self.look_away(old, key, step.due);
            }
            self.look_at(due, key, step.due);
        }
        frame.state.panes.push(pane);
    }

    /// Triggers a sliding window: now, or once everything else that belongs to it is there.
    pub(super) fn trigger(
        &mut self,
        window: Window,
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        // Without a delay what comes at the very moment belongs to it.
        let due = match window.delay_ms {
            0 => moment.at.saturating_add(1),
            delay => moment.at.saturating_add(delay),
        };
        let pane = Pane {
            start_ms: moment.wall_ms.saturating_sub(window.length_ms),
            end_ms: moment.wall_ms.saturating_add(window.delay_ms),
            from: moment.at.saturating_sub(window.length_ms),
            due: Some(due),
            ..Pane::default()
        };
        if window.delay_ms > 0 || window.event_time {
            if frame.state.panes.len() >= limit::WINDOWS_MAX {
                let oldest = frame.state.panes.remove(0);
                let mut others = frame.state.panes.iter();
                if let Some(old) = oldest.due.filter(|_| !others.any(|o| o.due == oldest.due)) {
                    self.look_away(old, key, step.due);
                }
                self.ledger.windows_dropped += 1;
            }
            frame.state.panes.push(pane);
            self.look_at(due, key, step.due);
            return;
        }
        let from = pane.from;
        self.fire(pane, |at| at >= from, key, frame, step);
    }

    /// Lets go of the rows that no sliding window can reach any more.
    pub(super) fn slide(&mut self, window: Window, moment: Moment, key: &Key, frame: &mut Frame) {
        let waiting = frame.state.panes.iter().map(|pane| pane.from).min();
        let reach = moment.at.saturating_sub(window.length_ms);
        let reach = waiting.map_or(reach, |from| from.min(reach));
        self.remove_first(key, frame, |at, _| at < reach);
    }

    /// Rows join a window that counts them.
    pub(super) fn count_rows(
        &mut self,
        window: Window,
        rows: Vec<Box<[u8]>>,
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        for row in rows {
            let mut pane = frame.state.panes.pop().unwrap_or_else(|| Pane {
                start_ms: moment.wall_ms,
                ..Pane::default()
            });
            self.put_rows(&[row], moment, key, frame);
            self.keep_last(window.count, key, frame);
            pane.folded += 1;
            if pane.folded < window.every {
                frame.state.panes.push(pane);
                continue;
            }
            pane.end_ms = moment.wall_ms;
            if span(frame) == window.count {
                self.fire(pane, |_| true, key, frame, step);
                self.keep_last(window.count.saturating_sub(window.every), key, frame);
            }
            frame.state.panes.push(Pane {
                start_ms: moment.wall_ms,
                ..Pane::default()
            });
        }
    }

    /// Parts two windows at an event: the present rows fire without it, and the next window begins
    /// with its rows.
    pub(super) fn cut_state(
        &mut self,
        rows: &[Box<[u8]>],
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        if let Some(mut pane) = frame.state.panes.pop() {
            pane.end_ms = moment.wall_ms;
            self.fire(pane, |_| true, key, frame, step);
            self.remove_rows(key, frame, |_| true);
        }
        self.go_through_state(rows, (true, false), moment, key, frame, step);
    }

    /// Rows join a window that lasts from one event to another; outside of it they are of no use.
    pub(super) fn go_through_state(
        &mut self,
        rows: &[Box<[u8]>],
        (begins, fires): (bool, bool),
        moment: Moment,
        key: &Key,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) {
        let Some(mut pane) = frame.state.panes.pop() else {
            if begins {
                frame.state.panes.push(Pane {
                    start_ms: moment.wall_ms,
                    from: moment.at,
                    folded: rows.len() as u64,
                    ..Pane::default()
                });
                self.put_rows(rows, moment, key, frame);
            }
            return;
        };
        self.put_rows(rows, moment, key, frame);
        pane.folded += rows.len() as u64;
        pane.end_ms = moment.wall_ms;
        if !fires {
            frame.state.panes.push(pane);
            return;
        }
        self.fire(pane, |_| true, key, frame, step);
        self.remove_rows(key, frame, |_| true);
    }
}

/// Number of rows of the key, counting those missing between the first and the last.
fn span(frame: &Frame) -> u64 {
    let mut numbers = frame.state.rows().map(|(name, _)| name.number());
    let first = numbers.next();
    let last = numbers.next_back().or(first);
    first
        .zip(last)
        .map_or(0, |(first, last)| last.saturating_sub(first) + 1)
}
