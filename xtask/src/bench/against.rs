//! Two binaries of the agent against each other: on a busy machine figures of one run say little, but
//! those of two that ran one after the other can be divided. Pairs are added until the median of the
//! ratios is known well enough.

use super::agent::Setting;
use super::report::{Figures, median};
use crate::shell::{Workspace, capture, run, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pairs of runs.
const PAIRS_MIN: usize = 15;
const PAIRS_MAX: usize = 60;

/// So wide may the interval be in which the median lies.
const WIDTH_MAX: f64 = 0.04;

/// Probability that the median lies outside its interval.
const DOUBT: f64 = 0.05;

/// The figure that is compared: CPU seconds for a million events.
const FIGURE: &str = "cpu_s_per_m";

/// A median, and the interval in which it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    median: f64,
    low: f64,
    high: f64,
}

/// The binary that `other` names: a file, or a revision of this repository, which is built.
pub(super) fn binary(workspace: &Workspace, other: &str) -> Result<PathBuf> {
    if Path::new(other).is_file() {
        return Ok(fs::canonicalize(other)?);
    }
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C").arg(&workspace.root).args(words);
        git
    };
    let revision = capture(&mut git(&[
        "rev-parse",
        "--verify",
        &format!("{other}^{{commit}}"),
    ]))
    .with_context(|| format!("--against {other}: neither a file nor a revision"))?;
    let revision = revision.trim();
    let folder = workspace.target.join("against");
    let built = folder.join(revision);
    if built.is_file() {
        return Ok(built);
    }
    let tree = folder.join(format!("tree-{revision}"));
    fs::create_dir_all(&folder)?;
    if !tree.is_dir() {
        let path = tree.display().to_string();
        run(&mut git(&["worktree", "add", "--detach", &path, revision]))?;
    }
    let target = folder.join("target");
    let build = run(workspace
        .cargo(&["build", "--release", "--package", "tidemill"])
        .arg("--manifest-path")
        .arg(tree.join("Cargo.toml"))
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", &target));
    let path = tree.display().to_string();
    run(&mut git(&["worktree", "remove", "--force", &path]))?;
    build?;
    fs::copy(target.join("release/tidemill"), &built)?;
    Ok(built)
}

/// Runs both in turn, each first in every other pair.
pub(super) fn compare(
    name: &str,
    this: &Setting,
    other: &Setting,
    once: impl Fn(&Setting) -> Result<Figures>,
) -> Result<Figures> {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut lost = [0.0_f64; 2];
    loop {
        let pair = ratios.len() + 1;
        let order = match pair % 2 {
            1 => [(0, this), (1, other)],
            _ => [(1, other), (0, this)],
        };
        let mut spent = [f64::NAN; 2];
        for (at, setting) in order {
            let run = once(setting).with_context(|| format!("{name}, pair {pair}"))?;
            let of = |wanted| run.iter().find(|figure| figure.0 == wanted).map(|f| f.1);
            let Some(cpu) = of(FIGURE).filter(|cpu| *cpu > 0.0) else {
                bail!("{name} has no CPU time to compare");
            };
            if let (Some(spent), Some(worst)) = (spent.get_mut(at), lost.get_mut(at)) {
                *spent = cpu;
                *worst = worst.max(of("lost").unwrap_or(0.0));
            }
        }
        let [our, their] = spent;
        ours.push(our);
        theirs.push(their);
        ratios.push(our / their);
        let estimate = estimate(&ratios);
        if let Some(Estimate { median, low, high }) = estimate {
            say(format!(
                "{name}: pair {pair}: {median:.3} ({low:.3} to {high:.3})"
            ));
        }
        if let Some(estimate) = estimate
            && is_enough(pair, estimate)
        {
            return Ok(vec![
                ("cpu_ratio", estimate.median),
                ("low", estimate.low),
                ("high", estimate.high),
                ("pairs", pair as f64),
                (FIGURE, median(&ours)),
                ("other_cpu", median(&theirs)),
                ("lost", lost[0]),
                ("other_lost", lost[1]),
            ]);
        }
    }
}

fn is_enough(pairs: usize, estimate: Estimate) -> bool {
    let width = estimate.high - estimate.low;
    pairs >= PAIRS_MIN && width <= WIDTH_MAX || pairs >= PAIRS_MAX
}

/// The median, and the values between which it lies but for [`DOUBT`], whatever their distribution:
/// how many of them lie below the true one is a matter of tossing coins. `None` for too few values.
fn estimate(values: &[f64]) -> Option<Estimate> {
    let mut sorted = values.to_vec();
    #[allow(clippy::disallowed_methods, reason = "it is a total order")]
    sorted.sort_by(f64::total_cmp);
    let outside = outside(sorted.len())?;
    let last = sorted.len() - 1;
    Some(Estimate {
        median: median(&sorted),
        low: *sorted.get(outside)?,
        high: *sorted.get(last - outside)?,
    })
}

/// Number of sorted values that may be left out at each end.
fn outside(count: usize) -> Option<usize> {
    let coins = i32::try_from(count).ok()?;
    let mut chance = 0.5_f64.powi(coins);
    let (mut below, mut outside) = (chance, None);
    for left_out in 0..count / 2 {
        if 2.0 * below > DOUBT {
            break;
        }
        outside = Some(left_out);
        chance *= (count - left_out) as f64 / (left_out + 1) as f64;
        below += chance;
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables_for_medians() {
        let table = [
            (5, None),
            (6, Some(0)),
            (9, Some(1)),
            (15, Some(3)),
            (20, Some(5)),
            (60, Some(21)),
        ];
        for (count, expected) in table {
            assert_eq!(outside(count), expected, "{count} values");
        }
    }

    #[test]
    fn an_estimate_holds_the_middle_and_forgets_what_is_far_out() {
        let mut values: Vec<f64> = (0..15).map(|n| 0.9 + f64::from(n) * 0.01).collect();
        values.reverse();
        values[0] = 100.0;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let Estimate { median, low, high } = estimate(&values).unwrap();
        assert!(close(median, 0.97) && close(low, 0.93) && close(high, 1.01));
        assert_eq!(estimate(&values[..5]), None);
    }

    #[test]
    fn the_true_median_lies_inside_as_often_as_is_said() {
        // A generator of numbers is enough of a coin: the middle of 0..1000 is known.
        let (mut state, mut inside) = (7_u64, 0);
        for _ in 0..2_000 {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as f64 % 1_000.0
            };
            let values: Vec<f64> = (0..25).map(|_| next()).collect();
            let found = estimate(&values).unwrap();
            inside += usize::from(found.low <= 499.5 && 499.5 <= found.high);
        }
        assert!((1_880..2_000).contains(&inside), "{inside} of 2,000");
    }

    #[test]
    fn pairs_are_added_until_the_interval_is_narrow() {
        let of = |low, high| Estimate {
            median: 1.0,
            low,
            high,
        };
        assert!(!is_enough(14, of(1.0, 1.0)) && is_enough(15, of(0.99, 1.02)));
        assert!(!is_enough(59, of(0.9, 1.1)) && is_enough(60, of(0.9, 1.1)));
    }

    #[test]
    fn each_binary_runs_first_in_every_other_pair_and_the_ratio_is_ours_to_theirs() {
        use super::super::agent::Durability;
        let setting = |program: &str| Setting {
            program: program.into(),
            protocol: "5".to_owned(),
            coalesce: None,
            commit_events: None,
            durability: Durability::Volatile,
            more: "",
        };
        let order = std::cell::RefCell::new(String::new());
        let once = |setting: &Setting| {
            let name = setting.program.display().to_string();
            order.borrow_mut().push_str(&name);
            let cpu = if name == "a" { 2.04 } else { 2.0 };
            Ok(vec![("lost", 0.0), (FIGURE, cpu)])
        };
        let figures = compare("w1", &setting("a"), &setting("b"), once).unwrap();
        assert!(order.borrow().starts_with("abbaabba"));
        assert_eq!(order.borrow().len(), 30);
        assert!((figures[0].1 - 1.02).abs() < 1e-9 && figures[3] == ("pairs", 15.0));
        let nothing = |_: &Setting| Ok(vec![("rss_mb", 1.0)]);
        assert!(compare("idle", &setting("a"), &setting("b"), nothing).is_err());
    }
}
