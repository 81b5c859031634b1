//! Acknowledged lines: each `println` of a microcontroller arrives exactly once behind the bridge. This crate
//! is the device's end, [`Device`], and the parser and checksum that both ends share. It allocates nothing,
//! knows no UART and no clock, and works in memory that the caller gives. Bytes, timers and answers are
//! described in `docs/lines.md`; `include/tidemill_lines.h` is the same end in C.

#![no_std]
#![forbid(unsafe_code)]

mod crc;
mod device;
mod frame;
mod message;
mod ring;
mod text;

pub use crc::{Crc, crc32};
pub use device::{Config, Device, Input, Memory, Millis, Output};
pub use frame::Frame;
pub use message::{Boot, CommandId, FromDevice, Hello, LineNumber, Name, ToDevice, seal, unseal};
