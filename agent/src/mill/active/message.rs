//! Messages that a rule reads in a way of its own: each row of one is an event.

use std::sync::Arc;

use tidemill_values::Value;

use crate::event::ledger::Fate;
use crate::event::payload::{Content, Format, PayloadError};
use crate::function::frame::Frame;
use crate::mill::route::{Reading, Stop};

use super::fault::Fault;
use super::{Active, Step};

/// A row's number stands above that of the rule in the number of a call.
const ROW_SHIFT: u32 = 16;

impl Active {
    /// Works on each row of the message in the frame, and returns the most frequent fate of its
    /// rows. The message stays in the frame, for other rules.
    pub(in crate::mill) fn each_row(
        &mut self,
        stop: &Stop,
        reading: &Reading,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Fate {
        let given = frame.event.clone();
        let mut message = given.clone();
        if reading.payload.format == Format::Sparkplug && !message.payload.is_empty() {
            match self.complete(&message, frame, step) {
                Ok(payload) => message.payload = payload,
                Err(reason) => {
                    self.bury(Fault::Other(reason), frame, step);
                    self.ledger.enter(Fate::Dead);
                    return Fate::Dead;
                }
            }
            frame.set_event(message.clone());
        }
        let shared = std::mem::take(&mut frame.decoded);
        let (event_ms, flags, call) = (frame.event_ms, frame.flags, frame.call);
        frame.payload = Some(Arc::clone(&reading.payload));
        let fate = match frame.read_as(&reading.payload, &message.payload) {
            // Nothing of it can wait as a row.
            Err(error) => {
                self.bury(Fault::Other(error.to_string()), frame, step);
                self.ledger.enter(Fate::Dead);
                Fate::Dead
            }
            Ok(Content::None) => {
                self.ledger.enter(Fate::Filtered);
                Fate::Filtered
            }
            Ok(Content::One(value)) => self.row(stop, reading, value, frame, step),
            Ok(Content::Many(split)) => {
                let mut most = Fate::Filtered;
                for (number, (row, value)) in (0..).zip(split.messages()) {
                    let value = value.cloned();
                    let value = value.map_or_else(|| reading.payload.value(&row), Ok);
                    let mut event = message.clone();
                    event.payload = row;
                    frame.set_event(event);
                    (frame.event_ms, frame.flags) = (event_ms, flags);
                    frame.call = call | number << ROW_SHIFT;
                    let fate = self.row(stop, reading, value, frame, step);
                    if most == Fate::Filtered {
                        most = fate;
                    }
                }
                most
            }
        };
        frame.set_event(given);
        (frame.payload, frame.value) = (None, None);
        frame.decoded = shared;
        fate
    }

    fn row(
        &mut self,
        stop: &Stop,
        reading: &Reading,
        value: Result<Value, PayloadError>,
        frame: &mut Box<Frame>,
        step: &mut Step<'_>,
    ) -> Fate {
        let decoded = reading.look_at(value, frame);
        let fate = self.event(stop, decoded.as_ref().copied(), frame, step);
        // A row does not come again: others of its message were worked on.
        fate.unwrap_or(Fate::Dead)
    }
}
