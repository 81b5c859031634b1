//! The fuzz target `mill` as an ordinary test: bytes that are the same on each run.

use crate::draw::Draw;

#[allow(unreachable_pub, reason = "the fuzz targets are a crate of their own")]
#[path = "../../fuzz/src/mill.rs"]
mod mill;

const RUNS: usize = 400;

#[test]
fn no_rows_and_times_end_the_mill() {
    let mut draw = Draw::new(17);
    for run in 0..RUNS {
        let len = 40 + draw.below(1_500);
        let mut bytes: Vec<u8> = (0..len).map(|_| draw.below(256) as u8).collect();
        // Each statement has its turn with each window.
        bytes[0] = run as u8;
        bytes[1] = (run / 22) as u8;
        mill::drive(&bytes);
    }
}
