//! The loops of one HTTP destination: one for each lane, one for the queue. Each has one request on
//! its way at most, so lanes overtake one another and rows of a lane never do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::super::Outgoing;
use super::answer::Answer;
use super::batches::Batches;
use super::board::Board;
use super::exchange::{Exchange, Parcel};
use super::pace::Pace;
use super::rest::{Rests, Vain};
use super::{HttpSettings, body};
use crate::event::emission::{LaneReport, Priority};
use tidemill_transport::link::until;

/// Messages of the queue in one request at most.
const QUEUE_BATCH_MAX: usize = 256;

/// Number of messages refused alone, with none taken, after which a batch of the queue is not cut
/// any more.
const REFUSED_ALONE_MAX: usize = 4;

/// One loop.
pub(super) struct Carrier<'a> {
    settings: &'a HttpSettings,
    board: &'a Board,
    /// Its place on the board.
    number: usize,
    exchange: Exchange,
    rests: Rests,
    pace: Pace,
    /// Why the last batch was refused.
    refusal: String,
    stop_seen: watch::Receiver<Option<Instant>>,
}

/// Batches of a lane, and a bell for those that come.
#[derive(Default)]
pub(super) struct LaneBox {
    pub(super) batches: RefCell<Batches>,
    pub(super) woken: Notify,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(
        settings: &'a HttpSettings,
        board: &'a Board,
        number: usize,
        stop_seen: watch::Receiver<Option<Instant>>,
    ) -> Self {
        Self {
            settings,
            board,
            number,
            exchange: Exchange::new(settings.tls.is_some()),
            rests: Rests::default(),
            pace: Pace::new(settings.answer_timeout),
            refusal: String::new(),
            stop_seen,
        }
    }

    /// Carries a lane's batches until the stop.
    pub(super) async fn carry_lane(mut self, priority: Priority, lane: &LaneBox) {
        loop {
            let next = {
                let batches = lane.batches.borrow();
                batches.peek().map(|batch| {
                    let (first, last) = (batch.rows.first(), batch.rows.last());
                    let (first, last) = (first.map_or(0, |r| r.seq), last.map_or(0, |r| r.seq));
                    let key = body::key(&self.board.names, priority, first, last);
                    let body = body::rows(&self.board.names, priority, &batch.rows);
                    (first, key, body, batch.stands_still)
                })
            };
            self.board.rows(self.number, lane.batches.borrow().rows());
            let Some((first, key, body, stands_still)) = next else {
                tokio::select! {
                    biased; // What was shipped before the stop is still tried.
                    () = lane.woken.notified() => continue,
                    () = stopping(self.stop_seen.clone()) => return,
                }
            };
            if stands_still && self.rest_from_refusals().await.is_none() {
                return;
            }
            let Some(settled) = self.deliver(Some(&key), body, false).await else {
                return;
            };
            // First, because the next batch is cut when the mill hears of this one.
            if let Some(bytes) = self.pace.take_news() {
                self.board.seat.desk.tell_lane(LaneReport::RequestBytes {
                    destination: self.board.seat.place,
                    priority,
                    bytes,
                });
            }
            self.settle(priority, lane, first, settled);
        }
    }

    /// Waits, where every row was refused, for somebody to mend the endpoint. `None`: it is time to
    /// stop.
    async fn rest_from_refusals(&mut self) -> Option<()> {
        let now = Instant::now();
        let rest = self.rests.after(Vain::Stalled, now, now, 0);
        let why = format!("{}; all rows are refused: has it changed?", self.refusal);
        self.board.waits(self.number, why, rest, true);
        tokio::select! {
            () = tokio::time::sleep(rest) => Some(()),
            () = stopping(self.stop_seen.clone()) => None,
        }
    }

    fn settle(&self, priority: Priority, lane: &LaneBox, first: u64, settled: Result<(), String>) {
        let mut batches = lane.batches.borrow_mut();
        let destination = self.board.seat.place;
        let report = match settled {
            Ok(()) => batches.taken(first).map(|last| LaneReport::Acknowledged {
                destination,
                priority,
                first,
                last,
            }),
            Err(reason) => batches.refused(first).map(|last| LaneReport::Refused {
                destination,
                priority,
                first,
                last,
                reason,
            }),
        };
        if let Some(report) = report {
            self.board.seat.desk.tell_lane(report);
        }
    }

    /// Carries messages that are no rows until the stop.
    pub(super) async fn carry_queue(mut self, woken: &Notify) {
        loop {
            let seat = &self.board.seat;
            let bytes_max = self.pace.request_bytes();
            let batch = seat.shared().queue().take_bytes(QUEUE_BATCH_MAX, bytes_max);
            self.board.dropped(seat.shared().queue().take_dropped());
            if batch.is_empty() {
                tokio::select! {
                    biased; // What was queued before the stop is still tried.
                    () = woken.notified() => continue,
                    () = stopping(self.stop_seen.clone()) => return,
                }
            }
            if self.carry_messages(batch).await.is_none() {
                return;
            }
        }
    }

    /// Carries a batch of the queue. One that is refused goes again in halves, so that a message which the
    /// endpoint cannot use costs no other. `None`: it is time to stop.
    async fn carry_messages(&mut self, batch: Vec<Outgoing>) -> Option<()> {
        let mut pieces = VecDeque::from([batch]);
        // Refused alone, while nothing of the batch was taken: then it is not about single messages.
        let (mut refused, mut is_taken) = (0, false);
        while let Some(mut piece) = pieces.pop_front() {
            let body = body::messages(&self.board.names, &piece);
            let Some(settled) = self.deliver(None, body, true).await else {
                pieces.push_front(piece);
                let left: Vec<Outgoing> = pieces.into_iter().flatten().collect();
                let mut queue = self.board.seat.shared().queue();
                queue.put_back(left.into_iter());
                return None;
            };
            match settled {
                Ok(()) => {
                    is_taken = true;
                    self.settle_messages(&piece);
                    self.board.acknowledged(piece.len());
                }
                Err(_) if piece.len() > 1 && (is_taken || refused < REFUSED_ALONE_MAX) => {
                    let rest = piece.split_off(piece.len() / 2);
                    pieces.push_front(rest);
                    pieces.push_front(piece);
                }
                Err(reason) => {
                    refused += 1;
                    self.settle_messages(&piece);
                    self.board.refused(piece.len(), reason);
                }
            }
        }
        Some(())
    }

    fn settle_messages(&self, messages: &[Outgoing]) {
        let mut queue = self.board.seat.shared().queue();
        messages.iter().for_each(|message| queue.settled(message));
    }

    /// Sends one batch, again and again, until it is taken or refused. `None`: it is time to stop.
    /// A batch that is kept on disk is not waited for then; one that is not, as long as may be.
    async fn deliver(
        &mut self,
        key: Option<&str>,
        body: Bytes,
        to_the_end: bool,
    ) -> Option<Result<(), String>> {
        loop {
            let began = Instant::now();
            let parcel = Parcel {
                key,
                body: body.clone(),
                rate: self.pace.trusted(body.len()),
            };
            let posted = self.exchange.post(self.settings, &parcel);
            let answer = tokio::select! {
                biased;
                answer = posted => answer,
                () = stopped(self.stop_seen.clone()) => return None,
            };
            if answer.is_of_the_whole_batch() {
                self.pace.answered(body.len(), began.elapsed());
            }
            let (why, vain) = match answer {
                Answer::Taken => {
                    self.rests.taken();
                    self.board.fine(self.number);
                    return Some(Ok(()));
                }
                Answer::Refused { why, too_large } => {
                    if too_large {
                        self.pace.too_large(body.len());
                    }
                    self.rests.answered();
                    self.board.judged(self.number, &why);
                    self.refusal.clone_from(&why);
                    return Some(Err(why));
                }
                Answer::Busy(why, rest) => (why, Vain::Busy(rest)),
                Answer::Stalled(why) => (why, Vain::Stalled),
                Answer::None(why, vain) => {
                    if vain == Vain::NoAnswer {
                        self.pace.silent();
                    }
                    (why, vain)
                }
            };
            let random = RandomState::new().hash_one(());
            let rest = self.rests.after(vain, began, Instant::now(), random);
            self.board
                .waits(self.number, why, rest, vain == Vain::Stalled);
            let again = tokio::time::sleep(rest);
            let stop_seen = self.stop_seen.clone();
            if to_the_end {
                tokio::select! {
                    () = again => {}
                    () = stopped(stop_seen) => return None,
                }
            } else {
                tokio::select! {
                    () = again => {}
                    () = stopping(stop_seen) => return None,
                }
            }
        }
    }
}

/// Waits until a stop was asked for.
async fn stopping(mut stop_seen: watch::Receiver<Option<Instant>>) {
    // If nobody can ask any more, it is time to stop, too.
    let _ = stop_seen.wait_for(Option::is_some).await;
}

/// Waits until the grace of a stop is over.
async fn stopped(mut stop_seen: watch::Receiver<Option<Instant>>) {
    let by = match stop_seen.wait_for(Option::is_some).await {
        Ok(by) => *by,
        Err(_) => return,
    };
    until(by).await;
}
