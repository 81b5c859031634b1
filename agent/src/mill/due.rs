//! Due times: a queue for each rule with its schedules, panes, timers and events that wait, in an
//! order that depends on nothing but its content. Rules take turns at what is due.

use std::collections::BTreeSet;

use crate::event::state::Key;
use crate::mill::router::RuleIndex;

/// A thing that falls due, without its time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The next key of the pane that closes.
    Closing(RuleIndex),
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
    /// The event of a rule that has waited for longest. Last, because what falls due at a moment comes
    /// before an event of that moment.
    Event(RuleIndex),
}

impl What {
    /// The rule that it is due for.
    pub(super) fn rule(&self) -> RuleIndex {
        let (Self::Closing(rule)
        | Self::Schedule(rule, _)
        | Self::Pane(rule)
        | Self::KeyPane(rule, _)
        | Self::Release(rule)
        | Self::Timer(rule, ..)
        | Self::Event(rule)) = self;
        *rule
    }
}

/// A moment of monotonic time; one before its start is due at once.
pub(super) fn at_least_0(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0)
}

/// All that is due, by rule.
#[derive(Debug, Default)]
pub(super) struct DueQueue {
    rules: Vec<Queue>,
    /// When each rule that has something in its queue has its next turn, soonest first.
    turns: BTreeSet<(u64, RuleIndex)>,
}

/// All that is due for one rule, soonest first.
#[derive(Debug, Default)]
struct Queue {
    entries: BTreeSet<(u64, What)>,
    /// Until then the rule rests, whatever is due.
    rests_until: u64,
    /// Its entry among the turns.
    turn: Option<u64>,
}

impl DueQueue {
    pub(super) fn insert(&mut self, mono_ms: u64, what: What) {
        let rule = what.rule();
        self.queue(rule).entries.insert((mono_ms, what));
        self.place(rule);
    }

    pub(super) fn remove(&mut self, mono_ms: u64, what: What) {
        let rule = what.rule();
        self.queue(rule).entries.remove(&(mono_ms, what));
        self.place(rule);
    }

    /// Lets a rule rest until then, whatever is due for it.
    pub(super) fn rest(&mut self, rule: RuleIndex, until_mono_ms: u64) {
        let queue = self.queue(rule);
        queue.rests_until = queue.rests_until.max(until_mono_ms);
        self.place(rule);
    }

    /// Returns `true` if something of the rule is due that did not have its turn yet, or the rule rests.
    pub(super) fn is_behind(&self, rule: RuleIndex, now_mono_ms: u64) -> bool {
        let queue = self.rules.get(rule as usize);
        queue.is_some_and(|queue| {
            queue.rests_until > now_mono_ms
                || queue
                    .turn
                    .is_some_and(|_| queue.next() <= Some(now_mono_ms))
        })
    }

    /// Returns `true` if the rule rests.
    pub(super) fn rests(&self, rule: RuleIndex, now_mono_ms: u64) -> bool {
        let queue = self.rules.get(rule as usize);
        queue.is_some_and(|queue| queue.rests_until > now_mono_ms)
    }

    /// Number of entries in the queues.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rules.iter().map(|queue| queue.entries.len()).sum()
    }

    /// When the next thing falls due, in monotonic time.
    pub(super) fn next_mono_ms(&self) -> Option<u64> {
        self.turns.first().map(|(mono_ms, _)| *mono_ms)
    }

    /// The rules for which something is due by now, those behind the one that had the last turn first.
    pub(super) fn ready(&self, now_mono_ms: u64, last: RuleIndex) -> Vec<RuleIndex> {
        if self.next_mono_ms().is_none_or(|next| next > now_mono_ms) {
            return Vec::new();
        }
        let mut rules: Vec<RuleIndex> = self.all_ready(now_mono_ms).collect();
        rules.sort_unstable();
        let behind = rules.partition_point(|rule| *rule <= last);
        rules.rotate_left(behind);
        rules
    }

    /// The rules for which something is due by now.
    pub(super) fn all_ready(&self, now_mono_ms: u64) -> impl Iterator<Item = RuleIndex> {
        let due = self.turns.range(..=(now_mono_ms, RuleIndex::MAX));
        due.map(|(_, rule)| *rule)
    }

    /// Takes the next thing of a rule that is due by now, and when it was.
    pub(super) fn pop(&mut self, rule: RuleIndex, now_mono_ms: u64) -> Option<(u64, What)> {
        let queue = self.rules.get_mut(rule as usize)?;
        if queue.rests_until > now_mono_ms || queue.next()? > now_mono_ms {
            return None;
        }
        let entry = queue.entries.pop_first();
        self.place(rule);
        entry
    }

    /// Forgets all but schedules.
    pub(super) fn keep_schedules(&mut self) {
        self.retain(|what| matches!(what, What::Schedule(..)));
    }

    /// Forgets a schedule, whose wall time has to be placed anew.
    pub(super) fn drop_schedule(&mut self, rule: RuleIndex, number: usize) {
        let schedule = What::Schedule(rule, number);
        let queue = self.queue(rule);
        queue.entries.retain(|(_, what)| *what != schedule);
        self.place(rule);
    }

    fn retain(&mut self, keeps: impl Fn(&What) -> bool) {
        for rule in 0..self.rules.len() {
            let rule = RuleIndex::try_from(rule).unwrap_or(RuleIndex::MAX);
            self.queue(rule).entries.retain(|(_, what)| keeps(what));
            self.place(rule);
        }
    }

    fn queue(&mut self, rule: RuleIndex) -> &mut Queue {
        let at = rule as usize;
        if at >= self.rules.len() {
            self.rules.resize_with(at + 1, Queue::default);
        }
        self.rules
            .get_mut(at)
            .expect("there is a queue for each rule up to this one")
    }

    /// Notes when the rule has its next turn, after its queue has changed.
    fn place(&mut self, rule: RuleIndex) {
        let Some(queue) = self.rules.get_mut(rule as usize) else {
            return;
        };
        let turn = queue.next().map(|next| next.max(queue.rests_until));
        if turn == queue.turn {
            return;
        }
        if let Some(old) = std::mem::replace(&mut queue.turn, turn) {
            self.turns.remove(&(old, rule));
        }
        if let Some(new) = turn {
            self.turns.insert((new, rule));
        }
    }
}

impl Queue {
    /// When the next thing of the rule falls due.
    fn next(&self) -> Option<u64> {
        self.entries.first().map(|(mono_ms, _)| *mono_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_take_turns_and_each_goes_by_time() {
        let mut due = DueQueue::default();
        for (at, what) in [
            (7, What::Event(0)),
            (7, What::Pane(0)),
            (5, What::Release(2)),
            (9, What::Pane(1)),
        ] {
            due.insert(at, what);
        }
        assert_eq!(due.next_mono_ms(), Some(5));
        assert!(due.ready(4, 0).is_empty());
        assert_eq!(due.ready(8, 0), [2, 0]);
        assert_eq!(due.ready(9, 2), [0, 1, 2]);
        assert_eq!(due.pop(0, 8), Some((7, What::Pane(0))));
        assert_eq!(due.pop(0, 8), Some((7, What::Event(0))));
        assert_eq!((due.pop(0, 8), due.pop(1, 8)), (None, None));
        due.remove(5, What::Release(2));
        assert_eq!((due.next_mono_ms(), due.len()), (Some(9), 1));
    }

    #[test]
    fn a_rule_that_rests_is_behind_and_has_no_turn() {
        let mut due = DueQueue::default();
        due.insert(1, What::Pane(3));
        assert!(due.is_behind(3, 1) && !due.is_behind(3, 0) && !due.is_behind(2, 9));
        due.rest(3, 10);
        assert_eq!((due.next_mono_ms(), due.pop(3, 9)), (Some(10), None));
        assert!(due.is_behind(3, 0) && due.rests(3, 9) && !due.rests(3, 10));
        assert_eq!(due.pop(3, 10), Some((1, What::Pane(3))));
        due.rest(4, 20);
        assert_eq!(due.next_mono_ms(), None, "nothing is due for it");
    }
}
