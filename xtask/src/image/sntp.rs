//! A time server for one guest: it answers each question with the host's clock, as SNTP asks for.

use anyhow::{Context, Result};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1900, where the protocol's time begins, to 1970.
const TO_UNIX_S: u64 = 2_208_988_800;

/// The port that guests ask at.
const PORT: u16 = 123;

/// A server that runs as long as the process.
#[derive(Debug)]
pub(super) struct TimeServer {
    answered: Arc<AtomicU64>,
}

impl TimeServer {
    /// Starts it on this machine alone.
    pub(super) fn start() -> Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", PORT)).with_context(|| {
            format!("no time server for the guest: port {PORT} cannot be had (as root?)")
        })?;
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let question = question.get(..length).unwrap_or_default();
                if let Some(answer) = answer(question, SystemTime::now())
                    && socket.send_to(&answer, from).is_ok()
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { answered })
    }

    /// Number of questions so far.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// The answer to a question of a client; `None` where it is none.
fn answer(question: &[u8], now: SystemTime) -> Option<[u8; 48]> {
    let first = *question.first()?;
    // The mode of a client is 3.
    if question.len() < 48 || first & 7 != 3 {
        return None;
    }
    let now = stamp(now);
    let mut answer = [0; 48];
    // No warning, the client's version, mode of a server; stratum 1; precision of a millisecond.
    let head = [(first & 0x38) | 4, 1, *question.get(2)?, 0xf6];
    let parts: [(usize, &[u8]); 6] = [
        (0, &head),
        (12, b"LOCL"),
        (16, &now),
        (24, question.get(40..48)?),
        (32, &now),
        (40, &now),
    ];
    for (at, bytes) in parts {
        answer.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    }
    Some(answer)
}

/// A moment as the protocol writes it: seconds and a fraction, 32 bits each.
fn stamp(at: SystemTime) -> [u8; 8] {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs() + TO_UNIX_S;
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((seconds << 32) | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_with_its_own_stamp_and_the_time() {
        let mut question = [0; 48];
        question[0] = 0x23;
        question[40..48].copy_from_slice(b"question");
        let at = UNIX_EPOCH + Duration::from_millis(1_500);
        let answer = answer(&question, at).unwrap();
        assert_eq!(answer[0], 0x24, "version 4, a server");
        assert_eq!(&answer[24..32], b"question");
        let expected = [&(TO_UNIX_S as u32 + 1).to_be_bytes()[..], &[0x80, 0, 0, 0]].concat();
        assert_eq!(answer[40..48], expected[..]);
        assert!(super::answer(&question[..40], at).is_none());
        question[0] = 0x24;
        assert!(super::answer(&question, at).is_none(), "another server");
    }
}
