//! Due times: one queue for schedules, panes and timers of all rules, in an order that depends on
//! nothing but its content.

use std::collections::BTreeSet;

use crate::event::state::Key;
use crate::mill::router::RuleIndex;

/// A thing that falls due, without its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A slot of a rule's schedule with this number.
    Schedule(RuleIndex, usize),
    /// A pane of a rule that is open.
    Pane(RuleIndex),
    /// A pane of a key.
    KeyPane(RuleIndex, Key),
    /// Events that the watermark of a rule has passed, or a source of the rule that may be idle.
    Release(RuleIndex),
    /// A timer of a key.
    Timer(RuleIndex, Key, u32),
}

/// A moment of monotonic time; one before its start is due at once.
pub(super) fn at_least_0(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

/// All that is due, soonest first.
#[derive(Debug, Default)]
pub(super) struct DueQueue(BTreeSet<(u64, What)>);

impl DueQueue {
    pub(super) fn insert(&mut self, mono_ms: u64, what: What) {
        self.0.insert((mono_ms, what));
    }

    pub(super) fn remove(&mut self, mono_ms: u64, what: What) {
        self.0.remove(&(mono_ms, what));
    }

    /// Number of entries in the queue.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When the next thing falls due, in monotonic time.
    pub(super) fn next_mono_ms(&self) -> Option<u64> {
        self.0.first().map(|(mono_ms, _)| *mono_ms)
    }

    /// Takes the next thing that is due by now.
    pub(super) fn pop(&mut self, now_mono_ms: u64) -> Option<What> {
        match self.next_mono_ms() {
            Some(due) if due <= now_mono_ms => self.0.pop_first().map(|(_, what)| what),
            _ => None,
        }
    }

    /// Forgets all but schedules.
    pub(super) fn keep_schedules(&mut self) {
        self.0
            .retain(|(_, what)| matches!(what, What::Schedule(..)));
    }

    /// Forgets a schedule, whose wall time has to be placed anew.
    pub(super) fn drop_schedule(&mut self, rule: RuleIndex, number: usize) {
        self.0
            .retain(|(_, what)| *what != What::Schedule(rule, number));
    }
}
