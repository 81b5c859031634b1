//! Cables that are pulled, programs that hold a port, and a broker that is away.

use super::plain::{until, until_state};
use super::support::{Bridge, Cable, configure, port, ran, turn};
use serde_json::Value;
use std::time::{Duration, Instant};
use tidemill_tests::{Broker, Peer5};

#[test]
fn a_device_that_comes_back_is_heard_again_and_leaves_nothing_behind() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/#");
    let ports = port("p", &folder.path().join("p"), "");
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    let mut before = None;
    let rounds = 20;
    for round in 1..=rounds {
        let cable = Cable::plug(folder.path(), "p");
        let plugged = Instant::now();
        bridge.until_logged_times("open: ", round);
        assert!(
            plugged.elapsed() < Duration::from_secs(2),
            "{:?}",
            plugged.elapsed()
        );
        cable.say(&format!("n={round}\nhalf a li"));
        let heard = until(&mut peer, "serial/gw/p/data");
        assert_eq!(heard.text(), format!("{{\"n\":{round}}}"));
        let files = bridge.files();
        assert_eq!(*before.get_or_insert(files), files, "round {round}");
        drop(cable);
        bridge.until_logged_times("unplugged", round);
    }
    let status = until_state(&mut peer, "serial/gw/p/status", "absent");
    assert!(status["counts"]["noise"].as_u64().unwrap() >= 1, "{status}");
}

#[test]
fn a_second_bridge_is_told_of_the_first_one() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/+/p/+");
    let cable = Cable::plug(folder.path(), "p");
    let config = configure(
        &folder,
        "first",
        broker.port(),
        &port("p", cable.host(), ""),
    );
    let first = Bridge::start(&config);
    until_state(&mut peer, "serial/first/p/status", "open");
    let (code, said) = ran(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!(
            "runs already: tidemill-bridge (PID {})",
            first.pid()
        )),
        "{said}"
    );
    let other = configure(
        &folder,
        "other",
        broker.port(),
        &port("p", cable.host(), ""),
    );
    let other = Bridge::start(&other);
    let status = until_state(&mut peer, "serial/other/p/status", "busy");
    let why = status["why"].as_str().unwrap();
    assert!(
        why.contains(&format!("tidemill-bridge (PID {}) has it", first.pid())),
        "{why}"
    );
    cable.say("n=1\n");
    assert_eq!(until(&mut peer, "serial/first/p/data").text(), "{\"n\":1}");
    drop(first);
    until_state(&mut peer, "serial/other/p/status", "open");
    drop(other);
}

#[test]
fn what_is_missing_after_an_outage_is_what_was_counted() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start("");
    let cable = Cable::plug(folder.path(), "p");
    let bridge = Bridge::start(&configure(
        &folder,
        "gw",
        broker.port(),
        &port("p", cable.host(), ""),
    ));
    bridge.until_logged("connected to the broker");
    bridge.until_logged("open: ");
    broker.stop();
    bridge.until_logged("no connection");
    let mut device = cable.device();
    let text = "x".repeat(200);
    let lines = 8_000;
    for n in 1..=lines {
        std::io::Write::write_all(&mut device, format!("n={n} text={text}\n").as_bytes()).unwrap();
    }
    // A quarter of these lines is more than the bridge may hold.
    assert!(bridge.rss_kib() < 16 << 10, "{}", bridge.rss_kib());
    broker.run();
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/#");
    let mut heard = Vec::new();
    let mut dropped = None;
    while heard.last() != Some(&lines) || dropped.is_none() {
        let message = peer.receive().unwrap();
        let value: Value = serde_json::from_slice(&message.payload).unwrap();
        match &*message.topic {
            "serial/gw/p/data" => heard.push(value["n"].as_u64().unwrap()),
            "serial/gw/p/status" => {
                let counts = &value["counts"];
                if counts["plain"] == lines {
                    dropped = counts["dropped"].as_u64();
                }
            }
            _ => {}
        }
    }
    assert!(heard.is_sorted(), "the order is kept");
    // The broker may have come before the peer had subscribed: those went unheard, and are no loss of the bridge's.
    let dropped = dropped.unwrap();
    assert!(dropped > 1_000, "{dropped}");
    assert_eq!(heard.first(), Some(&(dropped + 1)));
    assert_eq!(heard.len() as u64, lines - dropped);
}
