//! Frames of the device: each becomes an event or a count.

use super::plain::Event;
use super::{Counts, Port, config};
use crate::decode::Packed;
use crate::frames::{Broken, Deframer, Frame};
use crate::message::Direction;
use crate::time::Now;

pub(super) fn deframer(config: &config::Port) -> Option<Deframer> {
    let frames = config.frames.as_ref()?;
    Some(Deframer::new(frames.framing.clone(), config.line_bytes))
}

impl Port {
    /// Takes at most so many frames of what has come.
    pub(super) fn take_frames(&mut self, now: Now, frames_max: usize) {
        let Some(mut deframer) = self.deframer.take() else {
            return;
        };
        let backlog = Vec::from(std::mem::take(&mut self.backlog));
        let mut rest = &*backlog;
        self.is_behind = true;
        for _ in 0..frames_max {
            let Some(frame) = deframer.next(now.mono, &mut rest) else {
                self.is_behind = false;
                break;
            };
            self.take_frame(frame);
        }
        let used = backlog.len() - rest.len();
        self.backlog = backlog.into();
        self.backlog.drain(..used);
        self.deframer = Some(deframer);
    }

    /// Takes all that has come from a device that is gone, and gives half a frame up.
    pub(super) fn end_frames(&mut self, now: Now) {
        if self.deframer.is_none() {
            return;
        }
        self.take_frames(now, usize::MAX);
        while let Some(frame) = self.deframer.as_mut().and_then(Deframer::cut) {
            self.take_frame(frame);
        }
    }

    fn take_frame(&mut self, frame: Frame) {
        let decode = self.config.frames.as_ref().map(|frames| frames.decode);
        let Frame { wire_bytes, packet } = frame;
        match packet {
            Ok(packet) => {
                self.counts.frame_bytes += wire_bytes;
                self.packet(&packet, decode.unwrap_or_default());
            }
            Err(why) => {
                self.counts.stray_bytes += wire_bytes;
                *broken(&mut self.counts, why) += 1;
                let said = format!("{wire_bytes} bytes");
                self.show(Direction::In, "damaged", said.as_bytes());
            }
        }
    }

    fn packet(&mut self, packet: &[u8], decode: Packed) {
        let Some(payload) = decode.payload(packet) else {
            self.counts.undecoded += 1;
            let seen = Packed::Base64.payload(packet).unwrap_or_default();
            return self.show(Direction::In, "undecoded", &seen);
        };
        self.show(Direction::In, "frame", &payload);
        self.counts.frames += 1;
        let event: Event = self.addressed(payload.into_owned());
        self.counts.dropped += self.plain.push(event, self.layer1.held_bytes());
    }
}

fn broken(counts: &mut Counts, why: Broken) -> &mut u64 {
    match why {
        Broken::Damaged => &mut counts.frames_damaged,
        Broken::TooLong => &mut counts.too_long,
    }
}
