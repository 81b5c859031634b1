//! The agent's part: `tidemill rule test` on a rule, as it stands or with other parameters.

use super::score::{PROBATION_ROWS, alarms};
use super::series::{Reading, events};
use crate::shell::{Workspace, capture, run};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The built agent, and the events as files.
pub(super) struct Agent {
    program: PathBuf,
    all: PathBuf,
    probation: PathBuf,
    variant: PathBuf,
}

impl Agent {
    /// Builds the agent as the tests have it: its code is the release's, and a release build takes minutes.
    pub(super) fn build(workspace: &Workspace, readings: &[Reading]) -> Result<Self> {
        // By the selection of packages of all tests: another one compiles half of what they depend on anew.
        run(&mut workspace.cargo(&["test", "--workspace", "--no-run", "--quiet"]))?;
        let folder = workspace.target.join("nab");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let agent = Self {
            program: workspace.target.join("debug/tidemill"),
            all: folder.join("events.jsonl"),
            probation: folder.join("probation.jsonl"),
            variant: folder.join("variant.toml"),
        };
        let first = readings.get(..PROBATION_ROWS).unwrap_or(readings);
        for (path, readings) in [(&agent.all, readings), (&agent.probation, first)] {
            fs::write(path, events(readings)?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(agent)
    }

    /// When the rule in a file speaks up.
    pub(super) fn alarms(&self, rule: &Path) -> Result<Vec<i64>> {
        self.test(rule, &self.all)
    }

    /// When it would with other parameters.
    pub(super) fn alarms_with(&self, rule: &Path, changes: &[Change]) -> Result<Vec<i64>> {
        self.test(self.changed(rule, changes)?, &self.all)
    }

    /// The smallest multiple of `step` at which a rule's limit leaves the first rows without an alarm.
    /// They are looked at as a gateway would have had them, without what comes after. No rule of the example
    /// learns from its alarms: what is silent at one limit is so at every higher one, and halving finds it.
    pub(super) fn silent_limit(
        &self,
        rule: &Path,
        limit: &Limit,
        changes: &[Change],
    ) -> Result<f64> {
        let (mut loud, mut silent) = (0, LIMITS_MAX);
        while silent - loud > 1 {
            let middle = loud.midpoint(silent);
            let mut changes = changes.to_vec();
            changes.push(Change::param(limit.name, f64::from(middle) * limit.step));
            let variant = self.changed(rule, &changes)?;
            match self.test(variant, &self.probation)?.as_slice() {
                [] => silent = middle,
                _ => loud = middle,
            }
        }
        if silent == LIMITS_MAX {
            bail!(
                "{}: no {} below {} is silent on the first {PROBATION_ROWS} rows",
                rule.display(),
                limit.name,
                f64::from(LIMITS_MAX) * limit.step
            );
        }
        Ok(f64::from(silent) * limit.step)
    }

    /// Returns `true` if a rule's limit is `value` as it stands.
    pub(super) fn has_limit(&self, rule: &Path, limit: &Limit, value: f64) -> Result<bool> {
        let text = read(rule)?;
        Ok(text == Change::param(limit.name, value).apply(&text)?)
    }

    fn test(&self, rule: impl AsRef<Path>, events: &Path) -> Result<Vec<i64>> {
        let mut test = Command::new(&self.program);
        test.args(["rule", "test"]).arg(rule.as_ref());
        alarms(&capture(test.arg("--events").arg(events))?)
    }

    fn changed(&self, rule: &Path, changes: &[Change]) -> Result<&Path> {
        let text = changes
            .iter()
            .try_fold(read(rule)?, |text, change| change.apply(&text))
            .with_context(|| format!("cannot change {}", rule.display()))?;
        fs::write(&self.variant, text)
            .with_context(|| format!("cannot write {}", self.variant.display()))?;
        Ok(&self.variant)
    }
}

/// Most steps up to which a limit is looked for.
const LIMITS_MAX: u32 = 128;

fn read(rule: &Path) -> Result<String> {
    fs::read_to_string(rule).with_context(|| format!("cannot read {}", rule.display()))
}

/// The parameter that decides how far is too far.
pub(super) struct Limit {
    pub(super) name: &'static str,
    pub(super) step: f64,
}

/// One place of a rule's text that is to read otherwise.
#[derive(Debug, Clone)]
pub(super) struct Change {
    from: String,
    to: String,
    whole_line: bool,
}

impl Change {
    /// Another value for a parameter, whatever it was.
    pub(super) fn param(name: &str, value: f64) -> Self {
        Self {
            from: format!("{name} = "),
            to: format!("{name} = {value}"),
            whole_line: true,
        }
    }

    /// Other words in the statement.
    pub(super) fn words(from: &str, to: String) -> Self {
        Self {
            from: from.to_owned(),
            to,
            whole_line: false,
        }
    }

    fn apply(&self, text: &str) -> Result<String> {
        let mut places = 0;
        let mut changed = String::with_capacity(text.len());
        for line in text.lines() {
            if self.whole_line && line.starts_with(&self.from) {
                places += 1;
                changed.push_str(&self.to);
            } else if !self.whole_line && line.contains(&self.from) {
                places += 1;
                changed.push_str(&line.replace(&self.from, &self.to));
            } else {
                changed.push_str(line);
            }
            changed.push('\n');
        }
        match places {
            1 => Ok(changed),
            _ => bail!("{:?} stands there {places} times and not once", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "sql = \"GROUP BY w(hh, 24, 1)\"\n[params]\nlimit = 16\nlimits = 3\n";

    #[test]
    fn one_place_is_changed() {
        let changed = Change::param("limit", 2.5).apply(RULE).unwrap();
        assert_eq!(changed, RULE.replace("limit = 16", "limit = 2.5"));
        let changed = Change::words("hh, 24", "hh, 12".to_owned());
        assert_eq!(changed.apply(RULE).unwrap(), RULE.replace("24", "12"));
    }

    #[test]
    fn a_change_without_effect_is_an_error() {
        for change in [
            Change::param("treshold", 1.0),
            Change::words("hh, 48", String::new()),
        ] {
            let error = change.apply(RULE).unwrap_err().to_string();
            assert!(error.contains("0 times"), "{error}");
        }
    }
}
