//! The firmware bridge brings microcontrollers on serial lines to MQTT: plain lines, acknowledged lines and
//! frames become events with an identity of their own, commands and time go down. It is a process of its own
//! and meets the agent over MQTT only. [`bridge`], [`port`] and all below them are functions of bytes and time;
//! [`run`] has the tasks around them. docs/bridge.md is for those who run it.

#![forbid(unsafe_code)]

pub mod bridge;
pub mod cli;
pub mod config;
pub mod decode;
pub mod demux;
pub mod devices;
pub mod frames;
pub mod layer1;
pub mod message;
pub mod modbus;
pub mod port;
mod queue;
pub mod run;
pub mod serial;
pub mod smp;
mod time;
pub mod topics;

pub use time::{Mono, Now};
