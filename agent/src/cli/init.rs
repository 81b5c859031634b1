//! `tidemill init`: a gateway to begin with, as files in a folder, and the commands to go on with.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tidemill_bundle::Scope;

use super::Failure;
use super::fleet::begin;
use super::fleet::key_file::Passphrase;
use crate::config::Broker;
use tidemill_base::console;

pub(super) const HELP: &str = "Writes agent.toml, a rule, events to try it on and a unit for systemd to look at. Nothing is installed or \
started, and files that are there are never written over.

Examples:
  tidemill init                 in this folder
  tidemill init /etc/tidemill
  tidemill init --fleet          and keys, a root of trust and fleet.toml, for `tidemill push`

Exit codes: 0 everything was written, 2 something is there already or cannot be written";

const RULE: &str = r#"name = "overheat"

[on]
mqtt = ["sensors/+/env"]       # what triggers it
key = "{topic.1}"              # state is kept apart for each device

[function]
stock = "threshold"            # others: tidemill rule new NAME, docs/functions.md

[inputs]
value = "/temperature"         # where in the payload

[params]
limit = 50
hysteresis = 2

[ports.out]
to = "local"                   # or a destination of agent.toml
topic = "alerts/{key}"
"#;

const EVENTS: &str = r#"{"at": 1700000000000, "topic": "sensors/d1/env", "payload": {"temperature": 21.5}}
{"at": 1700000001000, "topic": "sensors/d1/env", "payload": {"temperature": 61}}
{"at": 1700000002000, "topic": "sensors/d1/env", "payload": {"temperature": 47}}
"#;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Make a fleet too: keys, a root of trust, fleet.toml, and a gateway that takes pushes
    #[arg(long)]
    fleet: bool,
    /// The gateway's id [default: the name of this machine]
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// The broker, for sensors and, with it, for pushes; makes a fleet
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    #[command(flatten)]
    passphrase: Passphrase,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let dir = &options.dir;
    let wrong = |path: &Path, error: &std::io::Error| {
        Failure::Wrong(vec![format!("{}: {error}", path.display())])
    };
    let is_fleet = options.fleet || options.broker.is_some();
    let broker = options.broker.as_deref().unwrap_or("mqtt://127.0.0.1:1883");
    let id = options.gateway.clone().unwrap_or_else(gateway_id);
    if let Err(error) = Scope::gateway(&id) {
        return Err(Failure::Wrong(vec![format!("--gateway: {error}")]));
    }
    Broker::at(broker).map_err(|why| Failure::Wrong(vec![format!("--broker: {why}")]))?;
    let nearest = dir.ancestors().find(|path| path.symlink_metadata().is_ok());
    if let Some(path) = nearest.filter(|path| !path.is_dir()) {
        let why = format!("{}: it is no folder; name another one", path.display());
        return Err(Failure::Wrong(vec![why]));
    }
    let whole = std::path::absolute(dir).map_err(|error| wrong(dir, &error))?;
    // A gateway's own file hides a pushed rule of its name.
    let rule = if is_fleet {
        "pushed/overheat.toml"
    } else {
        "rules/overheat.toml"
    };
    let files = [
        ("agent.toml", agent(&id, broker, is_fleet)),
        (rule, RULE.to_owned()),
        ("events.jsonl", EVENTS.to_owned()),
        ("tidemill.service", unit(&whole)),
    ];
    let fleet_files = begin::FILES.iter().filter(|_| is_fleet);
    let names = files.iter().map(|(name, _)| name).chain(fleet_files);
    let there = names.map(|name| dir.join(name));
    let there: Vec<String> = there
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| format!("{} is there already", path.display()))
        .collect();
    if !there.is_empty() {
        return Err(Failure::Wrong(there));
    }
    let mut out = console::stdout();
    for (name, text) in &files {
        let path = dir.join(name);
        write_new(&path, text).map_err(|error| wrong(&path, &error))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    if is_fleet {
        let rules = dir.join("rules");
        std::fs::create_dir_all(&rules).map_err(|error| wrong(&rules, &error))?;
        for path in begin::begin(dir, broker, &options.passphrase)? {
            writeln!(out, "wrote {}", path.display())?;
        }
    }
    let here = dir == Path::new(".");
    out.text("\nNext:\n")?;
    if !here {
        writeln!(out, "  cd {}", super::rule_new::quoted(dir))?;
    }
    out.text("  tidemill check --config agent.toml\n")?;
    writeln!(out, "  tidemill rule test {rule} --events events.jsonl")?;
    out.text("  tidemill run --config agent.toml\n")?;
    if is_fleet {
        writeln!(out, "  tidemill push {rule} --to {id} --wait")?;
    }
    Ok(())
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

/// The name of this machine, as far as a gateway may be called so.
fn gateway_id() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.trim().chars().filter(good).take(64).collect();
    match name.as_str() {
        "" | "localhost" => "gateway-1".to_owned(),
        _ => name,
    }
}

fn agent(id: &str, broker: &str, is_fleet: bool) -> String {
    let url = toml::Value::from(broker);
    let fleet = if is_fleet {
        format!(
            r#"
[fleet]                        # rules that are pushed: docs/fleet.md
url = {url}
root = "root.json"             # whose signature counts
groups = []
"#
        )
    } else {
        String::new()
    };
    format!(
        r#"# Every key: docs/configuration.md. `tidemill check` says what is wrong.

[gateway]
id = "{id}"                    # MQTT client id; choose it once, each gateway its own
data_dir = "data"              # state and what waits to be sent; one agent at a time
rules_dir = "rules"

[broker]                       # where sensors publish
url = {url}
# username = "{id}"
# password_file = "password"   # a file that holds the password and nothing else

# [destinations.cloud]         # another broker or an HTTP endpoint, for ports with to = "cloud"
# url = "mqtts://broker.example:8883"
{fleet}"#
    )
}

fn unit(dir: &Path) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/tidemill".into());
    let (program, dir) = (program.display(), dir.display());
    format!(
        r#"# To install: copy it to /etc/systemd/system, then systemctl enable --now tidemill
[Unit]
Description=Tidemill, functions on sensor events
After=network-online.target mosquitto.service
Wants=network-online.target

[Service]
Type=notify
ExecStart="{program}" run --config "{dir}/agent.toml"
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={dir}
# A user of its own is better, which owns {dir}/data; docs/install.md says how.
#User=tidemill
#Group=tidemill
UMask=0077
LimitCORE=0
Restart=always
RestartSec=2
# Longer than a checkpoint on a worn card takes.
WatchdogSec=15min
TimeoutStopSec=30
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"#
    )
}
