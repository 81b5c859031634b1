//! The receiver of `examples/receiver` behind a real agent, both killed while events come: what is in
//! its database was counted exactly once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tidemill_tests::{Broker, Gateway, Random, example, free_port, setting, skipped, wait_until};

use super::{KEYS, broker, cloud, events, seed, topic};
use crate::support::{PASS, rule, sensor};

/// The receiver and its files.
struct Receiver {
    program: PathBuf,
    database: PathBuf,
    log: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Receiver {
    fn new(program: PathBuf, folder: &Path, upstream: &Broker, http: u16) -> Self {
        let mqtt = format!("127.0.0.1:{}", upstream.port());
        let http = format!("127.0.0.1:{http}");
        let words = ["--mqtt", &mqtt, "--filter", "out/#", "--http", &http];
        Self {
            program,
            database: folder.join("received.sqlite"),
            log: folder.join("log"),
            arguments: words.map(str::to_owned).to_vec(),
            child: None,
        }
    }

    /// Starts it, or kills it and starts it again.
    fn start(&mut self) {
        self.kill();
        let child = Command::new(&self.program)
            .arg(&self.database)
            .args(&self.arguments)
            .stderr(File::create(&self.log).unwrap())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let log = || std::fs::read_to_string(&self.log).unwrap();
        wait_until(|| log().contains("subscribed"), log);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The number of messages that it counted below this topic, and its remarks on them.
    fn counted(&self, below: &str) -> (u64, String) {
        let output = Command::new(&self.program)
            .arg("show")
            .arg(&self.database)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let count = |line: &str| {
            let (_, rest) = line.strip_prefix(below)?.split_once(": ")?;
            rest.split(' ').next()?.parse::<u64>().ok()
        };
        (shown.lines().filter_map(count).sum(), shown)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn the_example_receiver_counts_each_event_once() {
    let Some(program) = example("receiver") else {
        return skipped("examples/receiver is not built; `cargo xtask examples` builds it");
    };
    let (events, kills) = (events(600).max(KEYS), setting("TIDEMILL_TEST_KILLS", 4));
    let (local, upstream) = (broker(), broker());
    let folder = tempfile::tempdir().unwrap();
    let http = free_port();
    let mut receiver = Receiver::new(program, folder.path(), &upstream, http);
    let lines = format!(
        "{}\n[destinations.web]\nurl = \"http://127.0.0.1:{http}/rows\"",
        cloud(upstream.port())
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    gateway.module("pass", PASS);
    for (name, to, topic) in [("mqtt", "cloud", "out/{key}"), ("http", "web", "web/{key}")] {
        let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", topic);
        gateway.rule(name, &text.replace("\"local\"", &format!("{to:?}")));
    }
    receiver.start();
    gateway.start();
    let mut flooding = sensor(&local);
    let flood = std::thread::spawn(move || {
        flooding.publish_all((0..events).map(|n| (topic(n), n.to_string().into_bytes())));
    });
    let mut random = Random::new(seed());
    for kill in 0..kills {
        let count = events * kill / kills + random.within(0..events / kills + 1) / 2;
        wait_until(
            || receiver.counted("out/").0 >= count,
            || format!("LOST: fewer than {count}: {}", receiver.counted("").1),
        );
        match kill % 2 {
            0 => receiver.start(),
            _ => {
                gateway.kill();
                gateway.run();
            }
        }
    }
    flood.join().unwrap();
    for below in ["out/", "web/"] {
        wait_until(
            || receiver.counted(below).0 >= events,
            || {
                format!(
                    "LOST: not {events} below {below}: {}",
                    receiver.counted("").1
                )
            },
        );
    }
    super::stop(&mut gateway);
    for below in ["out/", "web/"] {
        let (count, shown) = receiver.counted(below);
        assert_eq!(count, events, "COUNTED TWICE below {below}: {shown}");
    }
}
