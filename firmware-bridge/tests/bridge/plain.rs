//! Plain lines, from the device to the broker.

use super::support::{Bridge, Cable, Lines, configure, port, program, ran, turn};
use serde_json::Value;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;
use tidemill_tests::{Broker, Message, Peer5};

/// Receives until a message has this topic, and returns it.
pub(crate) fn until(peer: &mut Peer5, topic: &str) -> Message {
    loop {
        let message = peer.receive().expect("the broker closed the connection");
        if message.topic == topic {
            return message;
        }
    }
}

/// Receives until a port's status has this state.
pub(crate) fn until_state(peer: &mut Peer5, topic: &str, state: &str) -> Value {
    loop {
        let status: Value = serde_json::from_slice(&until(peer, topic).payload).unwrap();
        if status["state"] == state {
            return status;
        }
    }
}

#[test]
fn a_line_becomes_an_event_with_a_name_and_a_stop_is_told() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("#");
    let cable = Cable::plug(folder.path(), "boiler");
    let ports = port(
        "boiler",
        cable.host(),
        "topic = \"sensors/{port}/{field.id}\"",
    );
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    let birth: Value =
        serde_json::from_slice(&until(&mut peer, "serial/gw/status").payload).unwrap();
    assert_eq!(
        (&birth["state"], &birth["ports"]),
        (&"online".into(), &serde_json::json!(["boiler"]))
    );
    until_state(&mut peer, "serial/gw/boiler/status", "open");
    cable.say("{\"id\":\"a\", \"t\": 21.50}\r\nt=4\nboot\x01\n");
    let first = until(&mut peer, "sensors/boiler/a");
    assert_eq!(first.text(), "{\"id\":\"a\", \"t\": 21.50}");
    let eid = first.property("eid").unwrap();
    assert!(
        eid.starts_with("gw/boiler/") && eid.ends_with(":1"),
        "{eid}"
    );
    assert_eq!(first.property("eid-kind"), Some("number"));
    let second = until(&mut peer, "serial/gw/boiler/data");
    assert_eq!(
        (second.text().as_str(), second.property("eid")),
        ("{\"t\":4}", Some(&*eid.replace(":1", ":2")))
    );
    let (status, took) = bridge.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let end = until(&mut peer, "serial/gw/status");
    assert_eq!(end.text(), "{\"state\":\"offline\"}");
}

#[test]
fn one_that_is_killed_is_offline_by_its_will() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/status");
    let ports = port("p", &folder.path().join("none"), "");
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    assert!(peer.receive().unwrap().text().contains("online"));
    drop(bridge);
    assert_eq!(peer.receive().unwrap().text(), "{\"state\":\"offline\"}");
}

#[test]
fn agent_and_bridge_of_one_id_keep_their_sessions() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    // An agent's client id is its gateway's id.
    let mut agent = Peer5::connect(broker.port(), "gw");
    agent.subscribe("serial/gw/#");
    let cable = Cable::plug(folder.path(), "p");
    let ports = port("p", cable.host(), "");
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    until_state(&mut agent, "serial/gw/p/status", "open");
    cable.say("t=1\n");
    assert_eq!(until(&mut agent, "serial/gw/p/data").text(), "{\"t\":1}");
    assert!(broker.log().contains("as gw::bridge "), "{}", broker.log());
    assert!(!bridge.log().contains("no connection"), "{}", bridge.log());
}

#[test]
fn a_raw_line_is_written_where_that_is_allowed() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/+/status");
    let cable = Cable::plug(folder.path(), "p");
    let ports = port("p", cable.host(), "write = true");
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    until_state(&mut peer, "serial/gw/p/status", "open");
    let mut other = Peer5::connect(broker.port(), "other");
    other.publish("serial/gw/p/write", b"led on", &[]);
    let mut line = [0; 7];
    cable.device().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"led on\n");
    drop(bridge);
}

#[test]
fn one_who_looks_on_sees_lines_as_they_go_by() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/#");
    let cable = Cable::plug(folder.path(), "p");
    let config = configure(&folder, "gw", broker.port(), &port("p", cable.host(), ""));
    let bridge = Bridge::start(&config);
    until_state(&mut peer, "serial/gw/p/status", "open");
    let monitor = |arguments: &[&str]| {
        let mut command = program();
        command
            .arg("monitor")
            .args(arguments)
            .arg("--config")
            .arg(&config);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let (mut people, mut json) = (monitor(&[]), monitor(&["p", "--json"]));
    let (shown, objects) = (
        Lines::of(people.stdout.take().unwrap()),
        Lines::of(json.stdout.take().unwrap()),
    );
    // Until both have joined, lines go by unseen.
    let mut n = 0;
    tidemill_tests::wait_until(
        || {
            n += 1;
            cable.say(&format!("n={n}\n"));
            std::thread::sleep(Duration::from_millis(50));
            n >= 20
        },
        String::new,
    );
    assert!(
        shown
            .until(|line| line.ends_with("n=20"))
            .contains(" p < plain")
    );
    let object: Value = serde_json::from_str(&objects.until(|line| line.contains("n=20"))).unwrap();
    assert_eq!(
        (&object["direction"], &object["kind"], &object["text"]),
        (&"in".into(), &"plain".into(), &"n=20".into())
    );
    // One who looks and reads nothing holds up nobody.
    let pid = people.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-STOP", &pid])
            .status()
            .unwrap()
            .success()
    );
    let text = "x".repeat(1_000);
    for n in 0..2_000 {
        cable.say(&format!("{text}{n}\n"));
    }
    loop {
        if until(&mut peer, "serial/gw/p/data")
            .text()
            .ends_with("x1999")
        {
            break;
        }
    }
    for mut child in [people, json] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(bridge.log().contains("open: "));
}

#[test]
fn commands_that_need_no_bridge_say_what_is_there_and_what_is_wrong() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::plug(folder.path(), "p");
    let good = configure(&folder, "gw", 1883, &port("p", cable.host(), ""));
    let (code, said) = ran(&["check", "--config", good.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("p is there") && said.contains("client id gw::bridge"),
        "{said}"
    );
    let wrong = configure(
        &folder,
        "wrong",
        1883,
        &port("p", cable.host(), "buad = 9600"),
    );
    for command in ["check", "run"] {
        let (code, said) = ran(&[command, "--config", wrong.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("wrong.toml:9:1: unknown key `buad`; did you mean `baud`?"),
            "{said}"
        );
    }
    assert_eq!(ran(&["ports"]).0, Some(0));
    assert_eq!(ran(&["ports", "--json"]).0, Some(0));
    let (code, said) = ran(&["monitor", "--config", good.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("does the bridge run"), "{said}");
    assert_eq!(ran(&["monitr"]).0, Some(2));
}
