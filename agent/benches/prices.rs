//! Time of the host for a unit of fuel, of every import and every function of SQL with bad arguments, relative to plain code of a guest on
//! the same machine. Prints the worst ten; fails if one is above [`WORST_ALLOWED`]. `cargo xtask bench prices` runs it.

#![allow(
    clippy::print_stdout,
    missing_docs,
    reason = "a program that prints what it measured"
)]

#[path = "../tests/prices/cases.rs"]
mod cases;

use std::time::{Duration, Instant};

use cases::{Bench, Case, cases};

/// Times plain code's time for a unit that a unit may take on the host.
const WORST_ALLOWED: f64 = 4.0;
/// Cases that are shown.
const SHOWN: usize = 10;
/// Cases that are measured once more, longer.
const AGAIN: usize = 150;
/// Fuel below which a case says nothing: it is refused at once.
const FUEL_LEAST: u64 = 2_000;

/// Plain code of three kinds, as compilers write it, a third of the fuel each: a hash of memory, calls of small functions, and arithmetic
/// with numbers that are kept in memory.
const PLAIN: [&str; 3] = [
    r#"(module (memory (export "memory") 1)
  (func (export "on_event") (result i32) (local $i i32) (local $h i64)
    (loop $again
      (local.set $i (i32.const 0))
      (loop $bytes
        (local.set $h (i64.mul (i64.xor (local.get $h) (i64.load8_u (local.get $i))) (i64.const 1099511628211)))
        (if (i64.eqz (i64.and (local.get $h) (i64.const 255)))
          (then (i64.store (i32.const 8192) (local.get $h))))
        (br_if $bytes (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4096))))
      (br $again))
    (i32.const 0)))"#,
    r#"(module
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "on_event") (result i32) (call $fib (i32.const 40))))"#,
    r#"(module (memory (export "memory") 1)
  (func (export "on_event") (result i32) (local $i i32)
    (loop $again
      (f64.store (local.get $i) (f64.add (f64.mul (f64.load (local.get $i)) (f64.const 0.9)) (f64.const 0.1)))
      (f64.store offset=4096 (local.get $i) (f64.div (f64.load offset=4096 (local.get $i)) (f64.add (f64.load (local.get $i)) (f64.const 1))))
      (local.set $i (i32.and (i32.add (local.get $i) (i32.const 8)) (i32.const 4088)))
      (br $again))
    (i32.const 0)))"#,
];

/// Nanoseconds of a unit of plain code.
fn plain(bench: &mut Bench) -> f64 {
    let mut units = 1.0;
    for wat in PLAIN {
        let case = Case {
            name: "plain".to_owned(),
            wat: wat.into(),
            payload: "{}".into(),
        };
        let unit = measure(bench, &case, 50).unwrap_or(1.0);
        println!("  {unit:.3} ns a unit");
        units *= unit;
    }
    // The geometric mean, so that no kind outweighs the others.
    f64::powf(units, 1.0 / PLAIN.len() as f64)
}

/// The shortest time of a unit in a few calls, in nanoseconds; `None` for what takes next to no fuel.
fn measure(bench: &mut Bench, case: &Case, calls: usize) -> Option<f64> {
    bench.load(case);
    let mut best = f64::INFINITY;
    for _ in 0..calls {
        let begin = Instant::now();
        let (_, fuel) = bench.call();
        let time = begin.elapsed();
        if fuel < FUEL_LEAST {
            return None;
        }
        best = best.min(nanoseconds(time) / fuel as f64);
    }
    Some(best)
}

#[allow(clippy::disallowed_methods, reason = "it is a total order")]
fn worst_first(measured: &mut [(f64, &Case)]) {
    measured.sort_by(|a, b| b.0.total_cmp(&a.0));
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let mut bench = Bench::new();
    let plain = plain(&mut bench);
    println!("plain code: {plain:.3} ns a unit");
    let all = cases(true);
    let chosen = |case: &&Case| only.as_ref().is_none_or(|only| case.name.contains(only));
    let mut measured: Vec<(f64, &Case)> = Vec::new();
    for case in all.iter().filter(chosen) {
        if let Some(unit) = measure(&mut bench, case, 3) {
            measured.push((unit / plain, case));
        }
    }
    worst_first(&mut measured);
    let count = measured.len();
    measured.truncate(AGAIN);
    for (ratio, case) in &mut measured {
        if let Some(unit) = measure(&mut bench, case, 25) {
            *ratio = ratio.min(unit / plain);
        }
    }
    worst_first(&mut measured);
    println!("{count} cases; the worst, in times of plain code's unit:");
    let shown = if only.is_some() { AGAIN } else { SHOWN };
    for (ratio, case) in measured.iter().take(shown) {
        bench.load(case);
        let (outcome, fuel) = bench.call();
        let outcome = outcome.map_or_else(|fault| fault.to_string(), |()| "done".to_owned());
        println!("{ratio:8.2}  {}: {fuel} units, {outcome:.60}", case.name);
    }
    if std::env::var_os("TIDEMILL_PRICES_ALL").is_some() {
        let mut seen = std::collections::BTreeMap::new();
        for (ratio, case) in &measured {
            let family = case.name.split(['(', ' ']).next().unwrap_or_default();
            seen.entry(family).or_insert((*ratio, &case.name));
        }
        for (family, (ratio, name)) in seen {
            println!("{family}: {ratio:.2} {name}");
        }
    }
    let worst = measured.first().map_or(0.0, |worst| worst.0);
    if worst > WORST_ALLOWED {
        println!("above {WORST_ALLOWED}");
        std::process::exit(1);
    }
}
