//! Shares of time. A step does a bounded amount of work and then turns the loop, so that a stop, the
//! watchdog, acknowledgements and other rules have their turn. Fuel is the measure, because the mill has no
//! clock.

/// Fuel after which a step begins nothing more that is due, and after which it takes no further event.
/// A million units are 0.34 ms on x86-64, and a Pi Zero is 10 to 30 times slower. Both shares and a call
/// at the default `limits.fuel` behind each are 5,000,000 units: 1.7 ms here, 17 to 51 ms there.
const SHARE_FUEL: u64 = 1_500_000;

/// Fuel after which the next rule has its turn at what is due.
pub(super) const TURN_FUEL: u64 = 500_000;

/// Fuel of one event over all its rules; for those beyond it the event waits.
pub(super) const EVENT_FUEL: u64 = 16_000_000;

/// The cost in fuel of a thing that falls due, besides that of its call: state is taken out, written
/// down and put back.
pub(super) const DUE_COST: u64 = 10_000;

/// The cost in fuel of a call for an event, besides that of the function.
pub(super) const CALL_COST: u64 = 300;

/// The cost in fuel of looking at a key: if it has a part in a pane.
pub(super) const LOOK_COST: u64 = 200;

/// Work done in a step so far.
#[derive(Debug)]
pub(super) struct Meter {
    /// Fuel after which nothing more of a kind begins.
    share: u64,
    /// Fuel spent on what fell due.
    pub(super) due: u64,
    /// Fuel spent on events.
    pub(super) events: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self::with(SHARE_FUEL)
    }
}

impl Meter {
    /// A meter for steps whose shares are these.
    pub(super) fn with(share: u64) -> Self {
        Self {
            share,
            due: 0,
            events: 0,
        }
    }

    /// Begins a step.
    pub(super) fn begin(&mut self) {
        *self = Self::with(self.share);
    }

    /// Returns `true` if the step may begin more that is due.
    pub(super) fn has_due(&self) -> bool {
        self.due < self.share
    }

    /// Returns `true` if the step may take another event.
    pub(super) fn has_events(&self) -> bool {
        self.events < self.share
    }
}
