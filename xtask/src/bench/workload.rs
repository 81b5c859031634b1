//! The workloads: which rules the agent gets, what is sent, what has to come back, and the figures that
//! one run gives. Repeating and printing is left to the command.

use super::agent::{
    Agent, Durability, Rule, Setting, average_rule, filter_rule, sql_average_rule, sql_filter_rule,
};
use super::broker::Broker;
use super::event;
use super::measure::{Expect, collect};
use super::mqtt::{Arrival, Connection};
use super::publish::{self, Plan};
use super::report::Figures;
use anyhow::{Result, anyhow, bail};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Work of the agent on the events of a loaded run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    /// No agent: what the broker and this generator manage by themselves.
    Nothing,
    /// One rule passes the hot events on.
    Filter,
    /// One rule averages each device over a second.
    Average,
    /// As `Filter`, by a rule of its own for each device.
    FilterPerDevice,
    /// As `Filter`, by a statement.
    SqlFilter,
    /// As `Average`, by a statement.
    SqlAverage,
}

impl Work {
    fn rules(self, devices: u64) -> Vec<Rule> {
        let all = "sensors/+/env";
        match self {
            Work::Nothing => Vec::new(),
            Work::Filter => vec![filter_rule("w1", all)],
            Work::Average => vec![average_rule("w2", all)],
            Work::SqlFilter => vec![sql_filter_rule("w1", all)],
            Work::SqlAverage => vec![sql_average_rule("w2", all)],
            Work::FilterPerDevice => (0..devices)
                .map(|d| filter_rule(&format!("w1-{}", event::device(d)), &event::topic(d)))
                .collect(),
        }
    }

    fn expect(self) -> (&'static str, Expect) {
        match self {
            Work::Nothing => ("sensors/+/env", Expect::All),
            Work::Filter | Work::FilterPerDevice | Work::SqlFilter => ("out/#", Expect::Hot),
            Work::Average | Work::SqlAverage => ("out/#", Expect::Counts),
        }
    }

    /// Time without a result after which none is under way: a window's comes up to a second after
    /// its event.
    fn settle(self) -> Duration {
        match self {
            Work::Average | Work::SqlAverage => Duration::from_millis(2_200),
            _ => Duration::from_millis(300),
        }
    }
}

/// Time without a result, after all is sent, after which the missing ones are lost.
const GIVE_UP: Duration = Duration::from_secs(3);

/// Sends `plan` and measures what `work` makes of it.
pub(super) fn loaded(work: Work, plan: Plan, setting: &Setting) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let rules = work.rules(plan.devices);
    let mut agent = match work {
        Work::Nothing => None,
        _ => Some(Agent::start(
            setting,
            &folder.path,
            broker.port,
            plan.qos,
            &rules,
        )?),
    };
    if let Some(agent) = &mut agent {
        agent.wait_until_ready(broker.port, plan.devices, work.settle())?;
    }
    let (filter, expect) = work.expect();
    let mut results = Connection::open(broker.port, "bench-results")?;
    results.subscribe(filter, plan.qos)?;
    let before = agent.as_mut().map(Agent::usage).transpose()?;
    let broker_before = broker.usage()?;

    let (all_sent, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let (sent, measured) = thread::scope(|scope| {
        let collector = scope.spawn(|| collect(results, expect, plan.count, GIVE_UP, &all_sent));
        let sent = publish::run(broker.port, plan, &never);
        all_sent.store(true, Ordering::Release);
        let measured = collector
            .join()
            .map_err(|_| anyhow!("the measuring thread panicked"));
        (sent, measured)
    });
    let (sent, measured) = (sent?, measured??);

    let broker_spent = broker.usage()?.cpu_seconds - broker_before.cpu_seconds;
    let per_million = |seconds: f64| seconds / plan.count as f64 * 1e6;
    let took = measured
        .last
        .map_or(f64::NAN, |last| (last - sent.began).as_secs_f64());
    let latency = |share| measured.latency_ms(share).unwrap_or(f64::NAN);
    let mut figures = vec![
        ("events_per_s", plan.count as f64 / took),
        ("lost", measured.lost() as f64),
        ("duplicates", measured.duplicates as f64),
        ("strange", measured.strange as f64),
        ("p50_ms", latency(0.5)),
        ("p99_ms", latency(0.99)),
        ("max_ms", latency(1.0)),
        ("sender_late_ms", sent.late.as_secs_f64() * 1e3),
        ("broker_cpu_s_per_m", per_million(broker_spent)),
    ];
    if let (Some(before), Some(mut agent)) = (before, agent) {
        let after = agent.usage()?;
        figures.extend([
            (
                "cpu_s_per_m",
                per_million(after.cpu_seconds - before.cpu_seconds),
            ),
            ("rss_before_mb", before.rss_mb),
            ("rss_peak_mb", after.peak_rss_mb),
        ]);
        let log = agent.stop()?;
        if setting.durability == Durability::ExactlyOnce {
            let p99 = commit_p99_ms(&log).unwrap_or(f64::NAN);
            figures.push(("commit_p99_ms", p99));
        }
    }
    Ok(figures)
}

/// The 99th percentile of commit times that the agent logs at its end: `journal commits=7 …
/// p99_us=3100`.
fn commit_p99_ms(log: &str) -> Option<f64> {
    let line = log
        .lines()
        .rfind(|line| line.contains(" journal commits="))?;
    let (_, rest) = line.split_once(" p99_us=")?;
    let us: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(us / 1e3)
}

/// Starts the agent while events are coming in, and takes the time up to its first result.
pub(super) fn startup(plan: Plan, setting: &Setting) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let mut results = Connection::open(broker.port, "bench-results")?;
    results.subscribe("out/#", 0)?;
    results.patience(Duration::from_millis(100))?;
    let enough = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let sender = scope.spawn(|| publish::run(broker.port, plan, &enough));
        // The sender is at its pace before the agent starts.
        thread::sleep(Duration::from_millis(300));
        let took = first_result(&mut results, || {
            let rules = Work::Filter.rules(plan.devices);
            Agent::start(setting, &folder.path, broker.port, plan.qos, &rules)
        });
        enough.store(true, Ordering::Relaxed);
        sender
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        took
    })?;
    Ok(vec![("first_result_ms", took.as_secs_f64() * 1e3)])
}

fn first_result(
    results: &mut Connection,
    start: impl FnOnce() -> Result<Agent>,
) -> Result<Duration> {
    let begun = Instant::now();
    let mut agent = start()?;
    let mut came = None;
    while came.is_none() {
        results.receive(|arrival| {
            if let Arrival::Message { .. } = arrival {
                came.get_or_insert_with(|| begun.elapsed());
            }
        })?;
        agent.usage()?; // Fails when the agent has ended.
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("no result within 30 s");
        }
    }
    agent.stop()?;
    came.ok_or_else(|| anyhow!("no result"))
}

/// Measures the agent while nothing happens: memory after 10 s, and CPU time of the last five of
/// them.
pub(super) fn idle(setting: &Setting) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let rules = Work::Filter.rules(1);
    let mut agent = Agent::start(setting, &folder.path, broker.port, 0, &rules)?;
    thread::sleep(Duration::from_secs(5));
    let middle = agent.usage()?;
    thread::sleep(Duration::from_secs(5));
    let end = agent.usage()?;
    // It was idle, not stuck.
    agent.wait_until_ready(broker.port, 1, Duration::from_millis(100))?;
    agent.stop()?;
    Ok(vec![
        ("rss_mb", end.rss_mb),
        (
            "cpu_ms_per_s",
            (end.cpu_seconds - middle.cpu_seconds) / 5.0 * 1e3,
        ),
    ])
}

/// A run's files; removed at its end.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Result<Self> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidemill-bench-{}-{run}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Files that are left behind lie among temporary ones.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_commits_is_found() {
        let log = "INFO stopping\nINFO journal commits=7 mean_us=1200 p99_us=3250 max_us=9000\n";
        assert_eq!(commit_p99_ms(log), Some(3.25));
        assert_eq!(commit_p99_ms("INFO stopping"), None);
    }
}
