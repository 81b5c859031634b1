//! The same rules with other parameters, so that a reader sees how much hangs on those that were taken.

use super::score::Score;
use super::{Change, DRIFT, EWMA, Example};
use crate::shell::say;
use anyhow::Result;
use std::fmt::Write;

const HOUR_MS: f64 = 3_600_000.0;

/// Hours of the short mean and of the long one.
const RECENT: [u32; 3] = [1, 3, 6];
const LONG: [u32; 3] = [12, 24, 48];
const LIMITS: [f64; 8] = [8.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 28.0];
const ALPHAS: [f64; 6] = [0.1, 0.05, 0.02, 0.01, 0.005, 0.002];
const THRESHOLDS: [f64; 7] = [2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0];

/// Runs all of them.
pub(super) fn table(example: &Example) -> Result<String> {
    let mut text = String::new();
    let heading = Score::HEADING;

    writeln!(text, "drift.toml, its limit as the first rows ask for it")?;
    writeln!(text, "recent  of     limit      {heading}")?;
    for long in LONG {
        for recent in RECENT {
            say(format!("drift, {recent} h of {long} h"));
            let mut changes = vec![
                Change::param("recent_ms", f64::from(recent) * HOUR_MS),
                Change::words("(hh, 24, 1)", format!("(hh, {long}, 1)")),
            ];
            let limit = example.silent_limit(&DRIFT, &changes)?;
            changes.push(Change::param("limit", limit));
            let score = example.score_with(&DRIFT, &changes)?;
            let (recent, long) = (format!("{recent} h"), format!("{long} h"));
            writeln!(text, "{recent:<6}  {long:<5}  {limit:<9}  {}", score.line())?;
        }
    }

    writeln!(
        text,
        "\ndrift.toml, other limits\nlimit                    {heading}"
    )?;
    for limit in LIMITS {
        say(format!("drift, limit {limit}"));
        let score = example.score_with(&DRIFT, &[Change::param("limit", limit)])?;
        writeln!(text, "{limit:<23}  {}", score.line())?;
    }

    writeln!(
        text,
        "\newma.toml, its threshold as the first rows ask for it"
    )?;
    writeln!(text, "alpha          threshold  {heading}")?;
    for alpha in ALPHAS {
        say(format!("ewma, alpha {alpha}"));
        let mut changes = vec![Change::param("alpha", alpha)];
        let threshold = example.silent_limit(&EWMA, &changes)?;
        changes.push(Change::param("threshold", threshold));
        let score = example.score_with(&EWMA, &changes)?;
        writeln!(text, "{alpha:<13}  {threshold:<9}  {}", score.line())?;
    }

    writeln!(
        text,
        "\newma.toml, other thresholds\nalpha          threshold  {heading}"
    )?;
    for alpha in [0.05, 0.01] {
        for threshold in THRESHOLDS {
            let changes = [
                Change::param("alpha", alpha),
                Change::param("threshold", threshold),
            ];
            let score = example.score_with(&EWMA, &changes)?;
            writeln!(text, "{alpha:<13}  {threshold:<9}  {}", score.line())?;
        }
    }
    Ok(text)
}
