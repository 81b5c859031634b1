use super::*;

/// An outbox with a lane to `cloud`, and what its journal would hold.
struct Bench {
    outbox: Outbox,
    journal: Vec<(u64, Vec<LaneDelta>)>,
    limits: OutboxLimits,
    outlet: Outlet,
}

impl Bench {
    fn new(limits: OutboxLimits) -> Self {
        let mut bench = Self {
            outbox: Outbox::default(),
            journal: Vec::new(),
            limits,
            outlet: Outlet::Messages,
        };
        bench.equip();
        bench
    }

    fn equip(&mut self) {
        let cloud = Destination {
            name: "cloud".into(),
            outlet: self.outlet,
            limits: self.limits,
        };
        self.outbox.set_destinations("gw", vec![cloud], &[]);
    }

    fn lsn(&self) -> u64 {
        self.journal.len() as u64 + 1
    }

    fn push(&mut self, payload: &str, at_ms: i64) -> bool {
        let row = Row {
            seq: 0,
            rule: "r".into(),
            topic: Topic::new("t").unwrap(),
            payload: payload.to_owned().into(),
            at_ms,
            qos: 1,
            retain: false,
        };
        let lsn = self.lsn();
        self.outbox.push(0, Priority::Normal, row, lsn)
    }

    fn commit(&mut self) {
        let lsn = self.lsn();
        self.outbox.record_gaps(0, lsn);
        let deltas = self.outbox.take_deltas();
        self.journal.push((lsn, deltas));
    }

    /// What is handed out once everything is durable.
    fn hand_out(&mut self) -> Vec<u64> {
        let durable = self.lsn() - 1;
        let lsn = self.lsn();
        let shipped = self.outbox.hand_out(durable, lsn, true);
        shipped
            .iter()
            .flat_map(|shipment| shipment.rows.iter().map(|row| row.seq))
            .collect()
    }

    fn acknowledge(&mut self, first: u64, last: u64) {
        let lsn = self.lsn();
        let report = LaneReport::Acknowledged {
            destination: 0,
            priority: Priority::Normal,
            first,
            last,
        };
        self.outbox.hear(report, lsn);
    }

    /// Reads back what the lane wants.
    fn read_back(&mut self) -> bool {
        let durable = self.lsn() - 1;
        let Some((id, wanted)) = self.outbox.wants(durable).pop() else {
            return false;
        };
        let deltas = self
            .journal
            .iter()
            .filter(|(lsn, _)| (wanted.from_lsn..=wanted.to_lsn).contains(lsn));
        let rows = deltas.flat_map(|(lsn, deltas)| {
            let rows = deltas.iter().flat_map(|delta| &delta.rows);
            rows.map(|row| (*lsn, row.clone()))
        });
        let rows = rows
            .filter(|(_, row)| (wanted.first..=wanted.last).contains(&row.seq))
            .collect();
        assert_eq!(self.outbox.rows_read(&id, rows, None), 0);
        true
    }

    fn lane(&self) -> &Lane {
        self.outbox
            .lanes()
            .find(|lane| &*lane.id.destination == "cloud")
            .unwrap()
    }

    /// What a restart makes of the journal.
    fn restart(&mut self) {
        let before = self.lane().record();
        let mut outbox = Outbox::default();
        for (lsn, deltas) in &self.journal {
            deltas
                .iter()
                .for_each(|delta| outbox.apply(delta.clone(), *lsn));
        }
        self.outbox = outbox;
        self.equip();
        let after = self.lane().record();
        assert_eq!(
            (after.cursor, &after.settled, after.counts),
            (before.cursor, &before.settled, before.counts)
        );
        assert!(self.lane().balances());
    }
}

fn limits(count: u64, when_full: WhenFull) -> OutboxLimits {
    OutboxLimits {
        count: Some(count),
        when_full,
        ..OutboxLimits::DESTINATION
    }
}

#[test]
fn the_oldest_make_room_and_one_gap_record_says_which() {
    let mut bench = Bench::new(limits(3, WhenFull::DropOldest));
    for n in 0..10 {
        bench.push(&n.to_string(), 0);
    }
    bench.commit();
    let lane = bench.lane();
    assert_eq!(
        (lane.cursor(), lane.counts().dropped, lane.last_seq()),
        (7, 7, 11)
    );
    let gap = lane.rows().last().unwrap();
    assert_eq!(
        &*gap.payload,
        br#"{"gap":{"lane":"cloud/normal","from":1,"to":7,"count":7}}"#
    );
    assert_eq!(gap.topic.as_str(), "tidemill/v1/gateway/gw/gap");
    assert!(lane.balances());
    bench.restart();
}

#[test]
fn what_is_with_the_destination_is_not_dropped() {
    let mut bench = Bench::new(limits(3, WhenFull::DropOldest));
    (0..3).for_each(|n| {
        bench.push(&n.to_string(), 0);
    });
    bench.commit();
    assert_eq!(bench.hand_out(), [1, 2, 3]);
    (0..5).for_each(|n| {
        bench.push(&n.to_string(), 0);
    });
    bench.commit();
    let left: Vec<_> = bench.lane().rows().map(|row| row.seq).collect();
    assert_eq!(left[..3], [1, 2, 3]);
    bench.acknowledge(1, 3);
    assert!(bench.lane().balances() && bench.lane().cursor() > 3);
}

#[test]
fn the_newest_is_not_made_or_sensors_are_held_back_where_that_is_asked_for() {
    let mut bench = Bench::new(limits(2, WhenFull::DropNewest));
    let made: Vec<bool> = (0..4).map(|n| bench.push(&n.to_string(), 0)).collect();
    assert_eq!(made, [true, true, false, false]);
    bench.commit();
    assert_eq!(
        (bench.lane().counts().dropped, bench.lane().last_seq()),
        (2, 2)
    );
    bench.restart();
    let mut bench = Bench::new(limits(2, WhenFull::Block));
    bench.push("a", 0);
    assert!(!bench.outbox.blocks());
    (0..2).for_each(|_| {
        bench.push("b", 0);
    });
    assert!(bench.outbox.blocks() && bench.lane().waiting() == 3);
}

#[test]
fn what_is_too_old_goes() {
    let limits = OutboxLimits {
        age_ms: 1_000,
        ..OutboxLimits::DESTINATION
    };
    let mut bench = Bench::new(limits);
    (0..5).for_each(|n| {
        bench.push("x", n * 500);
    });
    bench.commit();
    bench.outbox.drop_old(2_200);
    bench.commit();
    assert_eq!(bench.lane().counts().dropped, 3);
    bench.restart();
}

#[test]
fn a_backlog_costs_no_memory_and_comes_back_in_order() {
    let mut bench = Bench::new(OutboxLimits::DESTINATION);
    const ROWS: u64 = 20_000;
    for n in 0..ROWS {
        bench.push(&format!("{n:0200}"), 0);
        if n % 100 == 99 {
            bench.commit();
        }
    }
    let in_memory = |bench: &Bench| bench.lane().rows().count();
    assert!(in_memory(&bench) < 3_000, "{}", in_memory(&bench));
    bench.restart();
    let mut got = Vec::new();
    while (got.len() as u64) < ROWS {
        let rows = bench.hand_out();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            assert!(bench.read_back(), "stuck after {}", got.len());
            continue;
        };
        bench.acknowledge(*first, *last);
        got.extend(rows);
        while bench.read_back() {}
        bench.commit();
        assert!(in_memory(&bench) < 3_000 && bench.lane().balances());
    }
    assert!(got.iter().copied().eq(1..=ROWS));
    assert_eq!(bench.lane().counts().acknowledged, ROWS);
}

#[test]
fn rows_on_disk_are_dropped_by_chunks_and_counted() {
    let limits = OutboxLimits {
        bytes: 2 << 20,
        ..OutboxLimits::DESTINATION
    };
    let mut bench = Bench::new(limits);
    for n in 0..20_000 {
        bench.push(&format!("{n:0200}"), 0);
        if n % 100 == 99 {
            bench.commit();
        }
    }
    let lane = bench.lane();
    assert!(lane.waiting_bytes() <= 2 << 20 && lane.waiting() > 5_000);
    assert!(lane.balances());
    bench.restart();
}

#[test]
fn a_lane_whose_destination_is_gone_is_told_unless_given_up() {
    let mut bench = Bench::new(OutboxLimits::DESTINATION);
    bench.push("x", 0);
    bench.commit();
    let homeless = bench.outbox.set_destinations("gw", Vec::new(), &[]);
    assert_eq!(homeless.len(), 1);
    assert!(
        bench
            .outbox
            .set_destinations("gw", Vec::new(), &["cloud".to_owned()])
            .is_empty()
    );
    assert!(bench.hand_out().is_empty());
    assert_eq!(bench.lane().counts().dead, 1);
    assert_eq!(bench.outbox.dead_letters().unwrap().waiting(), 1);
}

#[test]
fn nothing_overtakes_rows_that_were_dropped_and_may_come_back() {
    let mut bench = Bench::new(limits(3, WhenFull::DropOldest));
    (0..3).for_each(|n| {
        bench.push(&n.to_string(), 0);
    });
    bench.commit();
    bench.push("more", 0);
    assert!(
        bench.hand_out().is_empty(),
        "the end of row 1 is not committed"
    );
    let lsn = bench.lsn();
    bench.commit();
    let shipped = bench.outbox.hand_out(lsn - 1, lsn + 1, true);
    assert!(shipped.is_empty(), "nor is it durable");
    assert_eq!(bench.hand_out(), [2, 3, 4, 5]);
}
