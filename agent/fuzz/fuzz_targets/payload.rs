//! Any payload as each format that a rule may name: reading it ends, and gives what is bounded by it, can be
//! kept, sent and split into the same rows again, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::payload::read;

fuzz_target!(|data: &[u8]| read(data));
