//! A mill with one rule that is tried and keeps nothing. Its driver tells the time: that of a file
//! of events in `rule test`, that of a clock in `rule run`.

use super::Failure;
use super::results::Results;
use crate::event::Event;
use crate::event::clock::Now;
use crate::event::ledger::Ledger;
use crate::mill::{BoundRule, Deployment, Input, Mill, Output};
use tidemill_base::text::printable;
use tidemill_transport::topic::Subscription;

pub(super) struct Trial {
    mill: Mill,
    pub(super) results: Results,
    outputs: Vec<Output>,
}

impl Trial {
    /// Deploys the rule; `subscriptions` are those that copies of an event may name.
    pub(super) fn start(
        mut mill: Mill,
        rule: BoundRule,
        subscriptions: Vec<Subscription>,
        results: Results,
        now: Now,
    ) -> Result<Self, Failure> {
        let deployment = Deployment {
            rules: vec![rule],
            subscriptions,
        };
        mill.deploy(now, deployment, &mut Vec::new())
            .map_err(|error| Failure::Failed(error.into()))?;
        Ok(Self {
            mill,
            results,
            outputs: Vec::new(),
        })
    }

    /// Lets everything happen that falls due until then, each at its own moment.
    pub(super) fn advance(&mut self, now: Now) -> Result<(), Failure> {
        while let Some(due) = self.mill.next_due_mono_ms()
            && due <= now.mono_ms
            && !self.results.are_complete()
        {
            let then = Now {
                mono_ms: due,
                wall_ms: now.wall_at(due),
                ..now
            };
            self.step(then, Input::Tick)?;
        }
        Ok(())
    }

    /// Works on an event, after all that falls due by now. Returns whether the rule wanted it: of copies
    /// for several of its filters it takes one, and a retained one only where it asks for those.
    pub(super) fn event(&mut self, now: Now, event: Event) -> Result<bool, Failure> {
        self.advance(now)?;
        let unwanted = self.mill.unrouted();
        self.step(now, Input::Events(vec![event]))?;
        Ok(self.mill.unrouted() == unwanted)
    }

    /// Turns the mill once.
    pub(super) fn step(&mut self, now: Now, input: Input) -> Result<(), Failure> {
        self.mill.step(now, input, &mut self.outputs);
        self.results.take(now.wall_ms, &mut self.outputs)
    }

    /// Events that the rule did not want.
    pub(super) fn unrouted(&self) -> u64 {
        self.mill.unrouted()
    }

    /// The counts of the rule's events.
    pub(super) fn ledger(&self) -> Ledger {
        let mut all = Ledger::default();
        self.mill.ledgers().for_each(|(_, ledger)| all.add(ledger));
        all
    }

    /// Events whose own time was bad.
    pub(super) fn bad_times(&self) -> u64 {
        self.mill
            .ledgers()
            .map(|(_, ledger)| ledger.bad_times)
            .sum()
    }

    /// Losses of the rule's state for want of room, as lines for people.
    pub(super) fn losses(&self) -> String {
        let losses = self.mill.losses();
        losses
            .map(|what| format!("\nwarning: {}", printable(what)))
            .collect()
    }

    /// As [`Mill::next_due_mono_ms`].
    pub(super) fn next_due_mono_ms(&self) -> Option<u64> {
        self.mill.next_due_mono_ms()
    }
}
