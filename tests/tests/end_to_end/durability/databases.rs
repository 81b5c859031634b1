//! State databases over which starts end, and none that can be read: each is named, at the first start
//! that can say so, and `tidemill repair` is the way out.

use std::fs;

use tidemill_tests::{Collector, Gateway};

use super::{NORMAL, broker, cloud, count, counts, pass, topic, until_one_passes};
use crate::support::sensor;

/// Both state databases.
const DATABASES: [&str; 2] = ["pond-a", "pond-b"];

/// Spoils every file of a state database.
fn spoil(gateway: &Gateway, database: &str) {
    for entry in fs::read_dir(gateway.path(&format!("data/{database}"))).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let length = fs::metadata(&path).unwrap().len().max(64);
            let garbage: Vec<u8> = (0..length).map(|n| (n * 7 + 3) as u8).collect();
            fs::write(path, garbage).unwrap();
        }
    }
}

/// Leaves what a start leaves that ended while the state database was being opened.
fn leave_note(gateway: &Gateway, database: &str) {
    fs::write(gateway.path(&format!("data/{database}.opening")), "1\n").unwrap();
}

#[test]
fn a_start_that_ended_over_a_state_database_is_told_by_the_next_one() {
    const EVENTS: u64 = 100;
    let (local, upstream) = (broker(), broker());
    let mut gateway = Gateway::new(local.port(), &cloud(upstream.port()));
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    let mut sensor = sensor(&local);
    let mut all = 0;
    // Two orderly stops write both.
    for (noted, is_spoiled) in [
        (None, false),
        (None, false),
        (Some("pond-a"), false),
        (Some("pond-b"), true),
    ] {
        if let Some(database) = noted {
            leave_note(&gateway, database);
            if is_spoiled {
                spoil(&gateway, database);
            }
        }
        gateway.start();
        if let Some(database) = noted {
            let told = format!("a start ended while {database} was being opened");
            gateway.until_logged(&told);
            let given_up = gateway.count_logged(&format!("{database} is damaged"));
            assert_eq!(given_up, usize::from(is_spoiled), "{database}");
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
fn state_that_nobody_can_read_is_refused_and_repair_begins_without() {
    const EVENTS: u64 = 3_000;
    let (local, upstream) = (broker(), broker());
    let lines = format!(
        "{}\n[journal]\nsegment_bytes = \"1MiB\"",
        cloud(upstream.port())
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    pass(&gateway, "cloud");
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    // So much that the journal does not reach back to the beginning any more.
    sensor.publish_all((0..EVENTS).map(|n| (topic(n), vec![b'x'; 4_000])));
    arrived.until(EVENTS as usize);
    gateway.stop();
    for database in DATABASES {
        spoil(&gateway, database);
        leave_note(&gateway, database);
    }
    // The second time shows that the first left it as it was.
    for _ in 0..2 {
        let (code, log) = gateway.run_another();
        assert_eq!(code, Some(74), "{log}");
        for said in ["pond-a is damaged", "pond-b is damaged", "tidemill repair"] {
            assert!(log.contains(said), "no {said:?} in\n{log}");
        }
    }
    let repaired = gateway.tidemill("repair");
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    for said in [
        "pond-a.damaged-1",
        "pond-b.damaged-1",
        "begins without state",
    ] {
        assert!(repaired.out.contains(said), "no {said:?} in {repaired:?}");
    }
    gateway.start();
    until_one_passes(&mut sensor, &arrived, "after");
    gateway.stop();
    let repaired = gateway.tidemill("repair");
    assert!(repaired.out.contains("nothing is wrong"), "{repaired:?}");
}
