//! Foundations of the agent, its crates and the firmware bridge: careful reading of files and
//! secrets, display of text from outside, numbers that name something, heartbeats of threads, and faults that tests
//! build in.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod console;
pub mod files;
pub mod heartbeat;
pub mod number;
pub mod sabotage;
pub mod secret;
pub mod text;
