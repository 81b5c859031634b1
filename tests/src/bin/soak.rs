//! `soak --for 1h [--seed N]`: the real agent between two real brokers, through links that fail, on a
//! disk that fills and under a clock that is set, for as long as is asked. In the end each event must
//! have counted once, and the books must balance. `cargo xtask soak` builds and runs it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what panics here has found a fault, and says so"
)]

#[path = "soak/fault.rs"]
mod fault;
#[path = "soak/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tidemill_tests::Random;

use fault::Fault;
use world::World;

/// Time in which the links are whole between two faults, in milliseconds.
const PEACE_MS: std::ops::Range<u64> = 200..4_000;

/// Length of a fault, in milliseconds.
const FAULT_MS: std::ops::Range<u64> = 100..12_000;

/// An event that is sent when a fault has ended should be through within this time.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// Options of the command line.
#[derive(Debug, PartialEq)]
struct Asked {
    length: Duration,
    seed: u64,
}

/// Counts of rounds and faults, and the slow ones.
#[derive(Default)]
struct Tally {
    rounds: u64,
    faults: BTreeMap<&'static str, u64>,
    slow: Vec<String>,
    /// Number of starts that failed on a full disk.
    unstarted: u64,
    longest: Duration,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked = match asked(&words) {
        Ok(asked) => asked,
        Err(why) => {
            say(format_args!("soak: {why}"));
            return ExitCode::from(2);
        }
    };
    let Asked { length, seed } = asked;
    say(format_args!("soak for {length:?}, seed {seed}"));
    // A panic is a finding; its message was printed where it happened.
    let clean = catch_unwind(AssertUnwindSafe(|| soak(length, seed)));
    match clean {
        Ok(true) => {
            say(format_args!("it balances: nothing lost, nothing twice"));
            ExitCode::SUCCESS
        }
        Ok(false) | Err(_) => {
            say(format_args!(
                "FAILED; again with --seed {seed}, though times differ"
            ));
            ExitCode::FAILURE
        }
    }
}

/// Runs it; whether nothing was found.
fn soak(length: Duration, seed: u64) -> bool {
    let mut world = World::new();
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(random.within(PEACE_MS)));
        let mut faults = vec![Fault::draw(&mut random, &world)];
        if random.one_in(3) {
            let second = Fault::draw(&mut random, &world);
            faults.extend(Some(second).filter(|fault| !fault.excludes(faults[0])));
        }
        round(&mut world, &mut random, &faults, &mut tally);
    }
    let sent = world.finish();
    say(format_args!(
        "{sent} events, {} rounds, slowest return {:.1} s:",
        tally.rounds,
        tally.longest.as_secs_f64()
    ));
    for (name, count) in &tally.faults {
        say(format_args!("  {count:>5} {name}"));
    }
    if tally.unstarted > 0 {
        let count = tally.unstarted;
        say(format_args!(
            "  {count} starts on a full disk ended for want of room"
        ));
    }
    for line in &tally.slow {
        say(format_args!("  SLOW: {line}"));
    }
    tally.slow.is_empty()
}

/// Faults that overlap, their end, and how long it takes until an event passes.
fn round(world: &mut World, random: &mut Random, faults: &[Fault], tally: &mut Tally) {
    let lasts = Duration::from_millis(random.within(FAULT_MS));
    tally.rounds += 1;
    for fault in faults {
        *tally.faults.entry(fault.name()).or_default() += 1;
        fault.begin(world, random);
    }
    std::thread::sleep(lasts);
    faults.iter().for_each(|fault| fault.end(world));
    if faults.contains(&Fault::FullDisk) && world.revive() {
        tally.unstarted += 1;
        say(format_args!(
            "on the full disk it did not start; started again"
        ));
    }
    let healed = Instant::now();
    world.until_one_passes();
    let took = healed.elapsed();
    tally.longest = tally.longest.max(took);
    let names: Vec<_> = faults.iter().map(Fault::name).collect();
    let line = format!(
        "round {}: {} for {:.1} s; a new event is through {:.1} s later, {} behind",
        tally.rounds,
        names.join(" and "),
        lasts.as_secs_f64(),
        took.as_secs_f64(),
        world.behind()
    );
    if took > BACK_WITHIN {
        tally.slow.push(line.clone());
    }
    say(format_args!("{line}"));
}

fn asked(words: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        length: Duration::from_secs(600),
        seed: 1,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--for" => asked.length = duration(value)?,
            "--seed" => {
                let number = value.parse();
                asked.seed = number.map_err(|_| format!("--seed {value}: no number"))?;
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(asked)
}

/// A number with `s`, `m` or `h` behind it.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("--for {text}: write it as 90s, 10m or 1h");
    let seconds = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number * seconds))
}

/// Prints a line.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_seed_are_read_and_mistakes_are_named() {
        let read = |line: &str| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            asked(&words)
        };
        let expected = Asked {
            length: Duration::from_secs(5_400),
            seed: 7,
        };
        assert_eq!(read("--for 90m --seed 7"), Ok(expected));
        for wrong in ["--for 1d", "--for h", "--for", "--seed x", "--fast 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
