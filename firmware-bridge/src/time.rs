//! Moments, as state machines are given them: nothing below the program's main loop reads a clock.

/// Milliseconds of a clock that only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The time so many milliseconds later.
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds since `earlier`.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// By the clock that timers go by.
    pub mono: Mono,
    /// Milliseconds since 1970, only while the gateway's clock is synchronised.
    pub wall_ms: Option<u64>,
}
