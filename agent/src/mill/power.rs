//! A boot that learns the time late: timers that were pending when the power failed come nearer by
//! the time that the power was off, once a clock that was right before and is right again says how
//! long that was.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commit::image::Image;
use crate::event::clock::{Now, OFF_MAX_MS, Quality, signed};
use crate::event::state::time::RULE_KEY;
use crate::event::state::{Key, KeyState, OpenPane};

use super::Mill;
use super::active::Active;

/// A time without power of which nobody knows yet how long it was.
pub(super) struct PowerGap {
    /// Wall time last shown by a clock that was right.
    wall_ms: i64,
    /// Monotonic time at which pending timers were placed into the present boot.
    mono_ms: u64,
    /// The timers of before: those armed since are right.
    timers: BTreeMap<(String, Key, u32), u64>,
}

impl PowerGap {
    /// The gap in an image that was placed into this boot without knowing how long the power was
    /// off.
    pub(super) fn of(image: &Image, now: Now) -> Option<Self> {
        let is_unknown = image.agent.quality == Quality::Synced && now.quality != Quality::Synced;
        if !is_unknown {
            return None;
        }
        let mut timers = BTreeMap::new();
        for (name, rule) in &image.rules {
            for (key, state) in &rule.keys {
                for (id, due) in &state.timers {
                    timers.insert((name.clone(), Arc::clone(key), *id), due.mono_ms);
                }
            }
        }
        Some(Self {
            wall_ms: image.agent.wall_ms,
            mono_ms: now.mono_ms,
            timers,
        })
    }

    /// Time without power, in milliseconds; 0 if it comes out longer than is possible.
    fn off_ms(&self, now: Now) -> i64 {
        let since = signed(now.mono_ms).saturating_sub(signed(self.mono_ms));
        let off_ms = now
            .wall_ms
            .saturating_sub(self.wall_ms)
            .saturating_sub(since);
        if off_ms > signed(OFF_MAX_MS) {
            return 0;
        }
        off_ms.max(0)
    }
}

impl Mill {
    /// Subtracts the time without power from pending timers, as soon as it is known.
    pub(super) fn close_power_gap(&mut self, now: Now) {
        if now.quality != Quality::Synced {
            return;
        }
        let Some(gap) = self.power_gap.take() else {
            return;
        };
        let off_ms = gap.off_ms(now);
        if off_ms == 0 {
            return;
        }
        for active in &mut self.rules {
            active.bring_nearer(&gap, off_ms);
            if let (Some(durable), false) = (&mut self.durable, active.is_volatile()) {
                durable.touch(active.index);
                durable.batch.open(now);
            }
        }
        self.due.keep_schedules();
        for active in &mut self.rules {
            active.enqueue(now, &mut self.due);
        }
    }
}

impl Active {
    fn bring_nearer(&mut self, gap: &PowerGap, off_ms: i64) {
        let before = signed(gap.mono_ms);
        let by_the_clock = self.time.is_none();
        if by_the_clock {
            let closing = self
                .closing
                .as_mut()
                .map(|closing| &mut closing.cursor.pane);
            let all = self.panes.iter_mut().chain(closing);
            let old = all.filter(|pane| pane.from < before);
            old.for_each(|pane: &mut OpenPane| {
                pane.from = pane.from.saturating_sub(off_ms);
                pane.due = pane.due.saturating_sub(off_ms);
            });
        }
        let rule = self.rule.name.to_string();
        self.keys.update_all(|key, state: &mut KeyState| {
            if &**key == RULE_KEY {
                return;
            }
            for (id, due) in &mut state.timers {
                let place = (rule.clone(), Arc::clone(key), *id);
                if gap.timers.get(&place) == Some(&due.mono_ms) {
                    due.mono_ms = due.mono_ms.saturating_sub(off_ms.unsigned_abs());
                }
            }
            if by_the_clock {
                let old = state.panes.iter_mut().filter(|pane| pane.from < before);
                old.for_each(|pane| {
                    pane.from = pane.from.saturating_sub(off_ms);
                    pane.due = pane.due.map(|due| due.saturating_sub(off_ms));
                });
                crate::event::state::shift_rows(&mut state.entries, |at| {
                    if at < before {
                        at.saturating_sub(off_ms)
                    } else {
                        at
                    }
                });
            }
        });
    }
}
