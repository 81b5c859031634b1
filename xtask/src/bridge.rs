//! `cargo xtask bridge`: the whole way of a line, live: a board, the bridge, a broker, an agent with a rule, and a
//! broker upstream. The files are those of `examples/bridge`.

use crate::args::{Args, Misuse};
use crate::bench::broker::Broker;
use crate::bench::mqtt::{Arrival, Connection, put_ack};
use crate::setup;
use crate::shell::{Workspace, run, say};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The text of `cargo xtask bridge --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bridge [OPTIONS]

A board says its temperature on a pseudo-terminal; the bridge brings each line to a broker, an agent's rule takes it
from there, and what arrives upstream is shown. Halfway the bridge is killed and started again. In the end no line may be missing.

  --for D     how long (default 30s)
";

/// Time for what is under way to arrive once the board has ended.
const DRAIN: Duration = Duration::from_secs(10);

/// A program that ends with its owner, by SIGTERM.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let child = command.spawn();
        child
            .map(Self)
            .with_context(|| format!("cannot start {}", program.display()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Lines that arrived upstream.
#[derive(Default)]
struct Arrived {
    numbers: BTreeSet<u64>,
    twice: u64,
}

/// Builds all of it and runs the story.
pub(crate) fn bridge(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &[], &["for"])?;
    args.no_words()?;
    let length = seconds(args.text("for").unwrap_or("30s"))?;
    setup::for_bridge()?;
    say("building agent and bridge; the first time takes a few minutes");
    let build = [
        "build",
        "--release",
        "--package",
        "tidemill",
        "--package",
        "tidemill-bridge",
    ];
    run(workspace
        .cargo(&build)
        .args(["--bins", "--example", "board"]))?;
    let folder = std::env::temp_dir().join(format!("tidemill-bridge-story-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = story(workspace, &folder, length);
    let _ = fs::remove_dir_all(&folder);
    outcome
}

/// Reads `30s` or `2m`.
fn seconds(text: &str) -> Result<Duration> {
    let (number, per) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => ("", 0),
    };
    let number: Option<u64> = number.parse().ok();
    let wrong = || Misuse(format!("--for: {text:?} is no duration; write 30s or 2m"));
    Ok(Duration::from_secs(number.ok_or_else(wrong)? * per))
}

fn story(workspace: &Workspace, folder: &Path, length: Duration) -> Result<()> {
    let brokers = ["local", "upstream"].map(|name| -> Result<Broker> {
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        Broker::start(&folder)
    });
    let [local, upstream] = brokers;
    let (local, upstream) = (local?, upstream?);
    write_files(workspace, folder, local.port, upstream.port)?;
    let mut cloud = Connection::open(upstream.port, "cloud")?;
    cloud.subscribe("plant/#", 1)?;
    cloud.patience(Duration::from_millis(200))?;
    let release = |name: &str| workspace.target.join("release").join(name);
    let log = |name: &str| fs::File::create(folder.join(name));
    let mut agent = Command::new(release("tidemill"));
    agent
        .args(["run", "--config"])
        .arg(folder.join("agent.toml"))
        .stderr(log("agent.log")?);
    let _agent = Running::start(&mut agent)?;
    // What a broker takes for nobody is taken: a line before that would never get any further.
    wait_for("the agent's subscription", || {
        let log = fs::read_to_string(folder.join("agent.log"));
        log.is_ok_and(|log| log.contains("subscribed"))
    })?;
    let mut bridge = Command::new(release("tidemill-bridge"));
    bridge
        .args(["run", "--config"])
        .arg(folder.join("bridge.toml"));
    let bridge_runs = Running::start(&mut bridge)?;
    let mut arrived = Arrived::default();
    let end = Instant::now() + length;
    let cable = Running::start(&mut cable(folder))?;
    let pty = folder.join("board");
    wait_for("socat's terminal", || pty.exists())?;
    let mut board = Command::new(release("examples/board"));
    board
        .arg(folder.join("board"))
        .arg("5")
        .stderr(Stdio::null());
    let board = Running::start(&mut board)?;
    let halfway = Instant::now() + length / 2;
    let mut killed = None;
    let mut bridge_runs = Some(bridge_runs);
    while Instant::now() < end {
        arrived.receive(&mut cloud)?;
        if killed.is_none() && Instant::now() >= halfway {
            say(
                "the bridge is killed and started again; the board keeps what was not acknowledged",
            );
            if let Some(mut running) = bridge_runs.take() {
                running.0.kill()?;
                drop(running);
            }
            killed = Some(Instant::now());
            bridge_runs = Some(Running::start(&mut bridge)?);
        }
    }
    drop(board);
    let last = Instant::now() + DRAIN;
    while Instant::now() < last && arrived.missing() > 0 {
        arrived.receive(&mut cloud)?;
    }
    drop(cable);
    arrived.summary()
}

/// Two pseudo-terminals, joined as by a cable.
fn cable(folder: &Path) -> Command {
    let end = |name: &str| format!("pty,raw,echo=0,link={}", folder.join(name).display());
    let mut socat = Command::new("socat");
    socat.args([end("board"), end("tty")]);
    socat
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !is_there() {
        if Instant::now() > give_up {
            bail!("{what} does not appear");
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The example's files, with the ports of this run in the place of those that stand there.
fn write_files(workspace: &Workspace, folder: &Path, local: u16, upstream: u16) -> Result<()> {
    let example: PathBuf = workspace.root.join("examples/bridge");
    fs::create_dir(folder.join("rules"))?;
    for name in ["bridge.toml", "agent.toml", "rules/temperature.toml"] {
        let text = fs::read_to_string(example.join(name))
            .with_context(|| format!("examples/bridge/{name}"))?;
        let tty = folder.join("tty").display().to_string();
        let lines = text.lines().map(|line| match line.strip_prefix("path = ") {
            Some(_) => format!("path = {tty:?}\n"),
            None => format!("{line}\n"),
        });
        let text: String = lines.collect();
        let text = text
            .replace(":1883", &format!(":{local}"))
            .replace(":1884", &format!(":{upstream}"))
            .replace(
                "\"control\"",
                &format!("{:?}", folder.join("control").display().to_string()),
            );
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

impl Arrived {
    fn receive(&mut self, cloud: &mut Connection) -> Result<()> {
        let mut answers = Vec::new();
        let open = cloud.receive(|arrival| {
            if let Arrival::Message { topic, payload, id } = arrival {
                self.take(topic, payload);
                id.into_iter().for_each(|id| put_ack(&mut answers, id));
            }
        })?;
        if !open {
            bail!("the upstream broker hung up");
        }
        Ok(cloud.send(&answers)?)
    }

    fn take(&mut self, topic: &[u8], payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let digits = text.split("\"n\":").nth(1).unwrap_or_default();
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse() else { return };
        self.twice += u64::from(!self.numbers.insert(number));
        if number % 10 == 1 {
            say(format!("{} {text}", String::from_utf8_lossy(topic)));
        }
    }

    /// Lines below the highest that did not arrive.
    fn missing(&self) -> u64 {
        let highest = self.numbers.last().copied().unwrap_or(0);
        highest - self.numbers.len() as u64
    }

    fn summary(&self) -> Result<()> {
        let (count, missing, twice) = (self.numbers.len(), self.missing(), self.twice);
        say(format!(
            "{count} lines arrived upstream, {missing} are missing, {twice} came twice"
        ));
        if count == 0 || missing > 0 || twice > 0 {
            bail!("each line has to arrive once");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_came_twice_is_counted() {
        let mut arrived = Arrived::default();
        for payload in [
            "{\"n\":1,\"t\":20.0}",
            "{\"n\":2}",
            "{\"n\":4}",
            "{\"n\":4}",
            "no line",
        ] {
            arrived.take(b"plant/th-1/temperature", payload.as_bytes());
        }
        assert_eq!((arrived.missing(), arrived.twice), (1, 1));
        assert!(arrived.summary().is_err());
        arrived = Arrived::default();
        arrived.take(b"plant/th-1/temperature", b"{\"n\":1}");
        assert!(arrived.summary().is_ok());
        assert!(Arrived::default().summary().is_err());
    }
}
