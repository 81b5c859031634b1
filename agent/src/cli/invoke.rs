//! `tidemill invoke`: runs one rule of a running agent for one event.

use std::io::Read as _;

use serde_json::Value;

use super::inspect::{part, running, text};
use super::{ConfigOption, Failure};
use crate::agent::control::{INVOKE_BYTES_MAX, Question};
use crate::config::Config;
use tidemill_base::console;
use tidemill_base::files;
use tidemill_base::text::{printable, shown};

pub(super) const HELP: &str = "The rule runs for real, once: its state changes, and what it emits goes to its destinations. The answer comes \
when all of that would outlive a power cut. To try a rule without effects, use `tidemill rule test`.

Examples:
  tidemill invoke overheat --topic sensors/d1/env --payload '{\"temperature\":61}'
  tidemill invoke overheat --topic sensors/d1/env --payload @event.json
  echo '{\"temperature\":61}' | tidemill invoke overheat --payload - --key d1 --json

Exit codes: 0 done, and the rule could work on it, also where it filtered it; 1 it could not, or no agent runs; \
2 wrong use, or no such rule";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Rule to run
    rule: String,
    /// Topic of the event
    #[arg(long, default_value = "invoke")]
    topic: String,
    /// Payload of the event: text, @FILE, or - for standard input
    #[arg(long, value_name = "TEXT", default_value = "")]
    payload: String,
    /// Key of the event, in place of the one that the rule would find
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    file: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let body = payload(&options.payload)?;
    let config = Config::read(&options.file.config)?;
    let question = Question::Invoke {
        rule: options.rule.clone(),
        topic: options.topic.clone(),
        key: options.key.clone(),
        bytes: body.len(),
        body,
    };
    let answer = running(&config.data_dir, &question)?;
    if let Some(rule) = answer.get("unknown_rule") {
        return Err(Failure::Wrong(vec![format!(
            "no rule {} runs; `tidemill inspect rules` lists those that do",
            text(rule)
        )]));
    }
    let mut out = console::stdout();
    if options.json {
        out.json(format_args!("{answer:#}"))?;
    } else {
        out.text(&told(&answer))?;
    }
    let fate = part(&answer, "fate");
    if fate == "dead" || fate == "dropped" {
        let reason = shown(&text(part(&answer, "reason"))).to_string();
        return Err(Failure::Failed(anyhow::anyhow!("{}: {reason}", text(fate))));
    }
    Ok(())
}

/// The bytes of the payload that was asked for.
fn payload(given: &str) -> Result<Vec<u8>, Failure> {
    let bytes = match given.strip_prefix('@') {
        Some(path) => files::read_input(path.as_ref(), INVOKE_BYTES_MAX as u64)
            .map_err(|error| Failure::Wrong(vec![format!("{}: {error}", printable(path))]))?,
        None if given == "-" => {
            let mut bytes = Vec::new();
            let limit = INVOKE_BYTES_MAX as u64 + 1;
            std::io::stdin().take(limit).read_to_end(&mut bytes)?;
            bytes
        }
        None => given.as_bytes().to_vec(),
    };
    if bytes.len() > INVOKE_BYTES_MAX {
        return Err(Failure::Wrong(vec![format!(
            "the payload is longer than {INVOKE_BYTES_MAX} bytes"
        )]));
    }
    Ok(bytes)
}

/// The answer for people: a line for each emission and log line, then what became of the event.
fn told(answer: &Value) -> String {
    let mut all = String::new();
    let list = |name| part(answer, name).as_array().into_iter().flatten();
    for line in list("log") {
        all.push_str(&format!("log  {}\n", printable(&text(line))));
    }
    for emission in list("emissions") {
        let payload = match emission.get("payload") {
            Some(payload) => text(payload),
            None => format!("base64 {}", text(part(emission, "payload_base64"))),
        };
        let [port, to, topic] = ["port", "to", "topic"].map(|name| text(part(emission, name)));
        let line = format!("{port}  {to}  {topic}  {payload}");
        all.push_str(&format!("{}\n", printable(&line)));
    }
    let fate = match &*text(part(answer, "fate")) {
        "waiting" => "waiting for its turn, or for the time of its stream".to_owned(),
        fate => fate.to_owned(),
    };
    let commit = match part(answer, "commit").as_u64() {
        None | Some(0) => String::new(),
        Some(lsn) => format!("durable with commit {lsn}; "),
    };
    let event = text(part(answer, "event"));
    all.push_str(&format!("{fate}; {commit}event {}\n", printable(&event)));
    all
}
