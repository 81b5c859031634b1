//! Power cuts: the whole data directory, journal and sled's files alike, on a disk that loses what was
//! not synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tidemill_tests::{Broker, Collector, Gateway, LoopDisk, Random, setting, skipped, wait_until};

use super::{NORMAL, PROTOCOLS, broker, cloud, count, counts, events, json, pass, seed, topic};
use crate::support::sensor;

const DISK_MIB: u64 = 128;

/// Stops the agent where it stands and takes its power away.
fn cut_power(gateway: &mut Gateway, disk: &mut LoopDisk) {
    gateway.signal("STOP");
    let snapshot = disk.as_the_power_fails();
    gateway.kill();
    disk.comes_back(snapshot);
}

/// A gateway whose data lies on a disk of its own, and that writes its ponds often.
fn gateway(protocol: &str, local: &Broker, upstream: &Broker) -> Option<(Gateway, LoopDisk)> {
    let lines = format!(
        "{protocol}\n{}\n[journal]\nsegment_bytes = \"1MiB\"",
        cloud(upstream.port())
    );
    let gateway = Gateway::new(local.port(), &lines);
    match LoopDisk::mount(&gateway.path("data"), DISK_MIB) {
        Ok(disk) => Some((gateway, disk)),
        Err(why) => {
            skipped(&format!("no disk whose power can be cut: {why}"));
            None
        }
    }
}

#[test]
fn power_cuts_lose_nothing_and_count_nothing_twice() {
    let (events, cuts) = (events(6_000), setting("TIDEMILL_TEST_KILLS", 6));
    for protocol in PROTOCOLS {
        let (local, upstream) = (broker(), broker());
        let Some((mut gateway, mut disk)) = gateway(protocol, &local, &upstream) else {
            return;
        };
        count(&gateway);
        // A rule that fills the journal, so that state databases are written and segments used
        // again.
        pass(&gateway, "local");
        let arrived = Collector::start(upstream.port(), "#");
        gateway.start();
        let allowed = Arc::new(AtomicU64::new(0));
        let sensors = super::sensors(&local, events, 4_000, &allowed);
        let mut random = Random::new(seed() + 6);
        for round in 0..cuts {
            let before = events * round / cuts;
            let after = events * (round + 1) / cuts;
            allowed.store(after, Ordering::Release);
            let moment = random.within(before..after);
            arrived.until(moment as usize);
            cut_power(&mut gateway, &mut disk);
            gateway.run();
        }
        sensors.join().unwrap();
        arrived.until(events as usize);
        super::stop(&mut gateway);
        arrived.settle(upstream.port());
        arrived.received(|received| received.check_counted(NORMAL, &counts(events)));
        let ponds = json(&gateway, "inspect pond");
        let written = |pond: &Value| pond["complete_up_to"].is_u64();
        let both = ponds
            .as_array()
            .is_some_and(|ponds| ponds.iter().all(written));
        assert!(both, "the ponds were not written in turn: {ponds}");
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let (local, upstream) = (broker(), broker());
    let Some((mut gateway, mut disk)) = gateway("", &local, &upstream) else {
        return;
    };
    if let Some(why) = super::witness::cannot_trace() {
        return skipped(&format!("nobody to lie about syncs: {why}"));
    }
    let lie = "--inject=fsync,fdatasync,sync_file_range,msync:retval=0";
    let trace = "--trace=fsync,fdatasync,sync_file_range,msync";
    gateway.wrap(&["strace", "-D", "-f", "-qq", trace, lie, "-o", "/dev/null"]);
    count(&gateway);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    sensor(&local).publish_all((0..200).map(|n| (topic(n), Vec::new())));
    arrived.until(200);
    cut_power(&mut gateway, &mut disk);
    gateway.wrap(&[]);
    gateway.run();
    wait_until(
        || gateway.count_logged("recovered commit=") > 0 || !gateway.is_running(),
        || "neither recovered nor ended".to_owned(),
    );
    let kept =
        gateway.count_logged("recovered commit=") - gateway.count_logged("recovered commit=0 ");
    let log = gateway.log().join("\n");
    assert_eq!(
        kept, 0,
        "commits outlast a power cut without a sync:\n{log}"
    );
}
