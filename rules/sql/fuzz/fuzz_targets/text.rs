//! Any text: the first byte is the options, the rest the statement.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_sql_fuzz::{check, options};

fuzz_target!(|data: &[u8]| {
    let Some((bits, text)) = data.split_first() else {
        return;
    };
    if let Ok(sql) = std::str::from_utf8(text) {
        check(sql, &options(*bits, sql));
    }
});
