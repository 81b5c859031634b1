//! A disk without room: the agent says so, stays alive, takes nothing in that it could not keep, and
//! goes on when there is room again.

use std::fs;

use tidemill_tests::{Collector, Gateway, Link, LoopDisk, Proxy, skipped};

use super::{NORMAL, broker, cloud, count, counts, topic};
use crate::support::sensor;

/// Enough for what an agent makes at its start, little enough to be full soon.
const DISK_MIB: u64 = 48;

/// What is left when the rest is filled up: nothing that a new segment fits into.
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
