//! Lines of the device: each becomes an event, log, a step of layer 1, or a count.

use super::plain::Event;
use super::{Port, layer1};
use crate::config::PlainIs;
use crate::decode::Decode;
use crate::demux::{Kind, Raw, classify};
use crate::message::{Direction, Output, Publish, Qos};
use crate::smp;
use crate::time::Now;
use crate::topics::{Below, Pattern};
use std::sync::Arc;

impl Port {
    /// Takes at most so many lines of what has come.
    pub(super) fn take_lines(&mut self, now: Now, lines_max: usize) {
        if self.deframer.is_some() {
            return self.take_frames(now, lines_max);
        }
        if self.backlog.is_empty() {
            return;
        }
        let backlog = std::mem::take(&mut self.backlog);
        let backlog = Vec::from(backlog);
        let mut rest = &*backlog;
        for _ in 0..lines_max {
            // The splitter is lent out, because its line stays in it.
            let empty = crate::demux::Splitter::new(self.config.end, 0);
            let mut splitter = std::mem::replace(&mut self.splitter, empty);
            let raw = splitter.next(&mut rest);
            let is_end = raw.is_none();
            match raw {
                Some(Raw::Line(line)) => self.take_line(now, line),
                Some(Raw::TooLong) => self.counts.too_long += 1,
                None => {}
            }
            self.splitter = splitter;
            if is_end {
                break;
            }
        }
        let used = backlog.len() - rest.len();
        self.backlog = backlog.into();
        self.backlog.drain(..used);
    }

    fn take_line(&mut self, now: Now, line: &[u8]) {
        match classify(line, self.layer1.boot()) {
            Kind::Smp(line) => {
                self.counts.smp_lines += 1;
                match self.smp.take(line) {
                    smp::Taken::Begun => {}
                    smp::Taken::Packet => self.counts.smp_packets += 1,
                    smp::Taken::Damaged => self.counts.smp_damaged += 1,
                }
                self.show(Direction::In, "smp", line);
            }
            Kind::Sealed(line) => {
                self.show(Direction::In, "lines", line);
                self.layer1(now, layer1::Input::Line(line));
            }
            Kind::Nmea(text) => self.telemetry(text, "nmea"),
            Kind::Plain(text) if self.is_log(&text) => self.publish_log(now, &text),
            Kind::Plain(text) => self.telemetry(&text, "plain"),
            Kind::Noise => {
                self.counts.noise += 1;
                self.show(Direction::In, "noise", line);
            }
        }
    }

    fn is_log(&self, text: &str) -> bool {
        let matches = |log: &regex_lite::Regex| log.is_match(text);
        self.config.log.as_ref().is_some_and(matches)
            || match self.config.plain {
                PlainIs::Auto => self.layer1.boot().is_some(),
                PlainIs::Telemetry => false,
                PlainIs::Log => true,
            }
    }

    fn publish_log(&mut self, now: Now, text: &str) {
        self.show(Direction::In, "log", text.as_bytes());
        if !self.broker || !self.log.lets_through(now.mono) {
            self.counts.log_dropped += 1;
            return;
        }
        self.counts.log += 1;
        self.out.push(Output::Publish(Publish {
            id: None,
            topic: self.topic(Below::Log),
            payload: text.as_bytes().to_vec(),
            qos: Qos::AtMostOnce,
            retain: false,
            eid: None,
            correlation: None,
        }));
    }

    fn telemetry(&mut self, text: &str, kind: &'static str) {
        let Some(event) = self.event(text.as_bytes()) else {
            self.counts.undecoded += 1;
            return self.show(Direction::In, "undecoded", text.as_bytes());
        };
        self.show(Direction::In, kind, text.as_bytes());
        self.counts.plain += 1;
        let held_elsewhere = self.layer1.held_bytes();
        self.counts.dropped += self.plain.push(event, held_elsewhere);
    }

    /// Makes an event of a text; `None` where it is not of the form that the port has.
    pub(super) fn event(&mut self, text: &[u8]) -> Option<Event> {
        let payload = match std::str::from_utf8(text) {
            Ok(text) => self.config.decode.payload(text)?.into_owned(),
            Err(_) if matches!(self.config.decode, Decode::Auto | Decode::Text) => text.to_vec(),
            Err(_) => return None,
        };
        Some(self.addressed(payload))
    }

    /// Makes an event of a payload, whose topic may lie in its fields.
    pub(super) fn addressed(&mut self, payload: Vec<u8>) -> Event {
        let config = Arc::clone(&self.config);
        self.at_topic(&config.topic, payload)
    }

    /// Makes an event of a payload, by a pattern of its own.
    pub(super) fn at_topic(&mut self, pattern: &Pattern, payload: Vec<u8>) -> Event {
        let device = &self.layer1.device().name;
        let topic = pattern.topic(device, &payload);
        self.counts.default_topic += u64::from(topic.is_none());
        let topic = topic.unwrap_or_else(|| self.topic(Below::Data));
        Event { topic, payload }
    }
}
