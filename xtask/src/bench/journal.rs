//! `cargo xtask journal`: what durability costs a flash card. The agent's data directory lies on a loop
//! device whose writes the kernel counts; every event of 100 bytes makes a result. Measured is only once
//! the journal's files are used again, or it is said that they were not.

use super::agent::{Agent, Durability, Rule, Setting, pass_rule, score_rule};
use super::broker::Broker;
use super::event;
use super::loop_device::{LoopDevice, Written};
use super::mqtt::{Arrival, Connection, publish, put_ack};
use super::publish::WINDOW;
use super::report::{self, Figures, Row};
use super::workload::Folder;
use crate::args::Args;
use crate::setup;
use crate::shell::{Workspace, say};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// The text of `cargo xtask journal --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask journal [OPTIONS]

Bytes written per event at the block layer (a loop device with ext4, as root): a rule that forwards every
event of 100 bytes, QoS 1, with commit_events 10 and 100 in a flood, with default settings at 10, 100 and
1,000 events a second and in a flood, with a rule that keeps state for each of 100 devices and sends a
number for every event, and with a volatile rule, which writes no journal.

  --seconds N        how long each pace is measured (default 60)
  --count N          events of a measured flood (default 200,000)
  --warm-up N        events at most before measuring; it ends when files are used again (default 2,000,000)
  --agent FILE       measure this binary (default: build target/release/tidemill)
  --json             one line of JSON instead of the table

  b_per_event    bytes at the block layer, file-system journal included, divided by events
  gb_per_day     the same going on for a day at that pace
  reused         1: while warming up, files stopped growing and were used again. 0: the figures include
                 making new segments, which costs each byte twice
  Checkpoints come every 16 MiB of journal (two segments) at the soonest, and every 10 minutes; a window
  without one does not show their share.
";

/// Enough for the journal between checkpoints of both ponds, and more.
const DISK_MIB: u64 = 2_048;

/// Events between two looks at the disk while warming up.
const WARM_UP_STEP: u64 = 20_000;

/// Written without any growth of files, so much says that they are used again: three segments.
const REUSED_BYTES: u64 = 24 << 20;

/// Growth that is no segment: logs and ponds of a few pages.
const GROWTH_BYTES: u64 = 256 << 10;

/// Longest time until the agent's next result.
const PATIENCE: Duration = Duration::from_secs(30);

/// After the last result; the cursor's own commit comes within it.
const REST: Duration = Duration::from_secs(2);

const DEVICES: u64 = 100;

/// Settings that are measured on one data directory, at these paces; 0 is a flood.
struct Case {
    name: &'static str,
    durability: Durability,
    commit_events: Option<u64>,
    rates: &'static [u64],
    rule: fn() -> Rule,
}

const CASES: [Case; 5] = [
    Case {
        name: "commit_events 10",
        durability: Durability::ExactlyOnce,
        commit_events: Some(10),
        rates: &[0],
        rule: forwarding,
    },
    Case {
        name: "commit_events 100",
        durability: Durability::ExactlyOnce,
        commit_events: Some(100),
        rates: &[0],
        rule: forwarding,
    },
    Case {
        name: "default",
        durability: Durability::ExactlyOnce,
        commit_events: None,
        rates: &[0, 1_000, 100, 10],
        rule: forwarding,
    },
    Case {
        name: "state",
        durability: Durability::ExactlyOnce,
        commit_events: None,
        rates: &[0, 1_000, 100],
        rule: scoring,
    },
    Case {
        name: "volatile",
        durability: Durability::Volatile,
        commit_events: None,
        rates: &[0],
        rule: forwarding,
    },
];

fn forwarding() -> Rule {
    pass_rule("pass", "sensors/+/env")
}

fn scoring() -> Rule {
    score_rule("score", "sensors/+/env")
}

/// Values of the options.
struct Options {
    seconds: u64,
    count: u64,
    warm_up: u64,
}

/// Measures all cases.
pub(crate) fn journal(workspace: &Workspace, words: &[String]) -> Result<()> {
    let values = ["seconds", "count", "warm-up", "agent"];
    let args = Args::parse(words.iter().cloned(), &["json"], &values)?;
    args.no_words()?;
    let options = Options {
        seconds: args.number("seconds")?.unwrap_or(60),
        count: args.number("count")?.unwrap_or(200_000),
        warm_up: args.number("warm-up")?.unwrap_or(2_000_000),
    };
    if options.seconds == 0 || options.count == 0 {
        bail!("--seconds and --count are at least 1");
    }
    // Before anything is built: whether it can be measured here at all.
    let folder = Folder::new()?;
    drop(LoopDevice::mount(
        &folder.path,
        &folder.path.join("try"),
        16,
    )?);
    if cfg!(debug_assertions) {
        let with_agent = args.text("agent").is_none();
        return super::become_release_build(workspace, "journal", words, with_agent);
    }
    setup::for_benches()?;
    let program = match args.text("agent") {
        Some(path) => path.into(),
        None => workspace.target.join("release/tidemill"),
    };
    let setting = Setting {
        program,
        protocol: "auto".to_owned(),
        coalesce: None,
        commit_events: None,
        durability: Durability::ExactlyOnce,
        more: "",
    };
    let mut rows = Vec::new();
    let measured = CASES.iter().try_for_each(|case| {
        let setting = Setting {
            commit_events: case.commit_events,
            durability: case.durability,
            ..setting.clone()
        };
        measure(case, &setting, &options, &mut rows).with_context(|| case.name.to_owned())
    });
    // Figures measured before something failed took their time: they are shown all the same.
    let text = if args.flag("json") {
        report::json(&rows, 1) + "\n"
    } else {
        report::table(&rows)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    measured
}

/// Warms one data directory up and measures it at each pace.
fn measure(case: &Case, setting: &Setting, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    let folder = Folder::new()?;
    let disk = LoopDevice::mount(&folder.path, &folder.path.join("data"), DISK_MIB)?;
    let broker = Broker::start(&folder.path)?;
    let rule = (case.rule)();
    let mut agent = Agent::start(setting, &folder.path, broker.port, 1, &[rule])?;
    agent.wait_until_ready(broker.port, DEVICES, Duration::from_millis(300))?;
    let mut load = Load::new(broker.port)?;
    say(format!("{}: warming up", case.name));
    let (warm_up, reused) = match case.durability {
        Durability::Volatile => (load.run(WARM_UP_STEP, 0)?.events, f64::NAN),
        Durability::ExactlyOnce => warm_up(&mut load, &disk, options.warm_up)?,
    };
    for &rate in case.rates {
        let pace = match rate {
            0 => "flood".to_owned(),
            _ => format!("{rate}/s"),
        };
        say(format!("{}, {pace}: measuring", case.name));
        let count = match rate {
            0 => options.count,
            _ => rate * options.seconds,
        };
        thread::sleep(REST);
        let before = disk.settled()?;
        let ran = load.run(count, rate)?;
        thread::sleep(REST);
        let after = disk.settled()?;
        agent.usage()?; // Fails when the agent has ended.
        let mut figures = figures(&ran, before, after);
        figures.extend([("warm_up_events", warm_up as f64), ("reused", reused)]);
        rows.push(Row {
            name: format!("{}, {pace}", case.name),
            figures,
        });
    }
    drop(load);
    agent.stop()?;
    Ok(())
}

/// Sends events until files are used again; how many it took, and whether that was seen.
fn warm_up(load: &mut Load, disk: &LoopDevice, most: u64) -> Result<(u64, f64)> {
    let (mut events, mut highest, mut quiet) = (0, 0, 0);
    while events < most {
        let before = disk.written()?.bytes;
        events += load.run(WARM_UP_STEP.min(most - events), 0)?.events;
        let used = disk.used_bytes()?;
        quiet += disk.written()?.bytes - before;
        if used > highest + GROWTH_BYTES {
            (highest, quiet) = (used, 0);
        }
        if quiet >= REUSED_BYTES {
            return Ok((events, 1.0));
        }
    }
    Ok((events, 0.0))
}

fn figures(ran: &Ran, before: Written, after: Written) -> Figures {
    let events = ran.events as f64;
    let seconds = ran.took.as_secs_f64();
    let bytes = (after.bytes - before.bytes) as f64;
    vec![
        ("b_per_event", bytes / events),
        ("gb_per_day", bytes / seconds * 86_400.0 / 1e9),
        ("events_per_s", events / seconds),
        (
            "writes_per_s",
            (after.requests - before.requests) as f64 / seconds,
        ),
        (
            "flushes_per_s",
            (after.flushes - before.flushes) as f64 / seconds,
        ),
    ]
}

/// Counts of a run.
struct Ran {
    events: u64,
    took: Duration,
}

/// Sends events and takes what comes of them, on one thread: neither is measured here.
struct Load {
    sensor: Connection,
    results: Connection,
    sent: u64,
}

impl Load {
    fn new(port: u16) -> Result<Self> {
        let mut results = Connection::open(port, "journal-results")?;
        results.subscribe("out/#", 1)?;
        results.patience(Duration::from_millis(1))?;
        let mut sensor = Connection::open(port, "journal-sensor")?;
        sensor.patience(Duration::from_millis(1))?;
        Ok(Self {
            sensor,
            results,
            sent: 0,
        })
    }

    /// Sends so many events at this pace and returns when all have come back.
    fn run(&mut self, count: u64, rate: u64) -> Result<Ran> {
        let due = |seq: u64| Duration::from_nanos(seq * 1_000_000_000 / rate.max(1));
        let begun = Instant::now();
        let (mut sent, mut taken, mut came) = (0, 0, 0);
        let mut last = Instant::now();
        while came < count {
            let mut batch = Vec::new();
            while sent < count
                && sent - taken < WINDOW
                && (rate == 0 || due(sent) <= begun.elapsed())
            {
                batch.extend(self.event());
                sent += 1;
            }
            self.sensor.send(&batch)?;
            if taken < sent {
                self.sensor
                    .receive(|arrival| taken += u64::from(arrival == Arrival::Acknowledged))?;
            }
            let before = came;
            let mut acks = Vec::new();
            self.results.receive(|arrival| {
                if let Arrival::Message { id, .. } = arrival {
                    came += 1;
                    id.into_iter().for_each(|id| put_ack(&mut acks, id));
                }
            })?;
            self.results.send(&acks)?;
            if came > before || taken == came {
                last = Instant::now();
            }
            if last.elapsed() > PATIENCE {
                bail!("{came} of {count} events came back, then no more");
            }
        }
        Ok(Ran {
            events: count,
            took: begun.elapsed(),
        })
    }

    fn event(&mut self) -> Vec<u8> {
        let seq = self.sent;
        self.sent += 1;
        let id = (seq % 65_535 + 1) as u16;
        publish(
            &event::topic(seq % DEVICES),
            payload(seq).as_bytes(),
            Some(id),
        )
    }
}

/// JSON of 100 bytes.
fn payload(seq: u64) -> String {
    let ns = event::now_ns();
    format!(
        r#"{{"device":"{}","ns":{ns:019},"seq":{:010},"temperature":{:05.2},"humidity":55.212345}}"#,
        event::device(seq % DEVICES),
        event::SEQ_BASE + seq,
        event::centidegrees(seq) as f64 / 100.0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_has_a_hundred_bytes() {
        for seq in [0, 1, 99, 12_345, 65_535, 9_999_999] {
            assert_eq!(payload(seq).len(), 100, "{}", payload(seq));
        }
    }

    #[test]
    fn bytes_per_event_and_per_day_are_of_the_measured_window() {
        let ran = Ran {
            events: 1_000,
            took: Duration::from_secs(10),
        };
        let written = |bytes, requests, flushes| Written {
            bytes,
            requests,
            flushes,
        };
        let figures = figures(&ran, written(500, 5, 1), written(500_500, 105, 51));
        let expected = [500.0, 4.32, 100.0, 10.0, 5.0];
        let values: Vec<_> = figures.iter().map(|figure| figure.1).collect();
        assert_eq!(values, expected);
    }
}
