//! Shares of time: what ten honest rules see of noisy neighbours, what a question sees of a flood, and what
//! events see of a reload. Each is one run of its own kind, with figures of its own.

use super::agent::{Agent, Rule, Setting, pass_rule, sql_rule, wasm_rule};
use super::broker::Broker;
use super::event;
use super::measure::{Expect, Measured, collect};
use super::mqtt::{Arrival, Connection, publish};
use super::publish::{self, Plan};
use super::report::Figures;
use super::workload::Folder;
use anyhow::{Context, Result, anyhow};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keys of each noisy rule, and timers of each key.
const NOISY_KEYS: u64 = 10_000;
const TIMERS: u32 = 32;

/// What the configuration grants: state for all the keys of a noisy rule.
pub(super) const LIMITS: &str = "\n[limits]\nstate_bytes = \"64MiB\"\n";

/// Time without a result after which the missing ones are lost.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Questions that are asked during a flood.
const QUESTIONS: usize = 1_000;

/// An event arms the timers of its key; each of them works for nearly all of its fuel.
fn timers() -> String {
    format!(
        r#"(module
        (import "tidemill1" "timer" (func $timer (param i32 i64) (result i32)))
        (func (export "on_event") (result i32) (local $id i32)
            (loop $l
                (drop (call $timer (local.get $id) (i64.const 2000)))
                (br_if $l (i32.lt_u (local.tee $id (i32.add (local.get $id) (i32.const 1)))
                    (i32.const {TIMERS}))))
            (i32.const 0))
        (func (export "on_timer") (param i32) (result i32) {spin} (i32.const 0)))"#,
        spin = spin(150_000)
    )
}

/// An event costs about half a million units of fuel.
fn dear_event() -> String {
    format!(
        r#"(module (func (export "on_event") (result i32) {} (i32.const 0)))"#,
        spin(83_000)
    )
}

/// A loop of so many rounds, each of about six units of fuel.
fn spin(rounds: u32) -> String {
    format!(
        "(local $n i32) (local.set $n (i32.const {rounds}))
        (loop $s (br_if $s (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    )
}

/// Honest rules that pass each event of their device on.
fn honest(devices: u64) -> Vec<Rule> {
    let each = 0..devices;
    each.map(|d| pass_rule(&format!("honest-{}", event::device(d)), &event::topic(d)))
        .collect()
}

/// A run of events and the results that came back.
fn run(port: u16, plan: Plan) -> Result<Measured> {
    let mut results = Connection::open(port, "bench-results")?;
    results.subscribe("out/#", plan.qos)?;
    let (all_sent, never) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let collector =
            scope.spawn(|| collect(results, Expect::All, plan.count, GIVE_UP, &all_sent));
        let sent = publish::run(port, plan, &never);
        all_sent.store(true, Ordering::Release);
        let measured = collector.join();
        sent?;
        measured.map_err(|_| anyhow!("the measuring thread panicked"))?
    })
}

fn p99(measured: &Measured) -> f64 {
    measured.latency_ms(0.99).unwrap_or(f64::NAN)
}

/// Ten honest rules alone, and beside a rule whose 10,000 keys have 32 timers each at full fuel and one
/// whose windows close for 10,000 keys with 400 bytes each.
pub(super) fn noise(setting: &Setting, plan: Plan) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let pad = "x".repeat(400);
    let window = format!(
        "SELECT d, count(*) AS n, '{pad}' AS pad FROM input GROUP BY d, TUMBLINGWINDOW(ss, 2)"
    );
    let mut rules = honest(plan.devices);
    rules.push(wasm_rule("noise-timers", "noise/t/+", &timers())?);
    rules.push(sql_rule("noise-panes", "noise/p", &window, "panes"));
    let mut agent = Agent::start(setting, &folder.path, broker.port, plan.qos, &rules)?;
    agent.wait_until_ready(broker.port, plan.devices, Duration::from_millis(300))?;
    let alone = run(broker.port, plan)?;
    let (over, ready) = (AtomicBool::new(false), AtomicBool::new(false));
    let (noisy, panes) = thread::scope(|scope| {
        let noise = scope.spawn(|| make_noise(broker.port, &ready, &over));
        while !ready.load(Ordering::Acquire) && !noise.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        let noisy = run(broker.port, plan);
        over.store(true, Ordering::Release);
        let panes = noise.join();
        (noisy, panes.map_err(|_| anyhow!("the noise panicked")))
    });
    let (noisy, (sent, counted)) = (noisy?, panes??);
    let begun = Instant::now();
    let log = agent.stop()?;
    let stop_ms = begun.elapsed().as_secs_f64() * 1e3;
    let stuck = log
        .lines()
        .filter(|line| line.contains("does not turn"))
        .count();
    Ok(vec![
        ("p99_alone_ms", p99(&alone)),
        ("p99_noisy_ms", p99(&noisy)),
        ("p99_ratio", p99(&noisy) / p99(&alone)),
        ("lost", (alone.lost() + noisy.lost()) as f64),
        ("pane_events_sent", sent as f64),
        ("pane_events_counted", counted as f64),
        ("stop_ms", stop_ms),
        ("stuck", stuck as f64),
    ])
}

/// Arms all timers, and sends an event of each key of the windows every two seconds until it is over.
/// Returns how many of these events there were, and how many the windows counted.
fn make_noise(port: u16, ready: &AtomicBool, over: &AtomicBool) -> Result<(u64, u64)> {
    let mut sender = Connection::open(port, "bench-noise")?;
    let mut panes = Connection::open(port, "bench-panes")?;
    panes.subscribe("panes/#", 1)?;
    panes.patience(Duration::from_millis(20))?;
    for key in 0..NOISY_KEYS {
        sender.send(&publish(&format!("noise/t/{key}"), b"{}", None))?;
    }
    ready.store(true, Ordering::Release);
    let (mut sent, mut counted) = (0, 0);
    let mut last = Instant::now();
    while !over.load(Ordering::Acquire) || (counted < sent && last.elapsed() < GIVE_UP) {
        if !over.load(Ordering::Acquire) && (sent == 0 || last.elapsed() > Duration::from_secs(2)) {
            last = Instant::now();
            for key in 0..NOISY_KEYS {
                let payload = format!(r#"{{"d":"d{key}"}}"#);
                sender.send(&publish("noise/p", payload.as_bytes(), None))?;
            }
            sent += NOISY_KEYS;
        }
        let mut acks = Vec::new();
        panes.receive(|arrival| {
            if let Arrival::Message { payload, id, .. } = arrival {
                counted += event::number(payload, "n").unwrap_or(0);
                if let Some(id) = id {
                    super::mqtt::put_ack(&mut acks, id);
                }
            }
        })?;
        panes.send(&acks)?;
    }
    Ok((sent, counted))
}

/// `inspect ledger`, asked a thousand times during a flood of events that cost half a million units of
/// fuel each.
pub(super) fn inspect(setting: &Setting, plan: Plan) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let mut rules = honest(1);
    rules.push(wasm_rule("dear", "sensors/+/env", &dear_event())?);
    let mut agent = Agent::start(setting, &folder.path, broker.port, plan.qos, &rules)?;
    agent.wait_until_ready(broker.port, 1, Duration::from_millis(300))?;
    let stop = AtomicBool::new(false);
    let endless = Plan {
        count: u64::MAX,
        ..plan
    };
    let asked: Result<Vec<f64>> = thread::scope(|scope| {
        let flood = scope.spawn(|| publish::run(broker.port, endless, &stop));
        thread::sleep(Duration::from_secs(1));
        let asked = (0..QUESTIONS).map(|_| ask(setting, &agent)).collect();
        stop.store(true, Ordering::Relaxed);
        drop(flood.join());
        asked
    });
    let mut asked = asked?;
    #[allow(clippy::disallowed_methods, reason = "total_cmp is a total order")]
    asked.sort_by(f64::total_cmp);
    let at = |share: f64| {
        asked
            .get((share * (QUESTIONS - 1) as f64) as usize)
            .copied()
    };
    let begun = Instant::now();
    agent.stop()?;
    Ok(vec![
        ("asked", asked.len() as f64),
        ("p50_ms", at(0.5).unwrap_or(f64::NAN)),
        ("p99_ms", at(0.99).unwrap_or(f64::NAN)),
        ("max_ms", at(1.0).unwrap_or(f64::NAN)),
        ("stop_ms", begun.elapsed().as_secs_f64() * 1e3),
    ])
}

/// Asks once; the milliseconds until the answer, the start of the process included.
fn ask(setting: &Setting, agent: &Agent) -> Result<f64> {
    let begun = Instant::now();
    let mut question = Command::new(&setting.program);
    question
        .args(["inspect", "ledger", "--config"])
        .arg(agent.config());
    let status = question.stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", setting.program.display()))?;
    if !status.success() {
        return Err(anyhow!("a question was not answered: {status}"));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Events for a rule of its own for each device, all in SQL, alone and while the rules are read again and
/// again.
pub(super) fn reload(setting: &Setting, plan: Plan) -> Result<Figures> {
    let folder = Folder::new()?;
    let broker = Broker::start(&folder.path)?;
    let each = 0..plan.devices;
    let rules: Vec<Rule> = each
        .map(|d| {
            let name = format!("r-{}", event::device(d));
            sql_rule(&name, &event::topic(d), "SELECT * FROM input", "out/{key}")
        })
        .collect();
    let mut agent = Agent::start(setting, &folder.path, broker.port, plan.qos, &rules)?;
    agent.wait_until_ready(broker.port, plan.devices, Duration::from_millis(300))?;
    let before = run(broker.port, plan)?;
    let over = AtomicBool::new(false);
    let (during, reloads) = thread::scope(|scope| {
        let reloads = scope.spawn(|| reload_again_and_again(&agent, &over));
        let during = run(broker.port, plan);
        over.store(true, Ordering::Release);
        (
            during,
            reloads.join().map_err(|_| anyhow!("reloading panicked")),
        )
    });
    let (during, reloads) = (during?, reloads??);
    agent.stop()?;
    Ok(vec![
        ("reloads", reloads as f64),
        ("lost", (before.lost() + during.lost()) as f64),
        ("duplicates", (before.duplicates + during.duplicates) as f64),
        ("p99_before_ms", p99(&before)),
        ("p99_during_ms", p99(&during)),
        ("p99_ratio", p99(&during) / p99(&before)),
        ("max_during_ms", during.latency_ms(1.0).unwrap_or(f64::NAN)),
    ])
}

/// Has the rules read again as soon as they run; returns how often that was.
fn reload_again_and_again(agent: &Agent, over: &AtomicBool) -> Result<usize> {
    let deployed = || -> Result<usize> {
        let log = agent.log()?;
        Ok(log
            .lines()
            .filter(|line| line.contains("deployed anew"))
            .count())
    };
    let first = deployed()?;
    let mut asked = 0;
    while !over.load(Ordering::Acquire) {
        if deployed()? == first + asked {
            agent.signal("HUP")?;
            asked += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(deployed()? - first)
}
