//! Tests of the agent from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod demo;
mod floors;
mod mqtt_adapters;
mod topic_cases;
