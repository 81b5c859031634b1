//! Every limit of the agent by name, with its reason and what happens at it. The contract's own
//! limits are in `tidemill-abi`; a gateway may raise them, a rule may only lower them.

use tidemill_abi::limit;

/// A rule's or a gateway's ceilings for one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionLimits {
    /// Size of a module; a larger one is refused at install.
    pub module_bytes: usize,
    /// Linear memory in pages of 64 KiB; a module that asks for more is refused.
    pub memory_pages: u32,
    /// Elements of a module's table; a module that asks for more is refused.
    pub table_elements: u32,
    /// Fuel for one call; beyond it the call is trapped and the event is a dead letter.
    pub fuel: u64,
    /// Fuel of one rule per second; one that uses it up is behind: its events wait.
    pub fuel_per_second: u64,
    /// Fuel for `_initialize` or `init`; beyond it the module is refused.
    pub fuel_start: u64,
    /// Messages that one event may emit; `emit` answers -5 beyond.
    pub emissions: usize,
    /// Bytes that one event may emit, what is passed on not counted; `emit` answers -5 beyond.
    pub emission_bytes: usize,
    /// Memory that the values of one call may take; a call that would hold more is a fault.
    pub value_bytes: usize,
    /// State of one rule over all its keys; `st_put` answers -5 beyond, a new key displaces the oldest.
    pub state_bytes: usize,
    /// Keys that one rule remembers; beyond it the one not seen for longest goes, counted.
    pub keys: usize,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            module_bytes: 256 * 1024,
            memory_pages: 16,
            table_elements: 1_000,
            fuel: 1_000_000,
            fuel_per_second: 200_000_000,
            fuel_start: 10_000_000,
            emissions: 16,
            emission_bytes: 64 * 1024,
            value_bytes: limit::VALUE_BYTES_MAX,
            state_bytes: 1024 * 1024,
            keys: 10_000,
        }
    }
}

/// Quarantine of a rule after too many faults, in milliseconds. Meanwhile its events become dead
/// letters, its windows and timers wait. Long enough that a broken rule costs nothing, short enough
/// that one which met a few poisoned events comes back by itself.
pub const QUARANTINE_MS: u64 = 300_000;

/// Dead letters that one quarantine makes of events; those that come after are counted as dropped.
pub const QUARANTINE_DEAD_LETTERS: u32 = 100;

/// Bytes that all rules together may ask for because of one event, so that none fills memory and disk;
/// beyond it the event is a dead letter of each further rule.
pub const EFFECT_BYTES_MAX: usize = 4 << 20;

/// Longest key of an event, in bytes, whether its topic or its payload tells it; a longer one is a dead
/// letter.
pub const KEY_BYTES_MAX: usize = 256;

/// Rules of one gateway. Each costs a few KB; the start is refused beyond.
pub const RULES_MAX: usize = 10_000;

/// Acknowledgements after which the broker is asked for an answer, so that packet identifiers, of
/// which there are 65,535, are never reused unconfirmed.
pub const CONFIRM_EVERY: u64 = 16_384;
