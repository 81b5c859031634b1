//! Statements by the grammar: the first byte is the options, the rest is what the statement is made
//! from. `TIDEMILL_SHOW=1` prints each statement.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_sql_fuzz::{Writer, check, options};

fuzz_target!(|data: &[u8]| {
    let Some((bits, rest)) = data.split_first() else {
        return;
    };
    let sql = Writer::statement(rest);
    if std::env::var_os("TIDEMILL_SHOW").is_some() {
        eprintln!("{sql}");
    }
    check(&sql, &options(*bits, &sql));
});
