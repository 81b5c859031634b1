//! Any bytes as what an HTTP endpoint answers: only a success is taken, only a verdict about rows
//! refuses them, no reason is long and no rest is, and pieces make no difference.

#![no_main]

use std::mem::discriminant;

use libfuzzer_sys::fuzz_target;
use tidemill::destination::http::{Answer, judge};
use tidemill_fuzz::Choices;

/// More than any answer of the target has: it comes at once.
const WHOLE: usize = 1 << 20;

/// Longer answers are given up, which their length should not decide here.
const BODY_BYTES: usize = 1 << 12;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let piece = usize::from(choices.byte()) + 1;
    let answer = match choices.byte() % 4 {
        0 => choices.rest().to_vec(),
        _ => composed(&mut choices),
    };
    let judged = judge(answer.clone(), WHOLE);
    let has = |status: &str| answer.windows(2).any(|bytes| bytes == status.as_bytes());
    match &judged {
        Answer::Taken => assert!(has(" 2")),
        Answer::Refused { why, .. } => assert!(has(" 4") && why.len() < 1_000),
        Answer::Busy(why, rest) => {
            assert!((has(" 4") || has(" 5")) && why.len() < 1_000);
            assert!(rest.is_none_or(|rest| rest.as_secs() <= 300));
        }
        Answer::Stalled(why) | Answer::None(why, _) => {
            assert!(!why.is_empty() && why.len() < 1_000);
        }
    }
    let in_pieces = judge(answer, piece);
    assert_eq!(
        discriminant(&judged),
        discriminant(&in_pieces),
        "{judged:?} {in_pieces:?}"
    );
});

/// An answer of known parts, in any order, and anything else.
fn composed(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut answer = Vec::new();
    while !choices.is_empty() && answer.len() < BODY_BYTES {
        match choices.one_of(&PARTS) {
            "" => answer.extend(choices.bytes()),
            part => answer.extend_from_slice(part.as_bytes()),
        }
    }
    answer
}

/// Pieces that answers are made of; nothing stands for any bytes.
const PARTS: [&str; 32] = [
    "",
    "HTTP/1.1 ",
    "HTTP/1.0 ",
    "200",
    "204 No Content",
    "299 ",
    "304",
    "400",
    "413 Content Too Large",
    "429",
    "503",
    "101 Switching Protocols",
    "100 Continue",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "content-length: ",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "connection: close\r\n",
    "connection: upgrade\r\nupgrade: h2c\r\n",
    "retry-after: ",
    "date: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
    "Wed, 21 Oct 9999 07:28:00 GMT\r\n",
    "5\r\nhello\r\n",
    "5",
    "18446744073709551616",
    "-1",
    "0\r\n\r\n",
    "<!doctype html>",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
    "HTTP/1.1 413 \r\ntransfer-encoding: chunked\r\n\r\n",
];
