//! `cargo xtask simulate-lines`: both ends of acknowledged lines over a line that fails, for as many seeds
//! as asked for. The simulator is a test of the bridge.

use crate::args::{Args, Misuse};
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result};
use std::time::Instant;

/// The text of `cargo xtask simulate-lines --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask simulate-lines [OPTIONS]

  --seeds N   how many seeds (default 2,000)
  --from S    the first of them (default 0)
  --trace     print all that happens, for one seed

A failing seed is seen again with `cargo xtask simulate-lines --seeds 1 --from SEED --trace`.
";

/// Runs the simulator.
pub(crate) fn simulate_lines(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &["trace"], &["seeds", "from"])?;
    args.no_words()?;
    let seeds: u64 = args.number("seeds")?.unwrap_or(2_000);
    let from: u64 = args.number("from")?.unwrap_or(0);
    if seeds == 0 {
        return Err(Misuse("--seeds is at least 1".to_owned()).into());
    }
    let begun = Instant::now();
    let test = [
        "test",
        "--workspace",
        "--test",
        "lines",
        "both_ends",
        "--",
        "--nocapture",
    ];
    let mut command = workspace.cargo(&test);
    command
        .env("TIDEMILL_SIM_SEEDS", seeds.to_string())
        .env("TIDEMILL_SIM_FROM", from.to_string())
        .env(
            "TIDEMILL_SIM_TRACE",
            u8::from(args.flag("trace")).to_string(),
        );
    run(&mut command).context("again: cargo xtask simulate-lines --seeds 1 --from SEED --trace")?;
    say(format!("{seeds} seeds in {} s", begun.elapsed().as_secs()));
    Ok(())
}
