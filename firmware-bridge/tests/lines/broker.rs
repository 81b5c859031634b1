//! A model broker with the agent behind it: publishes arrive in order or not at all, some are refused, and the
//! agent tells 256 numbers of a producer apart.

use std::collections::{HashMap, HashSet};
use tidemill_lines::Boot;

/// Numbers of a producer that the agent tells apart.
const AGENT_WINDOW: u32 = 256;

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    producers: HashMap<Boot, Producer>,
    /// Serials of the events that counted.
    pub(crate) counted: HashSet<u64>,
    refused: HashSet<(Boot, u32)>,
}

#[derive(Debug, Default)]
struct Producer {
    highest: u32,
    seen: HashSet<u32>,
    /// The highest number that was never refused.
    in_order: u32,
}

impl Receiver {
    /// Notes that the broker did not take an event: it may come after later ones.
    pub(crate) fn refused(&mut self, boot: Boot, number: u32) {
        self.refused.insert((boot, number));
    }

    /// Takes an event as the agent does; says what is wrong with it.
    pub(crate) fn take(&mut self, boot: Boot, number: u32, text: &[u8]) -> Result<(), String> {
        let producer = self.producers.entry(boot).or_default();
        let is_old = number + AGENT_WINDOW <= producer.highest;
        if is_old || !producer.seen.insert(number) {
            return Ok(());
        }
        producer.highest = producer.highest.max(number);
        if !self.refused.contains(&(boot, number)) {
            if number < producer.in_order {
                let after = producer.in_order;
                return Err(format!("line {number} came after {after}"));
            }
            producer.in_order = number;
        }
        let text = std::str::from_utf8(text).map_err(|_| "an event is no text".to_owned())?;
        let serial = text.split(' ').next().and_then(|word| word.parse().ok());
        let serial: u64 = serial.ok_or_else(|| format!("nobody said {text:?}"))?;
        if !self.counted.insert(serial) {
            return Err(format!("event {serial} counted twice, as line {number}"));
        }
        Ok(())
    }
}
