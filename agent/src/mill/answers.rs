//! Requests of local sources that wait for their answer. No answer shows what a power cut takes back:
//! each leaves once the commit that holds what its call saw and did is durable.

use std::collections::VecDeque;

use crate::event::Ticket;
use tidemill_base::number::Lsn;
use tidemill_base::sabotage::{self, Sabotage};

use super::Mill;
use super::output::Output;

/// A request that was worked on.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    /// `true` if some rule wanted it.
    wanted: bool,
    /// The commit that has to be durable first.
    lsn: Lsn,
}

/// Answers that wait for commits, in the order of these.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<Waiting>);

impl Answers {
    /// Returns `true` if an answer waits for a commit that is not written yet.
    pub(super) fn wait_for(&self, next_lsn: Lsn) -> bool {
        self.0.back().is_some_and(|waiting| waiting.lsn >= next_lsn)
    }

    /// Releases the answers that waited for commits that are durable by now.
    pub(super) fn release(&mut self, durable_lsn: Lsn, out: &mut Vec<Output>) {
        let may = |waiting: &mut Waiting| {
            waiting.lsn <= durable_lsn || sabotage::is(Sabotage::AnswerBeforeSync)
        };
        while let Some(waiting) = self.0.pop_front_if(may) {
            out.push(Output::Answer {
                ticket: waiting.ticket,
                wanted: waiting.wanted,
                lsn: waiting.lsn,
            });
        }
    }
}

impl Mill {
    /// Notes that a request was worked on, now or before. Without a journal it is answered at once.
    pub(super) fn answer(&mut self, ticket: Ticket, wanted: bool, out: &mut Vec<Output>) {
        let Some(durable) = self.durable.as_deref_mut() else {
            let lsn = Lsn::ZERO;
            out.push(Output::Answer {
                ticket,
                wanted,
                lsn,
            });
            return;
        };
        // Also of a call without effects: what it saw may be changes of this batch.
        let lsn = if durable.batch.is_open() {
            durable.lsn()
        } else {
            durable.lsn() - 1
        };
        durable.answers.0.push_back(Waiting {
            ticket,
            wanted,
            lsn,
        });
    }
}
