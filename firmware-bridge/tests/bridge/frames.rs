//! Frames, from the device to the broker.

use super::plain::{until, until_state};
use super::support::{Bridge, Cable, configure, port, turn};
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;
use tidemill_tests::{Broker, Peer5};

/// Receives until a port's status has this count, and returns the others.
fn until_count(peer: &mut Peer5, name: &str, count: &str, at_least: u64) -> serde_json::Value {
    loop {
        let status = until(peer, &format!("serial/gw/{name}/status"));
        let status: serde_json::Value = serde_json::from_slice(&status.payload).unwrap();
        if status["counts"][count].as_u64().unwrap() >= at_least {
            return status["counts"].clone();
        }
    }
}

#[test]
fn packets_of_each_kind_become_events_and_what_is_damaged_is_counted() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("#");
    let kinds = [
        ("cobs", "frames = \"cobs\"\ndecode = \"json\""),
        ("slip", "frames = \"slip\""),
        (
            "scale",
            "frames = \"length\"\nlength = { start = \"aa55\", at = 2, bytes = 1, add = 5, sum = \"crc16-modbus\" }\n\
             decode = \"cbor\"\ntopic = \"scales/{field.id}\"",
        ),
        (
            "pause",
            "frames = \"gap\"\nsilence = \"150ms\"\ndecode = \"json\"",
        ),
    ];
    let cables = kinds.map(|(name, _)| Cable::plug(folder.path(), name));
    let ports: String = kinds
        .iter()
        .zip(&cables)
        .map(|((name, lines), cable)| port(name, cable.host(), lines))
        .collect();
    let bridge = Bridge::start(&configure(&folder, "gw", broker.port(), &ports));
    for (name, _) in kinds {
        until_state(&mut peer, &format!("serial/gw/{name}/status"), "open");
    }
    let say = |index: usize, bytes: &[u8]| {
        let cable: &Cable = &cables[index];
        cable.device().write_all(bytes).unwrap();
    };
    // One that is no JSON, one that is cut, and one with an LF, which is no end here.
    say(0, b"\x0A{\"t\":1.50\x01\x00\x09ab\x00");
    say(0, b"\x09{\"t\":\n2}\x00");
    let json = until(&mut peer, "serial/gw/cobs/data");
    assert_eq!(json.text(), "{\"t\":\n2}");
    let eid = json.property("eid").unwrap();
    assert!(eid.starts_with("gw/cobs/") && eid.ends_with(":1"), "{eid}");
    say(1, b"\xC0\x00\xDB\xDC\xFF\xC0");
    assert_eq!(until(&mut peer, "serial/gw/slip/data").text(), "AMD/");
    let packet = b"\xAA\x55\x09\xA2bid\x07aw\x18\x64";
    let sum = tidemill_bridge::frames::Sum::Crc16Modbus.of(packet);
    say(2, b"\xAA\x55");
    say(2, &[&packet[..], &sum].concat());
    assert_eq!(until(&mut peer, "scales/7").text(), "{\"id\":7,\"w\":100}");
    say(3, b"{\"p\":");
    sleep(Duration::from_millis(20));
    say(3, b"1}");
    assert_eq!(until(&mut peer, "serial/gw/pause/data").text(), "{\"p\":1}");
    say(3, b"2");
    assert_eq!(until(&mut peer, "serial/gw/pause/data").text(), "2");
    for cable in cables {
        drop(cable);
    }
    bridge.until_logged_times("unplugged", 4);
    let counts = until_count(&mut peer, "cobs", "frames_damaged", 1);
    let found = (&counts["frames"], &counts["undecoded"]);
    assert_eq!(found, (&1.into(), &1.into()));
    let counts = until_count(&mut peer, "scale", "frames_damaged", 1);
    assert_eq!(
        (&counts["frames"], &counts["stray_bytes"]),
        (&1.into(), &2.into())
    );
    assert_eq!(counts["bytes"], 2 + packet.len() as u64 + 2);
}
