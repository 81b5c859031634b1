//! Modbus RTU: meters and drives on a shared line, asked in turn. This is what a bus is asked and when, which answers
//! count, and what values they bear; bytes and time come from outside.

mod bus;
mod gate;
mod library;
mod plan;
mod poller;
mod turns;
mod unit;
mod value;

pub use bus::Bus;
pub use gate::{Asked, Found, Scan, Wrong, scan};
pub use plan::{Span, plan};
pub use poller::{Event, Input, Poller, Totals};
pub use unit::{Health, Tally, Unit};
pub use value::{Field, Form, Kind, Order, Scale};

use std::fmt;

/// Registers of one request at most, by the standard.
pub const REGISTERS_MAX: u16 = 125;

/// Coils and discrete inputs of one request at most, by the standard.
pub const BITS_MAX: u16 = 2_000;

/// The number of a unit on its line, 1 to 247.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u8);

impl UnitId {
    /// The numbers that a unit may have.
    pub const RANGE: std::ops::RangeInclusive<u8> = 1..=247;
}

/// The place of a register or bit, as it stands on the wire: the first one is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u16);

/// The four tables of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Bits that can be written, `0x` in manuals.
    Coil,
    /// Bits, `1x` in manuals.
    Discrete,
    /// Registers that can be written, `4x` in manuals.
    Holding,
    /// Registers, `3x` in manuals.
    Input,
}

impl Area {
    /// The function that reads it.
    pub fn function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    /// `true` if it consists of bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Items of one request at most.
    pub fn count_max(self) -> u16 {
        if self.is_bits() {
            BITS_MAX
        } else {
            REGISTERS_MAX
        }
    }

    /// Bytes of so many items in an answer.
    pub fn bytes(self, count: u16) -> usize {
        let count = usize::from(count);
        if self.is_bits() {
            count.div_ceil(8)
        } else {
            count * 2
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        })
    }
}

/// An answer's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Registers.
    Registers(Vec<u16>),
    /// Bits.
    Bits(Vec<bool>),
}

/// A refusal by a unit, with the code of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception(pub u8);

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "it does not know this function",
            2 => "it has no such address",
            3 => "it does not take so many at once",
            4 => "it has failed",
            5 => "it needs more time",
            6 => "it is busy",
            8 => "its memory is damaged",
            10 | 11 => "a gateway does not reach it",
            _ => "the standard does not know why",
        };
        write!(f, "exception {}: {name}", self.0)
    }
}
