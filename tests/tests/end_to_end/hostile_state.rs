//! State databases whose files say what no agent writes, looked at and read.

use std::fs;
use std::process::Command;

use tidemill_tests::{Gateway, Peer, tidemill};

use crate::support::{COUNTER, broker, rule};

/// Bytes before the first message of a segment of sled's.
const SEGMENT_HEAD_BYTES: usize = 20;

/// The kind of a message of sled's that holds a page.
const NODE: u8 = 8;

/// CRC32 as zlib has it.
fn crc32(parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    };
    !parts.iter().copied().flatten().fold(!0, step)
}

/// A database with one page of this number, whose checksums are right.
fn with_page(database: &[u8], page: u32) -> Vec<u8> {
    // Kind, length, number of the segment, number of the page.
    let head = [&[NODE, 1, 0, 251][..], &page.to_le_bytes()].concat();
    let body = [0];
    let crc = !crc32(&[&body, &head]);
    let segment_head = &database[..SEGMENT_HEAD_BYTES];
    [segment_head, &crc.to_le_bytes(), &head, &body].concat()
}

fn gateway(port: u16) -> Gateway {
    let mut gateway = Gateway::new(port, "");
    gateway.module("counter", COUNTER);
    let counting = rule("\"in/#\"", "wasm = \"counter.wasm\"", "out/{key}");
    gateway.rule("count", &counting);
    gateway.start();
    let arrived = tidemill_tests::Collector::start(port, "out/#");
    let mut peer = Peer::connect(port, "sensor");
    for _ in 0..10 {
        peer.publish("in/a", b"{}", 1, false);
    }
    arrived.until(10);
    gateway.stop();
    gateway
}

#[test]
fn a_page_of_any_number_takes_no_memory_and_no_state() {
    let broker = broker();
    let mut gateway = gateway(broker.port());
    let hash = |gateway: &Gateway| {
        let ran = gateway.tidemill("inspect state-hash");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.out
    };
    let before = hash(&gateway);
    let file = gateway.path("data/pond-a/db");
    let database = fs::read(&file).unwrap();
    let hostile = with_page(&database, 1 << 24);
    fs::write(&file, &hostile).unwrap();
    assert_eq!(hash(&gateway), before);
    assert_eq!(fs::read(&file).unwrap(), hostile, "looking changes nothing");
    // A process of its own reads it, which ends before it takes a gigabyte.
    let ran = Command::new(tidemill())
        .arg("probe-pond")
        .arg(gateway.path("data/pond-a"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("memory allocation of"), "{said}");
    fs::write(&file, hostile).unwrap();
    gateway.start();
    let log = gateway.stop();
    assert_eq!(hash(&gateway), before, "{}", log.join("\n"));
}

#[test]
fn a_file_that_is_longer_than_the_disk_is_not_copied() {
    let broker = broker();
    let gateway = gateway(broker.port());
    let file = fs::File::create(gateway.path("data/pond-a/blobs/7")).unwrap();
    file.set_len(8 << 40).unwrap();
    let temporary = gateway.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let ran = Command::new(tidemill())
        .args(["inspect", "state-hash", "--config", "agent.toml"])
        .current_dir(gateway.path(""))
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(
        said.contains("there is no room in") && said.contains("TMPDIR"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
