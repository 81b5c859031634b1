//! Any bytes as what a device sends, in one piece and in pieces: the same lines come out, none longer than allowed,
//! and each byte lies in a line, an end of one, or a line that was too long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bridge::demux::{Kind, LineEnd, Raw, Splitter, classify};
use tidemill_bridge::smp::Packets;

const LINE_BYTES: usize = 64;

fn lines(pieces: &mut dyn Iterator<Item = &[u8]>, end: LineEnd) -> Vec<Option<Vec<u8>>> {
    let mut splitter = Splitter::new(end, LINE_BYTES);
    let mut lines = Vec::new();
    for piece in pieces {
        let mut rest = piece;
        while let Some(raw) = splitter.next(&mut rest) {
            lines.push(match raw {
                Raw::Line(line) => Some(line.to_vec()),
                Raw::TooLong => None,
            });
        }
    }
    lines
}

fuzz_target!(|data: &[u8]| {
    let Some((first, stream)) = data.split_first() else {
        return;
    };
    let end = if first & 1 == 0 {
        LineEnd::Lf
    } else {
        LineEnd::Cr
    };
    let size = usize::from(first >> 1) + 1;
    let whole = lines(&mut std::iter::once(stream), end);
    assert_eq!(lines(&mut stream.chunks(size), end), whole);
    let mut packets = Packets::default();
    for line in whole.into_iter().flatten() {
        assert!((1..=LINE_BYTES).contains(&line.len()));
        match classify(&line, None) {
            Kind::Smp(line) => drop(packets.take(line)),
            Kind::Plain(text) => {
                assert!(!text.is_empty() && !text.contains(|c: char| c.is_control() && c != '\t'));
            }
            Kind::Sealed(same) => assert_eq!(same, line),
            Kind::Nmea(text) => assert!(text.starts_with(['$', '!'])),
            Kind::Noise => {}
        }
    }
});
