//! `cargo xtask bench`: the release build of the agent, end to end with a private mosquitto. Reads the
//! options, repeats each case, prints medians. Generator, processes and workloads stand below this module.

mod against;
mod agent;
pub(crate) mod broker;
mod event;
pub(crate) mod journal;
mod loop_device;
mod measure;
pub(crate) mod mqtt;
mod publish;
mod report;
mod shares;
mod usage;
mod workload;

use crate::args::Args;
use crate::setup;
use crate::shell::{Workspace, run, say};
use agent::{Durability, Setting};
use anyhow::{Context, Result, bail};
use publish::Plan;
use report::{Figures, Row};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use workload::Work;

/// The text of `cargo xtask bench --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [WORKLOAD…] [OPTIONS]

  w1        one rule passes on events above 50 degrees: one in ten, of 100 devices
  durable   w1 at QoS 1, its rule volatile and then exactly-once, in a flood and at 1,000 events a second
  w2        one rule averages each of 100 devices over tumbling windows of a second
  sql       w1 and w2 by statements in SQL
  rules     1 rule against 1,000 rules that each have their own topic; 1,000 devices
  startup   from the agent's start to its first result, while 500 events a second come in
  idle      memory after 10 s without events
  noise     ten honest rules at 2,000 events a second, alone and beside 10,000 keys with 32 timers each at full
            fuel and windows that close for 10,000 keys with 400 bytes each; then a stop
  inspect   1,000 `tidemill inspect ledger`, one after the other, in a flood that costs 500,000 units of fuel an event
  reload    1,000 rules in SQL at 1,000 events a second, alone and while they are read again and again
  broker    no agent: what mosquitto and this load generator manage by themselves
  prices    by itself: host time per unit of fuel of every import and every function of SQL with bad arguments,
            in times of that of plain Wasm; the worst ten, and an error if one is above 4
Without a workload: w1 durable w2 sql rules startup idle.

  --rate N           events a second; 0 is as fast as the broker takes them
                     (default: w1 at 0, 5000 and 1000; w2 at 0 and 5000, also in SQL; the others at 0)
  --count N          events in a run (default: 500,000 in a flood, else ten seconds' worth)
  --qos 0|1          of events and results (default 0)
  --protocol P       what the agent speaks: auto, 5 or 3.1.1 (default auto)
  --coalesce D       the agent's `coalesce`, such as 2ms (default: the agent's own)
  --runs N           repetitions; medians are shown, but the worst of lost, duplicates, strange, max_ms
                     (default 3)
  --agent FILE       measure this binary (default: build target/release/tidemill)
  --against OTHER    compare with another binary, or a git revision, which is built first: both run in
                     turn, and the median of the ratios of their CPU time is shown with its 95 %
                     interval; pairs are added until that is 0.04 wide, at least 15 and at most 60.
                     Without a workload: w1 and w2 at QoS 0 and 1 over MQTT 5 and 3.1.1, sql, durable;
                     without --rate: in floods
  --json             one line of JSON instead of the table

  cpu_s_per_m is the agent's CPU seconds (user and system) per million events: the figure to trust on
  a busy machine. Where sender_late_ms is large, a run measured the generator.
";

const VALUES: [&str; 8] = [
    "rate", "count", "qos", "protocol", "coalesce", "runs", "agent", "against",
];

/// Number of rules that the workload `rules` loads; as many devices have one each.
const RULES: u64 = 1_000;

/// Values of the options.
struct Options {
    rate: Option<u64>,
    count: Option<u64>,
    qos: u8,
    runs: usize,
    setting: Setting,
    /// The binary to compare with.
    against: Option<PathBuf>,
}

/// Measures what `words` name.
pub(crate) fn bench(workspace: &Workspace, words: &[String]) -> Result<()> {
    let args = Args::parse(words.iter().cloned(), &["json"], &VALUES)?;
    if args.words == ["prices"] {
        let bench = ["bench", "--package", "tidemill", "--bench", "prices"];
        return run(&mut workspace.cargo(&bench));
    }
    let options = options(workspace, &args)?;
    if cfg!(debug_assertions) {
        return become_release_build(workspace, "bench", words, args.text("agent").is_none());
    }
    setup::for_benches()?;
    let workloads: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let rows = Vec::new();
    let mut bench = Bench { options, rows };
    let measured = match (workloads.is_empty(), bench.options.against.is_some()) {
        (false, _) => bench.all(&workloads),
        (true, false) => bench.all(&["w1", "durable", "w2", "sql", "rules", "startup", "idle"]),
        (true, true) => bench.all_floods(&args),
    };
    // Figures measured before something failed took their time: they are shown all the same.
    let text = if args.flag("json") {
        report::json(&bench.rows, bench.options.runs) + "\n"
    } else {
        report::table(&bench.rows)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    measured
}

fn options(workspace: &Workspace, args: &Args) -> Result<Options> {
    let qos = args.number("qos")?.unwrap_or(0);
    let runs = args.number("runs")?.unwrap_or(3);
    let protocol = args.text("protocol").unwrap_or("auto");
    if qos > 1 || runs == 0 || args.number("count")? == Some(0) {
        bail!("--qos is 0 or 1, --runs and --count are at least 1");
    }
    if !["auto", "5", "3.1.1"].contains(&protocol) {
        bail!("--protocol is auto, 5 or 3.1.1");
    }
    let program = match args.text("agent") {
        Some(path) => path.into(),
        None => workspace.target.join("release/tidemill"),
    };
    let against = args.text("against");
    let against = against.map(|other| against::binary(workspace, other));
    let against = against.transpose()?;
    let paces = args.number("rate")?;
    Ok(Options {
        rate: paces.or(against.as_ref().map(|_| 0)),
        count: args.number("count")?,
        qos,
        runs,
        setting: Setting {
            program,
            protocol: protocol.to_owned(),
            coalesce: args.text("coalesce").map(str::to_owned),
            commit_events: None,
            durability: Durability::Volatile,
            more: "",
        },
        against,
    })
}

/// Builds the generator for release too, lest it take the CPU from what it measures, and goes on as that.
fn become_release_build(
    workspace: &Workspace,
    command: &str,
    words: &[String],
    with_agent: bool,
) -> Result<()> {
    let mut build = workspace.cargo(&["build", "--release", "--package", "xtask"]);
    if with_agent {
        build.args(["--package", "tidemill"]);
    }
    run(&mut build)?;
    let program = workspace.target.join("release/xtask");
    let error = Command::new(&program).arg(command).args(words).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// A measurement under way.
struct Bench {
    options: Options,
    rows: Vec<Row>,
}

impl Bench {
    fn all(&mut self, workloads: &[&str]) -> Result<()> {
        workloads
            .iter()
            .try_for_each(|workload| self.measure(workload))
    }

    /// Measures the workloads of performance.md, at each QoS and over each protocol that was not
    /// chosen.
    fn all_floods(&mut self, args: &Args) -> Result<()> {
        let qos = args.number("qos")?.map_or(vec![0, 1], |qos| vec![qos]);
        let protocols = args
            .text("protocol")
            .map_or(vec!["5", "3.1.1"], |protocol| vec![protocol]);
        for protocol in protocols {
            protocol.clone_into(&mut self.options.setting.protocol);
            for &qos in &qos {
                self.options.qos = qos;
                self.all(&["w1", "w2"])?;
            }
        }
        self.options.qos = args.number("qos")?.unwrap_or(0);
        let protocol = args.text("protocol").unwrap_or("auto");
        protocol.clone_into(&mut self.options.setting.protocol);
        self.all(&["sql", "durable"])
    }

    fn measure(&mut self, workload: &str) -> Result<()> {
        match workload {
            "w1" => self.loaded("w1", Work::Filter, 100, &[0, 5_000, 1_000]),
            "durable" => self.durable(),
            "w2" => self.loaded("w2", Work::Average, 100, &[0, 5_000]),
            "sql" => {
                self.loaded("w1 in SQL", Work::SqlFilter, 100, &[0])?;
                self.loaded("w2 in SQL", Work::SqlAverage, 100, &[0, 5_000])
            }
            "broker" => self.loaded("broker", Work::Nothing, 100, &[0]),
            "rules" => {
                self.loaded("1 rule", Work::Filter, RULES, &[0])?;
                self.loaded("1,000 rules", Work::FilterPerDevice, RULES, &[0])?;
                self.compare_last_two();
                Ok(())
            }
            "startup" => {
                let rate = self.options.rate.unwrap_or(500).max(1);
                let mut plan = self.plan(100, rate);
                plan.count = 60 * rate; // It is stopped long before.
                self.repeat(format!("startup, {rate}/s"), |setting| {
                    workload::startup(plan, setting)
                })
            }
            "noise" => self.shares("noise", 10, 2_000, shares::noise),
            "inspect" => self.shares("inspect", 1, 0, shares::inspect),
            "reload" => self.shares("reload", RULES, 1_000, shares::reload),
            "idle" => self.repeat("idle".to_owned(), workload::idle),
            unknown => {
                bail!("there is no workload {unknown:?}; `cargo xtask bench --help` lists them")
            }
        }
    }

    /// Measures shares of time, with rules that lose nothing.
    fn shares(
        &mut self,
        name: &str,
        devices: u64,
        rate: u64,
        once: fn(&Setting, Plan) -> Result<Figures>,
    ) -> Result<()> {
        let (qos, durability) = (self.options.qos, self.options.setting.durability);
        self.options.qos = 1;
        self.options.setting.durability = Durability::ExactlyOnce;
        self.options.setting.more = shares::LIMITS;
        let plan = self.plan(devices, self.options.rate.unwrap_or(rate));
        let outcome = self.repeat(name.to_owned(), |setting| once(setting, plan));
        self.options.setting.more = "";
        (self.options.qos, self.options.setting.durability) = (qos, durability);
        outcome
    }

    fn loaded(&mut self, name: &str, work: Work, devices: u64, rates: &[u64]) -> Result<()> {
        let asked: Vec<u64> = self.options.rate.into_iter().collect();
        for &rate in if asked.is_empty() { rates } else { &asked } {
            let pace = match rate {
                0 => "flood".to_owned(),
                _ => format!("{rate}/s"),
            };
            let plan = self.plan(devices, rate);
            self.repeat(format!("{name}, {pace}"), |setting| {
                workload::loaded(work, plan, setting)
            })?;
        }
        Ok(())
    }

    /// Measures the cost of losing nothing: each pace with either durability, one after the other,
    /// so that the machine is the same.
    fn durable(&mut self) -> Result<()> {
        let (qos, durability) = (self.options.qos, self.options.setting.durability);
        let asked = self.options.rate;
        self.options.qos = 1;
        for rate in asked.map_or(vec![0, 1_000], |rate| vec![rate]) {
            for durability in [Durability::Volatile, Durability::ExactlyOnce] {
                self.options.setting.durability = durability;
                self.loaded(durability.name(), Work::Filter, 100, &[rate])?;
            }
        }
        (self.options.qos, self.options.setting.durability) = (qos, durability);
        Ok(())
    }

    fn plan(&self, devices: u64, rate: u64) -> Plan {
        let default = if rate == 0 { 500_000 } else { 10 * rate };
        Plan {
            rate,
            count: self.options.count.unwrap_or(default),
            devices,
            qos: self.options.qos,
        }
    }

    fn repeat(&mut self, name: String, once: impl Fn(&Setting) -> Result<Figures>) -> Result<()> {
        let Options { runs, setting, .. } = &self.options;
        if let Some(other) = &self.options.against {
            let (qos, protocol) = (self.options.qos, &setting.protocol);
            let name = format!("{name}, QoS {qos}, {protocol}");
            let other = Setting {
                program: other.clone(),
                ..setting.clone()
            };
            let figures = against::compare(&name, setting, &other, once)?;
            self.rows.push(Row { name, figures });
            return Ok(());
        }
        let mut figures = Vec::new();
        for number in 1..=*runs {
            say(format!("{name}: run {number} of {runs}"));
            figures.push(once(setting).with_context(|| format!("{name}, run {number}"))?);
        }
        let figures = report::medians(&figures);
        self.rows.push(Row { name, figures });
        Ok(())
    }

    /// Adds what the last row costs beyond the one before it.
    fn compare_last_two(&mut self) {
        let [.., one, many] = self.rows.as_slice() else {
            return;
        };
        if self.options.against.is_some() {
            return;
        }
        let of = |row: &Row, name| {
            let mut figures = row.figures.iter();
            figures
                .find(|figure| figure.0 == name)
                .map_or(f64::NAN, |figure| figure.1)
        };
        let cpu = of(many, "cpu_s_per_m") / of(one, "cpu_s_per_m");
        let rss_mb = of(many, "rss_before_mb") - of(one, "rss_before_mb");
        self.rows.push(Row {
            name: "1,000 rules to 1".to_owned(),
            figures: vec![
                ("cpu_ratio", cpu),
                ("rss_kb_per_rule", rss_mb * 1e3 / (RULES - 1) as f64),
            ],
        });
    }
}
