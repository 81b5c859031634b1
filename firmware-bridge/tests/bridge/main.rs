//! The bridge as its owners see it: the program, pseudo-terminals by socat, and mosquitto.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod frames;
mod lines;
mod modbus;
mod plain;
mod support;
mod trouble;
