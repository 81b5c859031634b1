//! Times, limits, inputs and outputs of the bridge's end of acknowledged lines.

use super::commands::{CommandFailure, CommandToken, Reply};
use crate::queue::{LINE_COST, Ticket};
use std::sync::Arc;
use tidemill_lines::{Boot, CommandId, LineNumber};

/// Limits of one port.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes held for the broker, [`LINE_COST`](Self::LINE_COST) a line included.
    pub room_bytes: usize,
    /// Lines held beyond a gap.
    pub beyond_max: usize,
    /// Publishes under way at once. The agent tells 256 numbers of a producer apart.
    pub in_flight_max: usize,
    /// Bits a second on the wire.
    pub baud: u32,
}

impl Limits {
    /// Bytes counted for a held line beside its text, so that short lines do not take memory for nothing.
    pub const LINE_COST: usize = LINE_COST;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            room_bytes: 1 << 20,
            beyond_max: 1_024,
            in_flight_max: 64,
            baud: 115_200,
        }
    }
}

/// One thing that happens to the port.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Only time has passed.
    Time,
    /// A line in the form of layer 1 has come, without its ends.
    Line(&'a [u8]),
    /// The broker has answered a publish.
    Acknowledged {
        /// The publish.
        ticket: Ticket,
        /// The reason code of PUBACK.
        reason: u8,
    },
    /// The connection to the broker was made or lost.
    Broker(bool),
    /// So many bytes may be held for the broker from now on.
    Room(usize),
    /// Somebody asks the device to do something.
    Command {
        /// By which its answer is known.
        token: CommandToken,
        /// Its number on the wire: the same again when the broker delivers it again.
        command: CommandId,
        /// The command's words.
        text: &'a [u8],
    },
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes to the port.
    Write(Vec<u8>),
    /// Publish an event at QoS 1 under the id `BRIDGE/PORT/BOOT:number`.
    Publish {
        /// By which its PUBACK is known.
        ticket: Ticket,
        /// The device's boot.
        boot: Boot,
        /// The line's number.
        number: LineNumber,
        /// The text, to be decoded.
        text: Arc<[u8]>,
    },
    /// A command has come to its end.
    Answered {
        /// The command.
        token: CommandToken,
        /// Its number on the wire.
        command: CommandId,
        /// The device's words, or the reason why there are none.
        reply: Result<Reply, CommandFailure>,
        /// Milliseconds since the command came.
        took_ms: u64,
    },
}

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No good hello has come: nothing is written.
    Quiet,
    /// Lines are taken.
    Linked,
    /// Nothing good has come for 30 seconds.
    Silent,
}

/// Properties that a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// Version of its firmware.
    pub fw: Option<String>,
    /// Its kind of board.
    pub hw: Option<String>,
    /// The longest line that it can take.
    pub max: Option<u32>,
}

impl DeviceInfo {
    /// The longest line of a device that says nothing of it.
    pub const MAX_DEFAULT: u32 = 128;
}

/// Counts of one port. Each line taken counts in one of the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Lines that could be read.
    pub good: u64,
    /// Lines whose checksum does not fit, or fits another boot.
    pub damaged: u64,
    /// Lines whose checksum fits, but which say nothing known.
    pub malformed: u64,
    /// Our own lines, come back.
    pub echoes: u64,
    /// Numbers that were held already.
    pub repeated: u64,
    /// Lines not taken for want of room; they come again.
    pub no_room: u64,
    /// Lines beyond a gap that a reset of the device left open.
    pub cut_off: u64,
    /// Lines that devices gave up, by their own words.
    pub lost: u64,
    /// Publishes that the broker refused; they are repeated.
    pub refused: u64,
    /// Publishes for which there was no subscriber.
    pub unheard: u64,
    /// Answers to no command that is under way.
    pub unasked: u64,
    /// Boots that a device has begun.
    pub boots: u64,
    /// Hellos of a known boot under another name.
    pub renamed: u64,
}
