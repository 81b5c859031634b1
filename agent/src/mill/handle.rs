//! Inputs that are no events, each handed to the part of the mill that it concerns.

use crate::commit::record::EventIdChange;
use crate::event::clock::Now;
use tidemill_base::sabotage::{self, Sabotage};

use super::Mill;
use super::connections::Connected;
use super::durable::Durable;
use super::output::{Input, Output, Room};

impl Mill {
    /// Handles an input that is no event.
    pub(super) fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Redrive(seq) => self.redrive(now, seq, out),
            Input::Invoke { rule, key, event } => self.invoke(now, &rule, key, *event, out),
            Input::ForgetState { rule, key } => self.forget_state(now, &rule, key.as_deref()),
            input => {
                if let Some(durable) = &mut self.durable {
                    durable.handle(now, input, out);
                }
            }
        }
    }
}

impl Durable {
    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Connected {
                epoch,
                protocol,
                session_present,
                window,
            } => {
                if !session_present && self.had_session() {
                    out.push(Output::SessionLost);
                }
                let connected = Connected {
                    epoch,
                    protocol,
                    session_present,
                    window,
                };
                self.connected(now, connected);
            }
            Input::Disconnected => self.session.disconnected(),
            Input::Confirmed {
                epoch,
                acknowledged,
            } => self.confirmed(now, epoch, acknowledged),
            Input::Subscribed(held) => self.subscribed(now, &held),
            Input::ForgetProducer(producer) => {
                if self.event_ids.forget(&producer) {
                    let change = EventIdChange::Forgotten(producer);
                    self.batch.event_ids.push(change);
                    self.batch.open(now);
                }
            }
            Input::Lane(_)
            | Input::RowsRead { .. }
            | Input::ReadFailed { .. }
            | Input::DropDeadLetter(_) => self.handle_rows(now, input, out),
            other => self.handle_disk(now, &other, out),
        }
    }

    /// Reports on rows that wait in lanes, from destinations, the journal or a person.
    fn handle_rows(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        let lsn = self.lsn();
        match input {
            Input::Lane(report) => {
                self.batch.open_lazily(now);
                if let Some((lane, count, reason)) = self.outbox.hear(report, lsn) {
                    out.push(Output::Refused {
                        lane,
                        count,
                        reason,
                    });
                }
            }
            Input::RowsRead {
                lane,
                rows,
                relocate,
            } => {
                let missing = self.outbox.rows_read(&lane, rows, relocate.then_some(lsn));
                if missing > 0 {
                    out.push(Output::Lost {
                        lane,
                        count: missing,
                    });
                }
            }
            Input::ReadFailed { lane } => self.outbox.read_failed(&lane),
            Input::DropDeadLetter(seq) => {
                self.outbox.take_dead_letter(seq);
                self.batch.open(now);
            }
            _ => {}
        }
    }

    /// Reports on the journal, checkpoints and room, and requests to write.
    fn handle_disk(&mut self, now: Now, input: &Input, out: &mut Vec<Output>) {
        match *input {
            Input::Durable(lsn) => self.durable(lsn),
            Input::PondWritten { pond } => {
                let oldest = self.outbox.oldest_lsn();
                if let Some(below_lsn) = self.checkpoints.complete(pond, oldest) {
                    out.push(Output::Recycle { below_lsn });
                }
            }
            Input::PondFailed => self.checkpoints.failed(now),
            Input::Room(_) if sabotage::is(Sabotage::NothingInReserve) => {}
            Input::Room(room) => {
                self.room = room;
                self.checkpoints.set_short(room != Room::Plenty);
            }
            Input::Commit => self.batch.urgent = self.batch.is_open(),
            Input::Flush => {
                self.batch.open(now);
                self.batch.urgent = true;
                self.checkpoints.want();
            }
            // Handled elsewhere; named, so that a new input is not passed over.
            Input::Events(_)
            | Input::Tick
            | Input::Redrive(_)
            | Input::Invoke { .. }
            | Input::ForgetState { .. }
            | Input::Connected { .. }
            | Input::Disconnected
            | Input::Confirmed { .. }
            | Input::Subscribed(_)
            | Input::ForgetProducer(_)
            | Input::Lane(_)
            | Input::RowsRead { .. }
            | Input::ReadFailed { .. }
            | Input::DropDeadLetter(_) => {}
        }
    }
}
