//! The gate on sizes: a row for each target in docs/performance.md. A larger binary fails; a smaller one
//! lowers its row, so that what was won stays won; a target without one gets it. Raising a row takes an edit by hand, with a reason.

use super::targets::Target;
use crate::shell::{Workspace, say};
use anyhow::{Context, Result, bail};
use std::fs;

const PLACE: &str = "docs/performance.md";

/// The head of the table.
const HEAD: &str = "| target | bytes |\n|---|---|\n";

/// Compares with the rows and lowers those that can be.
pub(super) fn guard(workspace: &Workspace, sizes: &[(&Target, u64)]) -> Result<()> {
    let path = workspace.root.join(PLACE);
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {PLACE}"))?;
    let mut text = before.clone();
    let mut larger = Vec::new();
    for (target, bytes) in sizes {
        let name = target.name;
        let Some(row) = row(&text, name) else {
            say(format!("{PLACE}: {name} is new with {bytes} bytes"));
            text = text.replacen(HEAD, &format!("{HEAD}{}\n", line(name, *bytes)), 1);
            continue;
        };
        let limit = number(&row);
        if *bytes > limit {
            let over = *bytes - limit;
            larger.push(format!("{name} is {bytes} bytes, {over} above its row"));
        } else if *bytes < limit {
            say(format!(
                "{PLACE}: {name} from {limit} down to {bytes} bytes"
            ));
            text = text.replace(&row, &line(name, *bytes));
        }
    }
    if text != before {
        fs::write(&path, text).with_context(|| format!("cannot write {PLACE}"))?;
    }
    if larger.is_empty() {
        return Ok(());
    }
    bail!("{PLACE} allows less: {}", larger.join("; "))
}

/// The row of `target` in the table of sizes.
fn row(text: &str, target: &str) -> Option<String> {
    let begin = format!("| `{target}` | ");
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with(&begin))
        .map(str::to_owned)
}

fn line(target: &str, bytes: u64) -> String {
    let digits = bytes.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("| `{target}` | {grouped} |")
}

fn number(row: &str) -> u64 {
    let last = row.trim_end_matches([' ', '|']).rsplit('|').next();
    let digits = last
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_is_written() {
        for bytes in [0, 999, 1_000, 12_345_678] {
            let text = format!("| target | bytes |\n{}\n", line("x", bytes));
            assert_eq!(number(&row(&text, "x").unwrap()), bytes);
        }
        assert_eq!(line("x", 9_876_543), "| `x` | 9,876,543 |");
        assert_eq!(row("| `xy` | 5 |", "x"), None);
    }
}
