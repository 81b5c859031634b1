//! Any bytes as a line on the control socket: a question, which can be asked again in its own words, or
//! an error that says something.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill::agent::control::Question;

fuzz_target!(|data: &[u8]| {
    match Question::parse(data) {
        Ok(question) => {
            let line = serde_json::to_vec(&question).expect("a question is JSON");
            assert_eq!(Question::parse(&line).as_ref(), Ok(&question));
        }
        Err(why) => assert!(!why.is_empty() && why.len() < 1_000),
    }
});
