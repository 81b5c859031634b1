//! The exchange over a pipe, with an endpoint that answers with any bytes. The fuzz target `http` and the
//! tests below ask it; an agent never does.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::HttpSettings;
use super::answer::Answer;
use super::exchange::{Exchange, Parcel};
use crate::config::HttpEndpoint;
use crate::destination::Identity;

const BODY: &[u8] = b"{}";

/// A pipe does not dawdle.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Judges `answer` as an endpoint's answer to a batch, in pieces of at most `piece` bytes, before
/// it hangs up.
///
/// # Panics
/// When the system allows no event loop.
pub fn judge(answer: Vec<u8>, piece: usize) -> Answer {
    let endpoint = HttpEndpoint {
        host: "h".to_owned(),
        port: 80,
        path: "/".to_owned(),
        tls: None,
        login: None,
        timeout: TIMEOUT,
        answer_timeout: TIMEOUT,
    };
    let settings = HttpSettings::new("judged", &endpoint, Identity::default());
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build();
    let runtime = runtime.expect("a timer alone asks nothing of the system");
    let (ours, theirs) = tokio::io::duplex(piece.max(1));
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        tokio::task::spawn_local(answer_with(answer, theirs));
        let parcel = Parcel {
            key: Some("k"),
            body: Bytes::from_static(BODY),
            rate: 1 << 20,
        };
        let mut exchange = Exchange::new(false);
        exchange.post_over(ours, &settings, &parcel).await
    })
}

/// Waits for the whole request.
async fn answer_with(answer: Vec<u8>, mut stream: DuplexStream) {
    let mut asked = Vec::new();
    while !asked.ends_with(BODY) {
        match stream.read_buf(&mut asked).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    // Whoever asked may have hung up.
    let _ = stream.write_all(&answer).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parts of answers, whole and torn, and anything else.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            "HTTP/1.1 ",
            "HTTP/1.0 ",
            "200",
            "202 ",
            "204",
            "413 x",
            "422",
            "503",
            "101",
            "100",
            "999",
            " OK",
            "\r\n",
            "\r\n\r\n",
            "\n\n",
            "content-length: 5\r\n",
            "content-length: -1\r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n",
            "ffffffffffffffff\r\n",
            "0\r\n\r\n",
            "retry-after: 99999999999999999999\r\n",
            "retry-after: -1\r\n",
            "date: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            "<html>",
            "hello",
            ": ",
            "\0",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ]);
        prop_oneof![
            8 => known.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        #[test]
        fn whatever_comes_back_is_an_answer_or_none(
            parts in prop::collection::vec(part(), 0..12),
            piece in 1..1_000_usize,
        ) {
            let bytes = parts.concat();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let has = |status: char| {
                let first = format!(" {status}");
                text.contains("HTTP/1.") && text.contains(&first)
            };
            match judge(bytes, piece) {
                Answer::Taken => prop_assert!(has('2')),
                Answer::Refused { why, .. } => prop_assert!(has('4') && why.len() < 1_000),
                Answer::Busy(why, rest) => {
                    prop_assert!(has('4') || has('5'));
                    prop_assert!(why.len() < 1_000 && rest.is_none_or(|r| r.as_secs() <= 300));
                }
                Answer::Stalled(why) | Answer::None(why, _) => prop_assert!(why.len() < 1_000),
            }
        }
    }
}
