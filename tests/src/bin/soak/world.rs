//! Parts of a soak: two brokers, two links, sensors, a receiver, and the agent between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_tests::{
    Broker, COUNTER, Collector, FalseClock, Gateway, LoopDisk, Peer, Proxy, wait_until,
};

use crate::say;

const KEYS: u64 = 20;
const DISK_MIB: u64 = 96;

/// Sensors send so many events at a time, and rest in between: about 200 a second.
const BURST: u64 = 20;
const REST: Duration = Duration::from_millis(100);

/// Longer than any return may take, and than a machine that is busy with other things needs.
const GIVE_UP: Duration = Duration::from_secs(90);

/// The lane of what is sent.
const LANE: &str = "cloud/normal";

pub(crate) struct World {
    pub(crate) local: Broker,
    pub(crate) upstream: Broker,
    pub(crate) inlet: Proxy,
    pub(crate) outlet: Proxy,
    pub(crate) gateway: Gateway,
    pub(crate) clock: Option<FalseClock>,
    pub(crate) disk: Option<LoopDisk>,
    pub(crate) ballast: Option<PathBuf>,
    arrived: Collector,
    sent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    sensors: JoinHandle<()>,
}

impl World {
    pub(crate) fn new() -> Self {
        let broker =
            || Broker::start("max_queued_messages 0\nmax_inflight_messages 1000\npersistence true");
        let (local, upstream) = (broker(), broker());
        let (inlet, outlet) = (Proxy::to(local.port()), Proxy::to(upstream.port()));
        let lines = format!(
            "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\n[journal]\nsegment_bytes = \"1MiB\"",
            outlet.port()
        );
        let mut gateway = Gateway::new(inlet.port(), &lines);
        let disk = LoopDisk::mount(&gateway.path("data"), DISK_MIB);
        let disk = disk.map_err(|why| say(format_args!("no full disks: {why}")));
        let clock = FalseClock::new();
        let clock = clock.map_err(|why| say(format_args!("no false clocks: {why}")));
        if let Ok(clock) = &clock {
            for (name, value) in clock.variables() {
                gateway.variable(name, value);
            }
        }
        gateway.module("counter", COUNTER);
        gateway.rule(
            "counter",
            "[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n[function]\nwasm = \"counter.wasm\"\n\
             [ports.out]\nto = \"cloud\"\ntopic = \"out/{key}\"\n",
        );
        let arrived = Collector::start(upstream.port(), "#");
        gateway.start();
        let (sent, ends) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let sensors = sensors(local.port(), Arc::clone(&sent), Arc::clone(&ends));
        Self {
            local,
            upstream,
            inlet,
            outlet,
            gateway,
            clock: clock.ok(),
            disk: disk.ok(),
            ballast: None,
            arrived,
            sent,
            ends,
            sensors,
        }
    }

    /// Events that were sent and have not come out.
    pub(crate) fn behind(&self) -> u64 {
        let sent = self.sent.load(Ordering::Acquire);
        sent.saturating_sub(self.arrived.count() as u64)
    }

    /// Starts the agent again where it found no room to start on a full disk, as a service manager
    /// does. Returns whether it had ended so.
    pub(crate) fn revive(&mut self) -> bool {
        if self.gateway.is_running() || !self.last_lines().contains("no room") {
            return false;
        }
        self.gateway.ended();
        self.gateway.run();
        true
    }

    /// Waits until an event has come out that was sent from now on.
    pub(crate) fn until_one_passes(&mut self) {
        let sent = self.sent.load(Ordering::Acquire);
        self.until_received(sent + 1);
    }

    /// Waits for so many events, as long as some come.
    fn until_received(&mut self, count: u64) {
        let mut had = 0;
        let mut give_up = Instant::now() + GIVE_UP;
        loop {
            let has = self.arrived.count() as u64;
            if has >= count {
                return;
            }
            if has > had {
                (had, give_up) = (has, Instant::now() + GIVE_UP);
            }
            assert!(
                self.gateway.is_running(),
                "the agent has ended:\n{}",
                self.last_lines()
            );
            assert!(
                Instant::now() < give_up,
                "{} events wait, and nothing comes out:\n{}",
                self.behind(),
                self.last_lines()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets everything come out, and checks it. Returns how many events there were.
    pub(crate) fn finish(mut self) -> u64 {
        self.ends.store(true, Ordering::Release);
        let sensors = std::mem::replace(&mut self.sensors, std::thread::spawn(|| {}));
        sensors.join().expect("the sensors sent all they wanted to");
        let sent = self.sent.load(Ordering::Acquire);
        self.until_received(sent);
        self.arrived.settle(self.upstream.port());
        let expected = (0..KEYS).map(|key| {
            let count = sent / KEYS + u64::from(key < sent % KEYS);
            (format!("out/d{key}"), count)
        });
        let expected = expected.filter(|(_, count)| *count > 0).collect();
        self.arrived
            .received(|received| received.check_counted(LANE, &expected));
        wait_until(
            || is_settled(&self.json("inspect ledger")),
            || format!("the books: {}", self.json("inspect ledger")),
        );
        let memory = self.gateway.memory();
        self.gateway.stop();
        check_books(&self.json("inspect ledger"), sent);
        assert_eq!(self.json("dead-letters list"), Value::Array(Vec::new()));
        let repeated = self.arrived.received(tidemill_tests::Received::repeated);
        say(format_args!(
            "{repeated} rows came more than once, as their names tell; resident at most {:.1} MB",
            memory.peak
        ));
        sent
    }

    fn json(&self, command: &str) -> Value {
        let ran = self.gateway.tidemill(&format!("{command} --json"));
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("tidemill {command}: {ran:?}"))
    }

    fn last_lines(&self) -> String {
        let log = self.gateway.log();
        log[log.len().saturating_sub(40)..].join("\n")
    }
}

/// `true` if the only rows that are not acknowledged are none.
fn is_settled(books: &Value) -> bool {
    let lanes = books["lanes"].as_array();
    lanes.is_some_and(|lanes| lanes.iter().all(|lane| lane["waiting"] == 0))
}

/// Checks that both ledgers add up, and nothing is in a column where it should not be.
fn check_books(books: &Value, sent: u64) {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let rules = books["rules"].as_array().expect("books have rules");
    for rule in rules {
        let dropped = rule["dropped"].as_object().into_iter().flatten();
        let dropped: u64 = dropped.map(|(_, count)| number(count)).sum();
        let of = |column: &str| number(&rule[column]);
        let sum = of("filtered") + of("absorbed") + of("emitting") + of("dead") + dropped;
        assert_eq!(of("received"), sum, "{rule}");
        assert_eq!((of("received"), of("emitting")), (sent, sent), "{rule}");
    }
    let lanes = books["lanes"].as_array().expect("books have lanes");
    for lane in lanes {
        assert_eq!(lane["balanced"], true, "{lane}");
        if lane["lane"] == LANE {
            assert_eq!(lane["acknowledged"], sent, "{lane}");
        }
    }
}

/// Sensors that publish to the broker itself: what is lost before it is nobody's matter here.
fn sensors(port: u16, sent: Arc<AtomicU64>, ends: Arc<AtomicBool>) -> JoinHandle<()> {
    let mut peer = Peer::connect(port, "sensors");
    std::thread::spawn(move || {
        while !ends.load(Ordering::Acquire) {
            let from = sent.load(Ordering::Acquire);
            let event = |n: u64| {
                (
                    format!("sensors/d{}/env", n % KEYS),
                    n.to_string().into_bytes(),
                )
            };
            peer.publish_all((from..from + BURST).map(event));
            sent.store(from + BURST, Ordering::Release);
            std::thread::sleep(REST);
        }
    })
}
