use std::collections::BTreeSet;

use super::*;

/// An outbox with a lane to `cloud`, and what its journal would hold.
struct Bench {
    outbox: Outbox,
    journal: Vec<(u64, Vec<LaneDelta>)>,
    limits: OutboxLimits,
    outlet: Outlet,
    /// A request that is to go out after a rest.
    rests: Option<Vec<u64>>,
}

impl Bench {
    fn new(limits: OutboxLimits) -> Self {
        let mut bench = Self {
            outbox: Outbox::default(),
            journal: Vec::new(),
            limits,
            outlet: Outlet::Messages,
            rests: None,
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

    fn lsn(&self) -> Lsn {
        Lsn::new(self.journal.len() as u64 + 1)
    }

    fn push(&mut self, payload: &str, at_ms: i64) -> bool {
        let row = Row {
            seq: 0,
            rule: "r".into(),
            topic: Topic::new("t").unwrap(),
            payload: payload.to_owned().into(),
            at_ms,
            made_ms: at_ms.unsigned_abs(),
            qos: 1,
            retain: false,
        };
        let lsn = self.lsn();
        self.outbox.push(0, Priority::Normal, row, lsn)
    }

    fn commit(&mut self) {
        let lsn = self.lsn();
        let (at_ms, made_ms) = (0, 0);
        self.outbox.record_gaps(Made { at_ms, made_ms }, lsn);
        let deltas = self.outbox.take_deltas();
        self.journal.push((lsn.get(), deltas));
    }

    /// Hands out rows once everything is durable.
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
        let rows = self.found(&wanted);
        assert_eq!(self.outbox.rows_read(&id, rows, None), 0);
        true
    }

    /// The wanted rows, read from the journal.
    fn found(&self, wanted: &Wanted) -> Vec<(Lsn, Row)> {
        let deltas = self
            .journal
            .iter()
            .filter(|(lsn, _)| (wanted.from_lsn..=wanted.to_lsn).contains(&Lsn::new(*lsn)));
        let rows = deltas.flat_map(|(lsn, deltas)| {
            let rows = deltas.iter();
            let rows = rows.flat_map(|delta| delta.rows.iter().chain(&delta.relocated));
            rows.map(|row| (Lsn::new(*lsn), row.clone()))
        });
        rows.filter(|(_, row)| (wanted.first..=wanted.last).contains(&row.seq))
            .collect()
    }

    fn lane(&self) -> &Lane {
        self.outbox
            .lanes()
            .find(|lane| &*lane.id.destination == "cloud")
            .unwrap()
    }

    /// Rebuilds the outbox from the journal, as a restart does.
    fn restart(&mut self) {
        let before = self.lane().record();
        let mut outbox = Outbox::default();
        for (lsn, deltas) in &self.journal {
            deltas
                .iter()
                .for_each(|delta| outbox.apply(delta.clone(), Lsn::new(*lsn)));
        }
        self.outbox = outbox;
        self.equip();
        let after = self.lane().record();
        assert_eq!(
            (after.cursor, &after.settled, after.counts),
            (before.cursor, &before.settled, before.counts)
        );
        assert_eq!(after.gap_rows, before.gap_rows);
        assert!(self.lane().balances());
    }

    /// A start from a checkpoint behind all commits, where the records of some rows are lost.
    fn restart_without(&mut self, lost: &BTreeSet<u64>) {
        let bounds = *self.outbox.bounds();
        let record = LaneRecord::decode(&self.lane().record().encode()).unwrap();
        let mut outbox = Outbox::default();
        outbox.set_bounds(bounds);
        outbox.restore_lane(self.lane().id().clone(), &record);
        for (lsn, deltas) in &self.journal {
            for delta in deltas {
                let mut delta = delta.clone();
                let is_there = |row: &Row| !lost.contains(&row.seq);
                delta.rows.retain(is_there);
                delta.relocated.retain(is_there);
                outbox.restore_rows(delta, Lsn::new(*lsn));
            }
        }
        self.outbox = outbox;
        self.equip();
        self.outbox.drop_missing();
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
    bench.outbox.drop_old(crate::event::clock::Ages::at(2_200));
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

/// Endpoints that refuse.
mod refusals {
    use super::*;

    impl Bench {
        /// A lane of requests with this many rows.
        fn of_requests(rows: u64) -> Self {
            let mut bench = Self::new(OutboxLimits::DESTINATION);
            bench.outlet = Outlet::Requests;
            bench.equip();
            for n in 0..rows {
                bench.push(&n.to_string(), 0);
            }
            bench.commit();
            bench
        }

        /// The next request: its rows, and whether it is sent after a rest.
        fn request(&mut self) -> Option<(Vec<u64>, bool)> {
            if self.outbox.cut_requests(self.lsn(), self.lsn() - 1) {
                self.commit();
            }
            let (durable, lsn) = (self.lsn() - 1, self.lsn());
            let shipment = self.outbox.hand_out(durable, lsn, true).pop()?;
            let rows = shipment.rows.iter().map(|row| row.seq).collect();
            Some((rows, shipment.stands_still))
        }

        fn refuse(&mut self, first: u64, last: u64) {
            let report = LaneReport::Refused {
                destination: 0,
                priority: Priority::Normal,
                first,
                last,
                reason: format!("no {first}"),
            };
            let lsn = self.lsn();
            self.outbox.hear(report, lsn);
        }

        /// Answers requests until none leaves or one waits for a rest; returns them.
        fn answer(&mut self, good: impl Fn(u64) -> bool) -> Vec<Vec<u64>> {
            let mut sent = Vec::new();
            let mut next = self.rests.take().map(|rows| (rows, false));
            for _ in 0..5_000 {
                let Some((rows, after_rest)) = next.take().or_else(|| self.request()) else {
                    break;
                };
                if after_rest {
                    self.rests = Some(rows);
                    break;
                }
                let (first, last) = (rows[0], rows[rows.len() - 1]);
                if rows.iter().all(|seq| good(*seq)) {
                    self.acknowledge(first, last)
                } else {
                    self.refuse(first, last)
                }
                self.commit();
                sent.push(rows);
            }
            assert!(self.lane().balances());
            sent
        }

        fn dead(&self) -> Vec<(String, String)> {
            let letters = self.outbox.dead_letters().into_iter().flat_map(Lane::rows);
            let read = |row: &Row| {
                let dead = Dead::decode(&row.payload).unwrap();
                let payload = String::from_utf8(dead.payload.to_vec()).unwrap();
                (payload, dead.reason)
            };
            letters.map(read).collect()
        }
    }

    #[test]
    fn an_endpoint_that_refuses_everything_gets_no_row_of_the_lane() {
        let mut bench = Bench::of_requests(600);
        for round in 0..50 {
            let sent = bench.answer(|_| false);
            assert!(sent.len() < 150, "round {round}: {} requests", sent.len());
            assert_eq!(bench.lane().counts().dead, 0, "round {round}");
        }
        let sent = bench.answer(|_| true);
        assert_eq!(sent[0].len(), 1, "first one row is tried");
        bench.answer(|_| true);
        let counts = bench.lane().counts();
        assert_eq!((counts.acknowledged, counts.dead), (600, 0));
        bench.restart();
    }

    #[test]
    fn a_cure_in_the_middle_of_a_round_costs_no_row() {
        for cured_after in 1..40 {
            let mut bench = Bench::of_requests(20);
            let mut asked = 0;
            for _ in 0..1_000 {
                if bench.lane().waiting() == 0 {
                    break;
                }
                let (rows, _) = bench.request().unwrap();
                let (first, last) = (rows[0], rows[rows.len() - 1]);
                asked += 1;
                // The cure is not between the question to the first row and that to the next.
                let first_row = asked > cured_after && first == 1 || bench.lane().cursor() > 0;
                if first_row {
                    bench.acknowledge(first, last)
                } else {
                    bench.refuse(first, last)
                }
                bench.commit();
            }
            assert_eq!(bench.lane().counts().dead, 0, "cured after {cured_after}");
        }
    }

    #[test]
    fn rows_to_blame_are_found_and_only_they_are_dead() {
        for bad in [vec![0], vec![0, 1, 2], vec![99], vec![40, 41, 80, 99]] {
            let mut bench = Bench::of_requests(100);
            bench.answer(|seq| !bad.contains(&(seq - 1)));
            bench.push("more", 0);
            bench.commit();
            for _ in 0..3 {
                bench.answer(|seq| !bad.contains(&(seq - 1)));
            }
            let expected = bad.iter().map(|n| (n.to_string(), format!("no {}", n + 1)));
            assert_eq!(bench.dead(), expected.collect::<Vec<_>>());
            let counts = bench.lane().counts();
            let dead = bad.len() as u64;
            assert_eq!((counts.acknowledged, counts.dead), (101 - dead, dead));
            bench.restart();
        }
    }

    #[test]
    fn a_row_that_is_refused_alone_waits_until_another_one_is_taken() {
        let mut bench = Bench::of_requests(1);
        assert_eq!(bench.answer(|_| false), [[1]]);
        assert_eq!(bench.answer(|_| false), [[1]]);
        assert_eq!((bench.lane().waiting(), bench.dead().len()), (1, 0));
        bench.push("next", 0);
        bench.commit();
        bench.answer(|seq| seq > 1);
        bench.answer(|seq| seq > 1);
        assert_eq!(bench.dead(), [("0".to_owned(), "no 1".to_owned())]);
    }

    #[test]
    fn a_row_taken_on_the_other_lane_shows_which_one_is_to_blame() {
        let mut bench = Bench::of_requests(1);
        bench.answer(|_| false);
        let report = LaneReport::Acknowledged {
            destination: 0,
            priority: Priority::High,
            first: 1,
            last: 1,
        };
        bench.outbox.hear(report, bench.lsn());
        assert_eq!(bench.dead(), [], "it is asked once more");
        bench.answer(|_| false);
        assert_eq!(bench.dead().len(), 1);
    }

    #[test]
    fn after_a_restart_what_waits_before_a_row_that_was_taken_is_dead() {
        let mut bench = Bench::of_requests(4);
        for rows in [vec![1, 2, 3, 4], vec![1, 2], vec![1]] {
            assert_eq!(bench.request(), Some((rows.clone(), false)));
            bench.refuse(rows[0], rows[rows.len() - 1]);
            bench.commit();
        }
        assert_eq!(bench.request(), Some((vec![2], false)));
        bench.restart();
        assert_eq!(bench.request(), Some((vec![2], false)));
        bench.acknowledge(2, 2);
        bench.commit();
        let reason = "refused before a restart".to_owned();
        assert_eq!(bench.dead(), [("0".to_owned(), reason)]);
        bench.answer(|_| true);
        bench.restart();
        assert_eq!(bench.lane().waiting(), 0);
    }

    #[test]
    fn rows_on_disk_are_read_back_to_find_one_that_is_taken() {
        let mut bench = Bench::of_requests(0);
        let limits = Bounds {
            head_rows: 4,
            ..Bounds::default()
        };
        bench.outbox.set_bounds(limits);
        for n in 0..30 {
            bench.push(&n.to_string(), 0);
            bench.commit();
        }
        for _ in 0..40 {
            bench.answer(|seq| seq > 10);
            while bench.read_back() {}
        }
        let counts = bench.lane().counts();
        assert_eq!((counts.acknowledged, counts.dead), (20, 10));
    }

    #[test]
    fn a_link_that_is_slow_gets_smaller_requests_and_never_less_than_a_row() {
        let mut bench = Bench::of_requests(10);
        let report = |bytes| LaneReport::RequestBytes {
            destination: 0,
            priority: Priority::Normal,
            bytes,
        };
        let lsn = bench.lsn();
        bench.outbox.hear(report(200), lsn);
        assert_eq!(bench.request().unwrap().0, [1, 2, 3]);
        bench.outbox.hear(report(1), lsn);
        assert_eq!(bench.request(), None, "what is out stays as it is");
        bench.acknowledge(1, 3);
        assert_eq!(bench.request().unwrap().0, [4]);
    }

    #[test]
    fn after_a_restart_rows_before_the_one_that_was_out_are_tried_as_well() {
        let mut bench = Bench::of_requests(8);
        // All of them are refused, then the first one alone; then the process ends.
        loop {
            let (rows, _) = bench.request().unwrap();
            if rows == [2] {
                break;
            }
            bench.refuse(rows[0], rows[rows.len() - 1]);
            bench.commit();
        }
        bench.restart();
        let sent = bench.answer(|seq| seq > 3);
        assert_eq!(bench.lane().waiting(), 0, "{sent:?}");
        assert_eq!(bench.dead().len(), 3);
    }

    #[test]
    fn mass_refusals_leave_what_a_rule_could_not_digest() {
        let mut bench = Bench::of_requests(0);
        let letter = Dead {
            version: 1,
            reason: "trap".to_owned(),
            fuel: 0,
            lane: None,
            qos: 0,
            retain: false,
            payload: Bytes::from_static(b"poison"),
            properties: Bytes::new(),
            missing: 0,
        };
        let topic = Topic::new("t").unwrap();
        for _ in 0..3 {
            bench
                .outbox
                .bury("odd".into(), topic.clone(), 0, &letter, Lsn::new(1));
        }
        for n in 0..5_000 {
            bench.push(&n.to_string(), 0);
        }
        bench.commit();
        bench
            .outbox
            .set_destinations("gw", Vec::new(), &["cloud".to_owned()]);
        for _ in 0..1_000 {
            bench.read_back();
            bench.hand_out();
            bench.commit();
        }
        assert_eq!(bench.lane().waiting(), 0);
        let shelf = bench.outbox.dead_letters().unwrap();
        assert!(shelf.waiting() <= DEAD_LETTERS_MAX && shelf.balances());
        assert_eq!(shelf.rows().filter(|row| &*row.rule == "odd").count(), 3);
        assert_eq!(shelf.rows().last().unwrap().seq, 5_003);
    }
}

#[test]
fn rows_whose_records_are_lost_are_dropped_with_a_gap_record() {
    for outlet in [Outlet::Messages, Outlet::Requests] {
        let mut bench = Bench::new(OutboxLimits::DESTINATION);
        bench.outlet = outlet;
        bench.equip();
        for n in 0..30 {
            bench.push(&format!("{n}"), 0);
            bench.commit();
        }
        let lsn = bench.lsn();
        // A request may be out with some of them.
        bench.outbox.cut_requests(lsn, lsn - 1);
        bench.commit();
        let mut restored = Outbox::default();
        for lane in bench.outbox.lanes() {
            restored.restore_lane(lane.id().clone(), &lane.record());
        }
        for (lsn, deltas) in bench.journal.clone() {
            for delta in deltas.into_iter().filter(|_| !(11..=14).contains(&lsn)) {
                restored.restore_rows(delta, Lsn::new(lsn));
            }
        }
        bench.outbox = restored;
        bench.equip();
        let lost = bench.outbox.drop_missing();
        assert_eq!(
            lost.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
            [4]
        );
        bench.commit();
        let lane = bench.outbox.lanes().next().unwrap();
        assert!(lane.balances());
        assert_eq!((lane.waiting(), lane.counts().dropped), (27, 4));
        let told = lane.rows().last().unwrap();
        assert!(told.topic.as_str().ends_with("/gap"));
        assert!(
            String::from_utf8_lossy(&told.payload).contains("\"from\":11,\"to\":14,\"count\":4")
        );
        assert_eq!(bench.outbox.drop_missing(), []);
        // The rows left go out, even if they were part of a request.
        let lsn = bench.lsn();
        bench.outbox.cut_requests(lsn, lsn - 1);
        bench.commit();
        assert_eq!(bench.hand_out().first(), Some(&1));
    }
}

#[test]
fn rows_missing_when_their_chunk_moves_are_dropped_with_a_gap_record() {
    let mut bench = Bench::new(OutboxLimits::DESTINATION);
    bench.outbox.set_bounds(Bounds {
        head_rows: 4,
        ..Bounds::default()
    });
    for n in 0..30 {
        bench.push(&n.to_string(), 0);
        bench.commit();
    }
    let lsn = bench.lsn();
    assert_eq!(bench.outbox.relocate(lsn, lsn, lsn - 1), None, "the head");
    let (id, wanted) = bench.outbox.relocate(lsn, lsn, lsn - 1).unwrap();
    assert_eq!((wanted.first, wanted.last), (5, 30));
    let mut rows = bench.found(&wanted);
    rows.retain(|(_, row)| !(11..=14).contains(&row.seq));
    assert_eq!(bench.outbox.rows_read(&id, rows, Some(lsn)), 4);
    bench.commit();
    let lane = bench.lane();
    assert!(lane.balances());
    assert_eq!((lane.waiting(), lane.counts().dropped), (27, 4));
    // All old segments are used anew, then the process starts from a checkpoint.
    bench.journal.retain(|(at, _)| *at >= lsn.get());
    let mut restored = Outbox::default();
    for lane in bench.outbox.lanes() {
        assert!(lane.oldest_lsn() >= Some(lsn));
        restored.restore_lane(lane.id().clone(), &lane.record());
    }
    for (lsn, deltas) in bench.journal.clone() {
        for delta in deltas {
            restored.restore_rows(delta, Lsn::new(lsn));
        }
    }
    bench.outbox = restored;
    bench.equip();
    assert!(bench.lane().balances());
    assert_eq!(
        bench.outbox.drop_missing(),
        [],
        "all of it is accounted for"
    );
    let told = bench.lane().rows().last().unwrap();
    assert!(String::from_utf8_lossy(&told.payload).contains("\"from\":11,\"to\":14,\"count\":4"));
    let out = bench.outbox.hand_out(lsn, lsn + 1, true);
    let sent = out.iter().flat_map(|shipment| &shipment.rows);
    assert!(sent.map(|row| row.seq).eq((1..=10).chain(15..=31)));
    bench.acknowledge(1, 31);
    assert_eq!((bench.lane().cursor(), bench.lane().waiting()), (31, 0));
    assert!(bench.lane().balances());
}

#[test]
fn a_chunk_of_which_nothing_came_is_dropped_when_it_should_move() {
    let mut bench = Bench::new(OutboxLimits::DESTINATION);
    bench.outbox.set_bounds(Bounds {
        head_rows: 4,
        ..Bounds::default()
    });
    for n in 0..30 {
        bench.push(&n.to_string(), 0);
        bench.commit();
    }
    let lsn = bench.lsn();
    bench.outbox.relocate(lsn, lsn, lsn - 1);
    let (id, _) = bench.outbox.relocate(lsn, lsn, lsn - 1).unwrap();
    // Rows acknowledged while they are being read are not missing.
    bench.acknowledge(1, 9);
    assert_eq!(bench.outbox.rows_read(&id, Vec::new(), Some(lsn)), 21);
    bench.commit();
    let counts = bench.lane().counts();
    assert_eq!((counts.acknowledged, counts.dropped), (9, 21));
    assert_eq!((bench.lane().cursor(), bench.lane().waiting()), (30, 1));
    assert_eq!(bench.lane().oldest_lsn(), Some(lsn));
    bench.restart();
}

/// A backlog on disk with gap records in it, on a lane that is full.
fn backlog_with_gaps() -> Bench {
    let mut bench = Bench::new(limits(40, WhenFull::DropOldest));
    bench.outbox.set_bounds(Bounds {
        head_rows: 2,
        chunk_bytes: 600,
        ..Bounds::default()
    });
    for n in 0..90 {
        bench.push(&n.to_string(), 0);
        bench.commit();
    }
    bench
}

/// Drains the lane, of which the records of some rows are lost. Returns the numbers that neither
/// came nor were reported by a gap record.
fn untold(bench: &mut Bench, lost: &BTreeSet<u64>) -> Vec<u64> {
    let mut gaps = Vec::new();
    let mut came = BTreeSet::new();
    for _ in 0..200 {
        bench.commit();
        let durable = bench.lsn() - 1;
        for shipment in bench.outbox.hand_out(durable, durable + 1, true) {
            gaps.extend(shipment.rows.iter().filter_map(gap::Gap::of));
            came.extend(shipment.rows.iter().map(|row| row.seq));
            if let (Some(first), Some(last)) = (shipment.rows.first(), shipment.rows.last()) {
                bench.acknowledge(first.seq, last.seq);
            }
        }
        while let Some((id, wanted)) = bench.outbox.wants(bench.lsn() - 1).pop() {
            let mut rows = bench.found(&wanted);
            rows.retain(|(_, row)| !lost.contains(&row.seq));
            bench.outbox.rows_read(&id, rows, None);
        }
    }
    let lane = bench.lane();
    assert_eq!((lane.waiting(), lane.cursor()), (0, lane.last_seq()));
    assert!(lane.balances());
    let is_told = |seq: &u64| gaps.iter().any(|gap| (gap.from..=gap.to).contains(seq));
    let gone = (1..=lane.last_seq()).filter(|seq| !came.contains(seq));
    gone.filter(|seq| !is_told(seq)).collect()
}

#[test]
fn what_a_gap_record_told_that_cannot_be_read_is_told_by_the_next_one() {
    let last = backlog_with_gaps().lane().last_seq();
    assert!(last > 93, "there are gap records among them: {last}");
    for seq in 1..=last {
        let mut bench = backlog_with_gaps();
        let gone = untold(&mut bench, &BTreeSet::from([seq]));
        assert!(gone.is_empty(), "without row {seq}: {gone:?}");
    }
    // And at a start, from a checkpoint behind all of them.
    for seq in 1..=last {
        let mut bench = backlog_with_gaps();
        let lost = BTreeSet::from([seq]);
        bench.restart_without(&lost);
        let gone = untold(&mut bench, &lost);
        assert!(gone.is_empty(), "a start without row {seq}: {gone:?}");
    }
    // And where it is to move to a younger place.
    let mut bench = backlog_with_gaps();
    let lsn = bench.lsn();
    let mut lost = 0;
    while bench.lane().oldest_lsn() < Some(lsn) {
        let Some((id, wanted)) = bench.outbox.relocate(lsn, lsn, lsn - 1) else {
            continue;
        };
        let mut rows = bench.found(&wanted);
        rows.retain(|(_, row)| gap::Gap::of(row).is_none());
        lost += bench.outbox.rows_read(&id, rows, Some(lsn));
    }
    assert!(lost > 2, "{lost}");
    let gone = untold(&mut bench, &BTreeSet::new());
    assert!(gone.is_empty(), "{gone:?}");
}
