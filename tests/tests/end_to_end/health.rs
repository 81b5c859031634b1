//! `tidemill inspect health` and its exit code for each trouble, caused for real.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tidemill_tests::{
    Broker, Endpoint, Gateway, LoopDisk, Ran, free_port, run, skipped, wait_until,
};

use crate::support::{PASS, broker, rule, sensor, threshold};

/// Traps on every event.
const TRAP: &str = r#"(module (func (export "on_event") (result i32) unreachable))"#;

fn inspect(gateway: &Gateway, what: &str) -> Ran {
    gateway.tidemill(&format!("inspect {what}"))
}

fn json(gateway: &Gateway, what: &str) -> Value {
    let ran = inspect(gateway, &format!("{what} --json"));
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{what}: {ran:?}"))
}

/// Waits until the text has a line that begins and ends so, and says that the gateway is not well.
#[track_caller]
fn until_ill(gateway: &Gateway, begins: &str, has: &str) {
    let ill = |ran: &Ran| {
        let mut lines = ran.out.lines();
        ran.code == Some(1)
            && ran.out.starts_with("not well, ")
            && lines.any(|line| {
                line.starts_with(&format!("! {begins}"))
                    && line.contains(has)
                    && line.contains(", since 20")
            })
    };
    let look = || inspect(gateway, "health");
    wait_until(
        || ill(&look()),
        || format!("no {begins:?} {has:?}: {:?}", look()),
    );
    assert_eq!(json(gateway, "health")["well"], false);
}

#[track_caller]
fn until_well(gateway: &Gateway) {
    let look = || inspect(gateway, "health");
    let is_well = |ran: &Ran| ran.code == Some(0) && ran.out.starts_with("well\n");
    wait_until(|| is_well(&look()), || format!("not well: {:?}", look()));
    assert_eq!(json(gateway, "health")["well"], true);
}

fn pass(gateway: &Gateway, to: &str) {
    gateway.module("pass", PASS);
    let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}");
    gateway.rule("pass", &text.replace("\"local\"", &format!("{to:?}")));
}

#[test]
fn a_broker_that_is_stopped_is_trouble_until_it_is_back() {
    let mut broker = Broker::start("");
    let mut gateway = Gateway::new(broker.port(), "");
    pass(&gateway, "local");
    gateway.start();
    until_well(&gateway);
    let well = inspect(&gateway, "health").out;
    for line in [
        "  broker ",
        "  destination local ",
        "  rule pass ",
        "  thread agent ",
        "  disk ",
        "  clock ",
    ] {
        assert!(
            well.lines().any(|said| said.starts_with(line)),
            "no {line:?} in\n{well}"
        );
    }
    broker.stop();
    until_ill(&gateway, "broker", "no connection: ");
    broker.run();
    until_well(&gateway);
    gateway.stop();
}

#[test]
fn a_destination_that_is_away_is_trouble_after_its_time_and_told_once() {
    let local = broker();
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\nalarm_after = \"4s\"",
        free_port()
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "cloud");
    gateway.start();
    until_ill(&gateway, "destination cloud", "away: nothing answers there");
    // Several attempts were made by now.
    assert_eq!(
        gateway.count_logged("no connection: "),
        1,
        "{}",
        gateway.log().join("\n")
    );
    gateway.stop();
}

#[test]
fn a_destination_that_refuses_is_trouble() {
    let local = broker();
    let refuses = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refuses);
    let endpoint = Endpoint::start(move |_| {
        if switch.load(Ordering::Acquire) {
            401
        } else {
            200
        }
    });
    let lines = format!("[destinations.web]\nurl = \"{}\"", endpoint.url());
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "web");
    gateway.start();
    sensor(&local).publish("sensors/d1/env", b"1", 1, false);
    until_ill(&gateway, "destination web", "takes nothing: ");
    refuses.store(false, Ordering::Release);
    until_well(&gateway);
    gateway.stop();
}

#[test]
fn a_quarantine_is_trouble_and_a_reload_lifts_it_only_for_another_rule() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    gateway.module("trap", TRAP);
    let text = rule("\"sensors/+/env\"", "wasm = \"trap.wasm\"", "out/{key}");
    gateway.rule("trap", &text);
    gateway.start();
    let events = (0..10).map(|_| ("sensors/d1/env".to_owned(), Vec::new()));
    sensor(&local).publish_all(events);
    until_ill(&gateway, "rule trap", "in quarantine for another ");
    let rules = json(&gateway, "rules");
    let told = &rules[0];
    assert_eq!(told["state"], "quarantined", "{rules}");
    for key in [
        "last_event",
        "last_error_at",
        "quarantined_until",
        "state_bytes_max",
    ] {
        assert!(
            told[key].as_i64().is_some_and(|ms| ms > 0),
            "{key}: {rules}"
        );
    }
    assert!(
        told["last_error"]
            .as_str()
            .is_some_and(|why| why.contains("trap")),
        "{rules}"
    );
    let table = inspect(&gateway, "rules");
    assert_eq!(table.code, Some(0), "{table:?}");
    assert!(
        table.out.contains("quarantined until") && table.out.contains("1.0 MiB"),
        "{table:?}"
    );
    // The same rule rests on; another one of its name does not, and it is said.
    gateway.rule("other", &threshold("t", "out"));
    gateway.reload();
    gateway.until_logged("new=\"other\" changed=\"none\" gone=\"none\"");
    assert_eq!(json(&gateway, "rules")[1]["state"], "quarantined");
    gateway.rule("trap", &format!("version = 2\n{text}"));
    gateway.remove_rule("other");
    gateway.reload();
    gateway.until_logged("new=\"none\" changed=\"trap\" gone=\"other\"");
    gateway.until_logged("the rule was changed: it rests no more");
    assert_eq!(json(&gateway, "rules")[0]["state"], "works");
    until_well(&gateway);
    gateway.stop();
}

#[test]
fn rows_and_keys_that_find_no_room_are_trouble() {
    let local = broker();
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\noutbox = {{ count = 1 }}",
        free_port()
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "cloud");
    let text = threshold("sensors/+/env", "hot/{key}");
    gateway.rule("hot", &format!("{text}[limits]\nkeys = 2\n"));
    gateway.start();
    until_well(&gateway);
    let events = (0..50).map(|n| (format!("sensors/d{n}/env"), b"61".to_vec()));
    sensor(&local).publish_all(events);
    until_ill(
        &gateway,
        "destination cloud",
        "rows found no room in its outbox and were dropped",
    );
    until_ill(
        &gateway,
        "rule hot",
        "rows, windows or keys found no room and were dropped",
    );
    assert_eq!(json(&gateway, "rules")[0]["state"], "drops");
    gateway.stop();
}

#[test]
fn rules_that_can_take_nothing_in_are_behind() {
    let local = broker();
    let lines = format!(
        "[destinations.cloud]\nurl = \"mqtt://127.0.0.1:{}\"\noutbox = {{ count = 1, when_full = \"block\" }}",
        free_port()
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "cloud");
    gateway.start();
    let events = (0..50).map(|n| (format!("sensors/d{n}/env"), b"61".to_vec()));
    sensor(&local).publish_all(events);
    until_ill(
        &gateway,
        "intake",
        "all rules are behind: an outbox with when_full = \"block\" is full",
    );
    gateway.stop();
}

#[test]
fn a_clock_that_nobody_keeps_is_trouble_where_a_rule_runs_by_it() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    pass(&gateway, "local");
    gateway.start();
    until_well(&gateway);
    if gateway.count_logged("a time server keeps the clock") > 0 {
        gateway.stop();
        return skipped("a time server keeps the clock of this machine");
    }
    let text = rule("\"sensors/+/env\"", "wasm = \"pass.wasm\"", "out/{key}");
    let text = text.replace("[function]", "schedule = [\"0 0 7 * * *\"]\n[function]");
    gateway.rule("daily", &text);
    gateway.reload();
    until_ill(
        &gateway,
        "clock",
        "no time server keeps it, and rule daily has a schedule by it",
    );
    gateway.stop();
}

#[test]
fn a_disk_without_room_for_two_segments_is_trouble() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    let disk = match LoopDisk::mount(&gateway.path("data"), 128) {
        Ok(disk) => disk,
        Err(why) => return skipped(&format!("no small file system to fill: {why}")),
    };
    pass(&gateway, "local");
    gateway.start();
    until_well(&gateway);
    let ballast = disk.fill(10 << 20);
    until_ill(
        &gateway,
        "disk",
        "no room for two segments of the journal: needed 16.0 MiB, free ",
    );
    let checked = gateway.tidemill("check --offline");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let warning = "has no room for two segments of the journal: needed 16.0 MiB, free ";
    assert!(checked.out.contains(warning), "{checked:?}");
    std::fs::remove_file(ballast).unwrap();
    until_well(&gateway);
    gateway.stop();
}

#[test]
fn a_reload_says_which_keys_need_a_restart() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    pass(&gateway, "local");
    gateway.start();
    gateway.configure("[limits]\nfuel = 7\n[destinations.cloud]\nurl = \"mqtt://h\"");
    gateway.reload();
    gateway.until_logged("these keys are read at the next start only");
    gateway.until_logged("keys=\"destinations.cloud.url, limits.fuel\"");
    gateway.configure("[limits]\nfuel = 7");
    gateway.reload();
    gateway.until_logged("the configuration cannot be read, which the next start needs: ");
    gateway.stop();
}

#[test]
fn a_refused_reload_is_trouble_until_one_succeeds() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    pass(&gateway, "local");
    gateway.start();
    until_well(&gateway);
    gateway.rule(
        "wrong",
        "[on]\nmqtt = [\"a\"]\n[function]\nstock = \"nothing\"",
    );
    gateway.reload();
    until_ill(
        &gateway,
        "reload",
        "wrong.toml:4:1: stock function nothing: there is none",
    );
    let answer = inspect(&gateway, "health");
    assert_eq!(answer.code, Some(1), "{answer:?}");
    std::fs::remove_file(gateway.path("rules/wrong.toml")).unwrap();
    // Commands read the file as well, and so does whoever asks here read the one before.
    std::fs::copy(gateway.path("agent.toml"), gateway.path("before.toml")).unwrap();
    gateway.configure("[limits]\nfuel = \"much\"");
    gateway.reload();
    gateway.until_logged("the configuration cannot be read, which the next start needs: ");
    let words = ["inspect", "health", "--config", "before.toml"];
    let answer = run(&gateway.path("."), &words);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let why = "! reload             the configuration cannot be read, which the next start needs: ";
    assert!(
        answer.out.contains(why) && !answer.out.contains("wrong.toml"),
        "{answer:?}"
    );
    assert!(
        answer.out.contains("agent.toml:9:8: limits.fuel"),
        "{answer:?}"
    );
    gateway.reconfigure("\"much\"", "100");
    gateway.reload();
    until_well(&gateway);
    gateway.stop();
}

#[test]
fn where_no_agent_runs_it_is_said_how_to_start_one() {
    let local = broker();
    let mut gateway = Gateway::new(local.port(), "");
    pass(&gateway, "local");
    for what in ["health", "rules", "events", "ledger", "pond", "journal"] {
        let ran = inspect(&gateway, what);
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        assert!(
            ran.err.contains("start one: tidemill run --config"),
            "{what}: {ran:?}"
        );
    }
    gateway.start();
    let ran = inspect(&gateway, "pond");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("stop it to look into them"), "{ran:?}");
    gateway.stop();
    let ran = inspect(&gateway, "health");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("no agent runs on "), "{ran:?}");
    assert_eq!(inspect(&gateway, "pond").code, Some(0));
    assert_eq!(inspect(&gateway, "ledger").code, Some(0));
}
