//! Hellos: boots given, known and unknown ones, and the answer `@ok`.

use super::run::Run;
use super::types::DeviceInfo;
use super::{Acks, Layer1, OLD_RUNS_MAX, line_of};
use crate::time::Now;
use std::fmt::Write;
use tidemill_lines::{Boot, Hello, LineNumber};

/// Times that a device is asked for its properties; one that has none would say hello for ever.
const WHO_MAX: u8 = 3;

/// Longest `fw` and `hw` that is kept.
const PROPERTY_BYTES_MAX: usize = 64;

impl<B: FnMut() -> Boot> Layer1<B> {
    pub(super) fn hello(&mut self, now: Now, hello: Hello<'_>) {
        self.note_device(&hello);
        let Some(boot) = hello.boot else {
            // It counts when the device says it. Until then, lines of the old boot are still taken.
            let boot = (self.fresh_boot)();
            let content = format!("@new boot={}", boot.as_str());
            self.out.push(line_of(None, content.into_bytes()));
            return;
        };
        let is_new = self.boot() != Some(boot);
        if is_new {
            self.begin(boot, hello.first);
        }
        if let Some(run) = &mut self.run {
            run.lost = run.lost.max(hello.lost);
            run.advance(hello.first, &mut self.queue);
            if !is_new {
                run.note_sent(hello.sent); // Else `next` makes the device go back.
            }
        }
        self.say_ok(now);
    }

    /// Goes over to another boot, or back to one that was interrupted.
    fn begin(&mut self, boot: Boot, first: LineNumber) {
        if let Some(ended) = self.run.take() {
            self.counts.cut_off += ended.beyond_lines() as u64;
            self.old.push_back(ended.ended());
        }
        let known = self.old.iter().position(|old| old.boot == boot);
        let run = match known.and_then(|index| self.old.remove(index)) {
            Some(old) => Run::resumed(old),
            None => {
                self.counts.boots += 1;
                Run::new(boot, first)
            }
        };
        while self.old.len() > OLD_RUNS_MAX {
            let gone = self.old.pop_front();
            self.counts.lost += gone.map_or(0, |old| u64::from(old.lost));
        }
        self.run = Some(run);
        self.acks = Acks::default();
    }

    fn say_ok(&mut self, now: Now) {
        let Some(run) = &self.run else { return };
        let mut content = format!("@ok boot={} next={}", run.boot.as_str(), run.next().0);
        let mut pair = |key: &str, value: u64| {
            let _ = write!(content, " {key}={value}");
        };
        if run.safe.0 > 0 {
            pair("safe", u64::from(run.safe.0));
        }
        if let Some(time) = now.wall_ms {
            pair("time", time);
        }
        if self.device.max.is_none() && self.who_asked < WHO_MAX {
            self.who_asked += 1;
            pair("who", 1);
        }
        self.out.push(line_of(None, content.into_bytes()));
        self.acks = Acks::default(); // All of it has just been said.
    }

    fn note_device(&mut self, hello: &Hello<'_>) {
        let name = hello.name.as_str();
        if self.device.name != name {
            let is_other = hello.boot.is_some() && hello.boot == self.boot();
            self.counts.renamed += u64::from(is_other);
            self.device = DeviceInfo {
                name: name.to_owned(),
                ..DeviceInfo::default()
            };
            self.who_asked = 0;
        }
        let text = |key: &str| {
            let value = std::str::from_utf8(hello.value(key)?).ok()?;
            let is_fit = value.len() <= PROPERTY_BYTES_MAX && !value.chars().any(char::is_control);
            is_fit.then(|| value.to_owned())
        };
        if hello.boot.is_none() {
            // A reset may have brought another firmware.
            (self.device.fw, self.device.hw, self.device.max) = (None, None, None);
            self.who_asked = 0;
        }
        self.device.fw = text("fw").or(self.device.fw.take());
        self.device.hw = text("hw").or(self.device.hw.take());
        let max = text("max").and_then(|max| max.parse().ok());
        self.device.max = max.or(self.device.max);
    }
}
