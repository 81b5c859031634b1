//! One direction of a connection: bytes read from one socket wait for their time and are written to
//! the other.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// At most so much waits; beyond it the sender is not read, as by a slow receiver.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// A slow link carries so many bytes at once, and then rests.
const SLOW_BYTES: usize = 1_400;

/// Delay and speed of a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub(super) delay: Duration,
    pub(super) bytes_per_second: Option<u64>,
}

/// Bytes under way in one direction.
#[derive(Default)]
pub(super) struct Way {
    /// When the last of them are through.
    busy_until: Option<Instant>,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// The sender has said all.
    ended: bool,
    /// The receiver was told so.
    told: bool,
}

impl Way {
    pub(super) fn wants_to_read(&self) -> bool {
        !self.ended && self.bytes < WAITING_BYTES_MAX
    }

    /// Returns `true` if bytes are due, or the end has to be told.
    pub(super) fn wants_to_write(&self, now: Instant) -> bool {
        match self.waiting.front() {
            Some((due, _)) => *due <= now,
            None => self.ended && !self.told,
        }
    }

    /// When the next bytes are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }

    pub(super) fn is_over(&self) -> bool {
        self.told
    }

    /// Reads once. `false`: the socket failed.
    pub(super) fn read(&mut self, from: &mut TcpStream, pace: Pace) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        match from.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                chunk.truncate(count);
                self.bytes += count;
                let now = Instant::now();
                let Some(rate) = pace.bytes_per_second else {
                    self.waiting.push_back((now + pace.delay, chunk));
                    return true;
                };
                for piece in chunk.chunks(SLOW_BYTES) {
                    let begins = self.busy_until.map_or(now, |until| until.max(now));
                    let takes = Duration::from_secs_f64(piece.len() as f64 / rate as f64);
                    self.busy_until = Some(begins + takes);
                    let due = begins + takes + pace.delay;
                    self.waiting.push_back((due, piece.to_vec()));
                }
            }
            Err(error) => return is_for_later(error.kind()),
        }
        true
    }

    /// Writes what is due, at most `most` bytes; how many went out. `None`: the socket failed.
    pub(super) fn write(&mut self, to: &mut TcpStream, now: Instant, most: u64) -> Option<u64> {
        let mut written = 0;
        while let Some((due, chunk)) = self.waiting.front_mut() {
            if *due > now || written == most {
                return Some(written);
            }
            let length = chunk.len().min((most - written) as usize);
            match to.write(&chunk[..length]) {
                Ok(count) => {
                    chunk.drain(..count);
                    self.bytes -= count;
                    written += count as u64;
                    if chunk.is_empty() {
                        self.waiting.pop_front();
                    }
                }
                Err(error) if is_for_later(error.kind()) => return Some(written),
                Err(_) => return None,
            }
        }
        if self.ended && !self.told {
            self.told = true;
            let _ = to.shutdown(Shutdown::Write);
        }
        Some(written)
    }
}

fn is_for_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
