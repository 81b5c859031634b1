//! The real agent against a real broker, and the command line as a user calls it. Each test has its
//! own broker, directory and process, so all run at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod away;
mod bad_input;
mod cabinet;
mod commands;
mod control;
mod docs;
mod durability;
mod edits;
mod endpoints;
mod fleet;
mod health;
mod held;
mod hostile;
mod hostile_state;
mod init;
mod invoke;
mod messages;
mod once;
mod outside;
mod redrive;
mod refusals;
mod reload;
mod results;
mod rule_new;
mod rule_run;
mod rule_test;
mod secrets;
mod seed;
mod service;
mod silence;
mod state;
mod statements;
mod stock;
mod support;
mod terminals;
mod times;
mod windows;
mod wrong_files;
