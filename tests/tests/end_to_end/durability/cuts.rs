//! Power cuts while a card writes slowly: the whole data directory, with thousands of receipts, event ids
//! and rows of windows in the state, on a device that takes little each second and forgets what had not
//! reached it; and on a disk that promises no more than POSIX does, not even the order of names.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_tests::{
    Broker, Collector, FileSystem, FileTrace, Gateway, LoopDisk, Loss, Random, Tree, setting,
    skipped, wait_until,
};

use super::{NORMAL, broker, cloud, count, counts, json, seed, topic};
use crate::support::sensor;

/// Rates at which bytes reach the card, in KB a second.
const RATES: [u64; 3] = [300, 1_000, 3_000];

/// Events before the first cut: enough for 8,000 producers and 4,096 names that are no numbers.
const BEFORE: u64 = 14_000;

/// Events between two cuts; a card that takes 300 KB a second is through them in some seconds.
const BETWEEN: u64 = 600;

/// Producers with numbers of their own.
const PRODUCERS: u64 = 8_000;

const DISK_MIB: u64 = 192;

/// Longest time, in ms, from the beginning of a checkpoint to a cut.
const INTO_CHECKPOINT_MS: u64 = 4_000;

/// A gateway whose state is large: a counter, and a window that keeps rows for an hour.
fn gateway(local: &Broker, upstream: &Broker) -> Gateway {
    let lines = format!(
        "event_id = \"/id\"\nevent_id_numbers = true\n{}\n[journal]\nsegment_bytes = \"1MiB\"",
        cloud(upstream.port())
    );
    let gateway = Gateway::new(local.port(), &lines);
    count(&gateway);
    let rows = "[on]\nmqtt = [\"sensors/+/env\"]\n[function]\n\
                sql = \"SELECT collect(*) AS all FROM input GROUP BY TUMBLINGWINDOW(hh, 1)\"\n\
                [ports.out]\nto = \"local\"\ntopic = \"rows\"\n";
    gateway.rule("rows", rows);
    gateway
}

/// Event number `n`: names that are numbers and names that are not, in turn.
fn event(n: u64) -> (String, Vec<u8>) {
    let id = match n % 3 {
        0 => format!("opaque-{n}"),
        _ => {
            let of = n / 3 * 2 + n % 3 - 1;
            format!("p{:05}:{}", of % PRODUCERS, 1 + of / PRODUCERS)
        }
    };
    let text = format!(r#"{{"id":"{id}","t":{n},"text":"{}"}}"#, "x".repeat(40));
    (topic(n), text.into_bytes())
}

/// Sensors that send as far as they are allowed to.
fn sensors(local: &Broker, events: u64, allowed: &Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let (mut sensor, allowed) = (sensor(local), Arc::clone(allowed));
    std::thread::spawn(move || {
        let mut sent = 0;
        while sent < events {
            let now = allowed.load(Ordering::Acquire).min(events);
            if now > sent {
                sensor.publish_all((sent..now).map(event));
                sent = now;
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    })
}

/// Waits for so many rows, however slow the card is, as long as some come.
fn until(arrived: &Collector, count: u64) {
    let mut before = arrived.count();
    while (before as u64) < count {
        wait_until(
            || arrived.count() > before,
            || format!("nothing comes any more: {before} of {count} rows"),
        );
        before = arrived.count();
    }
}

/// A moment for a cut: when a number of rows has come, or some time into a checkpoint, if one begins.
fn wait_for_moment(gateway: &Gateway, arrived: &Collector, rows: u64, random: &mut Random) {
    if random.one_in(3) {
        return until(arrived, rows);
    }
    let notes = ["pond-a", "pond-b"].map(|pond| gateway.path(&format!("data/{pond}.writing")));
    let give_up = Instant::now() + Duration::from_secs(20);
    while !notes.iter().any(|note| note.exists()) && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Any moment is as good as another: the time only spreads them.
    std::thread::sleep(Duration::from_millis(random.within(0..INTO_CHECKPOINT_MS)));
}

/// Waits until the agent stands where it stood before the cut.
fn until_recovered(gateway: &mut Gateway, cut: u64) {
    wait_until(
        || gateway.count_logged("recovered commit=") > 0 || !gateway.is_running(),
        || format!("cut {cut}: neither recovered nor ended"),
    );
    let log = gateway.log().join("\n");
    assert!(gateway.is_running(), "cut {cut}: the start failed:\n{log}");
    assert_eq!(
        gateway.count_logged("recovered commit=0 "),
        0,
        "cut {cut}: the state is gone:\n{log}"
    );
}

/// Checks that everything that was sent has counted once, and the state was as large as it should
/// be.
fn check(gateway: &mut Gateway, arrived: &Collector, upstream: &Broker, events: u64) {
    until(arrived, events);
    super::stop(gateway);
    arrived.settle(upstream.port());
    arrived.received(|received| received.check_counted(NORMAL, &counts(events)));
    let ponds = json(gateway, "inspect pond");
    let bytes = |pond: &Value| pond["bytes"].as_u64().unwrap_or(0);
    let largest = ponds.as_array().unwrap().iter().map(bytes).max();
    assert!(largest > Some(500_000), "the state was small: {ponds}");
}

fn cut_power_at_rates(system: FileSystem) {
    let cuts = setting("TIDEMILL_TEST_POWER_CUTS", 3).div_ceil(RATES.len() as u64);
    for (number, rate) in (0..).zip(RATES) {
        let (local, upstream) = (broker(), broker());
        let mut gateway = gateway(&local, &upstream);
        let mounted = LoopDisk::mount_as(system, &gateway.path("data"), DISK_MIB);
        let limited = mounted.and_then(|mut disk| {
            disk.limit(Some(rate * 1_000))?;
            disk.limit(None)?;
            Ok(disk)
        });
        let mut disk = match limited {
            Ok(disk) => disk,
            Err(why) => {
                return skipped(&format!("no slow {system:?} whose power can be cut: {why}"));
            }
        };
        let events = BEFORE + BETWEEN * cuts;
        let arrived = Collector::start(upstream.port(), "#");
        gateway.start();
        let allowed = Arc::new(AtomicU64::new(BEFORE));
        let sensors = sensors(&local, events, &allowed);
        until(&arrived, BEFORE * 3 / 4);
        let mut random = Random::new(seed() + 60 + number);
        for cut in 1..=cuts {
            disk.limit(Some(rate * 1_000)).unwrap();
            allowed.store(BEFORE + BETWEEN * cut, Ordering::Release);
            let rows = arrived.count() as u64 + random.within(1..BETWEEN);
            wait_for_moment(
                &gateway,
                &arrived,
                rows.min(BEFORE + BETWEEN * cut),
                &mut random,
            );
            gateway.signal("STOP");
            let snapshot = disk.as_the_power_fails();
            gateway.kill();
            disk.comes_back(snapshot);
            gateway.run();
            until_recovered(&mut gateway, cut);
            let given_up = gateway.count_logged("is damaged");
            eprintln!("{system:?}, {rate} KB/s, cut {cut}: started, {given_up} databases given up");
        }
        sensors.join().unwrap();
        check(&mut gateway, &arrived, &upstream, events);
    }
}

#[test]
fn power_cuts_of_a_slow_card_lose_nothing_and_count_nothing_twice() {
    cut_power_at_rates(FileSystem::Ext4);
}

#[test]
fn power_cuts_of_a_slow_card_with_f2fs_lose_nothing_and_count_nothing_twice() {
    cut_power_at_rates(FileSystem::F2fs);
}

/// Has the agent traced from the next start on; the record is in the file that is returned.
fn trace(gateway: &mut Gateway, number: u64) -> PathBuf {
    let record = gateway.path(&format!("files-{number}"));
    let path = record.display().to_string();
    let mut strace = FileTrace::STRACE.to_vec();
    strace.extend(["-o", &path]);
    gateway.wrap(&strace);
    record
}

/// `true` if a file, which may be long, ends like this.
fn ends_with(path: &Path, ending: &str) -> bool {
    let read = || {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::End(-(ending.len() as i64)))?;
        let mut end = String::new();
        file.read_to_string(&mut end)?;
        Ok::<_, std::io::Error>(end == ending)
    };
    read().unwrap_or(false)
}

/// Checks that nothing of a state database was left unsynced where its mark was written; returns how
/// many marks there were.
fn check_marks(trace: &FileTrace<'_>, data: &Path) -> usize {
    let mut marks = 0;
    for pond in ["pond-a", "pond-b"] {
        for done in trace.removals_of(&format!("/{pond}.writing")) {
            // Of the two syncs of the names, the first is before the mark, the second behind it.
            let behind = trace.last_sync_before(done, data).unwrap();
            let before = trace.last_sync_before(behind, data).unwrap();
            let unsynced = trace.unsynced_before(before + 1, pond);
            assert!(unsynced.is_empty(), "{pond}: {unsynced:#?}");
            marks += 1;
        }
        let beside = trace.writes_below(&data.join(pond).join("blobs"));
        assert_eq!(beside, 0, "{pond}: a leaf has become a file of its own");
    }
    marks
}

#[test]
fn names_and_contents_that_were_not_synced_may_go_in_any_order() {
    if let Some(why) = super::witness::cannot_trace() {
        return skipped(&format!("no witness of system calls: {why}"));
    }
    let cuts = setting("TIDEMILL_TEST_UNSYNCED_CUTS", 4);
    let (local, upstream) = (broker(), broker());
    let mut gateway = gateway(&local, &upstream);
    let events = BEFORE + BETWEEN * cuts;
    let arrived = Collector::start(upstream.port(), "#");
    let data = gateway.path("").canonicalize().unwrap().join("data");
    let mut begins = Tree::default();
    let mut record = trace(&mut gateway, 0);
    gateway.start();
    let allowed = Arc::new(AtomicU64::new(BEFORE));
    let sensors = sensors(&local, events, &allowed);
    let mut random = Random::new(seed() + 80);
    let mut marks = 0;
    until(&arrived, BEFORE / 2);
    for cut in 1..=cuts {
        allowed.store(BEFORE + BETWEEN * cut, Ordering::Release);
        let rows = arrived.count() as u64 + random.within(1..BETWEEN);
        wait_for_moment(
            &gateway,
            &arrived,
            rows.min(BEFORE + BETWEEN * cut),
            &mut random,
        );
        gateway.kill();
        wait_until(
            || ends_with(&record, "+++ killed by SIGKILL +++\n"),
            || "strace has not ended".to_owned(),
        );
        let loss = Loss::ALL[cut as usize % Loss::ALL.len()];
        let text = fs::read_to_string(&record).unwrap();
        let trace_of_files = FileTrace::read(&text, &data, &begins);
        marks += check_marks(&trace_of_files, &data);
        let left = trace_of_files.after_power_cut(trace_of_files.len(), loss, &mut random);
        fs::remove_dir_all(&data).unwrap();
        left.write(&data).unwrap();
        begins = left;
        fs::remove_file(&record).unwrap();
        record = trace(&mut gateway, cut);
        gateway.run();
        until_recovered(&mut gateway, cut);
        let given_up = gateway.count_logged("is damaged");
        eprintln!("cut {cut}, {loss:?} lost: started, {given_up} databases given up");
    }
    sensors.join().unwrap();
    check(&mut gateway, &arrived, &upstream, events);
    assert!(marks > 0, "no checkpoint was completed");
}
