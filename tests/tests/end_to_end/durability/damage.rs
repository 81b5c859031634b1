//! Files that are not what the agent left: damage in the middle of the journal is refused and named,
//! damage to one of the two ponds is made good from the other.

use std::fs;
use std::path::{Path, PathBuf};

use tidemill_tests::{Collector, Gateway};

use super::{NORMAL, broker, cloud, count, counts, topic, until_acknowledged};
use crate::support::sensor;

/// Files below a folder, at any depth.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

/// The segment with the most in it, and how much that is.
fn fullest_segment(gateway: &Gateway) -> (PathBuf, usize) {
    let data = gateway.path("data");
    let of_journal = |path: &PathBuf| {
        let below = path.strip_prefix(&data).unwrap();
        below.display().to_string().contains("journal")
    };
    let segments: Vec<_> = files(&data).into_iter().filter(of_journal).collect();
    assert!(!segments.is_empty(), "no journal in {:?}", files(&data));
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0)
    };
    let fullest = segments.into_iter().max_by_key(used).unwrap();
    let used = used(&fullest);
    (fullest, used)
}

#[test]
fn a_journal_damaged_in_the_middle_is_refused_and_named() {
    const EVENTS: u64 = 2_000;
    let (local, upstream) = (broker(), broker());
    // Small commits, so that there is a middle.
    let lines = format!("commit_events = 20\n{}", cloud(upstream.port()));
    let mut gateway = Gateway::new(local.port(), &lines);
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    // The last commit is written when those before it are on the disk, and says so: a slow disk may
    // sync many at once.
    for part in [0..EVENTS - 20, EVENTS - 20..EVENTS] {
        let end = part.end;
        sensor.publish_all(part.map(|n| (topic(n), Vec::new())));
        until_acknowledged(&local, end);
    }
    gateway.kill();

    let (segment, used) = fullest_segment(&gateway);
    let whole = fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[used / 2] ^= 0x40;
    fs::write(&segment, &damaged).unwrap();
    let name = segment.file_name().unwrap().to_string_lossy();
    // The second time shows that the first left it as it was.
    for _ in 0..2 {
        let (code, log) = gateway.run_another();
        assert!(
            matches!(code, Some(1 | 74)),
            "LOST: started over a damaged journal, {code:?}:\n{log}"
        );
        for said in [
            &*name,
            "at byte ",
            "tidemill repair",
            "tidemill inspect journal",
        ] {
            assert!(log.contains(said), "no {said:?} in\n{log}");
        }
        assert!(fs::read(&segment).unwrap() == damaged, "it was written to");
    }
    fs::write(&segment, &whole).unwrap();
    gateway.start();
    sensor.publish_all((EVENTS..2 * EVENTS).map(|n| (topic(n), Vec::new())));
    arrived.until(2 * EVENTS as usize);
    gateway.stop();
    arrived.received(|received| received.check_counted(NORMAL, &counts(2 * EVENTS)));
}

#[test]
fn a_pond_that_cannot_be_read_is_made_good_from_the_other() {
    const EVENTS: u64 = 100;
    let (local, upstream) = (broker(), broker());
    let mut gateway = Gateway::new(local.port(), &cloud(upstream.port()));
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    let mut sensor = sensor(&local);
    let mut all = 0;
    // Two orderly stops write both ponds.
    for damaged in [None, None, Some("pond-a"), Some("pond-b")] {
        if let Some(pond) = damaged {
            let garbled = files(&gateway.path(&format!("data/{pond}")));
            assert!(!garbled.is_empty(), "no {pond}");
            for file in garbled {
                let length = fs::metadata(&file).unwrap().len() as usize;
                let garbage: Vec<u8> = (0..length.max(64)).map(|n| (n * 7 + 3) as u8).collect();
                fs::write(file, garbage).unwrap();
            }
        }
        gateway.start();
        if let Some(pond) = damaged {
            gateway.until_logged(pond);
        }
        sensor.publish_all((all..all + EVENTS).map(|n| (topic(n), Vec::new())));
        all += EVENTS;
        arrived.until(all as usize);
        gateway.stop();
    }
    arrived.settle(upstream.port());
    arrived.received(|received| received.check_counted(NORMAL, &counts(all)));
}

#[test]
fn a_second_agent_is_refused_and_harms_nothing() {
    const EVENTS: u64 = 200;
    let (local, upstream) = (broker(), broker());
    let mut gateway = Gateway::new(local.port(), &cloud(upstream.port()));
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    sensor.publish_all((0..EVENTS).map(|n| (topic(n), Vec::new())));
    arrived.until(EVENTS as usize);
    let (code, log) = gateway.run_another();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("used by another agent"), "{log}");
    sensor.publish_all((EVENTS..2 * EVENTS).map(|n| (topic(n), Vec::new())));
    arrived.until(2 * EVENTS as usize);
    gateway.kill();
    // The lock goes with its process, however that ends.
    gateway.start();
    gateway.stop();
    arrived.received(|received| received.check_counted(NORMAL, &counts(2 * EVENTS)));
}
