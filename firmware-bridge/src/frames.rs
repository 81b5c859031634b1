//! Frames: bytes in packets instead of lines, by COBS, SLIP, a length in front or a pause behind. They go one way: the
//! device sends, and what the wire damages is gone.

mod length;
mod stuffed;

use crate::time::Mono;

pub use length::{Length, Sum};

/// Silence after which a length that was not fulfilled never will be.
const PATIENCE_MS: u64 = 1_000;

/// Ways to tell where a packet ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// Consistent overhead byte stuffing: a zero ends a packet.
    Cobs,
    /// RFC 1055: `C0` ends a packet.
    Slip,
    /// A start, a length and a checksum.
    Length(Length),
    /// So many milliseconds of silence.
    Gap(u64),
}

/// A piece of the stream. Every byte of the stream lies in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Bytes on the wire, with all that is not content.
    pub wire_bytes: u64,
    /// The packet, or the reason why there is none.
    pub packet: Result<Vec<u8>, Broken>,
}

/// Reasons why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// They are not of the form, or their end never came.
    Damaged,
    /// They are longer than allowed.
    TooLong,
}

/// Cuts a stream of bytes into packets. Memory is bounded by twice the longest packet that is allowed.
#[derive(Debug)]
pub struct Deframer {
    framing: Framing,
    bytes_max: usize,
    /// The beginning of a packet. What stands before `done` is done with.
    held: Vec<u8>,
    done: usize,
    /// Bytes since the last piece was given.
    wire_bytes: u64,
    heard: Mono,
    /// `true` while the rest of a packet that is too long goes by.
    skips: bool,
    /// Bytes in a row that no packet of a length begins with.
    stray_bytes: u64,
    /// Bytes that were summed up for nothing since then.
    summed_bytes: usize,
}

impl Deframer {
    /// A deframer that drops packets of more than `bytes_max` on the wire.
    pub fn new(framing: Framing, bytes_max: usize) -> Self {
        Self {
            framing,
            bytes_max,
            held: Vec::new(),
            done: 0,
            wire_bytes: 0,
            heard: Mono(0),
            skips: false,
            stray_bytes: 0,
            summed_bytes: 0,
        }
    }

    /// Takes bytes off the front of `bytes` up to the end of a packet, and returns that packet; without any, looks
    /// whether silence has ended one. `None` once all bytes are used up.
    pub fn next(&mut self, now: Mono, bytes: &mut &[u8]) -> Option<Frame> {
        if self.due().is_some_and(|at| at <= now)
            && let Some(frame) = self.silence()
        {
            return Some(frame);
        }
        if !bytes.is_empty() {
            self.heard = now;
        }
        match &self.framing {
            Framing::Cobs => self.stuffed(bytes, 0, stuffed::from_cobs),
            Framing::Slip => self.stuffed(bytes, stuffed::SLIP_END, stuffed::from_slip),
            Framing::Length(_) => self.counted(bytes),
            Framing::Gap(_) => {
                self.keep(bytes);
                *bytes = &[];
                None
            }
        }
    }

    /// The time at which silence ends what has begun.
    pub fn due(&self) -> Option<Mono> {
        let has_begun = self.has_begun();
        match self.framing {
            Framing::Gap(ms) if has_begun => Some(self.heard.after(ms)),
            Framing::Length(_) if has_begun => Some(self.heard.after(PATIENCE_MS)),
            _ => None,
        }
    }

    /// Gives up what has begun, because its end can never come. Call it again until there is nothing more.
    pub fn cut(&mut self) -> Option<Frame> {
        match self.framing {
            Framing::Length(_) => self.silence(),
            _ if self.has_begun() => {
                (self.held, self.skips) = (Vec::new(), false);
                Some(self.frame(Err(Broken::Damaged)))
            }
            _ => None,
        }
    }

    /// Bytes that lie in no piece yet.
    pub fn pending_bytes(&self) -> u64 {
        self.wire_bytes
    }

    fn has_begun(&self) -> bool {
        self.skips || self.done < self.held.len() || self.stray_bytes > 0
    }

    fn frame(&mut self, packet: Result<Vec<u8>, Broken>) -> Frame {
        Frame {
            wire_bytes: std::mem::take(&mut self.wire_bytes),
            packet,
        }
    }

    fn silence(&mut self) -> Option<Frame> {
        if matches!(self.framing, Framing::Gap(_)) {
            let is_whole = !std::mem::take(&mut self.skips);
            let packet = std::mem::take(&mut self.held);
            return Some(self.frame(is_whole.then_some(packet).ok_or(Broken::TooLong)));
        }
        // Nothing that waits for more is a packet, but one may lie behind its first bytes.
        loop {
            let frame = self.counted(&mut &[][..]);
            if frame.is_some() {
                return frame;
            }
            if self.done == self.held.len() {
                break;
            }
            self.stray();
        }
        (self.held, self.done) = (Vec::new(), 0);
        self.end_stray()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.wire_bytes += bytes.len() as u64;
        if self.skips || self.held.len() + bytes.len() > self.bytes_max {
            self.skips = true;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    fn stuffed(
        &mut self,
        bytes: &mut &[u8],
        end: u8,
        read: fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Frame> {
        while let Some(at) = bytes.iter().position(|byte| *byte == end) {
            let (piece, rest) = bytes.split_at(at);
            *bytes = rest.get(1..).unwrap_or_default();
            self.keep(piece);
            self.wire_bytes += 1;
            let packet = std::mem::take(&mut self.held);
            if std::mem::take(&mut self.skips) {
                return Some(self.frame(Err(Broken::TooLong)));
            }
            // Ends stand in front as well, or several in a row.
            if !packet.is_empty() {
                return Some(self.frame(read(&packet).ok_or(Broken::Damaged)));
            }
        }
        self.keep(bytes);
        *bytes = &[];
        None
    }
}

#[cfg(test)]
mod tests;
