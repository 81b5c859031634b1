//! The gate on sizes: a row for each target and build in docs/performance.md. A larger binary fails; a smaller one
//! lowers its row, so that what was won stays won; a build without one gets it. Raising a row takes an edit by hand, with a reason.

use super::build::Build;
use super::symbols::grouped;
use super::targets::Target;
use crate::shell::{Workspace, say};
use anyhow::{Context, Result, bail};
use std::fs;

const PLACE: &str = "docs/performance.md";

/// The head of the table.
const HEAD: &str = "| target | build | bytes |\n|---|---|---|\n";

/// Rows are multiples of this: a word more in a message is no reason for an edit, 100 kB are.
const STEP: u64 = 50_000;

/// A binary that was built, and its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) target: &'static Target,
    pub(crate) build: Build,
    pub(crate) bytes: u64,
}

/// Compares with the rows and lowers those that can be.
pub(crate) fn guard(workspace: &Workspace, sizes: &[Size]) -> Result<()> {
    let path = workspace.root.join(PLACE);
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {PLACE}"))?;
    let (text, larger) = compared(before.clone(), sizes);
    if text != before {
        let fresh = path.with_extension("md.new");
        fs::write(&fresh, text).with_context(|| format!("cannot write {PLACE}"))?;
        fs::rename(&fresh, &path).with_context(|| format!("cannot write {PLACE}"))?;
    }
    if larger.is_empty() {
        return Ok(());
    }
    bail!(
        "{PLACE} allows less: {}. `cargo xtask size` shows what the binary is made of; if it has to be larger, \
         raise the row by hand, with the reason in the commit",
        larger.join("; ")
    )
}

/// The page with lowered and new rows, and what is too large.
fn compared(mut text: String, sizes: &[Size]) -> (String, Vec<String>) {
    let mut larger = Vec::new();
    for size in sizes {
        let fresh = line(size, size.bytes.next_multiple_of(STEP));
        let name = format!("{} ({})", size.target.name, size.build.name());
        let Some(row) = row(&text, size) else {
            say(format!("{PLACE}: {name} is new"));
            text = text.replacen(HEAD, &format!("{HEAD}{fresh}\n"), 1);
            continue;
        };
        let limit = number(&row);
        if size.bytes > limit {
            let over = size.bytes - limit;
            let bytes = grouped(size.bytes);
            larger.push(format!("{name} has {bytes} bytes, {over} above its row"));
        } else if size.bytes.next_multiple_of(STEP) < limit {
            say(format!("{PLACE}: {name} goes down to {fresh}"));
            text = text.replace(&row, &fresh);
        }
    }
    (text, larger)
}

fn begin(size: &Size) -> String {
    format!("| `{}` | {} | ", size.target.name, size.build.name())
}

/// The row of a binary in the table of sizes.
fn row(text: &str, size: &Size) -> Option<String> {
    let begin = begin(size);
    let mut lines = text.lines();
    lines
        .find(|line| line.starts_with(&begin))
        .map(str::to_owned)
}

fn line(size: &Size, bytes: u64) -> String {
    format!("{}{} |", begin(size), grouped(bytes))
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
    use super::super::targets::TARGETS;
    use super::*;

    fn size(build: Build, bytes: u64) -> Size {
        Size {
            target: &TARGETS[0],
            build,
            bytes,
        }
    }

    #[test]
    fn a_row_is_read_as_it_is_written() {
        for bytes in [0, 999, 1_000, 12_345_678] {
            let size = size(Build::Small, bytes);
            let text = format!("{HEAD}{}\n", line(&size, bytes));
            assert_eq!(number(&row(&text, &size).unwrap()), bytes);
        }
    }

    #[test]
    fn rows_go_down_by_themselves_and_never_up() {
        let (text, larger) = compared(HEAD.to_owned(), &[size(Build::Full, 9_020_000)]);
        assert!(text.ends_with("| full | 9,050,000 |\n") && larger.is_empty());
        let (same, larger) = compared(text.clone(), &[size(Build::Full, 9_040_000)]);
        assert!(same == text && larger.is_empty());
        let (same, larger) = compared(text.clone(), &[size(Build::Full, 9_120_000)]);
        assert_eq!(same, text);
        assert!(larger[0].contains("(full) has 9,120,000 bytes, 70000 above"));
        let (lower, _) = compared(text.clone(), &[size(Build::Full, 8_990_000)]);
        assert!(lower.ends_with("| full | 9,000,000 |\n"));
        let (both, _) = compared(text, &[size(Build::Small, 4_990_000)]);
        assert!(both.contains("| small | 5,000,000 |") && both.contains("| full | 9,050,000 |"));
    }
}
