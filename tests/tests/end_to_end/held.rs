//! `start = "held"`: an agent that its rules or destinations do not let start stays, says why, and starts once
//! they are mended and somebody says so.

use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use tidemill_tests::{Gateway, PATIENCE, free_port, wait_until};

use crate::support::{broker, listener, sensor, threshold};

const HELD: &str = "start = \"held\"\nrules_dir";

fn held(port: u16, lines: &str) -> Gateway {
    let gateway = Gateway::new(port, lines);
    gateway.reconfigure("rules_dir", HELD);
    gateway.rule("hot", &threshold("sensors/+/env", "out/{key}"));
    gateway
}

fn health(gateway: &Gateway) -> Value {
    let ran = gateway.tidemill("inspect health --json");
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// Checks that health names what is wrong, that it is not well and that nothing is taken in.
#[track_caller]
fn check_held_by(gateway: &Gateway, why: &str) {
    gateway.until_logged(&format!("held, nothing is taken in: {why}"));
    let text = gateway.tidemill("inspect health");
    assert_eq!(text.code, Some(1), "{text:?}");
    let line = "! start";
    let says = |said: &str| said.starts_with(line) && said.contains(why);
    assert!(text.out.lines().any(says), "{text:?}");
    let health = health(gateway);
    assert_eq!(health["taking_in"], false, "{health}");
    assert_eq!(health["broker"]["connected"], false, "{health}");
    let other = gateway.tidemill("inspect ledger");
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.err.contains("the agent is held: "), "{other:?}");
    assert_eq!(gateway.count_logged("connected broker="), 0);
}

#[test]
fn an_agent_whose_rules_are_wrong_is_held_until_they_are_mended() {
    let broker = broker();
    let mut gateway = held(broker.port(), "");
    let good = threshold("sensors/+/env", "out/{key}");
    gateway.rule("hot", &good.replace("limit", "limti"));
    let socket = UnixDatagram::bind(gateway.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    gateway.variable("NOTIFY_SOCKET", gateway.path("notify"));
    gateway.variable("WATCHDOG_USEC", "200000");
    gateway.run();
    let next = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        let said = String::from_utf8(buffer[..length].to_vec());
        said.unwrap().trim().to_owned()
    };
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    check_held_by(
        &gateway,
        &format!("{}:", gateway.path("rules/hot.toml").display()),
    );
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(1), "its directory stays its own: {log}");
    // Somebody reads on, as systemd does.
    socket.set_read_timeout(None).unwrap();
    std::thread::spawn(move || while socket.recv(&mut [0; 100]).is_ok() {});
    // Not mended yet: it is said anew.
    gateway.signal("HUP");
    gateway.until_logged_times("held, nothing is taken in", 2);
    gateway.rule("hot", &good);
    gateway.signal("HUP");
    gateway.until_logged("connected broker=");
    gateway.until_logged(" subscribed ");
    let mut out = listener(&broker, "out/#");
    sensor(&broker).publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(out.receive_texts(1)[0].0, "out/d1");
    wait_until(
        || health(&gateway)["well"] == true,
        || format!("{}", health(&gateway)),
    );
    gateway.stop();
}

#[test]
fn a_configuration_that_became_wrong_while_held_is_told_and_one_that_is_mended_is_taken() {
    let broker = broker();
    let mut gateway = held(broker.port(), "");
    let good = threshold("sensors/+/env", "out/{key}");
    gateway.rule("hot", &good.replace("\"local\"", "\"cloud\""));
    gateway.run();
    check_held_by(
        &gateway,
        &format!("{}:", gateway.path("rules/hot.toml").display()),
    );
    gateway.configure("[destinations.cloud]\nulr = \"mqtt://127.0.0.1\"");
    gateway.signal("HUP");
    let path = gateway.path("agent.toml");
    gateway.until_logged(&format!("held, nothing is taken in: {}:", path.display()));
    // A command reads the same file.
    assert_eq!(gateway.tidemill("inspect health").code, Some(2));
    gateway.reconfigure("ulr", "url");
    gateway.signal("HUP");
    gateway.until_logged("connected broker=");
    gateway.stop();
}

#[test]
fn rows_for_a_destination_that_was_taken_out_hold_the_start_until_it_is_back() {
    let broker = broker();
    let cloud = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\n",
        free_port()
    );
    let mut gateway = held(broker.port(), &cloud);
    let text = threshold("sensors/+/env", "out/{key}");
    gateway.rule("hot", &text.replace("\"local\"", "\"cloud\""));
    gateway.start();
    sensor(&broker).publish("sensors/d1/env", b"60", 1, false);
    let waiting = || gateway.tidemill("inspect ledger --json").out;
    let waits = |ledger: &str| {
        let ledger: Value = serde_json::from_str(ledger).unwrap_or_default();
        let lanes = ledger["lanes"].as_array().cloned().unwrap_or_default();
        lanes.iter().any(|lane| lane["waiting"] == 1)
    };
    wait_until(|| waits(&waiting()), waiting);
    gateway.stop();
    gateway.remove_rule("hot");
    gateway.reconfigure(&cloud, "");
    gateway.run();
    check_held_by(&gateway, "1 emissions wait for destination \"cloud\"");
    gateway.configure(&cloud);
    gateway.signal("HUP");
    gateway.until_logged("connected broker=");
    gateway.stop();
}

#[test]
fn an_agent_that_is_held_ends_when_told_to() {
    let mut gateway = held(free_port(), "");
    gateway.rule("hot", "");
    gateway.run();
    gateway.until_logged("held, nothing is taken in");
    let log = gateway.stop();
    assert!(log.iter().any(|line| line.contains("stopped while held")));
}
