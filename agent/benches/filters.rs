//! Cost of many filters: a source that subscribes them at a real mosquitto, over both versions of MQTT,
//! and a mill that is deployed with a rule for each; 1,000 and 10,000 of them, and how the times compare.
//! Time that grows with the number of filters, and not with its square, has a ratio of about 10. Counted is
//! the CPU time of the thread that does it; at a broker also the time that passes, the broker's included.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that panics has failed, which is what it is for"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tidemill::config::limits::FunctionLimits;
use tidemill::event::clock::{Clock, Now};
use tidemill::install::{Installer, subscriptions};
use tidemill::mill::{BoundRule, Deployment, Mill};
use tidemill::rule::{Gateway, Rule};
use tidemill::source::mqtt::subscriptions::{Change, Subscriptions};
use tidemill::source::mqtt::{
    self, Flow, Protocol, SourceCommand, SourceReport, SourceSettings, Subscription,
};
use tidemill_base::text::Source;
use tidemill_tests::Broker;
use tidemill_transport::topic::TopicFilter;

const FEW: u32 = 1_000;
const MANY: u32 = 10_000;

/// The best of so many runs counts: others disturb.
const RUNS: usize = 3;

fn main() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let identifiers = protocol == Protocol::V5;
        compare(&format!("{protocol:?}, without a broker"), |count| {
            settle(&wanted(count), identifiers)
        });
        compare(&format!("{protocol:?}, thread at a broker"), |count| {
            subscribe(protocol, wanted(count)).0
        });
        compare(&format!("{protocol:?}, until a broker has them"), |count| {
            subscribe(protocol, wanted(count)).1
        });
    }
    compare("a rule for each, deployed twice", deploy);
}

fn compare(what: &str, run: impl Fn(u32) -> Duration) {
    let best = |count| {
        let runs = (0..RUNS).map(|_| run(count));
        runs.min().unwrap().as_secs_f64() * 1_000.0
    };
    let (few, many) = (best(FEW), best(MANY));
    eprintln!(
        "{what}: {FEW} filters {few:.1} ms, {MANY} filters {many:.1} ms, ratio {:.1}",
        many / few
    );
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// Filters of devices, some of which a wider filter covers.
fn filter(number: u32) -> String {
    let (line, device) = (number % 100, number / 2);
    match number % 20 {
        0 => format!("plant/+/d{device:05}/#"),
        1 => format!("plant/l{line:02}/d{device:05}/env"),
        2..10 => format!("plant/l{line:02}/n{number:05}/+"),
        _ => format!("plant/l{line:02}/n{number:05}/env"),
    }
}

fn wanted(count: u32) -> Vec<Subscription> {
    let subscription = |id| Subscription {
        id,
        filter: TopicFilter::new(&filter(id)).unwrap(),
    };
    (1..=count).map(subscription).collect()
}

/// From nothing to all of them, and then on a new connection once more.
fn settle(wanted: &[Subscription], identifiers: bool) -> Duration {
    let began = cpu_time();
    let mut subscriptions = Subscriptions::default();
    for _ in 0..2 {
        subscriptions.aim(wanted, identifiers);
        let mut packet = 0;
        while let Some(change) = subscriptions.next_change() {
            packet = packet % 60 + 1;
            subscriptions.sent(packet);
            let Change::Subscribe(_) = change else {
                panic!("nothing has to go");
            };
            subscriptions.acknowledged(packet, std::iter::repeat(None), identifiers);
        }
        assert!(subscriptions.settled());
        subscriptions.interrupted();
    }
    cpu_time() - began
}

/// Until the broker holds all of them: CPU time of the source's thread, and time that passes.
fn subscribe(protocol: Protocol, wanted: Vec<Subscription>) -> (Duration, Duration) {
    let broker = Broker::start("");
    let mut settings = SourceSettings::new("127.0.0.1", broker.port(), "bench", Clock::new(0));
    settings.protocol = protocol;
    // Pings go on meanwhile, or the broker would hang up.
    settings.keep_alive = Duration::from_secs(1);
    let (sender, reports) = sync_channel(100_000);
    let began = Instant::now();
    let cpu_ns = Arc::<AtomicU64>::default();
    let told = Arc::clone(&cpu_ns);
    let source = mqtt::spawn(settings, Vec::new(), wanted, move |report| {
        told.store(cpu_time().as_nanos() as u64, Ordering::Relaxed);
        match sender.send(report) {
            Ok(()) => Flow::Taken,
            Err(_) => Flow::Gone,
        }
    })
    .unwrap();
    source.proceed(u64::MAX);
    loop {
        match reports.recv().unwrap() {
            SourceReport::Subscribed { held } if !held.is_empty() => break,
            SourceReport::Subscribed { .. } | SourceReport::Connected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let took = began.elapsed();
    source.command(SourceCommand::Stop);
    assert!(source.join());
    (Duration::from_nanos(cpu_ns.load(Ordering::Relaxed)), took)
}

/// A start, and a deployment of the same rules over it.
fn deploy(count: u32) -> Duration {
    let (first, second) = (rules(count), rules(count));
    let began = cpu_time();
    let mut mill = Mill::new();
    let mut held = Vec::new();
    for rules in [first, second] {
        let wanted = subscriptions(&rules, &held);
        held.clone_from(&wanted);
        let deployment = Deployment {
            rules,
            subscriptions: wanted,
        };
        let deployed = mill.deploy(Now::default(), deployment, &mut Vec::new());
        deployed.unwrap();
    }
    cpu_time() - began
}

fn rules(count: u32) -> Vec<BoundRule> {
    let limits = FunctionLimits::default();
    let gateway = Gateway {
        id: "gw",
        destinations: None,
        limits: &limits,
    };
    let mut installer = Installer::new(&limits);
    let mut rule = |number| {
        let text = format!(
            "name = \"r{number:05}\"\n[on]\nmqtt = [\"{}\"]\nkey = \"{{topic.1}}\"\n[function]\nstock = \"threshold\"\n\
             [inputs]\nvalue = \"/t\"\n[params]\nlimit = 60\n\
             [ports.out]\nto = \"local\"\ntopic = \"out/{{key}}\"\n",
            filter(number)
        );
        let source = Source {
            path: "bench.toml".into(),
            text,
        };
        let rule = Rule::parse(source, &gateway).unwrap();
        installer.install(rule, &["local"]).unwrap()
    };
    (1..=count).map(&mut rule).collect()
}
