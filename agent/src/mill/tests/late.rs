//! Panes that are kept for late events: as many as there is room for, written when they change.

use super::durable::Gateway;
use super::*;
use crate::event::clock::Quality;
use crate::event::emission::{LaneReport, Priority};
use crate::mill::active::late::KEPT_MAX;

const START: u64 = 1_700_000_000_000;

/// Counts events in panes of a second of event time.
fn seconds(stream: &str) -> (String, &'static str) {
    let manifest = rule("w", "mqtt = [\"s/+\"]");
    let stream = format!("[streams.input]\ntimestamp = \"/ts\"\nlateness = \"0s\"\n{stream}\n");
    (manifest + &stream, PANES)
}

/// Bytes written for each of so many events, one a second, and the mill behind them.
fn written(stream: &str, events: u64) -> (usize, Gateway) {
    let mut gateway = Gateway::with(&[seconds(stream)], Quality::Synced);
    gateway.settle();
    gateway.pond_bytes = 0;
    let (mut bytes, mut acknowledged) = (0, 0);
    for _ in 0..events {
        let ts = gateway.now.wall_ms;
        let payload = format!("{{\"ts\":{ts}}}");
        let event = Event::new(Topic::new("s/a").unwrap(), payload, ts);
        gateway.step(Input::Events(vec![event])).after(1_000);
        bytes += gateway
            .unsynced()
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>();
        gateway.sync();
        let made = gateway
            .mill
            .outbox()
            .unwrap()
            .lanes()
            .map(|lane| lane.last_seq())
            .max();
        if made > Some(acknowledged) {
            gateway.step(Input::Lane(LaneReport::Acknowledged {
                destination: 0,
                priority: Priority::Normal,
                first: acknowledged + 1,
                last: made.unwrap(),
            }));
            acknowledged = made.unwrap();
        }
        gateway.said.clear();
    }
    (bytes + gateway.pond_bytes, gateway)
}

#[test]
fn windows_that_wait_for_late_events_cost_a_card_no_more_than_twice_as_much() {
    let events = 5_000;
    let (without, _) = written("", events);
    let (with, mut gateway) = written("allowed_late = \"7d\"", events);
    assert!(
        with < 2 * without,
        "{with} and {without} bytes of {events} events"
    );
    // More than may be kept went, and were counted and told.
    let active = &gateway.mill.rules[0];
    let (_, state) = active.keys.iter().find(|(key, _)| &***key == "a").unwrap();
    assert_eq!((state.kept_count(), active.panes.len()), (KEPT_MAX, 1));
    let dropped = active.ledger.windows_dropped;
    assert!(
        (events - 10..events).contains(&(dropped + KEPT_MAX as u64)),
        "{dropped}"
    );
    let mut out = Vec::new();
    gateway.mill.tell_losses(gateway.now, &mut out);
    let said = format!(
        "{:?}",
        gateway.mill.losses().next().map(|loss| loss.to_string())
    );
    assert!(said.contains("shorten allowed_late"), "{said}");
    // What is kept is what a start finds.
    gateway.settle().crash().settle();
}

#[test]
fn a_late_event_for_a_window_that_had_to_go_is_too_late_and_makes_no_wrong_result() {
    let (_, mut gateway) = written("allowed_late = \"7d\"", KEPT_MAX as u64 + 100);
    gateway.said.clear();
    let mut late = |ts: u64| {
        let payload = format!("{{\"ts\":{ts}}}");
        let event = Event::new(Topic::new("s/a").unwrap(), payload, gateway.now.wall_ms);
        gateway.step(Input::Events(vec![event])).after(50).sync();
        let ledger = gateway.mill.rules[0].ledger.clone();
        assert!(ledger.balances());
        (
            ledger.emissions,
            ledger.dropped.get("late").copied().unwrap_or(0),
        )
    };
    let (sent, _) = late(START + 50_000);
    assert_eq!(late(START + 60_000), (sent, 2));
    // One that is kept fires again.
    assert_eq!(late(START + 900_000), (sent + 1, 2));
}

#[test]
fn panes_that_a_version_before_kept_among_the_open_ones_are_found_in_their_place() {
    let mut bench = Bench::new(&[seconds("allowed_late = \"1h\"")]);
    let wall_ms = bench.now.wall_ms;
    bench.event("s/a", &format!("{{\"ts\":{wall_ms}}}"));
    let mut saved = bench.mill.rules[0].save();
    let (start_ms, count) = (wall_ms - 1_800_000, 1_500);
    let mut panes = Vec::new();
    for number in 0..count {
        let start_ms = start_ms + 1_000 * number;
        panes.push(crate::event::state::OpenPane {
            start_ms,
            end_ms: start_ms + 1_000,
            from: start_ms,
            due: start_ms + 1_000,
            fired: true,
        });
    }
    let parts = panes.iter().map(|open| crate::event::state::Pane {
        folded: 1,
        fired: 1,
        slots: vec![1.0],
        ..crate::mill::window::pane_of(open)
    });
    let parts: Vec<_> = parts.collect();
    panes.extend(saved.record.panes.iter().copied());
    saved.record.panes = panes;
    let state = saved.keys.get_mut("a").unwrap();
    let open = std::mem::take(&mut state.panes);
    state.panes = parts.into_iter().chain(open).collect();
    bench.deploy(&[]);
    bench.mill.dormant.insert("w".to_owned(), saved);
    bench.deploy(&[seconds("allowed_late = \"1h\"")]);
    let active = &bench.mill.rules[0];
    let (_, state) = active.keys.iter().find(|(key, _)| &***key == "a").unwrap();
    assert_eq!((state.kept_count(), state.panes.len()), (KEPT_MAX, 1));
    assert!(active.panes.iter().all(|pane| !pane.fired));
    assert_eq!(active.ledger.windows_dropped, 500);
    assert_eq!(state.gone_until(), start_ms + 500_000);
    // The next event moves the watermark, and a late one finds its window as it was left.
    let now = wall_ms + 2_000;
    bench
        .at(2_000)
        .event("s/a", &format!("{{\"ts\":{now}}}"))
        .at(2_100);
    bench.said.clear();
    bench.event("s/a", &format!("{{\"ts\":{}}}", start_ms + 600_500));
    bench.expect(&["2100 out/w/a 202"]);
}
