//! Settings of a bus, and the time that its polls take on the wire.

use super::plan::{Span, plan};
use super::unit::Unit;

/// Bytes of a request.
const REQUEST_BYTES: usize = 8;

/// A bus's settings.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Time for an answer to begin.
    pub timeout_ms: u64,
    /// Silence before each request.
    pub gap_ms: u64,
    /// Time for which a unit that has not answered is left alone.
    pub late_ms: u64,
    /// Time of a character on the wire.
    pub character_us: u32,
    /// The units.
    pub units: Vec<Unit>,
}

impl Bus {
    /// Milliseconds of each second that all polls take on the line at least: requests, answers and the silence around
    /// them.
    pub fn busy_ms(&self) -> u64 {
        let of_unit = |unit: &Unit| {
            let spans = plan(&unit.fields);
            let one = |span: &Span| self.wire_ms(span.area.bytes(span.count) + 5) + 2 * self.gap_ms;
            spans.iter().map(one).sum::<u64>() * 1_000 / unit.every_ms.max(1)
        };
        self.units.iter().map(of_unit).sum()
    }

    /// Milliseconds that a request and its answer take on the wire at most.
    pub(super) fn wire_ms(&self, answer_bytes: usize) -> u64 {
        let characters = u64::try_from(REQUEST_BYTES + answer_bytes).unwrap_or(u64::MAX);
        characters
            .saturating_mul(self.character_us.into())
            .div_ceil(1_000)
    }
}
