//! Cables that are pulled, programs that hold a port, and a broker that is away.

use super::plain::{until, until_state};
use super::support::{Bridge, Cable, configure, ordinary, port, ran, turn};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};
use tidemill_tests::{Broker, Peer5, setting};

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
    let rounds = usize::try_from(setting("TIDEMILL_BRIDGE_RETURNS", 20)).unwrap();
    let mut rss_kib = Vec::new();
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
        rss_kib.push(bridge.rss_kib());
        drop(cable);
        bridge.until_logged_times("unplugged", round);
    }
    // What the first rounds touch stays; the later ones add nothing.
    let (first, last) = (rss_kib[rounds / 4], rss_kib[rounds - 1]);
    assert!(last <= first + 256, "{rss_kib:?} KiB");
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

#[test]
fn a_configuration_that_changes_is_taken_and_a_wrong_one_changes_nothing() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("#");
    let cable = Cable::plug(folder.path(), "p");
    let write = |lines: &str| {
        let port = port("p", cable.host(), lines);
        configure(&folder, "gw", broker.port(), &port)
    };
    let bridge = Bridge::start(&write("topic = \"a\""));
    bridge.until_logged("open: ");
    let files = bridge.files();
    cable.say("n=1\n");
    assert_eq!(until(&mut peer, "a").text(), "{\"n\":1}");
    bridge.hang_up();
    bridge.until_logged("gw.toml has not changed");
    write("topic = \"b\"\nbuad = 9600");
    bridge.hang_up();
    bridge.until_logged("unknown key `buad`; did you mean `baud`?");
    bridge.until_logged("gw.toml is wrong: the bridge goes on as it is");
    cable.say("n=2\n");
    assert_eq!(until(&mut peer, "a").text(), "{\"n\":2}");
    for round in 2..=4 {
        write(&format!("topic = \"b{round}\""));
        bridge.hang_up();
        bridge.until_logged_times("open: ", round);
        bridge.until_logged_times("connected to the broker", round);
        cable.say("n=3\n");
        let heard = until(&mut peer, &format!("b{round}"));
        assert_eq!(heard.text(), "{\"n\":3}");
        assert_eq!(bridge.files(), files, "round {round}");
    }
    assert_eq!(bridge.stop().0.code(), Some(0));
}

#[test]
fn an_ordinary_user_is_told_who_has_a_port_and_whom_to_ask_for_it() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/+/p/+");
    let cable = Cable::plug(folder.path(), "p");
    let mode = |mode| {
        let tty = cable.host().canonicalize().unwrap();
        std::fs::set_permissions(tty, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let config = |id: &str| configure(&folder, id, broker.port(), &port("p", cable.host(), ""));
    mode(0o666);
    let first = Bridge::start_as(ordinary(&folder), &config("first"));
    until_state(&mut peer, "serial/first/p/status", "open");
    // TIOCEXCL keeps it from opening the port at all, where root would come as far as the other lock.
    let second = Bridge::start_as(ordinary(&folder), &config("second"));
    let why = |status: Value| status["why"].as_str().unwrap().to_owned();
    let busy = why(until_state(&mut peer, "serial/second/p/status", "busy"));
    let holder = format!("tidemill-bridge (PID {}) has it", first.pid());
    assert!(busy.contains(&holder), "{busy}");
    assert_eq!(first.stop().0.code(), Some(0));
    until_state(&mut peer, "serial/second/p/status", "open");
    assert_eq!(second.stop().0.code(), Some(0));
    // What its owner shuts is denied, with a way out.
    mode(0o600);
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        let third = Bridge::start_as(ordinary(&folder), &config("third"));
        let denied = why(until_state(&mut peer, "serial/third/p/status", "denied"));
        assert!(
            denied.contains("may open it") || denied.contains("no group may"),
            "{denied}"
        );
        mode(0o666);
        until_state(&mut peer, "serial/third/p/status", "open");
        drop(third);
    }
}
