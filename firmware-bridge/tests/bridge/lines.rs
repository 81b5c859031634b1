//! A device with the crate's end of acknowledged lines, on a real pseudo-terminal.

use super::plain::{until, until_state};
use super::support::{Bridge, Cable, configure, port, turn};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidemill_lines::{Config, Device, Input, Memory, Millis, Name, Output};
use tidemill_tests::{Broker, Peer5};

/// A device that says a number of lines and carries commands out until it is unplugged.
struct Board {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Board {
    fn start(cable: &Cable, lines: u32) -> Self {
        let (file, reader) = (cable.device(), cable.device());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || live(file, reader, lines, &stopped));
        Self { stop, thread }
    }

    /// The commands that were carried out.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn live(mut file: File, mut reader: File, lines: u32, stop: &AtomicBool) -> Vec<String> {
    let (sender, bytes) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count) = reader.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let (mut ring, mut line, mut answer) = ([0; 4_096], [0; 128], [0; 32]);
    let config = Config {
        name: Name::read(b"th-1").unwrap(),
        info: "fw=1.4.2 hw=test max=128",
        baud: 115_200,
        window: 8,
    };
    let memory = Memory {
        ring: &mut ring,
        line: &mut line,
        answer: &mut answer,
    };
    let began = Instant::now();
    let now = || Millis(u32::try_from(began.elapsed().as_millis()).unwrap());
    let mut device = Device::new(now(), config, memory);
    let (mut said, mut carried_out) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        if said < lines && device.held() < 20 {
            said += 1;
            let text = format!("{{\"n\":{said}}}");
            device.step(now(), Input::Line(text.as_bytes()));
        }
        for byte in bytes.try_iter().flatten() {
            let Output::Command { command, text } = device.step(now(), Input::Byte(byte)) else {
                continue;
            };
            carried_out.push(String::from_utf8_lossy(text).into_owned());
            let answer = Input::Answer {
                command,
                ok: true,
                text: b"done",
            };
            device.step(now(), answer);
        }
        while let Output::Send(frame) = device.step(now(), Input::Room) {
            file.write_all(&frame.pieces().concat()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    carried_out
}

#[test]
fn acknowledged_lines_come_once_and_in_order_and_commands_are_answered() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start("");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("serial/gw/#");
    let cable = Cable::plug(folder.path(), "p");
    let config = configure(&folder, "gw", broker.port(), &port("p", cable.host(), ""));
    let mut bridge = Bridge::start(&config);
    let board = Board::start(&cable, 600);
    let mut ids = std::collections::BTreeMap::new();
    while ids.len() < 600 {
        let event = until(&mut peer, "serial/gw/p/data");
        let value: Value = serde_json::from_slice(&event.payload).unwrap();
        let eid = event.property("eid").unwrap().to_owned();
        let n = value["n"].as_u64().unwrap();
        // A repetition after a kill has the same name.
        assert_eq!(ids.entry(eid).or_insert(n), &n);
        if ids.len() == 200 {
            drop(bridge);
            bridge = Bridge::start(&config);
        }
    }
    let numbers: std::collections::BTreeSet<u64> = ids.values().copied().collect();
    assert_eq!(numbers.len(), 600, "each line has one name");
    let mut late = Peer5::connect(broker.port(), "late");
    late.subscribe("serial/gw/p/status");
    let status = until_state(&mut late, "serial/gw/p/status", "linked");
    assert_eq!(
        (&status["device"], &status["lines"]["lost"]),
        (&"th-1".into(), &0.into())
    );
    let mut asker = Peer5::connect(broker.port(), "asker");
    for _ in 0..2 {
        asker.publish("serial/gw/p/command", b"set 1", &[("eid", "rule:1")]);
        let answer: Value =
            serde_json::from_slice(&until(&mut peer, "serial/gw/p/answer").payload).unwrap();
        assert_eq!(
            (&answer["ok"], &answer["answer"]),
            (&true.into(), &"done".into()),
            "{answer}"
        );
    }
    assert_eq!(
        board.end(),
        ["set 1"],
        "the same command again is answered and not carried out"
    );
}
