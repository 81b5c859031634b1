//! What a firmware gives to the device's end, and gets from it.

use crate::frame::Frame;
use crate::message::{CommandId, Name};

/// Milliseconds of the device's clock, which may wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis(pub u32);

impl Millis {
    pub(super) fn after(self, milliseconds: u32) -> Self {
        Self(self.0.wrapping_add(milliseconds))
    }

    /// Milliseconds until `self`, 0 if that is past.
    pub(super) fn left(self, now: Self) -> u32 {
        let left = self.0.wrapping_sub(now.0);
        if left > u32::MAX / 2 { 0 } else { left }
    }
}

/// Properties that a firmware chooses.
#[derive(Debug, Clone, Copy)]
pub struct Config<'m> {
    /// The device's name.
    pub name: Name<'m>,
    /// Pairs that stand in the hello at the start, such as `fw=1.4.2 hw=th-board-2`. No LF.
    pub info: &'m str,
    /// Bits a second on the wire.
    pub baud: u32,
    /// Lines under way at once: 8, on fast lines 32, on RS-485 1.
    pub window: u8,
}

/// Memory to work in.
#[derive(Debug)]
pub struct Memory<'m> {
    /// Holds lines until they are safe; each takes two bytes more than its text.
    pub ring: &'m mut [u8],
    /// Takes one line of the bridge; its length goes into the hello as `max`.
    pub line: &'m mut [u8],
    /// Keeps the answer to the last command for the case that it is asked for again.
    pub answer: &'m mut [u8],
}

/// One thing that happens to the device.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// A byte has come.
    Byte(u8),
    /// The UART can take a line.
    Room,
    /// The application says a line.
    Line(&'a [u8]),
    /// The application has carried a command out, or not.
    Answer {
        /// The command's number.
        command: CommandId,
        /// `true` if it was carried out.
        ok: bool,
        /// Further words; what is longer than the memory for it is cut off.
        text: &'a [u8],
    },
}

/// One thing that the device's end asks for.
#[derive(Debug)]
pub enum Output<'d> {
    /// Nothing.
    Nothing,
    /// Write this line. Only [`Input::Room`] gives one.
    Send(Frame<'d>),
    /// Nothing to write for so many milliseconds, unless something else happens before.
    Wait(u32),
    /// Carry this command out and give its answer. It comes once, however often the line is repeated.
    Command {
        /// The command's number.
        command: CommandId,
        /// The command's words.
        text: &'d [u8],
    },
}
