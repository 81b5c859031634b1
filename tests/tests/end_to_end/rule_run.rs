//! `tidemill rule run`: one rule on live events of a real broker.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempDir;
use tidemill_tests::{Broker, Gateway, free_port, run, tidemill, wait_until};

use crate::support::{COUNTER, broker, listener, rule, sensor, threshold};

const SUMS: &str =
    "sql = \"SELECT count(*) AS n, sum(t) AS sum FROM input GROUP BY TUMBLINGWINDOW(ss, 1)\"";

type Lines = Arc<Mutex<Vec<String>>>;

/// A folder with rules.
struct Bench(TempDir);

/// A run of one of them.
struct Live {
    child: Child,
    out: Lines,
    err: Lines,
    readers: [JoinHandle<()>; 2],
}

/// Result of a run.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: Vec<String>,
    err: Vec<String>,
}

impl Bench {
    fn new(rule: &str) -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.write("rule.toml", &format!("name = \"rule\"\n{rule}"));
        bench
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn command(&self, port: u16, arguments: &[&str]) -> Command {
        let mut command = Command::new(tidemill());
        command
            .args(["rule", "run", "rule.toml", "--broker"])
            .arg(format!("mqtt://127.0.0.1:{port}"))
            .args(arguments)
            .current_dir(self.0.path());
        command
    }

    /// Starts a run and waits for nothing.
    fn begin(&self, port: u16, arguments: &[&str]) -> Live {
        Live::spawn(&mut self.command(port, arguments))
    }

    /// Starts a run and waits until it listens.
    fn listen(&self, broker: &Broker, arguments: &[&str]) -> Live {
        let live = self.begin(broker.port(), arguments);
        live.until_said("listening to ", 1);
        live
    }
}

fn collect(from: impl Read + Send + 'static, lines: &Lines) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}

impl Live {
    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (Lines::default(), Lines::default());
        let readers = [
            collect(child.stdout.take().unwrap(), &out),
            collect(child.stderr.take().unwrap(), &err),
        ];
        Self {
            child,
            out,
            err,
            readers,
        }
    }

    fn until_said(&self, text: &str, times: usize) {
        wait_until(
            || {
                let lines = self.err.lock().unwrap();
                lines.iter().filter(|line| line.contains(text)).count() >= times
            },
            || format!("no {text:?}, {times} times: {:?}", self.err.lock().unwrap()),
        );
    }

    fn until_written(&self, count: usize) {
        wait_until(
            || self.out.lock().unwrap().len() >= count,
            || format!("not {count} results: {:?}", self.out.lock().unwrap()),
        );
    }

    fn stop(self, signal: &str) -> Ended {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.unwrap().success());
        self.ended()
    }

    fn ended(mut self) -> Ended {
        let mut status = None;
        wait_until(
            || {
                status = self.child.try_wait().unwrap();
                status.is_some()
            },
            || format!("it does not end: {:?}", self.err.lock().unwrap()),
        );
        for reader in self.readers {
            reader.join().unwrap();
        }
        Ended {
            code: status.unwrap().code(),
            out: self.out.lock().unwrap().clone(),
            err: self.err.lock().unwrap().clone(),
        }
    }
}

impl Ended {
    /// The lines that were written, without their times.
    fn results(&self) -> Vec<&str> {
        let rest = |line: &'_ String| line.find(",\"").unwrap();
        self.out.iter().map(|line| &line[rest(line)..]).collect()
    }

    #[track_caller]
    fn check(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in said {
            let found = self.err.iter().any(|line| line.contains(text));
            assert!(found, "no {text:?} in {self:?}");
        }
    }

    /// The results of the same events under a virtual clock, by the command that the summary names.
    #[track_caller]
    fn again(&self, bench: &Bench) -> Vec<String> {
        let command = self.err.last().unwrap().trim();
        let words: Vec<_> = command.split(' ').collect();
        assert_eq!(words[..3], ["tidemill", "rule", "test"], "{self:?}");
        assert!(command.contains(" --lateness 1000ms --array "), "{command}");
        let ran = run(bench.0.path(), &words[1..]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out.lines().map(str::to_owned).collect()
    }
}

#[test]
fn live_events_go_through_the_rule_and_nothing_is_published() {
    let broker = broker();
    let bench = Bench::new(&threshold("s/+", "out/{key}"));
    let mut all = listener(&broker, "#");
    let live = bench.listen(&broker, &["--count", "2"]);
    let mut sensor = sensor(&broker);
    for (topic, payload) in [
        ("s/d1", "49"),
        ("s/d1", "51"),
        ("x/d1", "99"),
        ("s/d2", "what"),
        ("s/d2", "60.5"),
        ("s/d2", "70"),
    ] {
        sensor.publish(topic, payload.as_bytes(), 1, false);
    }
    let ended = live.ended();
    ended.check(
        0,
        &[
            &format!("connected to 127.0.0.1:{} (MQTT 5)", broker.port()),
            "listening to s/+",
        ],
    );
    let summary = ended.err.last().unwrap();
    assert_eq!(summary, "3 events, 1 emissions, 1 dead letters");
    let results = ended.results();
    assert_eq!(
        results[0], r#","port":"out","key":"d1","payload":51}"#,
        "{ended:?}"
    );
    assert!(results[1].contains("\"dead_letter\":"), "{ended:?}");
    assert!(results[1].ends_with(",\"topic\":\"s/d2\"}"), "{ended:?}");
    assert_eq!(results.len(), 2);

    // All that anybody else has seen is what the sensor sent.
    sensor.publish("end", b"end", 1, false);
    let seen = all.receive_until("end");
    assert_eq!(seen.len(), 6, "{seen:?}");
    // The broker was asked to keep nothing (c1), for a client of another name than a gateway's.
    let log = broker.log();
    let of_ours = |line: &&str| line.contains("connected") && line.contains("as tidemill:run-");
    let connected = log.lines().find(of_ours).unwrap();
    assert!(connected.contains(", c1, "), "{connected}");
}

#[test]
fn the_clock_closes_windows_and_a_recording_gives_the_same_again() {
    let broker = broker();
    let bench = Bench::new(&rule("\"s/#\", \"s/+\"", SUMS, "out"));
    let live = bench.listen(
        &broker,
        &["--record", "sample.jsonl", "--array", "--lateness", "1s"],
    );
    let mut sensor = sensor(&broker);
    for (number, count) in [(0, 3), (1, 2), (2, 4)] {
        for t in 0..count {
            let payload = format!("{{\"t\": {t}.5}}");
            sensor.publish("s/d1", payload.as_bytes(), 1, false);
        }
        // Nothing but the clock closes the window.
        live.until_written(number + 1);
    }
    sensor.publish("s/d2", b"\xff\n", 1, false);
    sensor.publish("s/d2", b"{\"t\": 1}", 1, false);
    live.until_written(5);
    wait_until(
        || bench.read("sample.jsonl").lines().count() == 11,
        || bench.read("sample.jsonl"),
    );
    let ended = live.stop("TERM");
    ended.check(
        0,
        &[
            "11 events, ",
            "1 dead letters",
            "11 events are in sample.jsonl",
        ],
    );
    assert_eq!(ended.again(&bench), ended.out);
    let sample = bench.read("sample.jsonl");
    assert!(sample.contains(r#""payload":{"t": 0.5}}"#), "{sample}");
    assert!(sample.contains(r#""payload_base64":"/wo="}"#), "{sample}");
}

#[test]
fn a_rule_that_only_a_clock_drives_needs_no_broker() {
    let bench = Bench::new(
        "[on]\nschedule = [\"* * * * * *\"]\n[function]\nwasm = \"counter.wasm\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n",
    );
    let wasm = wat::parse_str(COUNTER).unwrap();
    std::fs::write(bench.0.path().join("counter.wasm"), wasm).unwrap();
    let ended = bench.begin(free_port(), &["--count", "2"]).ended();
    ended.check(0, &["2 emissions"]);
    assert!(ended.out[0].ends_with("\"payload\":1}"), "{ended:?}");
    assert!(ended.out[1].ends_with("\"payload\":2}"), "{ended:?}");
    let at = |line: &String| line[6..19].parse::<u64>().unwrap();
    assert_eq!(at(&ended.out[1]) - at(&ended.out[0]), 1_000, "{ended:?}");
    assert_eq!(at(&ended.out[0]) % 1_000, 0, "{ended:?}");
}

#[test]
fn a_broker_that_is_away_is_tried_again() {
    let bench = Bench::new(&threshold("s/+", "out"));
    let mut broker = Broker::stopped("");
    let address = format!("no connection to 127.0.0.1:{}: ", broker.port());
    let live = bench.begin(broker.port(), &["--count", "2"]);
    live.until_said(&address, 1);
    broker.run();
    for round in 1..=2 {
        live.until_said("listening to s/+", round);
        sensor(&broker).publish("s/d1", b"51", 1, false);
        live.until_written(round);
        if round == 1 {
            let before = live.err.lock().unwrap().len();
            broker.kill();
            wait_until(
                || live.err.lock().unwrap().len() > before,
                || "the loss was not told".to_owned(),
            );
            broker.run();
        }
    }
    live.ended().check(0, &["2 events, 2 emissions"]);
}

#[test]
fn a_broker_that_never_was_there_is_a_failure() {
    let bench = Bench::new(&threshold("s/+", "out"));
    let port = free_port();
    let ended = bench.begin(port, &["--for", "300ms"]).ended();
    ended.check(
        1,
        &[
            &format!("no connection to 127.0.0.1:{port}: "),
            "0 events, 0 emissions, 0 dead letters",
            &format!("error: there never was a connection to 127.0.0.1:{port}"),
        ],
    );
    assert!(ended.out.is_empty());
}

#[test]
fn it_ends_after_its_time_and_when_nobody_reads() {
    let broker = broker();
    let bench = Bench::new(&threshold("s/+", "out"));
    let ended = bench.begin(broker.port(), &["--for", "3s"]).ended();
    ended.check(0, &["listening to s/+", "0 events, 0 emissions"]);

    let ended = bench.listen(&broker, &[]).stop("INT");
    ended.check(0, &["0 events, 0 emissions"]);

    let mut live = bench.command(broker.port(), &[]);
    let mut child = live
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let err = Lines::default();
    let reader = collect(child.stderr.take().unwrap(), &err);
    let listens = || {
        err.lock()
            .unwrap()
            .iter()
            .any(|l| l.contains("listening to"))
    };
    wait_until(listens, || format!("{:?}", err.lock().unwrap()));
    drop(child.stdout.take());
    // No result has to come for it to be noticed.
    let mut status = None;
    wait_until(
        || {
            status = child.try_wait().unwrap();
            status.is_some()
        },
        || "it does not end".to_owned(),
    );
    reader.join().unwrap();
    assert_eq!(status.unwrap().code(), Some(0));
    let said = err.lock().unwrap();
    assert_eq!(
        said.last().unwrap(),
        "0 events, 0 emissions, 0 dead letters"
    );
}

#[test]
fn a_recording_ends_where_it_has_to_and_replaces_nothing() {
    let broker = broker();
    let bench = Bench::new(&threshold("s/+", "out"));
    let arguments = ["--record", "s.jsonl", "--record-max", "100", "--count", "3"];
    let live = bench.listen(&broker, &arguments);
    let mut sensor = sensor(&broker);
    for _ in 0..3 {
        sensor.publish("s/d1", b"51", 1, false);
    }
    live.ended().check(
        0,
        &[
            "s.jsonl has reached 100 with 2 events: the recording has ended, the run goes on",
            "3 events, 3 emissions, 0 dead letters",
            "2 events are in s.jsonl",
        ],
    );
    let sample = bench.read("s.jsonl");
    assert_eq!(sample.lines().count(), 2, "{sample}");
    let ended = bench.begin(broker.port(), &arguments).ended();
    ended.check(2, &["error: s.jsonl: is there already"]);
    assert_eq!(bench.read("s.jsonl"), sample);
}

#[test]
fn retained_messages_are_for_rules_that_ask_for_them() {
    let broker = broker();
    sensor(&broker).publish("s/d1", b"51", 1, true);
    let bench = Bench::new(&threshold("s/+", "out"));
    let live = bench.listen(&broker, &["--count", "1", "--record", "s.jsonl"]);
    sensor(&broker).publish("s/d2", b"52", 1, false);
    let ended = live.ended();
    ended.check(
        0,
        &["1 events, 1 emissions, 0 dead letters, 1 retained messages that the rule does not ask for"],
    );
    assert!(ended.out[0].contains("\"key\":\"d2\""), "{ended:?}");
    assert_eq!(bench.read("s.jsonl").lines().count(), 1);

    let text = threshold("s/+", "out").replace("[on]\n", "[on]\nretained = true\n");
    let ended = Bench::new(&text).listen(&broker, &["--count", "1"]).ended();
    assert!(ended.out[0].contains("\"key\":\"d1\""), "{ended:?}");
}

#[test]
fn a_gateway_with_the_same_configuration_goes_on_beside_it() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.rule("rule", &threshold("s/+", "out/{key}"));
    let mut out = listener(&broker, "out/#");
    gateway.start();
    let mut command = Command::new(tidemill());
    command
        .args(["rule", "run", "rules/rule.toml", "--config", "agent.toml"])
        .args(["--count", "1"])
        .current_dir(gateway.path(""));
    let live = Live::spawn(&mut command);
    live.until_said("listening to s/+", 1);
    sensor(&broker).publish("s/d1", b"51", 1, false);
    let ended = live.ended();
    ended.check(0, &["1 events, 1 emissions"]);
    assert_eq!(
        ended.results(),
        [r#","port":"out","key":"d1","payload":51}"#]
    );
    let sent = out.receive_texts(1);
    assert_eq!(sent, [("out/d1".to_owned(), "51".to_owned())]);
    let log = gateway.stop();
    let connections = log
        .iter()
        .filter(|l| l.contains("connected broker="))
        .count();
    assert_eq!(connections, 1, "the gateway's was broken: {log:#?}");
}

#[test]
fn wrong_use_is_told_before_anything_is_connected() {
    let bench = Bench::new(&threshold("s/+", "out"));
    for (arguments, expected) in [
        (&["--broker", "h:1"][..], "write mqtt://host:1883"),
        (
            &["--broker", "mqtt://h", "--config", "agent.toml"],
            "cannot be used with",
        ),
        (&["--config", "gone.toml"], "gone.toml: cannot be read"),
        (&["--record-max", "1MiB"], "--record <FILE.jsonl>"),
        (&["--count", "0"], "0 is not in 1.."),
        (&["--for", "soon"], "is no duration"),
    ] {
        let all = [&["rule", "run", "rule.toml"], arguments].concat();
        let ran = run(bench.0.path(), &all);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains(expected), "{ran:?}");
    }
    bench.write(
        "rule.toml",
        "name = \"rule\"\n[on]\nmqtt = [\"s/+\"]\n[function]\nsql = \"SELEC\"\n",
    );
    let ran = run(bench.0.path(), &["rule", "run", "rule.toml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("rule.toml:5:"), "{ran:?}");
}
