//! Windows of very many keys, or of very long ones: what is committed of them, what is lost, and who is
//! told of it.

use super::durable::Gateway;
use super::*;
use crate::commit::record::Dead;
use crate::event::emission::Row;

const DEVICES: u64 = 3_200;
/// Panes that are gone through, of the sixty that each device is in.
const PANES: u64 = 12;

/// Each device in sixty panes.
const HOPPING: &str = "SELECT d, count(*) AS n FROM input GROUP BY d, HOPPINGWINDOW(ss, 60, 1)";

fn statement(sql: &str, topic: &str) -> (String, &'static str) {
    let manifest = format!(
        "name = \"w\"\n[on]\nmqtt = [\"s/+\"]\n[function]\nsql = \"{sql}\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"{topic}\"\n"
    );
    (manifest, "(module)")
}

fn hopping(state_bytes: usize) -> Gateway {
    let mut gateway = Gateway::new(&[statement(HOPPING, "out")]);
    gateway.record_bytes_max = 256 << 10;
    gateway.function.state_bytes = state_bytes;
    gateway.settle().crash().settle().said.clear();
    gateway
}

fn event(number: u64) -> Event {
    let payload = format!(r#"{{"d":"d{number:04}"}}"#);
    Event::new(Topic::new("s/a").unwrap(), payload, 1_700_000_000_000)
}

fn made(gateway: &Gateway, lane: &str) -> u64 {
    let mut lanes = gateway.mill.outbox().unwrap().lanes();
    let lane = lanes.find(|known| known.id().to_string() == lane);
    lane.map_or(0, |lane| lane.counts().made)
}

fn dead_letters(gateway: &Gateway) -> Vec<String> {
    let shelf = gateway.mill.outbox().unwrap().dead_letters();
    let rows = shelf.into_iter().flat_map(|shelf| shelf.rows());
    let reason = |row: &Row| Dead::decode(&row.payload).unwrap().reason;
    rows.map(reason).collect()
}

/// One event of each device at once, and then the first panes that they are in; returns the rows of each.
fn through(gateway: &mut Gateway) -> Vec<u64> {
    for batch in 0..4 {
        let devices = batch * DEVICES / 4..(batch + 1) * DEVICES / 4;
        gateway.step(Input::Events(devices.map(event).collect()));
    }
    let parts = gateway.unsynced().len();
    assert!(parts > 4, "{parts} records for all of it");
    sync_all(gateway);
    let mut rows = Vec::new();
    for pane in 0..PANES {
        let before = made(gateway, "local/normal");
        gateway.after(1_000);
        sync_all(gateway);
        rows.push(made(gateway, "local/normal") - before);
        if pane == PANES / 2 {
            // The harness compares the state in the journal with that in memory.
            gateway.crash();
            sync_all(gateway);
        }
    }
    rows
}

/// Syncs until nothing is left to be; rows that wait for their turn to be sent are not read back.
fn sync_all(gateway: &mut Gateway) {
    while !gateway.unsynced().is_empty() {
        gateway.sync();
    }
}

#[test]
fn thousands_of_keys_in_sixty_panes_are_committed_in_parts_and_fire_whole() {
    let mut gateway = hopping(32 << 20);
    assert_eq!(through(&mut gateway), [DEVICES; PANES as usize]);
    assert_eq!(dead_letters(&gateway), [""; 0]);
    let (_, ledger) = gateway.mill.ledgers().next().unwrap();
    assert_eq!((ledger.keys_evicted, ledger.dead), (0, 0));
    assert!(ledger.balances(), "{ledger:?}");
}

#[test]
fn keys_for_which_there_is_no_room_are_counted_and_those_that_stay_fire_whole() {
    let mut gateway = hopping(1 << 20);
    let rows = through(&mut gateway);
    let (_, ledger) = gateway.mill.ledgers().next().unwrap();
    assert!(ledger.balances(), "{ledger:?}");
    let stayed = DEVICES - ledger.keys_evicted;
    assert!((100..DEVICES).contains(&stayed), "{stayed}");
    assert_eq!(rows, [stayed; PANES as usize]);
    assert_eq!(dead_letters(&gateway), [""; 0]);
}

#[test]
fn a_pane_goes_out_whole_however_much_its_keys_send() {
    let sql = "SELECT d, count(*) AS n FROM input GROUP BY d, TUMBLINGWINDOW(ss, 1)";
    let long = format!("{}/{{key}}", "t".repeat(60_000));
    let mut gateway = Gateway::new(&[statement(sql, &long)]);
    gateway.settle().said.clear();
    // 69 topics of 60 KB are less than 4 MiB, which is what one event may cost, and 70 are more.
    for devices in [69, 70, 200] {
        let before = made(&gateway, "local/normal");
        gateway.step(Input::Events((0..devices).map(event).collect()));
        gateway.after(1_000).settle();
        assert_eq!(made(&gateway, "local/normal") - before, devices);
        assert_eq!(dead_letters(&gateway), [""; 0]);
        let (_, ledger) = gateway.mill.ledgers().next().unwrap();
        assert!(ledger.balances(), "{ledger:?}");
    }
}

/// A join of all rows of one second.
fn join(on: &str) -> (String, &'static str) {
    let manifest = format!(
        "name = \"w\"\n[streams.a]\nmqtt = [\"s/a\"]\n[streams.b]\nmqtt = [\"s/b\"]\n[function]\n\
         sql = \"SELECT count(*) AS n FROM a INNER JOIN b ON {on} GROUP BY TUMBLINGWINDOW(ss, 1)\"\n\
         [ports.out]\nto = \"local\"\ntopic = \"out\"\n"
    );
    (manifest, "(module)")
}

/// So many rows on each side of the join, second by second, until the rule is quarantined.
fn until_quarantined(limits: FunctionLimits, on: &str, rows: usize, reason: &str) {
    let mut bench = Bench::within(limits, &[join(on)]);
    for second in 0..5 {
        bench.at(second * 1_000 + 100);
        for _ in 0..rows {
            bench.event("s/a", r#"{"v":1}"#).event("s/b", r#"{"v":1}"#);
        }
        assert_eq!(bench.said, "", "nothing is said before the window fires");
        bench.at((second + 1) * 1_000);
        let mut said = std::mem::take(&mut bench.said);
        if second == 4 {
            assert!(said.ends_with(" w quarantined\n"), "{said}");
            said.truncate(said.len() - "5000 w quarantined\n".len());
        }
        assert!(said.contains(reason), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    bench.event("s/a", r#"{"v":1}"#);
    assert!(bench.said.contains("rule is quarantined"), "{}", bench.said);
}

#[test]
fn a_join_that_runs_out_of_fuel_counts_towards_quarantine() {
    // Each pair brings fuel for a short condition only.
    let on = format!("a.v > 1{}", " + length(repeat(b.v, 20000))".repeat(8));
    until_quarantined(FunctionLimits::default(), &on, 300, "out of fuel");
}

#[test]
fn a_join_is_granted_fuel_for_the_pairs_that_it_looks_at() {
    // With the default limits: all pairs of an inequality, and of an equality those that meet it.
    let mut bench = Bench::within(FunctionLimits::default(), &[join("a.v <= b.v AND b.v < 9")]);
    for _ in 0..316 {
        let row = r#"{"v":1}"#;
        bench.event("s/a", row).event("s/b", row);
    }
    bench.at(1_000).expect(&[r#"1000 out {"n":99856}"#]);
    let mut bench = Bench::within(FunctionLimits::default(), &[join("b.v = a.v")]);
    for row in 0..2_000 {
        let row = format!(r#"{{"v":{row}}}"#);
        bench.event("s/a", &row).event("s/b", &row);
    }
    bench.at(1_000).expect(&[r#"1000 out {"n":2000}"#]);
}

#[test]
fn a_join_of_more_pairs_than_there_may_be_counts_towards_quarantine() {
    // 316 times 316 are less than 100,000, 317 times 317 are more.
    let limits = FunctionLimits {
        fuel: 1_000_000_000,
        ..FunctionLimits::default()
    };
    let mut bench = Bench::within(limits, &[join("true")]);
    for _ in 0..316 {
        bench.event("s/a", "{}").event("s/b", "{}");
    }
    bench.at(1_000).expect(&[r#"1000 out {"n":99856}"#]);
    until_quarantined(
        limits,
        "true",
        317,
        "a join looks at more than 100000 pairs",
    );
}
