//! No import, no function and no statement takes more memory than it was granted, or does more than it has paid for: counted in bytes, so that
//! it is the same on every machine. `cargo xtask bench prices` measures time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests may panic, and say what they found"
)]

mod cases;
mod heap;
mod statements;

use heap::{Counting, measured};

#[global_allocator]
static HEAP: Counting = Counting;

/// Bytes by which nothing may raise the memory of the process.
const MOST: usize = 24 << 20;
/// Bytes that a unit of fuel may take: those that it copies, and what is made anew while a list grows.
const BYTES_OF_UNIT: u64 = 48;
/// Bytes that a call may take beside.
const BYTES_OF_CALL: u64 = 1 << 20;

#[test]
fn no_import_and_no_function_takes_more_than_it_pays_for() {
    let mut bench = cases::Bench::new();
    let (mut most, mut least_paid) = ((0, String::new()), (0.0, String::new()));
    // An unoptimised build looks at one in some; `cargo xtask test` runs all, as the release runs them.
    let stride = if cfg!(debug_assertions) { 17 } else { 1 };
    let cases = cases::cases(!cfg!(debug_assertions));
    let mut wrong = Vec::new();
    for case in cases.iter().step_by(stride) {
        bench.load(case);
        let ((_, fuel), heap) = measured(|| bench.call());
        if heap.most > most.0 {
            most = (heap.most, case.name.clone());
        }
        let share = heap.taken.saturating_sub(BYTES_OF_CALL) as f64 / fuel.max(1) as f64;
        if share > least_paid.0 {
            least_paid = (share, case.name.clone());
        }
        if heap.most > MOST || heap.taken > BYTES_OF_CALL + fuel * BYTES_OF_UNIT {
            wrong.push(format!("{}: {heap:?} for {fuel} units", case.name));
        }
    }
    println!("most at a time: {most:?}; most for a unit: {least_paid:?}");
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
