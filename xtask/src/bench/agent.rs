//! The agent under test: its configuration and rules, written for one run, and its process from start
//! to shutdown. What it is fed and what is expected of it is left to `workload`.

use super::event;
use super::mqtt::{Arrival, Connection, publish};
use super::usage::{self, Usage};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time after the agent's start until each device has a result.
const READY_WAIT: Duration = Duration::from_secs(60);

/// Longest time for an orderly end: longer than the agent's own grace.
const STOP_WAIT: Duration = Duration::from_secs(15);

/// Settings of the agent.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The binary.
    pub(super) program: PathBuf,
    pub(super) protocol: String,
    /// The broker's `coalesce` key; none leaves the agent's default.
    pub(super) coalesce: Option<String>,
    /// The broker's `commit_events` key; none leaves the agent's default.
    pub(super) commit_events: Option<u64>,
    /// Durability of the rules.
    pub(super) durability: Durability,
    /// What else stands in the configuration.
    pub(super) more: &'static str,
}

/// Fate of events in a crash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Durability {
    /// Events are gone with the memory.
    Volatile,
    /// Events count exactly once.
    ExactlyOnce,
}

impl Durability {
    /// The name that a rule uses.
    pub(super) fn name(self) -> &'static str {
        match self {
            Durability::Volatile => "volatile",
            Durability::ExactlyOnce => "exactly-once",
        }
    }
}

/// A rule's manifest and the name of its file.
pub(super) struct Rule {
    name: String,
    /// Without the line on durability, which is the setting's.
    manifest: String,
    module: Option<&'static [u8]>,
}

/// `(module (func (export "on_event") (result i32) (i32.const 1)))`
const PASS: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\
    \x07\x0c\x01\x08on_event\0\0\x0a\x06\x01\x04\0\x41\x01\x0b";

/// Passes everything on.
pub(super) fn pass_rule(name: &str, topic_filter: &str) -> Rule {
    let function = format!("wasm = \"{name}.wasm\"");
    let mut rule = rule(name, topic_filter, "", &function);
    rule.module = Some(PASS);
    rule
}

/// Runs a module in the text format.
pub(super) fn wasm_rule(name: &str, topic_filter: &str, wat: &str) -> Result<Rule> {
    let function = format!("wasm = \"{name}.wasm\"");
    let mut rule = rule(name, topic_filter, "", &function);
    // The last level of the topic is the device.
    let level = topic_filter.split('/').position(|level| level == "+");
    let key = format!("{{topic.{}}}", level.unwrap_or(1));
    rule.manifest = rule.manifest.replace("{topic.1}", &key);
    // As many modules as a run has rules of this kind; the process ends with the runs.
    rule.module = Some(Box::leak(wat::parse_str(wat)?.into_boxed_slice()));
    Ok(rule)
}

/// Runs a statement whose results go to this topic.
pub(super) fn sql_rule(name: &str, topic_filter: &str, sql: &str, to: &str) -> Rule {
    let function = format!("sql = \"{sql}\"");
    let mut rule = rule(name, topic_filter, "", &function);
    rule.manifest = rule.manifest.replace("out/{key}", to);
    if sql.contains("GROUP BY") {
        // The column that it groups by is the key.
        rule.manifest = rule.manifest.replace("key = \"{topic.1}\"\n", "");
    }
    rule
}

/// Passes on what is hotter than 50 degrees.
pub(super) fn filter_rule(name: &str, topic_filter: &str) -> Rule {
    let function = "stock = \"threshold\"\n\n[params]\nlimit = 50";
    rule(name, topic_filter, TEMPERATURE, function)
}

/// Keeps mean and variance of each device, and sends for every event how far it is from them.
pub(super) fn score_rule(name: &str, topic_filter: &str) -> Rule {
    let function = "stock = \"ewma\"\n\n[params]\nwarm_up = 2\nmin_deviation = 1\nthreshold = 1000";
    let mut rule = rule(name, topic_filter, TEMPERATURE, function);
    // The port has to be there, and no temperature is that far from the others.
    let far = "[ports.out]\nto = \"local\"\ntopic = \"far/{key}\"\n\n[ports.score]";
    rule.manifest = rule.manifest.replace("[ports.out]", far);
    rule
}

/// Averages over one second.
pub(super) fn average_rule(name: &str, topic_filter: &str) -> Rule {
    let function = "stock = \"average\"\n\n[window]\ntumbling = \"1s\"";
    rule(name, topic_filter, TEMPERATURE, function)
}

/// Does as [`filter_rule`], in SQL.
pub(super) fn sql_filter_rule(name: &str, topic_filter: &str) -> Rule {
    let function = "sql = \"SELECT * FROM input WHERE temperature > 50\"";
    rule(name, topic_filter, "", function)
}

/// Does as [`average_rule`], in SQL.
pub(super) fn sql_average_rule(name: &str, topic_filter: &str) -> Rule {
    let function = "sql = \"SELECT device AS key, avg(temperature) AS average, count(*) AS count \
                    FROM input GROUP BY device, TUMBLINGWINDOW(ss, 1)\"";
    let mut rule = rule(name, topic_filter, "", function);
    // The column that it groups by is the key.
    rule.manifest = rule.manifest.replace("key = \"{topic.1}\"\n", "");
    rule
}

const TEMPERATURE: &str = "[inputs]\nvalue = \"/temperature\"\n";

fn rule(name: &str, topic_filter: &str, inputs: &str, function: &str) -> Rule {
    let manifest = format!(
        r#"name = "{name}"
version = 1

[on]
mqtt = ["{topic_filter}"]
key = "{{topic.1}}"

{inputs}
[ports.out]
to = "local"
topic = "out/{{key}}"

[function]
{function}
"#
    );
    let name = name.to_owned();
    Rule {
        name,
        manifest,
        module: None,
    }
}

/// Ends with its owner, at the latest.
pub(super) struct Agent {
    process: Child,
    log: PathBuf,
}

impl Agent {
    /// Writes its files into `folder` and starts it.
    pub(super) fn start(
        setting: &Setting,
        folder: &Path,
        port: u16,
        qos: u8,
        rules: &[Rule],
    ) -> Result<Self> {
        let rules_dir = folder.join("rules");
        fs::create_dir_all(&rules_dir)?;
        let durability = setting.durability.name();
        for rule in rules {
            let file = |ending| rules_dir.join(format!("{}.{ending}", rule.name));
            let manifest = format!("durability = \"{durability}\"\n{}", rule.manifest);
            fs::write(file("toml"), manifest)?;
            if let Some(module) = rule.module {
                fs::write(file("wasm"), module)?;
            }
        }
        let config = folder.join("agent.toml");
        fs::write(&config, configuration(setting, folder, port, qos))?;
        let log = folder.join("agent.log");
        let process = Command::new(&setting.program)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {}", setting.program.display()))?;
        Ok(Self { process, log })
    }

    /// Returns once a hot event of each device has led to a result, and `settle` has gone by without another one.
    pub(super) fn wait_until_ready(
        &mut self,
        port: u16,
        devices: u64,
        settle: Duration,
    ) -> Result<()> {
        let mut hot = (0..).filter(|&seq| event::is_hot(seq));
        let hot = hot.next().expect("one event in ten is hot");
        let mut connection = Connection::open(port, "bench-probe")?;
        connection.subscribe("out/#", 0)?;
        connection.patience(Duration::from_millis(100))?;
        let result_topic = |device| (format!("out/{}", event::device(device)), device);
        let mut silent: BTreeMap<String, u64> = (0..devices).map(result_topic).collect();
        let begun = Instant::now();
        while !silent.is_empty() {
            self.check_alive()?;
            if begun.elapsed() > READY_WAIT {
                let count = silent.len();
                bail!(
                    "{count} of {devices} devices got no result: {}",
                    self.log()?
                );
            }
            for &device in silent.values() {
                let payload = event::payload(device, hot, event::now_ns());
                connection.send(&publish(&event::topic(device), payload.as_bytes(), None))?;
            }
            // Events of this round are answered before the next ones are sent, or nearly so.
            let mut quiet = false;
            while !quiet {
                quiet = 0 == answers(&mut connection, |topic| _ = silent.remove(topic))?;
            }
        }
        connection.patience(settle)?;
        while answers(&mut connection, |_| ())? > 0 {}
        Ok(())
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the agent ended ({status}): {}", self.log()?),
        }
    }

    /// Its configuration.
    pub(super) fn config(&self) -> PathBuf {
        self.log.with_file_name("agent.toml")
    }

    /// Sends it a signal, such as `HUP`.
    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let kill = format!("kill -{name} {}", self.process.id());
        Command::new("sh").args(["-c", &kill]).status()?;
        Ok(())
    }

    /// What it has logged so far.
    pub(super) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    pub(super) fn usage(&mut self) -> Result<Usage> {
        self.check_alive()?;
        usage::of(self.process.id())
    }

    /// Asks it to end, and fails unless it does so in good order. Returns its log.
    pub(super) fn stop(mut self) -> Result<String> {
        self.check_alive()?;
        self.signal("TERM")?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_WAIT {
            match self.process.try_wait()? {
                None => thread::sleep(Duration::from_millis(10)),
                Some(status) if status.success() => return self.log(),
                Some(status) => bail!("the agent ended badly ({status}): {}", self.log()?),
            }
        }
        bail!("the agent did not end when asked to")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads once; tells each message's topic, and how many there were.
fn answers(connection: &mut Connection, mut each: impl FnMut(&str)) -> Result<u64> {
    let mut count = 0;
    let open = connection.receive(|arrival| {
        if let Arrival::Message { topic, .. } = arrival {
            count += 1;
            each(&String::from_utf8_lossy(topic));
        }
    })?;
    if !open {
        bail!("the broker closed the connection");
    }
    Ok(count)
}

fn configuration(setting: &Setting, folder: &Path, port: u16, qos: u8) -> String {
    let (protocol, folder, more) = (&setting.protocol, folder.display(), setting.more);
    let coalesce = setting.coalesce.as_ref();
    let coalesce = coalesce.map_or(String::new(), |wait| format!("coalesce = \"{wait}\"\n"));
    let commit_events = setting.commit_events;
    let commit_events =
        commit_events.map_or(String::new(), |count| format!("commit_events = {count}\n"));
    format!(
        r#"[gateway]
id = "bench"
data_dir = "{folder}/data"
rules_dir = "{folder}/rules"

[broker]
url = "mqtt://127.0.0.1:{port}"
protocol = "{protocol}"
qos = {qos}
{coalesce}{commit_events}{more}"#
    )
}
