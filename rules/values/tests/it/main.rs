//! Tests of values and functions from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod docs;
mod functions;
mod hostile;
