//! Requests on their way to the endpoint, byte by byte: the real limits of an exchange, and the real measure
//! of a link, over a model of it. A slow link is no silent one: while bytes pass, and nothing else is in
//! their way, no request is given up.

use std::time::{Duration, Instant};

use tidemill::destination::http::{Pace, Passed, Patience};
use tidemill::event::emission::{LaneReport, Row};
use tidemill::mill::Input;

use crate::adapter::priority;
use crate::receiver::content_bytes;
use crate::rules::HUB;
use crate::run::{Happening, Sim};

/// Time limit for progress, and for an answer: less than a gateway's, as all times here.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes pass in pieces, one in so many microseconds.
const PIECE_US: u64 = 250_000;

/// End of a request's head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A request that is out.
#[derive(Debug)]
pub(crate) struct Exchange {
    number: u64,
    rows: Vec<Row>,
    began_us: u64,
    passed: Passed,
    patience: Patience,
    /// Bytes that have yet to pass.
    left: u64,
}

/// Knowledge that a lane's loop has of its link.
#[derive(Debug)]
pub(crate) struct Sender {
    pace: Pace,
    exchange: Option<Exchange>,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            pace: Pace::new(TIMEOUT),
            exchange: None,
        }
    }
}

impl Sim<'_> {
    /// The time as a process measures spans of it.
    fn instant(&self) -> Instant {
        self.epoch + Duration::from_micros(self.agenda.now_us)
    }

    fn sender(&mut self, lane: usize) -> Option<&mut Sender> {
        Some(self.process.as_mut()?.adapters[HUB].sender(lane))
    }

    /// A request begins.
    pub(crate) fn request_leaves(&mut self, number: u64, lane: usize, rows: Vec<Row>) {
        let body: u64 = rows.iter().map(|row| content_bytes(row) as u64).sum();
        let (now, now_us) = (self.instant(), self.agenda.now_us);
        let Some(sender) = self.sender(lane) else {
            return;
        };
        let patience = Patience {
            progress: TIMEOUT,
            answer: TIMEOUT,
            rate: sender.pace.trusted(body as usize),
            body,
        };
        let mut passed = Passed::new(now);
        passed.sent(HEAD_END, now);
        sender.exchange = Some(Exchange {
            number,
            rows,
            began_us: now_us,
            passed,
            patience,
            left: body,
        });
        self.request_moves(number, lane);
        self.request_deadline(number, lane);
    }

    /// Bytes of a request pass, as many as the link carries.
    pub(crate) fn request_moves(&mut self, number: u64, lane: usize) {
        let (now, process) = (self.instant(), self.process.as_ref().map_or(0, |p| p.id));
        let rate = self.setup.learned.rate;
        let Some(exchange) = self.exchange(number, lane) else {
            return;
        };
        let piece = rate.map_or(u64::MAX, |rate| (rate * PIECE_US / 1_000_000).max(1));
        let bytes = exchange.left.min(piece);
        exchange.left -= bytes;
        exchange.passed.sent(&vec![0; bytes as usize], now);
        if exchange.left > 0 {
            let moves = Happening::RequestMoves(process, number, lane);
            return self.agenda.after(PIECE_US, moves);
        }
        let rows = exchange.rows.clone();
        // The last piece has yet to pass.
        let carried_us = self.carried_us(bytes as usize);
        let delay_us = self.upstream_delay() + carried_us;
        let arrives = Happening::RequestArrives(process, number, lane, rows);
        self.agenda.after(delay_us, arrives);
    }

    fn exchange(&mut self, number: u64, lane: usize) -> Option<&mut Exchange> {
        let exchange = self.sender(lane)?.exchange.as_mut();
        exchange.filter(|exchange| exchange.number == number)
    }

    /// Time to look if a request has been waited for long enough.
    pub(crate) fn request_deadline(&mut self, number: u64, lane: usize) {
        let (now, process) = (self.instant(), self.process.as_ref().map_or(0, |p| p.id));
        let Some(exchange) = self.exchange(number, lane) else {
            return;
        };
        let deadline = exchange.passed.deadline(exchange.patience);
        if deadline > now {
            let us = (deadline - now).as_micros() as u64;
            let looks = Happening::RequestDeadline(process, number, lane);
            return self.agenda.after(us.max(1), looks);
        }
        let (bytes, left) = (exchange.patience.body, exchange.left);
        self.say(format_args!(
            "request {number} is given up, {left} of {bytes} bytes left"
        ));
        if left > 0 {
            let what = format!("a request was given up, and {left} of {bytes} bytes were passing");
            return self.fail("4: a slow link is no silent one", what);
        }
        if let Some(sender) = self.sender(lane) {
            sender.pace.silent();
        }
        self.request_answered(number, lane, None);
    }

    /// An exchange has ended, with an answer to all of it or without one.
    pub(crate) fn exchange_ended(&mut self, number: u64, lane: usize, is_answered: bool) {
        let now_us = self.agenda.now_us;
        if self.exchange(number, lane).is_none() {
            return;
        }
        let Some(sender) = self.sender(lane) else {
            return;
        };
        let ended = sender.exchange.take();
        if let Some(exchange) = ended.filter(|_| is_answered) {
            let took = Duration::from_micros(now_us - exchange.began_us);
            sender.pace.answered(exchange.patience.body as usize, took);
        }
        if let Some(bytes) = sender.pace.take_news() {
            self.say(format_args!(
                "requests of lane {lane} have {bytes} bytes from now on"
            ));
            self.turn_mill(Input::Lane(LaneReport::RequestBytes {
                destination: HUB,
                priority: priority(lane),
                bytes,
            }));
        }
    }
}
