//! The running count of what became of every event, rule by rule. Each event that reaches a rule
//! ends in exactly one column; a ledger that does not balance is a fault of the agent.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Outcome of one event at one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The function answered 0 and asked for nothing.
    Filtered,
    /// The function changed state or timers, and sent nothing.
    Absorbed,
    /// The function sent something.
    Emitting,
    /// The rule could not digest it.
    Dead,
    /// Not given to the rule, for a reason by name.
    Dropped(&'static str),
}

/// The counts of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events that reached the rule.
    pub received: u64,
    /// See [`Fate::Filtered`].
    pub filtered: u64,
    /// See [`Fate::Absorbed`].
    pub absorbed: u64,
    /// See [`Fate::Emitting`].
    pub emitting: u64,
    /// See [`Fate::Dead`].
    pub dead: u64,
    /// See [`Fate::Dropped`], by reason.
    pub dropped: BTreeMap<Cow<'static, str>, u64>,
    /// Messages sent, those of timers and windows included.
    pub emissions: u64,
    /// Calls of timers and windows that ended in a fault; they belong to no event.
    pub faults_without_event: u64,
    /// Keys that had to go because the rule held too many, with their state, and partitions of functions
    /// that remember.
    pub keys_evicted: u64,
    /// Fuel used by all calls.
    pub fuel: u64,
    /// Rows of windows that had to go because there was no room for them.
    pub rows_dropped: u64,
    /// Windows that had to go before they fired because too many waited.
    pub windows_dropped: u64,
    /// Windows that were open and that an edit of the rule, or a person, gave up.
    pub windows_given_up: u64,
    /// Events whose own time was missing, could not be read or was not credible.
    pub bad_times: u64,
}

impl Ledger {
    /// Counts one event.
    pub fn enter(&mut self, fate: Fate) {
        self.received += 1;
        match fate {
            Fate::Filtered => self.filtered += 1,
            Fate::Absorbed => self.absorbed += 1,
            Fate::Emitting => self.emitting += 1,
            Fate::Dead => self.dead += 1,
            Fate::Dropped(reason) => *self.dropped.entry(reason.into()).or_default() += 1,
        }
    }

    /// The counts added since `before`, an earlier copy of the same ledger.
    pub fn since(&self, before: &Self) -> Self {
        let mut delta = self.clone();
        for (column, before) in delta.columns_mut().into_iter().zip(before.columns()) {
            *column = column.saturating_sub(before);
        }
        for (reason, count) in &before.dropped {
            if let Some(column) = delta.dropped.get_mut(reason) {
                *column = column.saturating_sub(*count);
            }
        }
        delta.dropped.retain(|_, count| *count > 0);
        delta
    }

    /// Adds the result of [`Ledger::since`].
    pub fn add(&mut self, delta: &Self) {
        for (column, more) in self.columns_mut().into_iter().zip(delta.columns()) {
            *column += more;
        }
        for (reason, more) in &delta.dropped {
            *self.dropped.entry(reason.clone()).or_default() += more;
        }
    }

    /// All numbers but the dropped ones, in the order in which they are written down.
    pub fn columns(&self) -> [u64; 13] {
        [
            self.received,
            self.filtered,
            self.absorbed,
            self.emitting,
            self.dead,
            self.emissions,
            self.faults_without_event,
            self.keys_evicted,
            self.fuel,
            self.rows_dropped,
            self.windows_dropped,
            self.bad_times,
            self.windows_given_up,
        ]
    }

    /// The same, to be changed.
    pub fn columns_mut(&mut self) -> [&mut u64; 13] {
        [
            &mut self.received,
            &mut self.filtered,
            &mut self.absorbed,
            &mut self.emitting,
            &mut self.dead,
            &mut self.emissions,
            &mut self.faults_without_event,
            &mut self.keys_evicted,
            &mut self.fuel,
            &mut self.rows_dropped,
            &mut self.windows_dropped,
            &mut self.bad_times,
            &mut self.windows_given_up,
        ]
    }

    /// Rows, windows and keys that had to go because there was no room for them.
    pub fn lost(&self) -> u64 {
        self.rows_dropped + self.windows_dropped + self.keys_evicted
    }

    /// `true` if every event received is counted in exactly one column.
    pub fn balances(&self) -> bool {
        let dropped: u64 = self.dropped.values().sum();
        self.received == self.filtered + self.absorbed + self.emitting + self.dead + dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_is_one_column() {
        let mut ledger = Ledger::default();
        for fate in [
            Fate::Filtered,
            Fate::Absorbed,
            Fate::Emitting,
            Fate::Dead,
            Fate::Dropped("full"),
        ] {
            ledger.enter(fate);
            assert!(ledger.balances());
        }
        assert_eq!(ledger.received, 5);
        ledger.filtered -= 1;
        assert!(!ledger.balances());
    }
}
