//! Comparison of a rule's results with those that a file expects: lines are compared as JSON, so
//! blanks and the order of members are of no matter.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;
use tidemill_base::text::printable;

/// Most differences that are shown; of further ones only the number is told.
const SHOWN: usize = 20;

/// Pairs of lines above which the place of a missing line is not searched.
const PAIRS: usize = 4_000_000;

/// The lines that should come, with their numbers in the file.
#[derive(Debug)]
pub(super) struct Expected {
    name: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    text: String,
    value: Value,
}

/// One place where the two sides are not the same.
enum Difference<'a> {
    Changed(&'a Line, &'a Line),
    Missing(&'a Line),
    /// Came behind this line of the file.
    Additional(usize, &'a Line),
}

impl Expected {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = printable(path.display()).to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Wrong(vec![format!("{name}: cannot be read: {error}")]))?;
        let lines = parse(text.lines())
            .map_err(|(number, why)| Failure::Wrong(vec![format!("{name}:{number}: {why}")]))?;
        Ok(Self { name, lines })
    }

    /// The differences to the results, for people, and their number.
    pub(super) fn compare(&self, came: &[String]) -> Result<(String, usize), Failure> {
        let came = parse(came.iter().map(String::as_str))
            .map_err(|(_, why)| Failure::Failed(anyhow::anyhow!(why)))?;
        let differences = differences(&self.lines, &came);
        let mut text = String::new();
        for difference in differences.iter().take(SHOWN) {
            self.show(difference, &mut text);
        }
        if let Some(more) = differences
            .len()
            .checked_sub(SHOWN)
            .filter(|more| *more > 0)
        {
            let _ = writeln!(text, "and {more} more");
        }
        Ok((text, differences.len()))
    }

    fn show(&self, difference: &Difference<'_>, text: &mut String) {
        let name = &self.name;
        let _ = match difference {
            Difference::Changed(expected, got) => {
                let (before, after) = (&expected.text, &got.text);
                let _ = writeln!(
                    text,
                    "{name}:{}: differs\n  expected  {before}\n  got       {after}",
                    expected.number
                );
                members("", &expected.value, &got.value, text);
                Ok(())
            }
            Difference::Missing(expected) => writeln!(
                text,
                "{name}:{}: did not come\n  expected  {}",
                expected.number, expected.text
            ),
            Difference::Additional(0, got) => {
                writeln!(
                    text,
                    "{name}: before its first line came\n  got       {}",
                    got.text
                )
            }
            Difference::Additional(after, got) => {
                writeln!(
                    text,
                    "{name}:{after}: behind it came\n  got       {}",
                    got.text
                )
            }
        };
    }
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Line>, (usize, String)> {
    let mut parsed = Vec::new();
    for (text, number) in lines.zip(1..) {
        if text.trim().is_empty() {
            continue;
        }
        let value = serde_json::from_str(text).map_err(|error| (number, error.to_string()))?;
        let text = text.trim().to_owned();
        parsed.push(Line {
            number,
            text,
            value,
        });
    }
    Ok(parsed)
}

/// The least number of lines that are not on both sides, in order; a missing line and an additional
/// one at the same place are one that changed.
fn differences<'a>(expected: &'a [Line], got: &'a [Line]) -> Vec<Difference<'a>> {
    let alike = |(a, b): &(&Line, &Line)| same(&a.value, &b.value);
    let head = expected.iter().zip(got).take_while(alike).count();
    let (before, expected) = expected.split_at(head);
    let got = got.get(head..).unwrap_or_default();
    let tail = expected
        .iter()
        .rev()
        .zip(got.iter().rev())
        .take_while(alike)
        .count();
    let expected = expected.get(..expected.len() - tail).unwrap_or_default();
    let got = got.get(..got.len() - tail).unwrap_or_default();
    let mut after = before.last().map_or(0, |line| line.number);
    let mut found = Vec::new();
    let (mut missing, mut additional) = (Vec::new(), Vec::new());
    for step in steps(expected, got) {
        match step {
            (Some(line), None) => missing.push(line),
            (None, Some(line)) => additional.push(line),
            (line, _) => {
                settle(&mut missing, &mut additional, after, &mut found);
                after = line.map_or(after, |line| line.number);
            }
        }
    }
    settle(&mut missing, &mut additional, after, &mut found);
    found
}

fn settle<'a>(
    missing: &mut Vec<&'a Line>,
    additional: &mut Vec<&'a Line>,
    mut after: usize,
    found: &mut Vec<Difference<'a>>,
) {
    let mut additional = additional.drain(..);
    for line in missing.drain(..) {
        after = line.number;
        found.push(match additional.next() {
            Some(got) => Difference::Changed(line, got),
            None => Difference::Missing(line),
        });
    }
    found.extend(additional.map(|got| Difference::Additional(after, got)));
}

type Step<'a> = (Option<&'a Line>, Option<&'a Line>);

/// The way through both sides that has the most lines in common.
fn steps<'a>(expected: &'a [Line], got: &'a [Line]) -> Vec<Step<'a>> {
    let mut steps = Vec::with_capacity(expected.len() + got.len());
    let width = got.len() + 1;
    let pairs = (expected.len() + 1).saturating_mul(width);
    let mut common = vec![0_u32; if pairs > PAIRS { 0 } else { pairs }];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    if !common.is_empty() {
        for (i, a) in expected.iter().enumerate().rev() {
            for (j, b) in got.iter().enumerate().rev() {
                let best = if same(&a.value, &b.value) {
                    at(&common, i + 1, j + 1) + 1
                } else {
                    at(&common, i + 1, j).max(at(&common, i, j + 1))
                };
                if let Some(cell) = common.get_mut(i * width + j) {
                    *cell = best;
                }
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        match (expected.get(i), got.get(j)) {
            (None, None) => return steps,
            (Some(a), Some(b)) if same(&a.value, &b.value) => {
                steps.push((Some(a), Some(b)));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                steps.push((Some(a), None));
                i += 1;
            }
            (_, b) => {
                steps.push((None, b));
                j += 1;
            }
        }
    }
}

/// Names the differing members of two lines.
fn members(path: &str, expected: &Value, got: &Value, text: &mut String) {
    match (expected, got) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                let path = format!("{path}/{}", printable(name));
                match b.get(name) {
                    Some(other) => members(&path, value, other, text),
                    None => drop(writeln!(text, "  {path}: {value} is missing")),
                }
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                let _ = writeln!(
                    text,
                    "  {path}/{}: {value} is not expected",
                    printable(name)
                );
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for ((a, b), place) in a.iter().zip(b).zip(0..) {
                members(&format!("{path}/{place}"), a, b, text);
            }
        }
        (a, b) if same(a, b) => {}
        (a, b) => drop(writeln!(text, "  {path}: {b} instead of {a}")),
    }
}

/// 3 and 3.0 are one number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || ((x.is_f64() || y.is_f64()) && x.as_f64() == y.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let in_b = |(name, a): (&String, &Value)| b.get(name).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(in_b)
        }
        (a, b) => a == b,
    }
}
