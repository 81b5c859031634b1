//! A disk without room: the agent says so, stays alive, takes nothing in that it could not keep, and
//! goes on when there is room again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use tidemill_tests::{Collector, Gateway, Link, LoopDisk, Peer, Proxy, skipped, wait_until};

use super::{KEYS, NORMAL, broker, cloud, count, counts, pass, topic};
use crate::support::sensor;

/// Enough for what an agent makes at its start, little enough to be full soon.
const DISK_MIB: u64 = 48;

/// Bytes left when the rest is filled up: nothing that a new segment fits into.
const LEFT_BYTES: u64 = 256 << 10;

#[test]
fn a_full_disk_stalls_the_agent_and_loses_nothing() {
    let (local, upstream) = (broker(), broker());
    let outlet = Proxy::to(upstream.port());
    let lines = format!(
        "{}\n[journal]\nsegment_bytes = \"1MiB\"",
        cloud(outlet.port())
    );
    let mut gateway = Gateway::new(local.port(), &lines);
    let disk = match LoopDisk::mount(&gateway.path("data"), DISK_MIB) {
        Ok(disk) => disk,
        Err(why) => return skipped(&format!("no small file system to fill: {why}")),
    };
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    // While rows wait, no segment can be used again.
    outlet.set(Link::Refusing);
    gateway.start();
    let ballast = disk.fill(LEFT_BYTES);
    let mut sensor = sensor(&local);
    // Many more than the segments that are there can hold.
    let events = 60_000;
    let mut sent = 0;
    let is_told = |gateway: &Gateway| {
        let log = gateway.log();
        log.iter().any(|line| {
            let line = line.to_lowercase();
            line.contains("no space") || line.contains("disk is full")
        })
    };
    while sent < events && !is_told(&gateway) {
        sensor.publish_all((sent..sent + 2_000).map(|n| (topic(n), Vec::new())));
        sent += 2_000;
    }
    tidemill_tests::wait_until(
        || is_told(&gateway),
        || format!("{sent} events on a full disk, and not a word of it"),
    );
    assert!(gateway.is_running(), "the full disk has ended the agent");
    // Not even a kill in this state may cost anything.
    gateway.kill();
    gateway.run();
    gateway.until_logged("deployed");
    assert!(gateway.is_running(), "the full disk has ended the agent");
    fs::remove_file(ballast).unwrap();
    outlet.set(Link::Up);
    arrived.until(sent as usize);
    gateway.stop();
    arrived.settle(upstream.port());
    arrived.received(|received| received.check_counted(NORMAL, &counts(sent)));
}

/// The size of a partition that an ordinary outage fills, with segments as they are by default.
const PARTITION_MIB: u64 = 64;

/// Events of which each fills a good part of a commit: their numbers, with zeros before them.
const EVENT_BYTES: usize = 20_000;

fn publish(sensor: &mut Peer, numbers: std::ops::Range<u64>) {
    sensor.publish_all(numbers.map(|n| (topic(n), format!("{n:0EVENT_BYTES$}").into_bytes())));
}

/// Numbers that each topic has to have had of so many events.
fn numbers(sent: u64) -> BTreeMap<String, Vec<u64>> {
    let of = |key: u64| (0..sent).filter(|n| n % KEYS == key).collect();
    (0..KEYS)
        .map(|key| (format!("out/d{key}"), of(key)))
        .collect()
}

/// The agent's own report of its health.
fn health(gateway: &Gateway) -> Option<Value> {
    let mut stream = UnixStream::connect(gateway.path("data/control")).ok()?;
    stream.write_all(b"{\"ask\":\"health\"}\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn until_taking_in(gateway: &Gateway, is_taking_in: bool) {
    let is_so = || health(gateway).is_some_and(|health| health["taking_in"] == is_taking_in);
    wait_until(is_so, || {
        format!("taking in should be {is_taking_in}: {:?}", health(gateway))
    });
}

/// A gateway whose disk an outage fills, and somebody else to the last byte if `is_crowded`. Once the
/// destination is back it drains, and takes in again, also if it is killed in the middle.
fn fill_and_drain(is_crowded: bool) {
    let (local, upstream) = (broker(), broker());
    let outlet = Proxy::to(upstream.port());
    let mut gateway = Gateway::new(local.port(), &cloud(outlet.port()));
    let disk = match LoopDisk::mount(&gateway.path("data"), PARTITION_MIB) {
        Ok(disk) => disk,
        Err(why) => return skipped(&format!("no small file system to fill: {why}")),
    };
    pass(&gateway, "cloud");
    let arrived = Collector::start(upstream.port(), "#");
    outlet.set(Link::Refusing);
    gateway.start();
    until_taking_in(&gateway, true);
    let (mut sensor, mut sent) = (sensor(&local), 0);
    let is_full = || health(&gateway).is_some_and(|health| health["disk_full"] == true);
    while !is_full() {
        assert!(sent < 20_000, "{} MiB took {sent} events", PARTITION_MIB);
        publish(&mut sensor, sent..sent + 100);
        sent += 100;
    }
    until_taking_in(&gateway, false);
    let why = health(&gateway).unwrap()["held_back_by"].to_string();
    assert!(why.contains("the disk is full"), "{why}");
    // Sensors go on; the broker keeps what they say.
    publish(&mut sensor, sent..sent + 200);
    sent += 200;
    let ballast = is_crowded.then(|| disk.fill(0));
    outlet.set(Link::Up);
    arrived.until(300);
    gateway.kill();
    gateway.run();
    if let Some(ballast) = ballast {
        // All that waited has left before anybody else makes room.
        let waited = |gateway: &Gateway| {
            let ledger = gateway.tidemill("inspect ledger --json");
            let ledger: Option<Value> = serde_json::from_str(&ledger.out).ok();
            let lanes = ledger.and_then(|ledger| ledger["lanes"].as_array().cloned());
            lanes
                .unwrap_or_default()
                .iter()
                .all(|lane| lane["waiting"] == 0)
        };
        arrived.until(500);
        wait_until(|| waited(&gateway), || "it does not drain".to_owned());
        fs::remove_file(ballast).unwrap();
    }
    arrived.until(sent as usize);
    until_taking_in(&gateway, true);
    publish(&mut sensor, sent..sent + 100);
    sent += 100;
    arrived.until(sent as usize);
    gateway.stop();
    arrived.settle(upstream.port());
    arrived.received(|received| received.check(NORMAL, &numbers(sent)));
}

#[test]
fn a_small_disk_that_an_outage_filled_drains_by_itself_and_takes_in_again() {
    fill_and_drain(false);
}

#[test]
fn a_disk_that_others_filled_to_the_last_byte_drains_too() {
    fill_and_drain(true);
}

#[test]
fn an_agent_that_starts_on_a_disk_without_a_byte_waits_for_room_and_says_so() {
    // With a state to open, and in a new directory.
    for is_new in [false, true] {
        let (local, upstream) = (broker(), broker());
        let lines = format!(
            "{}\n[journal]\nsegment_bytes = \"1MiB\"",
            cloud(upstream.port())
        );
        let mut gateway = Gateway::new(local.port(), &lines);
        let disk = match LoopDisk::mount(&gateway.path("data"), DISK_MIB) {
            Ok(disk) => disk,
            Err(why) => return skipped(&format!("no small file system to fill: {why}")),
        };
        count(&gateway);
        let arrived = Collector::start(upstream.port(), "#");
        let (mut sensor, mut sent) = (sensor(&local), 0);
        let mut send = |events: u64| {
            sensor.publish_all((sent..sent + events).map(|n| (topic(n), Vec::new())));
            sent += events;
            sent
        };
        if !is_new {
            gateway.start();
            arrived.until(send(200) as usize);
            gateway.stop();
            // The room that is kept for such a day is gone as well.
            let _ = fs::remove_file(gateway.path("data/reserve"));
            let _ = send(200);
        }
        let ballast = disk.fill(0);
        gateway.run();
        if !is_new {
            gateway.until_logged("nothing is taken in until there is room");
        }
        until_taking_in(&gateway, false);
        let told = health(&gateway).unwrap();
        assert_eq!(
            (&told["well"], &told["disk_full"]),
            (&false.into(), &true.into())
        );
        let why = told["held_back_by"].as_str().unwrap().to_owned();
        assert!(why.contains("the disk is full"), "{why}");
        assert!(gateway.is_running(), "the full disk has ended the agent");
        if is_new {
            // It can be told to stop, and starts once more.
            super::stop(&mut gateway);
            gateway.run();
            until_taking_in(&gateway, false);
        }
        fs::remove_file(ballast).unwrap();
        gateway.until_logged("subscribed");
        until_taking_in(&gateway, true);
        let sent = send(200);
        arrived.until(sent as usize);
        super::stop(&mut gateway);
        arrived.settle(upstream.port());
        arrived.received(|received| received.check_counted(NORMAL, &counts(sent)));
    }
}
