//! `cargo xtask nab`: the example on NAB's machine temperature. Runs its rules in the agent, scores what they tell
//! against the labels, draws it, and writes table and picture into `examples/nab`, or compares them.

mod agent;
mod page;
mod plot;
mod score;
mod series;
mod sweep;
mod time;

use crate::args::Args;
use crate::shell::{Workspace, say};
use agent::{Agent, Change, Limit};
use anyhow::{Result, bail};
use page::Page;
use score::{PROBATION_ROWS, Score};
use series::{Reading, Window};
use std::fmt::Write;
use std::io::Write as _;
use std::path::PathBuf;

/// The text of `cargo xtask nab --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask nab [OPTIONS]

Runs the rules of examples/nab in the agent on 22,695 readings of a machine, scores their alarms against
the labels, draws them, and writes what came out into examples/nab.

  --sweep            the same for other parameters than the rules have, a table; takes a few minutes
  --check            write nothing, fail where it differs from what is committed
";

/// A rule of the example, and the parameter that is chosen on the rows that are not scored.
struct Rule {
    name: &'static str,
    limit: Limit,
}

const DRIFT: Rule = Rule {
    name: "drift",
    limit: Limit {
        name: "limit",
        step: 1.0,
    },
};
const EWMA: Rule = Rule {
    name: "ewma",
    limit: Limit {
        name: "threshold",
        step: 0.5,
    },
};

/// All that a run needs.
struct Example {
    folder: PathBuf,
    readings: Vec<Reading>,
    windows: Vec<Window>,
    agent: Agent,
}

impl Example {
    fn load(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.root.join("examples/nab");
        let data = folder.join("data");
        let readings = series::readings(&data.join("machine_temperature_system_failure.csv"))?;
        let windows = series::windows(&data.join("labels.csv"))?;
        let agent = Agent::build(workspace, &readings)?;
        Ok(Self {
            folder,
            readings,
            windows,
            agent,
        })
    }

    fn file(&self, rule: &Rule) -> PathBuf {
        self.folder.join(rule.name).with_extension("toml")
    }

    fn score(&self, rule: &Rule) -> Result<Score> {
        let alarms = self.agent.alarms(&self.file(rule))?;
        Score::of(&alarms, &self.readings, &self.windows)
    }

    fn score_with(&self, rule: &Rule, changes: &[Change]) -> Result<Score> {
        let alarms = self.agent.alarms_with(&self.file(rule), changes)?;
        Score::of(&alarms, &self.readings, &self.windows)
    }

    fn silent_limit(&self, rule: &Rule, changes: &[Change]) -> Result<f64> {
        self.agent
            .silent_limit(&self.file(rule), &rule.limit, changes)
    }
}

/// Runs the example.
pub(crate) fn nab(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &["sweep", "check"], &[])?;
    args.no_words()?;
    let example = Example::load(workspace)?;
    let mut page = Page::new(&example.folder, args.flag("check"));
    if args.flag("sweep") {
        let table = sweep::table(&example)?;
        std::io::stdout().write_all(table.as_bytes())?;
        page.block("sweep", &table)?;
        return page.end();
    }
    let mut report = String::new();
    for rule in [DRIFT, EWMA] {
        let score = example.score(&rule)?;
        if !report.is_empty() {
            report.push('\n');
        }
        writeln!(report, "{}", chosen(&example, &rule, &score)?)?;
        report.push_str(&score.table(&example.windows)?);
        if rule.name == DRIFT.name {
            let title = "A machine's temperature (NAB) and the alarms of drift.toml";
            let svg = plot::svg(title, &example.readings, &example.windows, &score)?;
            page.file("drift.svg", &svg)?;
        }
    }
    std::io::stdout().write_all(report.as_bytes())?;
    page.block("score", &report)?;
    page.end()
}

/// Says which limit a rule has; fails unless it is the one that the first rows ask for.
fn chosen(example: &Example, rule: &Rule, score: &Score) -> Result<String> {
    let Limit { name, step } = rule.limit;
    let limit = example.silent_limit(rule, &[])?;
    if !example
        .agent
        .has_limit(&example.file(rule), &rule.limit, limit)?
    {
        bail!(
            "examples/nab/{}.toml: the first {PROBATION_ROWS} rows ask for {name} = {limit}, and it has another",
            rule.name
        );
    }
    if score.in_probation > 0 {
        bail!(
            "examples/nab/{}.toml: silent on the first {PROBATION_ROWS} rows alone, and not where others follow",
            rule.name
        );
    }
    Ok(format!(
        "{}.toml: {name} = {limit}, the smallest multiple of {step} without an alarm in the first {PROBATION_ROWS} rows",
        rule.name
    ))
}

/// Says where a file of the example stands, for people.
fn tell(what: &str, name: &str) {
    say(format!("{what} examples/nab/{name}"));
}
