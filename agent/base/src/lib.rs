//! Ground that the agent, its crates and the firmware bridge stand on: files and secrets read with care,
//! text from outside as people are shown it, heartbeats of threads, and faults that tests build in.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod console;
pub mod files;
pub mod heartbeat;
pub mod sabotage;
pub mod secret;
pub mod text;
