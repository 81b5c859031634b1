//! Pushed rules: signed with the real commands, applied to the real agent, seen to act and to go back.

use std::path::Path;

use serde_json::Value;
use tidemill_tests::{Gateway, Ran, run, wait_until};

use crate::support::{broker, listener, sensor, threshold};

/// Keys, a root and rules of an operator, in a folder beside the gateway.
pub(super) struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    pub(super) fn new() -> Self {
        let operator = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for name in ["root", "ops", "thief"] {
            operator.good(&format!("keys new {name}"));
        }
        operator.good("root edit --add-root-key root.key --add-bundle-key ops.key --out root.json");
        operator.good("root sign root.json --key root.key");
        operator
    }

    fn call(&self, command: &str) -> Ran {
        let words: Vec<&str> = command.split(' ').collect();
        run(self.dir.path(), &words)
    }

    #[track_caller]
    fn good(&self, command: &str) -> String {
        let ran = self.call(command);
        assert_eq!(ran.code, Some(0), "{command}: {}{}", ran.out, ran.err);
        ran.out
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Signs a rule of this text as the bundle `main` for all; returns the file.
    #[track_caller]
    fn bundle(&self, version: u64, rule: &str, more: &str) -> String {
        self.write("hot.toml", &format!("name = \"hot\"\n{rule}"));
        let file = format!("main-{version}.tmb");
        let _ = std::fs::remove_file(self.dir.path().join(&file));
        let key = if more.contains("--key") {
            ""
        } else {
            " --key ops.key"
        };
        self.good(&format!(
            "bundle sign hot.toml --scope all --version {version} --out {file}{key}{more}"
        ));
        self.dir.path().join(file).display().to_string()
    }

    /// Puts the root of trust beside a gateway's configuration.
    pub(super) fn trusted_by(&self, gateway: &Gateway) {
        std::fs::copy(self.dir.path().join("root.json"), gateway.path("root.json")).unwrap();
    }

    /// A gateway that trusts this operator, with a local rule and a short probation.
    fn gateway(&self, port: u16) -> Gateway {
        let gateway = Gateway::new(port, "");
        self.trusted_by(&gateway);
        gateway.configure("[fleet]\nroot = \"root.json\"\nprobation = \"1s\"\npause = \"0s\"");
        gateway.rule("local", &threshold("sensors/+/env", "out/local"));
        gateway
    }
}

#[track_caller]
fn applied(gateway: &Gateway, file: &str, more: &str) -> String {
    let ran = gateway.tidemill(&format!("apply {file}{more}"));
    assert_eq!(
        ran.code,
        Some(0),
        "{}{}\n{}",
        ran.out,
        ran.err,
        gateway.log().join("\n")
    );
    ran.out
}

#[track_caller]
fn refused(gateway: &Gateway, file: &str, reason: &str) -> String {
    let ran = gateway.tidemill(&format!("apply {file} --wait"));
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(reason), "{} has no {reason}", ran.err);
    ran.err
}

fn fleet(gateway: &Gateway) -> Value {
    let ran = gateway.tidemill("inspect fleet --json");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// The version of `main` that is in force; none where no bundle is.
fn in_force(gateway: &Gateway) -> Option<u64> {
    fleet(gateway)["in_force"][0]["version"].as_u64()
}

/// A rule that sends events above a limit to `out/hot`.
fn hot(limit: u32) -> String {
    threshold("sensors/+/env", "out/hot").replace("limit = 50", &format!("limit = {limit}"))
}

/// A rule whose function faults with every event.
const TRAPS: &str = "[on]\nmqtt = [\"sensors/+/env\"]\n[function]\nwasm = \"traps.wasm\"\n\
                     [ports.out]\nto = \"local\"\ntopic = \"out/hot\"\n";

fn traps(operator: &Operator) {
    let wat = "(module (func (export \"on_event\") (result i32) unreachable))";
    let wasm = wat::parse_str(wat).unwrap();
    std::fs::write(operator.dir.path().join("traps.wasm"), wasm).unwrap();
}

#[test]
fn an_applied_bundle_acts_and_outlives_a_restart() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let mut out = listener(&broker, "out/hot");
    let mut sensor = sensor(&broker);
    let file = operator.bundle(1, &hot(50), " --events 0");
    let said = applied(&gateway, &file, " --wait=confirmed");
    assert!(said.contains("bundle main: active"), "{said}");
    sensor.publish("sensors/d1/env", b"60", 1, false);
    assert_eq!(
        out.receive_texts(1),
        [("out/hot".to_owned(), "60".to_owned())]
    );
    // Only what changes is said again, and nothing happens.
    assert!(applied(&gateway, &file, "").contains("as it was before"));
    gateway.stop();

    gateway.start();
    assert_eq!(in_force(&gateway), Some(1));
    sensor.publish("sensors/d1/env", b"61", 1, false);
    assert_eq!(
        out.receive_texts(1),
        [("out/hot".to_owned(), "61".to_owned())]
    );

    // Rules are taken away by a bundle without any.
    operator.good("bundle sign --none --scope all --version 2 --out none.tmb --key ops.key");
    let none = operator.dir.path().join("none.tmb").display().to_string();
    applied(&gateway, &none, " --wait=confirmed");
    let rules = gateway.tidemill("inspect rules --json").out;
    assert!(
        rules.contains("\"local\"") && !rules.contains("\"hot\""),
        "{rules}"
    );
    gateway.stop();
}

#[test]
fn bad_bundles_are_refused_by_reason_and_the_old_rules_run_on() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let good = operator.bundle(5, &hot(50), " --events 0");
    applied(&gateway, &good, " --wait=confirmed");
    let hash = || gateway.tidemill("inspect state-hash").out;
    let before = hash();

    refused(
        &gateway,
        &operator.bundle(6, &hot(50), " --key thief.key"),
        "unknown_key",
    );
    refused(&gateway, &operator.bundle(4, &hot(50), ""), "replay");
    refused(&gateway, &operator.bundle(5, &hot(51), ""), "replay");
    operator.good("bundle sign hot.toml --scope gateway:other --out other.tmb --key ops.key");
    let other = operator.dir.path().join("other.tmb").display().to_string();
    refused(&gateway, &other, "not_for_me");
    let elsewhere = hot(50).replace("to = \"local\"", "to = \"nowhere\"");
    let why = refused(&gateway, &operator.bundle(7, &elsewhere, ""), "install");
    assert!(why.contains("bundle main@7/hot.toml:"), "{why}");
    // What no rule may is refused where it is signed already.
    operator.write(
        "sys.toml",
        &format!("name = \"sys\"\n{}", threshold("$SYS/#", "out/hot")),
    );
    let ran = operator.call("bundle sign sys.toml --scope all --out sys.tmb --key ops.key");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("sys.toml:3:9:"), "{}", ran.err);
    let cycle = threshold("out/local", "sensors/d1/env");
    refused(&gateway, &operator.bundle(9, &cycle, ""), "cycle");

    // One bit of another one, wherever it stands.
    let bytes = std::fs::read(&good).unwrap();
    for at in (0..bytes.len() - 1).step_by(97) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let file = operator.dir.path().join("flipped.tmb");
        std::fs::write(&file, bytes).unwrap();
        refused(&gateway, &file.display().to_string(), "refused: ");
    }
    assert_eq!(in_force(&gateway), Some(5));
    assert_eq!(hash(), before);
    let told = fleet(&gateway);
    assert_eq!(told["active"], 1);
    assert!(told["replays"].as_u64().unwrap() >= 2, "{told}");
    assert!(
        told["unsigned"]["bad_signature"].as_u64().unwrap() >= 1,
        "{told}"
    );
    gateway.stop();
}

#[test]
fn a_version_that_faults_on_probation_goes_back_by_itself() {
    let broker = broker();
    let operator = Operator::new();
    traps(&operator);
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let good = operator.bundle(1, &hot(50), " --events 0");
    applied(&gateway, &good, " --wait=confirmed");
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);

    let bad = operator.bundle(2, TRAPS, "");
    applied(&gateway, &bad, " --wait");
    assert_eq!(in_force(&gateway), Some(2));
    for _ in 0..6 {
        sensor.publish("sensors/d1/env", b"60", 1, false);
    }
    gateway.until_logged("pushed rules are rolled back: quarantined");
    wait_until(
        || in_force(&gateway) == Some(1),
        || fleet(&gateway).to_string(),
    );
    sensor.publish("sensors/d1/env", b"99", 1, false);
    let last = out.receive_until("99");
    assert!(
        last.iter().any(|(topic, _)| topic == "out/local"),
        "{last:?}"
    );
    let told = fleet(&gateway);
    assert_eq!(told["attempts"][0]["state"], "rolled_back", "{told}");
    assert_eq!(told["attempts"][0]["reason"], "quarantined");
    // It is not tried again, also not after a restart.
    refused(&gateway, &bad, "quarantined");
    gateway.stop();
    gateway.start();
    assert_eq!(in_force(&gateway), Some(1));
    refused(&gateway, &bad, "quarantined");
    gateway.stop();
}

#[test]
fn a_kill_at_any_time_leaves_the_old_or_the_new_rules() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let first = operator.bundle(1, &hot(50), " --events 0");
    applied(&gateway, &first, " --wait=confirmed");
    let mut at_least = 1;
    for (version, logged) in [
        (2, "a bundle was accepted"),
        (3, "pushed rules run, on probation"),
        (4, "a deployment is confirmed"),
    ] {
        let file = operator.bundle(version, &hot(50), " --events 0");
        let before = gateway.count_logged(logged);
        let ran = gateway.tidemill(&format!("apply {file}"));
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        gateway.until_logged_times(logged, before + 1);
        gateway.kill();
        gateway.start();
        let now = in_force(&gateway).unwrap();
        assert!((at_least..=version).contains(&now), "{now} after {version}");
        // Whatever was lost comes with the next push, as a broker's would with the next connection.
        applied(&gateway, &file, " --wait=confirmed");
        assert_eq!(in_force(&gateway), Some(version));
        at_least = version;
    }
    gateway.stop();
}

#[test]
fn two_deaths_in_probation_send_a_deployment_back_and_an_orderly_stop_does_not() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.reconfigure("probation = \"1s\"", "probation = \"1h\"");
    gateway.start();
    let file = operator.bundle(1, &hot(50), "");
    applied(&gateway, &file, " --wait");
    for _ in 0..4 {
        gateway.stop();
        gateway.start();
    }
    assert_eq!(in_force(&gateway), Some(1), "orderly stops are no sign");
    for _ in 0..3 {
        gateway.kill();
        gateway.start();
    }
    let told = fleet(&gateway);
    assert_eq!(told["attempts"][0]["reason"], "died", "{told}");
    assert_eq!(in_force(&gateway), None);
    gateway.stop();
}

#[test]
fn a_new_root_takes_a_key_away_and_a_removed_key_never_comes_back() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    // A stolen key and the highest version that there is.
    let highest = operator.bundle(u64::MAX, &hot(50), " --events 0");
    applied(&gateway, &highest, " --wait=confirmed");
    let ops: Value = serde_json::from_str(&operator.good("keys public ops.key --json")).unwrap();
    let id = ops["id"].as_str().unwrap();
    operator.good("keys new new");
    operator.good(&format!(
        "root edit --from root.json --remove {id} --add-bundle-key new.key --out root-2.json"
    ));
    let unsigned = operator.call("root verify root-2.json --after root.json");
    assert_eq!(unsigned.code, Some(1), "{}", unsigned.err);
    operator.good("root sign root-2.json --key root.key");
    operator.good("root verify root-2.json --after root.json");
    let next = operator.bundle(1, &hot(51), " --events 0 --key new.key --root root-2.json");
    refused(&gateway, &next, "unknown_key");
    let with = operator.bundle(
        2,
        &hot(51),
        " --events 0 --key new.key --root root-2.json --with-root root-2.json",
    );
    applied(&gateway, &with, " --wait=confirmed");
    assert_eq!(in_force(&gateway), Some(2));
    refused(&gateway, &highest, "key_removed");
    let back =
        operator.call("root edit --from root-2.json --add-bundle-key ops.key --out root-3.json");
    assert_eq!(back.code, Some(2));
    assert!(
        back.err.contains("was removed and never comes back"),
        "{}",
        back.err
    );
    gateway.stop();
}

#[test]
fn a_key_signs_within_its_rights_alone() {
    let broker = broker();
    let operator = Operator::new();
    operator.good("keys new narrow");
    std::fs::remove_file(operator.dir.path().join("root.json")).unwrap();
    operator.good(
        "root edit --add-root-key root.key --add-bundle-key narrow.key --scope all --bundle main \
         --listen sensors/# --send local:out/# --out root.json",
    );
    operator.good("root sign root.json --key root.key");
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let by = " --events 0 --key narrow.key";
    let listens = threshold("other/+/env", "out/hot");
    let why = refused(&gateway, &operator.bundle(1, &listens, by), "beyond_key");
    assert!(why.contains("listens to other/+/env"), "{why}");
    let sends = threshold("sensors/+/env", "alarms/hot");
    refused(&gateway, &operator.bundle(2, &sends, by), "beyond_key");
    applied(
        &gateway,
        &operator.bundle(3, &hot(50), by),
        " --wait=confirmed",
    );
    operator.good("bundle sign hot.toml --scope all --bundle other --out o.tmb --key narrow.key");
    let other = operator.dir.path().join("o.tmb").display().to_string();
    refused(&gateway, &other, "not_allowed");
    gateway.stop();
}

#[test]
fn a_damaged_depot_is_told_and_never_ends_a_start() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.start();
    let file = operator.bundle(1, &hot(50), " --events 0");
    applied(&gateway, &file, " --wait=confirmed");
    let file = operator.bundle(2, &hot(51), " --events 0");
    applied(&gateway, &file, " --wait=confirmed");
    gateway.stop();
    let depot = gateway.path("data/fleet");
    let mut version = 2;
    for damaged in [
        "state",
        "trust",
        "deployments",
        "objects",
        "state and the one before",
    ] {
        damage(&depot, damaged);
        gateway.start();
        let told = fleet(&gateway);
        assert_ne!(told["damage"], serde_json::json!([]), "{damaged}: {told}");
        version += 1;
        let file = operator.bundle(version, &hot(50), " --events 0");
        applied(&gateway, &file, " --wait=confirmed");
        assert_eq!(in_force(&gateway), Some(version), "{damaged}");
        gateway.stop();
    }
}

/// Flips a bit in the middle of a file, or in those of a folder.
fn damage(depot: &Path, what: &str) {
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    if what == "state and the one before" {
        flip(&depot.join("state"));
        flip(&depot.join("state.before"));
        return;
    }
    let path = depot.join(what);
    if path.is_dir() {
        let files = std::fs::read_dir(path).unwrap();
        files.for_each(|file| flip(&file.unwrap().path()));
    } else {
        flip(&path);
    }
}

#[test]
fn a_local_file_hides_a_pushed_rule_of_its_name() {
    let broker = broker();
    let operator = Operator::new();
    let mut gateway = operator.gateway(broker.port());
    gateway.rule("hot", &threshold("sensors/+/env", "out/mine"));
    gateway.start();
    let file = operator.bundle(1, &hot(50), " --events 0");
    applied(&gateway, &file, " --wait=confirmed");
    assert_eq!(fleet(&gateway)["shadowed"], serde_json::json!(["hot"]));
    let mut out = listener(&broker, "out/#");
    let mut sensor = sensor(&broker);
    gateway.remove_rule("hot");
    gateway.reload();
    sensor.publish("sensors/d1/env", b"60", 1, false);
    let topics: Vec<String> = out
        .receive_texts(2)
        .into_iter()
        .map(|(topic, _)| topic)
        .collect();
    assert_eq!(topics, ["out/hot", "out/local"]);
    gateway.stop();
}

#[test]
fn a_fleet_that_cannot_be_is_named_with_its_line() {
    let operator = Operator::new();
    for (lines, expected) in [
        ("root = \"nowhere.json\"", "agent.toml:9:8: fleet.root: "),
        ("root = \"agent.toml\"", "is no root of trust"),
        ("root = \"root.json\"\nrot = 1", "unknown key `rot`"),
        (
            "root = \"root.json\"\ngroups = [\"A\"]",
            "fleet.groups: \"A\" is no name of a group",
        ),
        (
            "root = \"root.json\"\nurl = \"mqtt://h\"\nvia = \"c\"",
            "fleet.via: url names the broker already",
        ),
        (
            "root = \"root.json\"\nvia = \"c\"",
            "fleet.via: there is no [destinations.c]",
        ),
        ("groups = []", "missing key `root`; write root ="),
    ] {
        let gateway = Gateway::new(1883, "");
        std::fs::copy(
            operator.dir.path().join("root.json"),
            gateway.path("root.json"),
        )
        .unwrap();
        gateway.configure(&format!("[fleet]\n{lines}"));
        let ran = gateway.tidemill("check --offline");
        assert_eq!(ran.code, Some(2), "{lines}");
        assert!(ran.err.contains(expected), "{} has no {expected}", ran.err);
    }
    let gateway = Gateway::new(1883, "");
    gateway.rule("hot", &hot(50));
    let ran = gateway.tidemill("apply nothing.tmb");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

/// An operator's folder with `fleet.toml`, and a gateway of it that is connected to the broker.
fn linked(broker: &tidemill_tests::Broker, lines: &str) -> (Operator, Gateway) {
    let operator = Operator {
        dir: tempfile::tempdir().unwrap(),
    };
    let port = broker.port();
    operator.good(&format!(
        "init --fleet --gateway gw --broker mqtt://127.0.0.1:{port}"
    ));
    let gateway = Gateway::new(port, "");
    std::fs::copy(
        operator.dir.path().join("root.json"),
        gateway.path("root.json"),
    )
    .unwrap();
    gateway.configure(&format!(
        "[fleet]\nurl = \"mqtt://127.0.0.1:{port}\"\nroot = \"root.json\"\nprobation = \"1s\"\npause = \"0s\"\n{lines}"
    ));
    gateway.rule("local", &threshold("sensors/+/env", "out/local"));
    (operator, gateway)
}

#[test]
fn a_push_reaches_its_gateway_acts_and_is_reported() {
    for protocol in ["5", "3.1.1"] {
        let broker = broker();
        let (operator, mut gateway) = linked(
            &broker,
            &format!("groups = [\"plant\"]\nprotocol = \"{protocol}\""),
        );
        gateway.start();
        gateway.until_logged("rules are pushed from here");
        operator.write("hot.toml", &format!("name = \"hot\"\n{}", hot(50)));
        let said = operator.good("push hot.toml --to gw --events 0 --wait");
        assert!(
            said.contains("added hot") && said.contains("gw: on probation"),
            "{said}"
        );
        let mut out = listener(&broker, "out/hot");
        let mut sensor = sensor(&broker);
        sensor.publish("sensors/d1/env", b"60", 1, false);
        assert_eq!(
            out.receive_texts(1),
            [("out/hot".to_owned(), "60".to_owned())]
        );
        let said = operator.good("push hot.toml --to gw --events 0 --wait=confirmed");
        assert!(
            said.contains("version 2") && said.contains("gw: active"),
            "{said}"
        );
        let status = operator.good("status");
        assert!(
            status.contains("online") && status.contains("2 of gateway:gw"),
            "{status}"
        );

        // One that is taken away is named, and takes a word.
        operator.write("cold.toml", &format!("name = \"cold\"\n{}", hot(70)));
        let ran = operator.call("push cold.toml --to gw");
        assert_eq!(ran.code, Some(2), "{}", ran.out);
        assert!(ran.err.contains("rule hot"), "{}", ran.err);
        operator.good("push cold.toml --to gw --remove --events 0 --wait=confirmed");
        operator.good("push --none --to gw --wait=confirmed");
        let rules = gateway.tidemill("inspect rules --json").out;
        assert!(
            !rules.contains("\"cold\"") && !rules.contains("\"hot\""),
            "{rules}"
        );

        // Away during three pushes: the newest counts, once. What is said of the gateway alone would
        // count more.
        operator.good("push --inherit --to gw --wait=confirmed");
        gateway.stop();
        let status = operator.good("status");
        assert!(status.contains("away"), "{status}");
        for _ in 0..3 {
            operator.good("push hot.toml --to group:plant --events 0");
        }
        gateway.start();
        wait_until(
            || in_force(&gateway) == Some(3),
            || gateway.log().join("\n"),
        );
        gateway.until_logged("a deployment is confirmed");
        assert_eq!(gateway.count_logged("pushed rules run, on probation"), 1);
        gateway.stop();
    }
}

#[test]
fn a_bad_push_goes_back_everywhere_and_the_operator_is_told_why() {
    let broker = broker();
    let (operator, mut gateway) = linked(&broker, "");
    traps(&operator);
    gateway.start();
    gateway.until_logged("rules are pushed from here");
    operator.write("hot.toml", &format!("name = \"hot\"\n{}", hot(50)));
    operator.good("push hot.toml --to gw --events 0 --wait=confirmed");
    operator.write("hot.toml", &format!("name = \"hot\"\n{TRAPS}"));
    let mut sensor = sensor(&broker);
    operator.good("push hot.toml --to gw --wait");
    for _ in 0..6 {
        sensor.publish("sensors/d1/env", b"60", 1, false);
    }
    gateway.until_logged("pushed rules are rolled back: quarantined");
    let seen = || operator.call("status");
    wait_until(|| seen().out.contains("quarantined"), || seen().out);
    assert_eq!(seen().code, Some(1));
    assert_eq!(in_force(&gateway), Some(1));

    // A root that takes the key away is walked to, and the way back is a new version by a new key.
    let ops: Value =
        serde_json::from_str(&operator.good("keys public keys/ops.key --json")).unwrap();
    let id = ops["id"].as_str().unwrap();
    operator.good("keys new ops2 --dir keys");
    operator.good(&format!(
        "root edit --from root.json --remove {id} --add-bundle-key keys/ops2.key --out root-2.json"
    ));
    operator.good("root sign root-2.json --key keys/root.key");
    operator.good("root publish root-2.json");
    gateway.until_logged("a new root of trust counts");
    let fleet_toml = std::fs::read_to_string(operator.dir.path().join("fleet.toml")).unwrap();
    let fleet_toml = fleet_toml
        .replace("keys/ops.key", "keys/ops2.key")
        .replace("\"root.json\"", "\"root.json\", \"root-2.json\"");
    operator.write("fleet.toml", &fleet_toml);
    operator.write("hot.toml", &format!("name = \"hot\"\n{}", hot(51)));
    operator.good("push hot.toml --to gw --events 0 --wait=confirmed");
    gateway.stop();
}

#[test]
fn nothing_without_a_signature_acts_and_a_forged_report_is_shown_as_forged() {
    let broker = broker();
    let (operator, mut gateway) = linked(&broker, "");
    gateway.start();
    gateway.until_logged("rules are pushed from here");
    operator.write("hot.toml", &format!("name = \"hot\"\n{}", hot(50)));
    operator.good("push hot.toml --to gw --events 0 --wait=confirmed");
    let before = gateway.tidemill("inspect state-hash").out;
    let mut anybody = sensor(&broker);
    let desired = "tidemill/v1/gateway/gw/desired/main";
    operator
        .good("bundle sign hot.toml --scope gateway:gw --version 9 --out 9.tmb --key keys/ops.key");
    let good = std::fs::read(operator.dir.path().join("9.tmb")).unwrap();
    let good = good.trim_ascii_end().to_vec();
    let other = desired.replace("main", "other");
    for (topic, payload) in [
        (desired, b"{}".to_vec()),
        (desired, vec![0xff; 1000]),
        (desired, vec![b'['; 100_000]),
        (desired, vec![b' '; 600 << 10]),
        (other.as_str(), good.clone()),
        ("tidemill/v1/all/desired/main", good.clone()),
        ("tidemill/v1/root/2", b"{}".to_vec()),
        ("tidemill/v1/gateway/gw/desired/+x", b"{}".to_vec()),
    ] {
        if !topic.contains('+') {
            anybody.publish(topic, &payload, 1, true);
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let reasons = || {
        let told = fleet(&gateway);
        let list = told["refused"].as_array().unwrap().clone();
        list.iter()
            .map(|it| it["reason"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    wait_until(
        || {
            ["malformed", "too_large", "wrong_topic"]
                .iter()
                .all(|it| reasons().contains(&(*it).to_owned()))
        },
        || format!("{:?}", reasons()),
    );
    assert_eq!(in_force(&gateway), Some(1));
    assert_eq!(gateway.tidemill("inspect state-hash").out, before);

    // What the broker lost is shown, and published again.
    let lost = operator.call("status");
    assert!(lost.out.contains("push --again"), "{}", lost.out);
    operator.good("push --again");

    anybody.publish("tidemill/v1/gateway/gw/status", b"{}", 1, true);
    let seen = operator.call("status");
    assert!(
        seen.out.contains("FORGED") || seen.out.contains("online"),
        "{}",
        seen.out
    );
    // The gateway reads its own status, and says it again.
    wait_until(
        || {
            let seen = operator.call("status").out;
            seen.contains("online") && !seen.contains("FORGED")
        },
        || operator.call("status").out,
    );
    gateway.stop();
}

#[test]
fn a_will_tells_that_a_gateway_is_away() {
    let broker = broker();
    let (operator, mut gateway) = linked(&broker, "");
    gateway.start();
    gateway.until_logged("rules are pushed from here");
    wait_until(
        || operator.call("status").out.contains("online"),
        String::new,
    );
    gateway.kill();
    wait_until(
        || operator.call("status").out.contains("away"),
        || operator.call("status").out,
    );
    gateway.start();
    wait_until(
        || operator.call("status").out.contains("online"),
        || operator.call("status").out,
    );
    gateway.stop();
}

#[test]
fn a_push_that_nobody_can_hear_is_told_at_once() {
    let broker = broker();
    let (operator, _gateway) = linked(&broker, "");
    operator.write("hot.toml", &format!("name = \"hot\"\n{}", hot(50)));
    let ran = operator.call("push hot.toml --to nobody --wait --timeout 1s");
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("no gateway of gateway:nobody has ever reported"),
        "{}",
        ran.out
    );
    operator.write("hot.toml", "name = \"hot\"\n[on]\nmqtt = 3\n");
    let ran = operator.call("push hot.toml --to gw");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("hot.toml:3:"), "{}", ran.err);
    operator.write(
        "hot.toml",
        &format!("name = \"hot\"\n{}[params2]\n", hot(50)),
    );
    assert_eq!(operator.call("push hot.toml --to gw").code, Some(2));
    operator.write("fleet.lock", "{\n<<<<<<< ours\n");
    let ran = operator.call("push --again");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("merge conflict"), "{}", ran.err);
}
