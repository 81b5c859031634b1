//! Lines of the bridge: what they say of lines sent before, and commands.

use super::{Device, HELLO_MS, Millis, Output, SEAL_BYTES, Task};
use crate::message::{ToDevice, unseal};

impl Device<'_> {
    pub(super) fn take_line(&mut self, now: Millis, len: usize) -> Output<'_> {
        let line = self.line.get(..len).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line_len = line.len();
        let Some(message) = unseal(line, self.boot).and_then(ToDevice::read) else {
            return Output::Nothing;
        };
        match (message, self.boot) {
            (ToDevice::New(boot), None) => {
                self.boot = Some(boot);
                (self.hello, self.said_hello) = (true, false);
                self.hello_at = now.after(HELLO_MS);
                (self.got, self.sent) = (self.ring.base(), self.ring.base());
            }
            (
                ToDevice::Ok {
                    boot,
                    next,
                    safe,
                    time,
                    who,
                },
                Some(mine),
            ) if boot == mine => {
                if let Some(time) = time {
                    self.time = Some((time, now));
                }
                // A full hello is a hello of its own: the one that was answered had not said all.
                self.full |= who;
                self.hello |= who;
                if let Some(safe) = safe {
                    self.forget(now, safe.0);
                }
                self.go_back(now, next.0);
            }
            (ToDevice::Held(number), Some(_)) => self.held_to(now, number.0),
            (ToDevice::Safe(number), Some(_)) => self.forget(now, number.0),
            (ToDevice::Missing(number), Some(_)) => self.send_again(now, number.0),
            (ToDevice::Command { command, text }, Some(_)) => {
                let len = text.len();
                if self.task == Task::None || self.command != command {
                    self.command = command;
                    self.task = Task::Running;
                    self.answer_due = false;
                    let end = line_len - SEAL_BYTES;
                    let text = self.line.get(end - len..end).unwrap_or_default();
                    return Output::Command { command, text };
                }
                self.answer_due = self.task == Task::Answered;
            }
            _ => {}
        }
        Output::Nothing
    }

    /// `next` of an `@ok`: the bridge may want lines again that it held before it was restarted.
    fn go_back(&mut self, now: Millis, next: u32) {
        let to = next.saturating_sub(1);
        if to > self.ring.top() {
            return;
        }
        self.hello |= to < self.ring.base();
        let to = to.max(self.ring.base());
        if to < self.got {
            self.sent = to;
        }
        self.held_to(now, to);
    }

    fn held_to(&mut self, now: Millis, number: u32) {
        if number > self.ring.top() {
            return;
        }
        let before = core::mem::replace(&mut self.got, number.max(self.ring.base()));
        self.sent = self.sent.max(self.got);
        if self.got > before {
            self.rto = self.rto_base();
            self.rto_at = None;
        }
        if self.sent == self.got {
            self.rto_at = None;
        } else if self.rto_at.is_none() {
            self.rto_at = Some(now.after(self.rto));
        }
    }

    fn forget(&mut self, now: Millis, number: u32) {
        if number > self.ring.top() {
            return;
        }
        while self.ring.count() > 0 && self.ring.base() < number {
            self.ring.pop();
        }
        let got = self.got.max(self.ring.base());
        self.held_to(now, got);
        self.settle(now);
    }

    fn send_again(&mut self, now: Millis, number: u32) {
        if number == 0 || number > self.ring.top() {
            return;
        }
        if number <= self.ring.base() {
            self.hello = true;
            return;
        }
        self.held_to(now, self.got.max(number - 1));
        self.repeat(number);
    }

    /// Notes a line to send once more, if it was sent before.
    pub(super) fn repeat(&mut self, number: u32) {
        if (1..=self.sent).contains(&number) {
            self.again.add(number);
        }
    }
}
