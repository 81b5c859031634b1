//! Lines of the device: what is said next, and when.

use super::{Device, FRAME_BYTES, HELLO_MS, IDLE_MS, Millis, Output, RTO_MS, RTO_MS_MAX};
use crate::frame::Frame;

impl Device<'_> {
    pub(super) fn room(&mut self, now: Millis) -> Output<'_> {
        let due = |at: Millis| at.left(now) == 0;
        if self.boot.is_none() {
            if !due(self.hello_at) {
                return Output::Wait(self.hello_at.left(now));
            }
            self.full = true;
            return self.say_hello(now);
        }
        if self.rto_at.is_some_and(due) {
            self.hello = true;
            self.repeat(self.got + 1);
            self.rto = (2 * self.rto).min(RTO_MS_MAX.max(self.rto_base()));
            self.rto_at = Some(now.after(self.rto));
        }
        self.hello |= due(self.idle_at) || due(self.hello_at);
        let may_send = self.sent < self.ring.top()
            && self.sent - self.got < u32::from(self.config.window.max(1));
        // A flood that evicts lines all the time asks for a hello each time: every second line is one then.
        if self.hello && !(self.said_hello && may_send) {
            return self.say_hello(now);
        }
        if self.answer_due {
            self.answer_due = false;
            self.on_wire(now);
            return Output::Send(self.answer_frame());
        }
        let held = self.ring.base() + 1..=self.ring.top();
        if let Some(number) = self.again.next(held) {
            self.on_wire(now);
            return Output::Send(self.line_frame(number));
        }
        if may_send {
            self.sent += 1;
            if self.rto_at.is_none() {
                self.rto_at = Some(now.after(self.rto));
            }
            self.on_wire(now);
            return Output::Send(self.line_frame(self.sent));
        }
        let timers = [Some(self.idle_at), Some(self.hello_at), self.rto_at];
        let left = timers.into_iter().flatten().map(|at| at.left(now));
        Output::Wait(left.min().unwrap_or(IDLE_MS))
    }

    /// Notes that something other than a hello goes out.
    fn on_wire(&mut self, now: Millis) {
        self.idle_at = now.after(IDLE_MS);
        self.said_hello = false;
    }

    fn say_hello(&mut self, now: Millis) -> Output<'_> {
        let wait = match self.boot {
            Some(_) => HELLO_MS,
            None => {
                self.asked = self.asked.saturating_add(1);
                1_000 * u32::from(self.asked.min(5))
            }
        };
        self.hello_at = now.after(wait);
        self.idle_at = now.after(IDLE_MS);
        self.hello = false;
        self.said_hello = true;
        let full = core::mem::take(&mut self.full);
        let boot = self.boot.as_ref().map_or(&b"-"[..], |boot| boot.digits());
        let mut frame = Frame::new(b'@')
            .bytes(self.config.name.as_bytes())
            .bytes(b" boot=")
            .bytes(boot)
            .bytes(b" first=")
            .number(self.ring.base() + 1)
            .bytes(b" lost=")
            .number(self.lost);
        if self.boot.is_some() && self.sent > self.got {
            // A window that was lost whole leaves no gap that the bridge could see.
            frame = frame.bytes(b" sent=").number(self.sent);
        }
        if full {
            if !self.config.info.is_empty() {
                frame = frame.bytes(b" ").body([self.config.info.as_bytes(), &[]]);
            }
            frame = frame.max(self.line.len() as u32);
        }
        Output::Send(frame.seal(None))
    }

    fn line_frame(&mut self, number: u32) -> Frame<'_> {
        let frame = Frame::new(b'#').number(number).bytes(b" ");
        let body = self.ring.get(number);
        frame.body(body).seal(self.boot.as_ref())
    }

    fn answer_frame(&self) -> Frame<'_> {
        let verdict: &[u8] = if self.answer_ok { b" ok" } else { b" err" };
        let text = self.answer.get(..self.answer_len).unwrap_or_default();
        let mut frame = Frame::new(b'<').number(self.command.0).bytes(verdict);
        if !text.is_empty() {
            frame = frame.bytes(b" ");
        }
        frame.body([text, &[]]).seal(self.boot.as_ref())
    }

    /// 300 ms, and twice the time that a window of the longest lines takes on the wire.
    pub(super) fn rto_base(&self) -> u32 {
        let window = u32::from(self.config.window.max(1));
        let bytes = window * (u32::from(self.longest) + FRAME_BYTES);
        // Ten bits a byte, twice, in milliseconds: 255 lines of 64 KiB fit, and 64-bit division costs flash.
        RTO_MS + (bytes * 200 / (self.config.baud / 100).max(1)).min(60_000)
    }
}
