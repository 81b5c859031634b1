//! A rule in SQL and events of all types and times, through the compiler, the mill and the host: the mill
//! goes on, whatever they are, comes to rest, and its ledger balances.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_fuzz::mill::drive;

fuzz_target!(|data: &[u8]| drive(data));
