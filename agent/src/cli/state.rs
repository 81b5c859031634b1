//! `tidemill state`: the state of rules, by the names of its parts, and its removal.

use serde_json::Value;

use super::inspect::{look, part, running, table, text};
use super::{ConfigOption, Failure};
use crate::agent::books;
use crate::agent::control::Question;
use crate::config::Config;
use tidemill_base::console;
use tidemill_base::text::printable;

pub(super) const HELP: &str = "The parts of a statement's state are called as the expressions that keep them, such as lag(n) or acc_sum(n) \
OVER (PARTITION BY d); a module of another language may name its slots and entries. What has no name is \
shown by its place.

Examples:
  tidemill state list                   all rules
  tidemill state list energy --config agent.toml
  tidemill state get energy plug7
  tidemill state rm energy plug7        plug7 begins anew; needs a running agent
  tidemill state rm energy              and so does every other key

Exit codes: 0 done; 1 the data directory cannot be read, nothing is kept of such a rule or key, or no agent \
runs (rm); 2 wrong use";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List all rules, or the keys of one, of a stopped gateway or a running one
    List {
        /// The rule; left out, all of them
        rule: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show what is kept of one key
    Get {
        /// The rule
        rule: String,
        /// The key; may be left out where the rule has only one
        key: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Take away what is kept of a key, or of all keys; needs a running agent
    Rm {
        /// The rule
        rule: String,
        /// The key; left out, all of them
        key: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    file: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::List { rule: None, common } => {
            let config = Config::read(&common.file.config)?;
            let answer = look(&config.data_dir, &Question::States, books::states_of_image)?;
            show(common, &answer, |answer| table(answer, &columns(answer)))
        }
        What::List {
            rule: Some(rule),
            common,
        } => {
            let answer = asked(common, rule, None, false)?;
            show(common, &answer, listed)
        }
        What::Get { rule, key, common } => {
            let answer = asked(common, rule, key.as_deref(), true)?;
            show(common, &answer, told)
        }
        What::Rm { rule, key, common } => remove(common, rule, key.as_deref()),
    }
}

fn asked(common: &Common, rule: &str, key: Option<&str>, whole: bool) -> Result<Value, Failure> {
    let config = Config::read(&common.file.config)?;
    let question = Question::State {
        rule: rule.to_owned(),
        key: key.map(str::to_owned),
        whole,
    };
    let of_image =
        |image: &crate::commit::image::Image| books::state_of_image(image, rule, key, whole);
    let answer = look(&config.data_dir, &question, of_image)?;
    match answer.get("error") {
        Some(error) => Err(Failure::Failed(anyhow::anyhow!(text(error)))),
        None => Ok(answer),
    }
}

fn show(
    common: &Common,
    answer: &Value,
    as_text: impl Fn(&Value) -> String,
) -> Result<(), Failure> {
    let mut out = console::stdout();
    if common.json {
        out.json(format_args!("{answer:#}"))?;
    } else {
        out.text(&as_text(answer))?;
    }
    Ok(())
}

fn remove(common: &Common, rule: &str, key: Option<&str>) -> Result<(), Failure> {
    let config = Config::read(&common.file.config)?;
    let question = Question::ForgetState {
        rule: rule.to_owned(),
        key: key.map(str::to_owned),
    };
    let answer = running(&config.data_dir, &question)?;
    if let (Some(key), Some(0)) = (key, part(&answer, "forgotten").as_u64()) {
        let error = format!(
            "rule {rule} keeps nothing of a key {key:?}; `tidemill state list {rule}` shows them"
        );
        return Err(Failure::Failed(anyhow::anyhow!(error)));
    }
    show(common, &answer, |answer| {
        let count = part(answer, "forgotten").as_u64().unwrap_or(0);
        match key {
            Some(key) => format!("{} begins anew\n", printable(key)),
            None if count == 1 => "1 key begins anew\n".to_owned(),
            None => format!("{count} keys begin anew\n"),
        }
    })
}

const RULES: [&str; 7] = [
    "rule", "deployed", "keys", "bytes", "windows", "rows", "timers",
];

/// Columns of the list of rules: of a stopped gateway nobody knows which are deployed.
fn columns(answer: &Value) -> Vec<&'static str> {
    let is_known = answer
        .get(0)
        .is_some_and(|rule| rule.get("deployed").is_some());
    let columns = RULES.iter().filter(|name| is_known || **name != "deployed");
    columns.copied().collect()
}

const KEYS: [&str; 5] = ["key", "bytes", "windows", "rows", "timers"];

fn listed(answer: &Value) -> String {
    let mut all = String::new();
    let names = part(answer, "names").as_array().into_iter().flatten();
    let names: Vec<String> = names.map(text).collect();
    if !names.is_empty() {
        all.push_str(&format!("keeps {}\n\n", names.join(", ")));
    }
    all.push_str(&table(part(answer, "keys"), &KEYS));
    all.push_str(&more(answer));
    all
}

/// A line with the number of keys that are not shown, if there are any.
fn more(answer: &Value) -> String {
    match part(answer, "more").as_u64() {
        None | Some(0) => String::new(),
        Some(more) => format!("  and {more} more\n"),
    }
}

fn told(answer: &Value) -> String {
    let mut all = String::new();
    let lines = |place: &str| part(answer, place).as_array().cloned().unwrap_or_default();
    for kept in lines("parts") {
        let name = match (kept.get("name"), kept.get("entry")) {
            (Some(name), Some(entry)) => format!("{} {}", text(name), text(entry)),
            (Some(name), None) => text(name),
            (None, entry) => format!("entry {}", entry.map(text).unwrap_or_default()),
        };
        let partition = kept.get("partition").map(text);
        let partition = partition.map(|of| format!(" of {of}")).unwrap_or_default();
        all.push_str(&format!(
            "{name}{partition} = {}\n",
            text(part(&kept, "value"))
        ));
    }
    all.push_str(&more(answer));
    for window in lines("windows") {
        let of = |name: &str| text(part(&window, name));
        all.push_str(&format!(
            "window from {} to {}, events {}: {}\n",
            of("start"),
            of("end"),
            of("events"),
            of("holds")
        ));
    }
    if let Some(rows) = part(answer, "rows").as_u64().filter(|rows| *rows > 0) {
        all.push_str(&format!("rows {rows}\n"));
    }
    for timer in lines("timers") {
        let of = |name: &str| text(part(&timer, name));
        let name = part(&timer, "name").as_str();
        all.push_str(&format!(
            "timer {} at {} ms since the boot\n",
            name.map_or_else(|| of("id"), |name| printable(name).to_string()),
            of("mono_ms")
        ));
    }
    if all.is_empty() {
        all.push_str("nothing\n");
    }
    all
}
