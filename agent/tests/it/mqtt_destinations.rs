//! MQTT destinations against a real mosquitto: queue, lanes, and what a broker may answer.

mod beside;
mod silence;
mod verdicts;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use tidemill::destination::mqtt::DestinationSettings;
use tidemill::destination::{self, DestinationReport, DestinationsHandle, Identity, Outgoing};
use tidemill::event::emission::{LaneReport, Priority, Row};
use tidemill::source::mqtt::Protocol;
use tidemill_tests::{Broker, Message, Peer, Peer5, free_port, wait_until};
use tidemill_transport::topic::Topic;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// Destinations and what they reported.
pub(crate) struct Destinations {
    pub(crate) handle: DestinationsHandle,
    reports: Receiver<DestinationReport>,
    woken: Receiver<()>,
}

impl Destinations {
    pub(crate) fn start(all: Vec<DestinationSettings>) -> Self {
        let (sender, reports) = sync_channel(100_000);
        let (waker, woken) = sync_channel(1);
        let all = all.into_iter().map(Into::into).collect();
        let hear = move |report| sender.send(report).unwrap();
        let wake = move || {
            let _ = waker.try_send(());
        };
        let handle = destination::spawn(all, hear, wake).unwrap();
        Self {
            handle,
            reports,
            woken,
        }
    }

    /// Lane reports until `enough` says so of all there were.
    fn lane_reports(&self, enough: impl Fn(&[LaneReport]) -> bool) -> Vec<LaneReport> {
        let mut all = Vec::new();
        while !enough(&all) {
            let woken = self.woken.recv_timeout(PATIENCE);
            woken.unwrap_or_else(|_| panic!("no more lane reports after {all:?}"));
            all.extend(self.handle.take_lane_reports());
        }
        all
    }

    /// Waits until this lane of the first destination is acknowledged up to `last`.
    pub(crate) fn until_acknowledged(&self, lane: Priority, last: u64) {
        let mut next = 1;
        let reports = self.lane_reports(|all| all.iter().any(|r| is_end(r, lane, last)));
        for report in reports {
            match report {
                LaneReport::Acknowledged {
                    priority,
                    first,
                    last,
                    ..
                } if priority == lane => {
                    assert_eq!(first, next, "each row is reported once, in order");
                    next = last + 1;
                }
                LaneReport::Acknowledged { .. } => {}
                LaneReport::Refused { .. } | LaneReport::RequestBytes { .. } => {
                    panic!("{report:?}")
                }
            }
        }
    }

    pub(crate) fn until_connected(&self) {
        while !matches!(
            self.reports.recv_timeout(PATIENCE).unwrap(),
            DestinationReport::Connected { .. }
        ) {}
    }

    pub(crate) fn until_disconnected(&self) -> String {
        loop {
            if let DestinationReport::Disconnected { reason, .. } =
                self.reports.recv_timeout(PATIENCE).unwrap()
            {
                return reason;
            }
        }
    }

    /// Counts of acknowledged and of dropped messages, once the two add up to `sum`.
    fn until_settled(&self, sum: usize) -> (usize, usize) {
        let (mut acknowledged, mut dropped) = (0, 0);
        while acknowledged + dropped < sum {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(DestinationReport::Acknowledged { count, .. }) => acknowledged += count,
                Ok(DestinationReport::Dropped { count, .. }) => dropped += count,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{acknowledged} acknowledged, {dropped} dropped of {sum}")
                }
            }
        }
        (acknowledged, dropped)
    }
}

pub(crate) fn upstream(port: u16, protocol: Protocol) -> DestinationSettings {
    let mut settings = DestinationSettings::new("upstream", "127.0.0.1", port, "gateway-out");
    settings.protocol = protocol;
    settings.identity = Identity {
        gateway: "gw".to_owned(),
        incarnation: "0123456789abcdef0123456789abcdef".to_owned(),
    };
    settings
}

pub(crate) fn numbered(range: std::ops::Range<usize>, qos: u8) -> Vec<Outgoing> {
    range
        .map(|number| Outgoing {
            destination: 0,
            topic: Topic::new("out").unwrap(),
            payload: number.to_string().into(),
            qos,
            retain: false,
        })
        .collect()
}

/// Receives numbers until `last`, checks that they rise, and returns how many there were.
fn ascending(peer: &mut Peer, last: usize) -> usize {
    let mut before = None;
    for count in 1.. {
        let (_, payload) = peer.receive().unwrap();
        let number: usize = String::from_utf8(payload).unwrap().parse().unwrap();
        assert!(before < Some(number), "{number} after {before:?}");
        before = Some(number);
        if number == last {
            return count;
        }
    }
    unreachable!()
}

#[test]
fn all_messages_arrive_in_order_and_are_counted() {
    for protocol in BOTH {
        for qos in [0, 1] {
            let broker = Broker::start("max_queued_messages 0");
            let mut peer = Peer::connect(broker.port(), "peer");
            peer.subscribe("out");
            let destinations = Destinations::start(vec![upstream(broker.port(), protocol)]);
            for start in (0..3_000).step_by(300) {
                destinations.handle.send(numbered(start..start + 300, qos));
            }
            assert_eq!(ascending(&mut peer, 2_999), 3_000, "{protocol:?} {qos}");
            assert_eq!(destinations.until_settled(3_000), (3_000, 0));
            assert_eq!(destinations.handle.stop(PATIENCE).unsent, [0]);
            broker.until_logged("Received DISCONNECT from gateway-out");
        }
    }
}

#[test]
fn the_queue_of_an_absent_destination_is_bounded_and_keeps_the_newest() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let mut settings = upstream(broker.port(), protocol);
        settings.queue_messages_max = 100;
        let destinations = Destinations::start(vec![settings]);
        destinations.handle.send(numbered(0..250, 1));
        broker.run();
        assert_eq!(destinations.until_settled(250), (100, 150));
        assert_eq!(destinations.handle.stop(PATIENCE).unsent, [0]);
    }
}

#[test]
fn nothing_acknowledged_is_missing_after_the_broker_was_killed() {
    for protocol in BOTH {
        let mut broker = Broker::start("max_queued_messages 0");
        let destinations = Destinations::start(vec![upstream(broker.port(), protocol)]);
        destinations.until_connected();
        destinations.handle.send(numbered(0..2_000, 1));
        broker.kill();
        destinations.handle.send(numbered(2_000..4_000, 1));
        broker.run();
        assert_eq!(destinations.until_settled(4_000), (4_000, 0));
        assert_eq!(destinations.handle.stop(PATIENCE).unsent, [0]);
    }
}

#[test]
fn a_stop_within_its_grace_tells_what_is_left() {
    let broker = Broker::stopped("");
    let away = upstream(broker.port(), Protocol::Auto);
    let up = Broker::start("");
    let destinations = Destinations::start(vec![away, upstream(up.port(), Protocol::Auto)]);
    destinations.handle.send(numbered(0..7, 1));
    let left = destinations.handle.stop(Duration::from_millis(300));
    assert_eq!(left.unsent, [7, 0]);
}

#[test]
fn a_message_that_no_packet_can_hold_is_dropped_and_the_next_one_goes() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut settings = upstream(broker.port(), protocol);
        settings.packet_bytes_max = 1_000;
        let destinations = Destinations::start(vec![settings]);
        let mut batch = numbered(0..3, 1);
        batch[0].payload = vec![0; 5_000].into();
        destinations.until_connected();
        destinations.handle.send(batch);
        assert_eq!(destinations.until_settled(3), (2, 1));
        destinations.handle.stop(PATIENCE);
    }
}

fn is_end(report: &LaneReport, lane: Priority, end: u64) -> bool {
    matches!(report, LaneReport::Acknowledged { priority, last, .. } if *priority == lane && *last == end)
}

/// Rows with these numbers, which are their payloads too.
pub(crate) fn rows(numbers: std::ops::RangeInclusive<u64>) -> Vec<Row> {
    numbers
        .map(|seq| Row {
            seq,
            rule: "rule".into(),
            topic: Topic::new("out").unwrap(),
            payload: seq.to_string().into(),
            at_ms: 0,
            made_ms: 0,
            qos: 1,
            retain: false,
        })
        .collect()
}

fn row_to(topic: &str, seq: u64) -> Row {
    let topic = Topic::new(topic).unwrap();
    Row {
        topic,
        ..rows(seq..=seq).remove(0)
    }
}

fn texts(messages: &[Message]) -> Vec<String> {
    let payload = |message: &Message| String::from_utf8(message.payload.clone()).unwrap();
    messages.iter().map(payload).collect()
}

/// Numbers of the rows that a receiver counts if it keeps the highest number only: each row once,
/// in order.
fn counted_once(messages: &[Message]) -> Vec<u64> {
    let mut kept = Vec::new();
    for message in messages {
        let seq = message.property("tm-seq").unwrap().parse().unwrap();
        if kept.last().is_none_or(|last| *last < seq) {
            kept.push(seq);
        }
    }
    kept
}

#[test]
fn rows_bear_their_names_over_mqtt_5() {
    let broker = Broker::start("max_queued_messages 0");
    let mut peer = Peer5::connect(broker.port(), "peer");
    peer.subscribe("out");
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::Auto)]);
    destinations.handle.ship(0, Priority::High, rows(1..=2));
    destinations.until_acknowledged(Priority::High, 2);
    let messages = peer.receive_all(2);
    assert_eq!(texts(&messages), ["1", "2"]);
    let expected = [
        ("tm-gw", "gw"),
        ("tm-inc", "0123456789abcdef0123456789abcdef"),
        ("tm-lane", "upstream/high"),
        ("tm-seq", "2"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(messages[1].properties, expected);
    destinations.handle.send(numbered(0..1, 1));
    assert_eq!(peer.receive().unwrap().properties, [], "no row, no name");
    let left = destinations.handle.stop(PATIENCE);
    assert_eq!((left.unsent, left.lanes), (vec![0], vec![]));
}

#[test]
fn an_envelope_is_the_same_over_both_protocols_and_only_on_request() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.subscribe("out");
        let mut wrapping = upstream(broker.port(), protocol);
        wrapping.envelope = true;
        let mut bare = upstream(broker.port(), protocol);
        bare.client_id = "bare".to_owned();
        let destinations = Destinations::start(vec![wrapping, bare]);
        destinations.handle.ship(0, Priority::Normal, rows(7..=7));
        let envelope = "{\"gw\":\"gw\",\"inc\":\"0123456789abcdef0123456789abcdef\",\
                        \"lane\":\"upstream/normal\",\"seq\":7,\"payload\":7}";
        assert_eq!(peer.receive_texts(1)[0].1, envelope, "{protocol:?}");
        destinations.handle.ship(1, Priority::Normal, rows(7..=7));
        assert_eq!(peer.receive_texts(1)[0].1, "7");
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn rows_stay_in_order_when_the_broker_is_killed_among_them() {
    let mut broker = Broker::stopped("max_queued_messages 0");
    broker.run();
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
    let mut seen = Vec::new();
    for round in 0..5 {
        let mut peer = Peer5::connect(broker.port(), "peer");
        peer.subscribe("out");
        let first = round * 200 + 1;
        let normal = rows(first..=first + 199);
        destinations.handle.ship(0, Priority::Normal, normal);
        // Killed while rows are on their way: some are acknowledged, some taken, some neither.
        seen.extend(peer.receive_all(20));
        broker.kill();
        while let Some(message) = peer.receive() {
            seen.push(message);
        }
        broker.run();
        let mut peer = Peer5::connect(broker.port(), "peer");
        peer.subscribe("out");
        // Rows that were sent to the broker before it was killed may have been taken by nobody, but
        // no row may be reported that was not taken by some broker; here all of them come or go
        // again.
        destinations
            .lane_reports(|all| all.iter().any(|r| is_end(r, Priority::Normal, first + 199)));
    }
    let kept = counted_once(&seen);
    assert!(kept.is_sorted(), "{kept:?}");
    let rows = || destinations.handle.status()[0].rows;
    wait_until(|| rows() == 0, || format!("{} rows are left", rows()));
    destinations.handle.stop(PATIENCE);
}

#[test]
fn acknowledged_rows_were_received_in_order_after_a_flaky_connection() {
    for protocol in BOTH {
        // A broker that keeps what it acknowledged: killed connections only, no killed broker.
        let broker = Broker::start("max_queued_messages 0\nmax_inflight_messages 0");
        let mut settings = upstream(broker.port(), protocol);
        settings.envelope = true;
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.subscribe("out");
        let destinations = Destinations::start(vec![settings]);
        for round in 0..5 {
            let first = round * 200 + 1;
            let batch = rows(first..=first + 199);
            destinations.handle.ship(0, Priority::Normal, batch);
            // Another client with the same id makes the broker close the connection.
            drop(Peer::connect(broker.port(), "gateway-out"));
        }
        destinations.until_acknowledged(Priority::Normal, 1_000);
        let mut kept: Vec<u64> = Vec::new();
        while kept.last() != Some(&1_000) {
            let (_, payload) = peer.receive().unwrap();
            let row: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            let seq = row["seq"].as_u64().unwrap();
            match kept.last() {
                Some(last) if seq <= *last => {}
                last => {
                    assert_eq!(seq, last.map_or(1, |last| last + 1), "{protocol:?}");
                    kept.push(seq);
                }
            }
        }
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn high_rows_leave_first_then_normal_ones_then_messages_of_the_queue() {
    for protocol in BOTH {
        let broker = Broker::start("max_queued_messages 0");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.subscribe("out");
        let port = free_port();
        let destinations = Destinations::start(vec![upstream(port, protocol)]);
        destinations.handle.send(numbered(500..503, 1));
        let normal = rows(100..=103);
        destinations.handle.ship(0, Priority::Normal, normal);
        destinations.handle.ship(0, Priority::High, rows(1..=3));
        forward(port, broker.port());
        let got = peer.receive_texts(10).into_iter().map(|(_, text)| text);
        let order = [
            "1", "2", "3", "100", "101", "102", "103", "500", "501", "502",
        ];
        assert_eq!(got.collect::<Vec<_>>(), order, "{protocol:?}");
        destinations.handle.stop(PATIENCE);
    }
}

/// Lets one connection through from a port, so that nothing can be sent before.
fn forward(from: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
    std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut near_too, mut far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut far_too, &mut near_too);
            let _ = near_too.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut near, &mut far);
        let _ = far.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_row_larger_than_a_packet_is_refused_and_the_next_ones_go() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut settings = upstream(broker.port(), protocol);
        settings.packet_bytes_max = 2_000;
        let destinations = Destinations::start(vec![settings]);
        let mut batch = rows(1..=3);
        batch[1].payload = vec![b'x'; 2_000].into();
        destinations.handle.ship(0, Priority::Normal, batch);
        let reports = destinations.lane_reports(|all| all.len() >= 3);
        check_refused(&reports, 2, "bytes are more than the 2000 of a packet");
        destinations.handle.stop(PATIENCE);
    }
}

/// Rows 1 to 3 of the normal lane were settled, one of them by refusal.
#[track_caller]
fn check_refused(reports: &[LaneReport], seq: u64, why: &str) {
    let mut settled: Vec<u64> = Vec::new();
    for report in reports {
        match report {
            LaneReport::Acknowledged { first, last, .. } => settled.extend(*first..=*last),
            LaneReport::Refused {
                first,
                last,
                reason,
                ..
            } => {
                assert_eq!((*first, *last), (seq, seq), "{reports:?}");
                assert!(reason.contains(why), "{reports:?}");
                settled.push(seq);
            }
            LaneReport::RequestBytes { .. } => panic!("{reports:?}"),
        }
    }
    settled.sort_unstable();
    assert_eq!(settled, [1, 2, 3], "{reports:?}");
}

#[test]
fn a_row_too_large_for_the_broker_is_found_among_others_and_refused() {
    // The first tells its limit, so that nothing longer is sent; the second only when it is sent.
    for (limit, why) in [
        (
            "max_packet_size 2000",
            "bytes are more than the 2000 of a packet",
        ),
        ("message_size_limit 1000", "packet too large"),
    ] {
        let broker = Broker::start(limit);
        let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
        let mut batch = rows(1..=3);
        batch[1].payload = vec![b'x'; 2_000].into();
        destinations.handle.ship(0, Priority::Normal, batch);
        let reports = destinations.lane_reports(|all| {
            all.iter().any(|r| is_end(r, Priority::Normal, 3)) && all.len() >= 3
        });
        check_refused(&reports, 2, why);
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_row_that_ends_every_connection_is_named_and_never_given_up() {
    // Over 3.1.1 a broker cannot say what it dislikes.
    let broker = Broker::start("max_packet_size 2000");
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V311)]);
    let mut batch = rows(1..=3);
    batch[1].payload = vec![b'x'; 5_000].into();
    destinations.handle.ship(0, Priority::Normal, batch);
    let stalled = || destinations.handle.status()[0].stalled.clone();
    wait_until(|| stalled().is_some(), || "no stall".to_owned());
    let why = stalled().unwrap();
    assert!(
        why.contains("5000 bytes to out") && why.contains("lower packet_bytes_max"),
        "{why}"
    );
    let left = destinations.handle.stop(Duration::from_millis(100));
    let refused = left
        .lanes
        .iter()
        .any(|r| matches!(r, LaneReport::Refused { .. }));
    assert!(!refused, "{left:?}");
}

#[test]
fn a_lane_that_may_not_publish_stands_still_and_says_so() {
    let mut broker = Broker::stopped("");
    let list = broker.path("acl");
    std::fs::write(&list, "topic readwrite out\n").unwrap();
    broker.add(&format!("acl_file {}", list.display()));
    broker.run();
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
    let mut batch = rows(1..=3);
    batch[1] = row_to("secret", 2);
    destinations.handle.ship(0, Priority::Normal, batch);
    destinations.handle.ship(0, Priority::High, rows(1..=3));
    destinations.until_acknowledged(Priority::High, 3);
    let stalled = || destinations.handle.status()[0].stalled.clone();
    wait_until(|| stalled().is_some(), || "no stall".to_owned());
    let why = stalled().unwrap();
    assert!(
        why.contains("upstream/normal") && why.contains("secret"),
        "{why}"
    );
    assert_eq!(destinations.handle.status()[0].rows, 2);
    // The row behind it was taken by the broker and will be sent again: its order counts.
    let reports = destinations.handle.take_lane_reports();
    assert!(
        !reports.iter().any(|r| is_end(r, Priority::Normal, 3)),
        "{reports:?}"
    );
    let left = destinations.handle.stop(PATIENCE);
    assert_eq!(left.unsent, [0], "a stop does not wait for it");
}

#[test]
fn the_window_stays_below_what_the_broker_takes() {
    let broker = Broker::start("max_inflight_messages 3\nmax_queued_messages 0");
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
    destinations.handle.ship(0, Priority::Normal, rows(1..=256));
    destinations.until_acknowledged(Priority::Normal, 256);
    assert!(
        !broker.log().contains("receive maximum"),
        "{}",
        broker.log()
    );
    destinations.handle.stop(PATIENCE);
}

#[test]
fn rows_at_qos_0_count_as_acknowledged_when_written() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.subscribe("out");
        let destinations = Destinations::start(vec![upstream(broker.port(), protocol)]);
        let mut batch = rows(1..=300);
        batch.iter_mut().for_each(|row| row.qos = 0);
        destinations.handle.ship(0, Priority::Normal, batch);
        destinations.until_acknowledged(Priority::Normal, 300);
        assert_eq!(peer.receive_texts(300).len(), 300);
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_broker_without_retained_messages_gets_none() {
    let broker = Broker::start("retain_available false");
    let destinations = Destinations::start(vec![upstream(broker.port(), Protocol::V5)]);
    let mut batch = rows(1..=3);
    batch[1].retain = true;
    destinations.handle.ship(0, Priority::Normal, batch);
    destinations.until_acknowledged(Priority::Normal, 3);
    destinations.handle.stop(PATIENCE);
}
