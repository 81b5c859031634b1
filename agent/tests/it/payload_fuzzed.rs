//! The fuzz target `payload` as an ordinary test: bytes that are the same on each run.

use crate::draw::Draw;

#[allow(unreachable_pub, reason = "the fuzz targets are a crate of their own")]
#[path = "../../fuzz/src/payload.rs"]
mod payload;

const RUNS: usize = 4_000;

#[test]
fn no_payload_is_more_than_its_bytes_or_ends_the_reader() {
    let mut draw = Draw::new(23);
    for run in 0..RUNS {
        let len = 3 + draw.below(600);
        let mut bytes: Vec<u8> = (0..len).map(|_| draw.below(256) as u8).collect();
        // Each format has its turn, written as it has to be in three cases of four.
        bytes[0] = run as u8;
        payload::read(&bytes);
    }
}
