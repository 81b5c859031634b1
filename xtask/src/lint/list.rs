//! The committed list of what may stay: single places with a reason, and counts of folders whose turn
//! comes later, which may only fall.

use super::Verdict;
use super::findings::{Finding, Rule};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// Pairs of bare integers that may stay.
const KEPT_MAX: usize = 30;

/// A place that stays, by rule, file and name.
struct Kept {
    rule: Rule,
    path: String,
    name: String,
}

/// Places of a rule in a folder that are dealt with later.
struct Later {
    rule: Rule,
    folder: String,
    count: usize,
}

/// The list as read.
pub(crate) struct List {
    kept: Vec<Kept>,
    later: Vec<Later>,
}

impl List {
    /// Reads lines `keep RULE FILE NAME: REASON` and `later RULE FOLDER COUNT`; `#` begins a comment.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut list = Self {
            kept: Vec::new(),
            later: Vec::new(),
        };
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let read = list.line(line);
            read.with_context(|| format!("xtask/src/lint/list.txt:{}: {line}", at + 1))?;
        }
        let pairs = |kept: &&Kept| matches!(kept.rule, Rule::Integers | Rule::Fields);
        let kept = list.kept.iter().filter(pairs).count();
        if kept > KEPT_MAX {
            bail!(
                "xtask/src/lint/list.txt keeps {kept} pairs of bare integers, more than {KEPT_MAX}"
            );
        }
        Ok(list)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let mut words = line.splitn(4, ' ');
        let (Some(what), Some(rule), Some(place), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            bail!("lacks a word");
        };
        let rule = Rule::ALL.into_iter().find(|it| it.to_string() == rule);
        let rule = rule.context("knows no such rule")?;
        match what {
            "keep" => {
                let (name, reason) = rest.split_once(": ").context("lacks a reason")?;
                if reason.trim().is_empty() {
                    bail!("lacks a reason");
                }
                self.kept.push(Kept {
                    rule,
                    path: place.to_owned(),
                    name: name.to_owned(),
                });
            }
            "later" => self.later.push(Later {
                rule,
                folder: place.to_owned(),
                count: rest.parse().context("has no count")?,
            }),
            _ => bail!("begins with neither keep nor later"),
        }
        Ok(())
    }

    /// Judges what was found.
    pub(crate) fn judge(&self, found: &[Finding]) -> Verdict {
        let mut verdict = Verdict::default();
        let is_kept = |finding: &&Finding| self.kept.iter().any(|kept| kept.is(finding));
        let (_, open): (Vec<_>, Vec<_>) = found.iter().partition(is_kept);
        for kept in &self.kept {
            if !found.iter().any(|finding| kept.is(finding)) {
                let Kept { rule, path, name } = kept;
                verdict.broken.push(format!(
                    "xtask/src/lint/list.txt keeps {name} in {path} ({rule}), which breaks no rule: remove the line"
                ));
            }
        }
        let mut counts = vec![Vec::new(); self.later.len()];
        for finding in open {
            let mut places = self.later.iter().zip(&mut counts);
            if let Some((_, count)) = places.find(|(later, _)| later.holds(finding)) {
                count.push(finding);
            } else {
                verdict.broken.push(finding.to_string());
            }
        }
        for (later, found) in self.later.iter().zip(counts) {
            let Later {
                rule,
                folder,
                count,
            } = later;
            let now = found.len();
            if now > *count {
                verdict.broken.extend(found.iter().map(ToString::to_string));
                verdict.broken.push(format!(
                    "{folder} has {now} of these ({rule}); xtask/src/lint/list.txt allows {count}"
                ));
            } else if now < *count {
                verdict.notes.push(format!(
                    "{folder} has {now} left ({rule}), {count} in xtask/src/lint/list.txt: lower that"
                ));
            }
        }
        verdict
    }
}

impl Kept {
    fn is(&self, finding: &Finding) -> bool {
        self.rule == finding.rule
            && Path::new(&self.path) == finding.path
            && self.name == finding.name
    }
}

impl Later {
    fn holds(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && finding.path.starts_with(&self.folder)
    }
}
