//! Settings of a serial line.

use super::Check;
use super::file::PortTable;
use super::words::{number, one_of};

/// Fastest line: what the best adapters do.
const BAUD_MAX: u32 = 12_000_000;

/// Bits of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataBits {
    /// Seven.
    Seven,
    /// Eight.
    Eight,
}

/// The bit that is added to a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// There is none.
    #[default]
    None,
    /// It makes the number of ones even.
    Even,
    /// It makes the number of ones odd.
    Odd,
}

/// Bits at the end of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// Flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// There is none.
    #[default]
    None,
    /// By two wires.
    RtsCts,
}

/// Direction of a shared pair of wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rs485 {
    /// The line is no RS-485.
    #[default]
    Off,
    /// The kernel's driver switches.
    Kernel,
    /// The adapter switches by itself.
    Adapter,
}

/// Settings of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits a second.
    pub baud: u32,
    /// Bits of a character.
    pub bits: DataBits,
    /// Parity.
    pub parity: Parity,
    /// Stop bits.
    pub stop_bits: StopBits,
    /// Flow control.
    pub flow: Flow,
    /// RS-485.
    pub rs485: Rs485,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            baud: 115_200,
            bits: DataBits::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            flow: Flow::None,
            rs485: Rs485::Off,
        }
    }
}

/// Reads the settings of a port's line.
pub(super) fn line(table: &PortTable, check: &mut Check<'_>) -> LineSettings {
    let default = LineSettings::default().baud;
    LineSettings {
        baud: number(table.baud.as_ref(), "baud", default, 50..=BAUD_MAX, check),
        bits: match number(table.bits.as_ref(), "bits", 8, 7..=8, check) {
            7 => DataBits::Seven,
            _ => DataBits::Eight,
        },
        stop_bits: match number(table.stop_bits.as_ref(), "stop_bits", 1, 1..=2, check) {
            2 => StopBits::Two,
            _ => StopBits::One,
        },
        parity: one_of(table.parity.as_ref(), "parity", &PARITIES, check),
        flow: one_of(table.flow.as_ref(), "flow", &FLOWS, check),
        rs485: one_of(table.rs485.as_ref(), "rs485", &RS485, check),
    }
}

const PARITIES: [(&str, Parity); 3] = [
    ("none", Parity::None),
    ("even", Parity::Even),
    ("odd", Parity::Odd),
];
const FLOWS: [(&str, Flow); 2] = [("none", Flow::None), ("rtscts", Flow::RtsCts)];
const RS485: [(&str, Rs485); 3] = [
    ("off", Rs485::Off),
    ("kernel", Rs485::Kernel),
    ("adapter", Rs485::Adapter),
];
