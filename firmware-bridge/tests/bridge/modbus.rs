//! Modbus units by pymodbus, from their registers to the broker.

use super::plain::{until, until_state};
use super::support::{Bridge, Cable, Lines, configure, port, program, ran, turn};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tidemill_tests::{Broker, Peer5, setting, skipped, wait_until};

/// The Python that `cargo xtask test` has put pymodbus into.
fn python() -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let python = cache.or_else(home)?.join("tidemill/peers/venv/bin/python");
    let has_it = Command::new(&python)
        .args(["-c", "import pymodbus"])
        .status();
    if !has_it.is_ok_and(|status| status.success()) {
        skipped("Modbus against pymodbus: `cargo xtask test` installs it");
        return None;
    }
    Some(python)
}

/// Units at the device's end of a cable; killed when dropped.
struct Units {
    child: Child,
    told: Lines,
}

impl Units {
    fn start(python: &PathBuf, cable: &Cable, plan: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bridge/units.py");
        let mut child = Command::new(python)
            .args([
                script.as_ref(),
                cable.device_path().as_os_str(),
                plan.as_ref(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Lines::of(child.stdout.take().unwrap());
        told.until(|line| line == "ready");
        Self { child, told }
    }

    /// From now on, all of them answer in time.
    fn be_well(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Milliseconds that each answer was held back, by unit and number of the request.
    fn delays(&self) -> BTreeMap<(u64, u64), u64> {
        let lines = self.told.all();
        let numbers = lines.iter().filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, unit, number, delay] = words[..] else {
                return None;
            };
            let number_of = |text: &str| text.parse::<u64>().unwrap();
            Some(((number_of(unit), number_of(number)), number_of(delay)))
        });
        numbers.collect()
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker, a cable with units at one end, a bridge at the other, and one who listens.
struct Scene {
    units: Units,
    peer: Peer5,
    bridge: Bridge,
    config: PathBuf,
    _cable: Cable,
    _broker: Broker,
    _folder: TempDir,
}

impl Scene {
    fn begin(python: &PathBuf, plan: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start("");
        let mut peer = Peer5::connect(broker.port(), "peer");
        peer.subscribe("#");
        let cable = Cable::plug(folder.path(), "bus");
        let units = Units::start(python, &cable, plan);
        let lines = format!("mode = \"modbus\"\nbaud = 115200\ntopic = \"m/{{unit}}\"\n{lines}");
        let config = configure(
            &folder,
            "gw",
            broker.port(),
            &port("bus", cable.host(), &lines),
        );
        Self {
            units,
            peer,
            bridge: Bridge::start(&config),
            config,
            _cable: cable,
            _broker: broker,
            _folder: folder,
        }
    }

    fn event(&mut self, unit: &str) -> Value {
        let message = until(&mut self.peer, &format!("m/{unit}"));
        serde_json::from_slice(&message.payload).unwrap()
    }

    fn until_unit(&mut self, unit: &str, state: &str) -> Value {
        until_state(&mut self.peer, &format!("serial/gw/bus/unit/{unit}"), state)
    }
}

#[test]
fn check_shows_the_poll_table_as_it_will_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let lines = format!(
        "mode = \"modbus\"\nbaud = 9600\ntopic = \"m/{{unit}}\"\n{}",
        twelve("1s")
    );
    let ports = port("bus", &folder.path().join("none"), &lines);
    let config = configure(&folder, "gw", 1883, &ports);
    let (code, said) = ran(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("unit 12 u12, every 1000 ms: holding:0 to 2\n"),
        "{said}"
    );
    assert!(
        said.contains("the polls take 360 ms of each second on the line"),
        "{said}"
    );
    let wrong = lines.replacen("holding:1", "holding:x", 1);
    let config = configure(
        &folder,
        "gw",
        1883,
        &port("bus", &folder.path().join("none"), &wrong),
    );
    let (code, said) = ran(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("gw.toml:18:9: reg: \"holding:x\" is no register"),
        "{said}"
    );
}

/// Twelve units, of which three registers each are read.
fn twelve(every: &str) -> String {
    let unit = |id: u32| {
        format!(
            "[[port.unit]]\nid = {id}\nname = \"u{id}\"\nevery = {every:?}\nread = [\n\
             {{ reg = \"holding:0\", as = \"unit\" }},\n{{ reg = \"holding:1\", type = \"u32\", as = \"number\" }},\n]\n"
        )
    };
    (1..=12).map(unit).collect()
}

#[test]
fn every_type_and_order_arrives_as_the_unit_has_it() {
    let Some(python) = python() else { return };
    let _turn = turn();
    let mut read = String::new();
    let mut value = |reg: &str, rest: &str, name: &str| {
        read.push_str(&format!("{{ reg = \"{reg}\", {rest} as = \"{name}\" }},\n"));
    };
    let plain = [
        (0, "u16"),
        (1, "i16"),
        (2, "u32"),
        (4, "i32"),
        (6, "u64"),
        (10, "i64"),
        (14, "f32"),
        (16, "f64"),
    ];
    for (at, kind) in plain {
        value(&format!("holding:{at}"), &format!("type = {kind:?},"), kind);
    }
    value("holding:20", "type = \"string\", length = 8,", "text");
    let four = ["CDAB", "BADC", "DCBA"];
    let eight = ["GHEFCDAB", "BADCFEHG", "HGFEDCBA"];
    let moved = [
        ("u16", 1, &["BA"][..]),
        ("u32", 2, &four),
        ("f32", 2, &four),
        ("u64", 4, &eight),
        ("f64", 4, &eight),
    ];
    let mut at = 100;
    for (kind, registers, orders) in moved {
        for order in orders {
            let rest = format!("type = {kind:?}, order = {order:?},");
            value(&format!("input:{at}"), &rest, &format!("{kind} {order}"));
            at += registers;
        }
    }
    value("coil:0", "", "c0");
    value("coil:1", "", "c1");
    value("coil:3", "", "c3");
    value("discrete:1", "", "d1");
    value("holding:500", "", "none");
    value("holding:0", "type = \"bit\", bit = 1,", "bit");
    let lines =
        format!("[[port.unit]]\nid = 7\nname = \"meter\"\nevery = \"1s\"\nread = [\n{read}]\n");
    let mut scene = Scene::begin(&python, "types", &lines);
    let event = scene.event("meter");
    let plain = "{\"u16\":65534,\"i16\":-2,\"u32\":287454020,\"i32\":-7,\"u64\":1234605616436508552,\"i64\":-9,\"f32\":21.6,\"f64\":-0.1,\
                 \"text\":\"Meter 7A\"}";
    let plain: Value = serde_json::from_str(plain).unwrap();
    for (name, expected) in plain.as_object().unwrap() {
        assert_eq!(&event[name], expected, "{name} of {event}");
        for order in four.iter().chain(&eight).chain(&["BA"]) {
            let name = format!("{name} {order}");
            assert!(
                event.get(&name).is_none_or(|found| found == expected),
                "{name} of {event}"
            );
        }
    }
    assert_eq!(event.as_object().unwrap().len(), 9 + 13 + 5, "{event}");
    let bits = ["c0", "c1", "c3", "d1", "bit"].map(|name| event[name].as_bool().unwrap());
    assert_eq!(bits, [true, false, true, true, true]);
    // What the unit refuses is left out, and its state says so.
    let status = scene.until_unit("meter", "exception");
    let why = status["why"].as_str().unwrap();
    assert!(why.starts_with("holding:500: exception "), "{why}");
}

#[test]
fn faulty_units_stop_no_other_one_and_are_told_apart() {
    let Some(python) = python() else { return };
    let _turn = turn();
    let mut scene = Scene::begin(&python, "faulty", &twelve("500ms"));
    for (unit, state, why) in [
        ("u3", "silent", "no answer within 300 ms"),
        ("u6", "exception", "exception 4: it has failed"),
        (
            "u8",
            "damaged",
            "it answered 2 bytes where 6 were asked for",
        ),
        (
            "u11",
            "damaged",
            "the checksum of what it answered does not fit",
        ),
    ] {
        let status = scene.until_unit(unit, state);
        assert!(status["why"].as_str().unwrap().contains(why), "{status}");
    }
    let mut monitor = program()
        .args(["monitor", "bus", "--config"])
        .arg(&scene.config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let seen = Lines::of(monitor.stdout.take().unwrap());
    let mut events = BTreeMap::new();
    while events.get("u1").is_none_or(|count| *count < 20) {
        let message = scene.peer.receive().unwrap();
        if let Some(unit) = message.topic.strip_prefix("m/") {
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(format!("u{}", event["unit"]), unit, "{event}");
            *events.entry(unit.to_owned()).or_insert(0) += 1;
        }
    }
    let names: Vec<&str> = events.keys().map(String::as_str).collect();
    assert_eq!(names, ["u1", "u10", "u12", "u2", "u4", "u5", "u7", "u9"]);
    for (unit, count) in &events {
        assert!(
            (17..=23).contains(count),
            "{unit} has {count} events where u1 has 20"
        );
    }
    seen.until(|line| line.contains(" > poll ") && line.contains("u1 01 03 00 00 00 03"));
    seen.until(|line| line.contains(" < answer ") && line.contains("u1 01 03 06 00 01"));
    seen.until(|line| line.contains(" < failed ") && line.contains("u3 holding:0 to 2: no answer"));
    seen.until(|line| line.contains(" < event ") && line.contains("u1 {\"unit\":1,\"number\":"));
    let _ = monitor.kill();
    let _ = monitor.wait();
}

#[test]
fn late_answers_are_never_taken_for_values_and_their_units_come_back() {
    let Some(python) = python() else { return };
    let _turn = turn();
    let polls = setting("TIDEMILL_BRIDGE_POLLS", 1_000);
    let lines = format!("timeout = \"200ms\"\n{}", twelve("200ms"));
    let mut scene = Scene::begin(&python, "late", &lines);
    let mut heard = Vec::new();
    let mut last = BTreeMap::new();
    while heard.len() < polls as usize {
        let message = scene.peer.receive().unwrap();
        let Some(unit) = message.topic.strip_prefix("m/") else {
            continue;
        };
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(format!("u{}", event["unit"]), unit, "{event}");
        let number = event["number"].as_u64().unwrap();
        let before = last.insert(unit.to_owned(), number);
        assert!(
            before.is_none_or(|before| before < number),
            "{unit} goes back to {number}"
        );
        heard.push((event["unit"].as_u64().unwrap(), number));
    }
    scene.units.be_well();
    let units = scene.units.delays();
    assert!(units.values().any(|delay| *delay > 0), "no answer was late");
    for poll in &heard {
        assert_eq!(
            units.get(poll),
            Some(&0),
            "{poll:?} was late, and was published"
        );
    }
    // Each of them is heard again.
    let mut missing: Vec<u64> = (1..=12).collect();
    while !missing.is_empty() {
        let message = scene.peer.receive().unwrap();
        if message.topic.starts_with("m/") {
            let event: Value = serde_json::from_slice(&message.payload).unwrap();
            missing.retain(|unit| event["unit"] != *unit);
        }
    }
    let log = scene.bridge.log();
    assert!(!log.contains("WARN"), "{log}");
    wait_until(
        || {
            let status = until(&mut scene.peer, "serial/gw/bus/status");
            let status: Value = serde_json::from_slice(&status.payload).unwrap();
            status["modbus"]["late"].as_u64().unwrap() > 0 && status["modbus"]["unasked"] == 0
        },
        || "late answers are not counted".to_owned(),
    );
}
