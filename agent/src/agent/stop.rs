//! The agent's orderly end.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Agent, AgentError};
use crate::agent::books;
use crate::mill;
use crate::source::mqtt as source;

/// Share of the grace that is left for the last checkpoint: a third, and no more than this. Receivers
/// that are slow get the rest.
const CHECKPOINT_RESERVE_MAX: Duration = Duration::from_secs(2);

/// For the thread of pushed rules to write down that the end is an orderly one.
const PUSHED_WITHIN: Duration = Duration::from_millis(500);

/// The last of the grace, left for threads to notice that it is over: work that ends only then was
/// not complete.
const LAST_MOMENT: Duration = Duration::from_millis(100);

impl Agent {
    /// Takes no more events, commits those that are here, acknowledges them, sends what waits as far
    /// as receivers are there, writes a checkpoint. All of it within the grace; what does not fit in is
    /// left for the next start, which has the journal.
    pub(super) fn stop(mut self, outcome: Result<(), AgentError>) -> Result<(), AgentError> {
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
        let grace = self.remote.grace();
        let deadline = Instant::now() + grace;
        let send_by = deadline - CHECKPOINT_RESERVE_MAX.min(grace / 3);
        info!("stopping");
        self.mill.begin_stop();
        if outcome.is_ok() {
            self.pushed.stop(PUSHED_WITHIN);
        }
        if outcome.is_ok() {
            self.finish(send_by)?;
        }
        self.source.command(source::SourceCommand::Stop);
        let left = send_by.saturating_duration_since(Instant::now());
        for report in self.outputs.stop(left) {
            self.turn(mill::Input::Lane(report));
        }
        if outcome.is_ok() {
            // A checkpoint makes the next start quick; without it the journal is enough.
            self.turn(mill::Input::Flush);
            self.until(deadline, |agent| agent.mill.is_flushed())?;
            if !self.mill.is_flushed() {
                warn!(
                    "stopped before the last checkpoint was written: the next start replays the journal"
                );
            }
        }
        self.told_ledgers_mono_ms = 0;
        let now = self.clock.now();
        self.tell_ledgers(now);
        self.tell_the_end();
        let deadline = deadline.max(Instant::now() + LAST_MOMENT);
        self.storage.stop(deadline);
        self.source.join_by(deadline);
        outcome
    }

    /// Works on the events that the source had handed over already, and commits them.
    fn finish(&mut self, deadline: Instant) -> Result<(), AgentError> {
        while !self.is_full() && Instant::now() < deadline {
            if self.mill.has_arrived() {
                self.turn(mill::Input::Tick);
                continue;
            }
            if self.take_in_some() {
                continue;
            }
            match self.reports.try_recv() {
                Ok(report) => self.hear(report),
                Err(_) => break,
            }
        }
        self.turn(mill::Input::Commit);
        self.until(deadline, |agent| {
            let (last, durable) = agent.mill.lsns();
            last == durable
        })
    }

    /// Takes up results from disk and destinations until `done`, or the deadline.
    fn until(&mut self, deadline: Instant, done: impl Fn(&Self) -> bool) -> Result<(), AgentError> {
        while !done(self) && Instant::now() < deadline {
            self.waker.rearm();
            let mut busy = false;
            for news in self.storage.news()? {
                self.turn(news);
                busy = true;
            }
            for report in self.outputs.take_lane_reports() {
                self.turn(mill::Input::Lane(report));
                busy = true;
            }
            if !busy {
                let _ = self.inbox.recv_timeout(Duration::from_millis(20));
                self.turn(mill::Input::Tick);
            }
        }
        Ok(())
    }

    fn tell_the_end(&self) {
        let rules = self
            .mill
            .ledgers()
            .filter(|(_, ledger)| ledger.received > 0);
        for (rule, ledger) in rules {
            let dropped: u64 = ledger.dropped.values().sum();
            info!(
                rule = %rule, received = ledger.received, filtered = ledger.filtered,
                absorbed = ledger.absorbed, emitting = ledger.emitting, dead = ledger.dead,
                dropped, emissions = ledger.emissions, "ledger"
            );
        }
        for lane in self
            .mill
            .outbox()
            .into_iter()
            .flat_map(|outbox| outbox.lanes())
        {
            let counts = lane.counts();
            info!(
                lane = %lane.id(), made = counts.made, acknowledged = counts.acknowledged,
                waiting = lane.waiting(), dead = counts.dead, dropped = counts.dropped, "ledger"
            );
        }
        let (commit, durable) = self.mill.lsns();
        let state_hash = books::hex(&self.mill.rules_hash());
        let (commit, durable) = (commit.get(), durable.get());
        info!(commit, durable, state_hash, "stopped");
    }
}
