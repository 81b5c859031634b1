//! The seeded simulator of acknowledged lines: both ends over a line that flips, drops, bursts, delays, paces
//! and is cut, with kills of the bridge, resets of the device, outages and refusals of the broker. Events reach
//! the receiver at most once and in order, what is missing was declared lost, and all is drained within a
//! minute after the faults stop. `cargo xtask simulate-lines` runs any number of seeds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that panics has failed, which is what it is for, and a trace is printed"
)]

mod broker;
mod ends;
mod header;
mod page;
mod scenario;
mod weak;
mod wire;
mod world;

use ends::Buffers;
use std::collections::BTreeMap;
use tidemill_tests::setting;
use weak::Weak;
use world::{Ended, Violation, World};

type Met = BTreeMap<&'static str, u64>;

/// Runs one seed with the crate as the device's end.
fn run(seed: u64, weak: Option<Weak>, trace: bool) -> Result<Met, Violation> {
    let mut world = World::new(seed, weak, trace);
    if trace {
        println!("{:#?}", world.scenario);
    }
    let mut buffers = Buffers::new(world.scenario.ring_bytes);
    let (baud, window) = (world.scenario.baud, world.scenario.window);
    loop {
        let mut device = buffers.device(world.device_clock(), baud, window);
        if let Ended::Over = world.live(&mut device)? {
            return Ok(world.met.into_iter().collect());
        }
    }
}

#[test]
fn both_ends_keep_their_promise() {
    let from = setting("TIDEMILL_SIM_FROM", 0);
    let seeds = setting("TIDEMILL_SIM_SEEDS", 2_000);
    let trace = setting("TIDEMILL_SIM_TRACE", 0) > 0;
    let mut met = Met::new();
    for seed in from..from + seeds {
        match run(seed, None, trace) {
            Ok(of_seed) => {
                for (what, count) in of_seed {
                    *met.entry(what).or_default() += count;
                }
            }
            Err(Violation(why)) => panic!("seed {seed}: violated: {why}"),
        }
    }
    println!("{seeds} seeds done: {met:?}");
}

#[test]
fn each_weak_variant_is_caught() {
    for weak in Weak::ALL {
        let caught = (0..1_000).find_map(|seed| Some((seed, run(seed, Some(weak), false).err()?)));
        let (seed, Violation(why)) = caught.unwrap_or_else(|| panic!("{weak:?} is not caught"));
        println!("{weak:?} is caught by seed {seed}: {why}");
    }
}
