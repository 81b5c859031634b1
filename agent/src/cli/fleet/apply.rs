//! `tidemill apply`: a signed file for the agent on this machine, by its control socket.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::inspect::{part, running, text};
use super::super::{ConfigOption, Failure};
use super::files::read;
use super::wrong;
use crate::agent::control::Question;
use crate::config::Config;
use tidemill_base::console;
use tidemill_base::text::duration_ms;

pub(in crate::cli) const HELP: &str = "The file is read by this command and handed over, so the agent's user need not be able to read it. It is taken \
as a push is taken: signatures, versions and rules are judged, the new rules run on probation, and go back by \
themselves if they do harm.

Examples:
  tidemill apply main.tmb
  tidemill apply main.tmb --wait                until it runs on probation, or was refused
  tidemill apply main.tmb --wait=confirmed --timeout 5m

Exit codes: 0 taken (with --wait: it runs), 1 refused or rolled back, or no agent runs, 2 wrong use, \
3 time ran out";

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// A file of `tidemill bundle sign`
    #[arg(value_name = "FILE.tmb")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigOption,
    /// Wait until it runs on probation, or until it is confirmed
    #[arg(long, value_enum, value_name = "probation|confirmed", num_args = 0..=1, require_equals = true, default_missing_value = "probation")]
    wait: Option<Wait>,
    /// The longest wait
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "2m")]
    timeout: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The end of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Wait {
    /// It runs, and may go back.
    Probation,
    /// It runs for good.
    Confirmed,
}

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    let config = Config::read(&options.config.config)?;
    let body = read(&options.file)?;
    let began = Instant::now();
    let most = crate::fleet::APPLY_BYTES_MAX;
    if body.len() > most {
        return Err(wrong(format!(
            "{}: has {} bytes, at most {most} are taken",
            options.file.display(),
            body.len()
        )));
    }
    let dir = &config.data_dir;
    let bytes = body.len();
    let answer = running(dir, &Question::Apply { bytes, body })?;
    let list = |key: &str| part(&answer, key).as_array().cloned().unwrap_or_default();
    let (taken, refused) = (list("taken"), list("refused"));
    let mut told = answer.clone();
    let outcome = if let Some(first) = refused.first() {
        let why = format!(
            "{}: {}",
            text(part(first, "reason")),
            text(part(first, "text"))
        );
        Err(Failure::Failed(anyhow::anyhow!("refused: {why}")))
    } else if let Some(wait) = options.wait {
        let waited = wait_for(options, dir, &taken, wait, began);
        waited.map(|attempts| {
            if let Value::Object(told) = &mut told {
                told.insert("attempts".to_owned(), Value::from(attempts));
            }
        })
    } else {
        Ok(())
    };
    let mut out = console::stdout();
    if options.json {
        out.json(&told)?;
    } else {
        for of in &taken {
            match part(of, "root") {
                Value::Null => writeln!(
                    out,
                    "bundle {} version {} for {} was taken{}",
                    text(part(of, "bundle")),
                    text(part(of, "version")),
                    text(part(of, "scope")),
                    if part(of, "new") == false {
                        ", as it was before"
                    } else {
                        ""
                    },
                )?,
                root => writeln!(out, "root {} counts", text(root))?,
            }
        }
        for of in told
            .get("attempts")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let proven = match part(of, "proven") {
                Value::Bool(true) => ", proven by events",
                Value::Bool(false) => ", not proven: too few events came",
                _ => "",
            };
            let ms = began.elapsed().as_millis();
            writeln!(
                out,
                "bundle {}: {}{proven}, after {ms} ms",
                text(part(of, "bundle")),
                text(part(of, "state"))
            )?;
        }
    }
    outcome
}

/// Looks until each bundle of the file has come as far as is wanted.
fn wait_for(
    options: &Options,
    dir: &std::path::Path,
    taken: &[Value],
    wait: Wait,
    began: Instant,
) -> Result<Vec<Value>, Failure> {
    let wanted: Vec<&Value> = taken
        .iter()
        .map(|of| part(of, "sha256"))
        .filter(|hash| !hash.is_null())
        .collect();
    let until = began + Duration::from_millis(options.timeout);
    loop {
        let answer = running(dir, &Question::Fleet)?;
        let attempts = part(&answer, "attempts")
            .as_array()
            .cloned()
            .unwrap_or_default();
        let ours: Vec<Value> = attempts
            .into_iter()
            .filter(|of| wanted.contains(&part(of, "sha256")))
            .collect();
        let state = |of: &Value| part(of, "state").as_str().unwrap_or_default().to_owned();
        if let Some(bad) = ours
            .iter()
            .find(|of| matches!(&*state(of), "refused" | "rolled_back"))
        {
            let error = anyhow::anyhow!(
                "bundle {} version {}: {}: {}: {}",
                text(part(bad, "bundle")),
                text(part(bad, "version")),
                state(bad).replace('_', " "),
                text(part(bad, "reason")),
                text(part(bad, "text"))
            );
            return Err(Failure::Failed(error));
        }
        let is_there = |of: &Value| match &*state(of) {
            "active" => true,
            "probation" => wait == Wait::Probation,
            _ => false,
        };
        if ours.len() == wanted.len() && ours.iter().all(is_there) {
            return Ok(ours);
        }
        if Instant::now() >= until {
            let states: Vec<String> = ours.iter().map(state).collect();
            let text = format!("not there in time: {}", states.join(", "));
            return Err(Failure::TimedOut(anyhow::anyhow!(text)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
