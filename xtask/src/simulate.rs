//! `cargo xtask simulate`: the seeded simulator of mill, broker, disk and receiver, over as many seeds
//! as asked for. The simulator is a test of the agent; this names the seeds, and says how to see one
//! that failed again.

use crate::args::Args;
use crate::shell::{Workspace, line, say};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The text of `cargo xtask simulate --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask simulate [OPTIONS]

  --seeds N          how many seeds (default 1,000)
  --from S           the first of them (default 0)
  --sabotage NAME    build a fault in on purpose, such as AckBeforeSync: a seed that notices it is wanted

A failing seed is seen again with `cargo xtask simulate --seeds 1 --from SEED`.
";

/// Runs the simulator.
pub(crate) fn simulate(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &[], &["seeds", "from", "sabotage"])?;
    args.no_words()?;
    let seeds: u64 = args.number("seeds")?.unwrap_or(1_000);
    let from: u64 = args.number("from")?.unwrap_or(0);
    if seeds == 0 {
        bail!("--seeds is at least 1");
    }
    let sabotage = args.text("sabotage");
    let mut command = simulator(workspace, seeds, from, sabotage);
    say(format!("seeds {from} to {}", from + (seeds - 1)));
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", line(&command)))?;
    let output = child.stdout.take().context("its output is piped")?;
    let mut failing = None;
    let mut ran = false;
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(std::io::stdout(), "{line}")?;
        failing = failing.or_else(|| seed_of(&line));
        ran |= line.starts_with("running ") && !line.starts_with("running 0 ");
    }
    let status = child.wait()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        let sabotage = sabotage.map_or(String::new(), |name| format!(" --sabotage {name}"));
        let seed = failing.map_or("SEED".to_owned(), |seed| seed.to_string());
        bail!(
            "failed after {seconds:.0} s; again: cargo xtask simulate --seeds 1 --from {seed}{sabotage}"
        );
    }
    if !ran {
        bail!("there is no simulator among the agent's tests");
    }
    say(format!(
        "{seeds} seeds in {seconds:.0} s, {:.0} a second with building",
        seeds as f64 / seconds
    ));
    Ok(())
}

/// The command a person could type, but for the variables.
fn simulator(workspace: &Workspace, seeds: u64, from: u64, sabotage: Option<&str>) -> Command {
    let test = [
        "test",
        "--profile",
        "hostile",
        "--package",
        "tidemill",
        "--features",
        "sabotage",
        "--test",
        "simulator",
        "--",
        "--nocapture",
    ];
    let mut command = workspace.cargo(&test);
    command
        .env("TIDEMILL_SIM_SEEDS", seeds.to_string())
        .env("TIDEMILL_SIM_FROM", from.to_string());
    match sabotage {
        Some(name) => command.env("TIDEMILL_SIM_SABOTAGE", name),
        None => command.env_remove("TIDEMILL_SIM_SABOTAGE"),
    };
    command
}

/// The seed that a line of a failure names: `seed 17: …`, `seed=17`.
fn seed_of(line: &str) -> Option<u64> {
    let lower = line.to_lowercase();
    if !["fail", "violat", "panick", "lost"]
        .iter()
        .any(|word| lower.contains(word))
    {
        return None;
    }
    let (_, rest) = lower.split_once("seed")?;
    let rest = rest.trim_start_matches([' ', '=', ':', '"']);
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_failure_is_read() {
        for (line, seed) in [
            ("seed 17: violated: rows 3 to 4 are lost", Some(17)),
            ("FAILED seed=9", Some(9)),
            ("1,000 seeds done, up to seed 999", None),
            ("test simulator::seeds ... ok", None),
        ] {
            assert_eq!(seed_of(line), seed, "{line}");
        }
    }
}
