//! The MQTT source and destinations against a real mosquitto.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tidemill::clock::Clock;
use tidemill::destination::mqtt as out;
use tidemill::event::{Event, SubscriptionIds};
use tidemill::source::mqtt::{
    self, Flow, Protocol, SourceCommand, SourceHandle, SourceReport, SourceSettings, Subscription,
    Version,
};
use tidemill::topic::{Topic, TopicFilter};
use tidemill_tests::{Broker, Peer};

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// A source and what it reported.
struct Source {
    handle: SourceHandle,
    reports: Receiver<SourceReport>,
}

impl Source {
    fn start(port: u16, protocol: Protocol, held: &[(u32, &str)], wanted: &[(u32, &str)]) -> Self {
        Self::with(settings(port, protocol), held, wanted, 1_000)
    }

    fn with(
        settings: SourceSettings,
        held: &[(u32, &str)],
        wanted: &[(u32, &str)],
        room: usize,
    ) -> Self {
        let (sender, reports) = sync_channel(room);
        let handle = mqtt::spawn(settings, list(held), list(wanted), offer(sender)).unwrap();
        Self { handle, reports }
    }

    fn next(&self) -> SourceReport {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a report that `pick` takes, and drops all before it.
    fn until<T>(&self, mut pick: impl FnMut(SourceReport) -> Option<T>) -> T {
        loop {
            if let Some(picked) = pick(self.next()) {
                return picked;
            }
        }
    }

    fn until_held(&self, count: usize) -> Vec<Subscription> {
        self.until(|report| match report {
            SourceReport::Subscribed { held } if held.len() == count => Some(held),
            _ => None,
        })
    }

    fn until_connected(&self) -> (Version, bool) {
        self.until(|report| match report {
            SourceReport::Connected {
                protocol,
                session_present,
            } => Some((protocol, session_present)),
            _ => None,
        })
    }

    fn until_disconnected(&self) -> String {
        self.until(|report| match report {
            SourceReport::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// All events up to one whose payload is `last`, that one not included.
    fn events_until(&self, last: &str) -> Vec<Event> {
        let mut all = Vec::new();
        self.until(|report| {
            if let SourceReport::Events(events) = report {
                all.extend(events);
            }
            all.iter()
                .any(|event: &Event| event.payload == last)
                .then_some(())
        });
        all.retain(|event| event.payload != last);
        all
    }

    fn command(&self, wanted: &[(u32, &str)]) {
        self.handle
            .command(SourceCommand::Subscriptions(list(wanted)));
    }

    fn stop(self) {
        self.handle.command(SourceCommand::Stop);
        assert!(self.handle.join(), "the source's thread panicked");
    }
}

fn settings(port: u16, protocol: Protocol) -> SourceSettings {
    let mut settings = SourceSettings::new("127.0.0.1", port, "gateway", Clock::new(0));
    settings.protocol = protocol;
    settings
}

fn offer(sender: SyncSender<SourceReport>) -> impl FnMut(SourceReport) -> Flow {
    move |report| match sender.try_send(report) {
        Ok(()) => Flow::Taken,
        Err(TrySendError::Full(report)) => Flow::Full(report),
        Err(TrySendError::Disconnected(_)) => Flow::Gone,
    }
}

fn list(filters: &[(u32, &str)]) -> Vec<Subscription> {
    filters
        .iter()
        .map(|(id, filter)| Subscription {
            id: *id,
            filter: TopicFilter::new(filter).unwrap(),
        })
        .collect()
}

fn payloads(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .map(|event| std::str::from_utf8(&event.payload).unwrap())
        .collect()
}

#[test]
fn only_the_difference_to_the_kept_session_is_subscribed() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a/x"), (2, "b/x")]);
        let held = source.until_held(2);
        source.command(&[(2, "b/x"), (3, "c/x")]);
        source.until(|report| match report {
            SourceReport::Subscribed { held }
                if held.iter().any(|s| s.filter.as_str() == "c/x") =>
            {
                Some(())
            }
            _ => None,
        });
        source.stop();

        let held: Vec<_> = held
            .iter()
            .filter(|s| s.id != 1 && s.filter.as_str() != "a/x")
            .cloned()
            .collect();
        let mut now: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        now.push((if held[0].id == 0 { 0 } else { 3 }, "c/x"));
        let before = broker.log().matches("Received SUBSCRIBE").count();
        let source = Source::start(broker.port(), protocol, &now, &[(2, "b/x"), (3, "c/x")]);
        assert!(source.until_connected().1, "the broker kept the session");
        let mut peer = Peer::connect(broker.port(), "peer");
        for topic in ["a/x", "b/x", "c/x"] {
            peer.publish(topic, topic.as_bytes(), 1, false);
        }
        peer.publish("b/x", b"end", 1, false);
        assert_eq!(
            payloads(&source.events_until("end")),
            ["b/x", "c/x"],
            "{protocol:?}"
        );
        source.stop();
        assert_eq!(
            broker.log().matches("Received SUBSCRIBE").count(),
            before,
            "{protocol:?}"
        );
    }
}

#[test]
fn retained_copies_come_once_and_not_again_to_a_kept_session() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.publish("a/x", b"kept", 1, true);
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a/+")]);
        let held = source.until_held(1);
        peer.publish("a/x", b"end", 1, false);
        let events = source.events_until("end");
        assert_eq!(payloads(&events), ["kept"]);
        assert!(events[0].retained);
        source.stop();

        let held: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        let source = Source::start(broker.port(), protocol, &held, &[(1, "a/+")]);
        source.until_connected();
        peer.publish("a/x", b"end", 1, false);
        assert_eq!(
            payloads(&source.events_until("end")),
            Vec::<&str>::new(),
            "{protocol:?}"
        );
        source.stop();
    }
}

#[test]
fn overlapping_filters_bring_copies_that_name_their_subscription() {
    let broker = Broker::start("");
    let wanted = [(1, "a/+/c"), (2, "a/b/+"), (3, "z")];
    let source = Source::start(broker.port(), Protocol::V5, &[], &wanted);
    source.until_held(3);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a/b/c", b"both", 1, false);
    peer.publish("z", b"end", 1, false);
    let events = source.events_until("end");
    for id in [1, 2] {
        let answers = events
            .iter()
            .filter(|e| e.subscriptions.answers(id))
            .count();
        assert_eq!(answers, 1, "subscription {id}: {events:?}");
    }
    source.stop();
}

#[test]
fn covered_filters_bring_one_copy_over_3_1_1() {
    let broker = Broker::start("");
    let wanted = [(1, "a/+/c"), (2, "a/b/c"), (3, "z")];
    let source = Source::start(broker.port(), Protocol::V311, &[], &wanted);
    source.until_held(2);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a/b/c", b"both", 1, false);
    peer.publish("z", b"end", 1, false);
    let events = source.events_until("end");
    assert_eq!(payloads(&events), ["both"]);
    assert_eq!(events[0].subscriptions, SubscriptionIds::Unknown);
    source.stop();
}

#[test]
fn a_broker_that_is_away_at_start_is_named_and_waited_for() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let reason = source.until_disconnected();
        assert!(reason.contains("is the broker running"), "{reason}");
        broker.run();
        source.until_held(1);
        source.stop();
    }
}

#[test]
fn a_restarted_broker_is_found_again_and_queued_messages_come() {
    for protocol in BOTH {
        let mut broker = Broker::start("persistence true");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        broker.stop();
        broker.run();
        Peer::connect(broker.port(), "peer").publish("a", b"end", 1, false);
        source.events_until("end");
        source.stop();
    }
}

#[test]
fn a_broker_that_forgot_everything_is_subscribed_anew() {
    for protocol in BOTH {
        let mut broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        source.until_held(1);
        broker.kill();
        broker.run();
        source.until_held(0);
        source.until_held(1);
        source.stop();
    }
}

#[test]
fn two_clients_with_one_id_are_told_so() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let sources = [(); 2].map(|()| Source::start(broker.port(), protocol, &[], &[(1, "a")]));
        sources[0].until(|report| match report {
            SourceReport::Disconnected { reason, .. } => reason.contains("client id").then_some(()),
            _ => None,
        });
        sources.into_iter().for_each(Source::stop);
    }
}

#[test]
fn a_broker_that_names_the_reason_of_a_takeover_is_quoted() {
    let port = scripted(vec![vec![&[0x20, 3, 0, 0, 0], &[0xe0, 2, 0x8e, 0]]]);
    let source = Source::start(port, Protocol::V5, &[], &[(1, "a")]);
    let reason = source.until_disconnected();
    assert!(reason.contains("same client id"), "{reason}");
    source.stop();
}

#[test]
fn a_broker_that_only_speaks_3_1_1_is_met() {
    let taken: Answers = vec![&[0x20, 2, 0, 0]];
    let scripts: [Vec<Answers>; 2] = [
        // It refuses the version in the words of 3.1.1, or hangs up.
        vec![
            vec![&[0x20, 2, 0, 1]],
            vec![&[0x20, 2, 0, 1]],
            taken.clone(),
        ],
        vec![vec![], vec![], taken],
    ];
    for script in scripts {
        let source = Source::start(scripted(script), Protocol::Auto, &[], &[]);
        assert_eq!(source.until_connected(), (Version::V311, false));
        source.stop();
    }
}

/// What a scripted broker writes on one connection before it closes it.
type Answers = Vec<&'static [u8]>;

/// A broker that answers each CONNECT as the script says.
fn scripted(script: Vec<Answers>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answers in script {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 1_000]).unwrap();
            assert!(read > 0, "no CONNECT came");
            for answer in answers {
                stream.write_all(answer).unwrap();
            }
        }
    });
    port
}

#[test]
fn an_oversized_packet_is_dropped_without_a_loop() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let mut small = settings(broker.port(), protocol);
        small.packet_bytes_max = 2_000;
        let source = Source::with(small, &[], &[(1, "a")], 1_000);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        peer.publish("a", b"before", 1, false);
        peer.publish("a", &vec![b'x'; 50_000], 1, false);
        peer.publish("a", b"after", 1, false);
        peer.publish("a", b"end", 1, false);
        let (mut connections, mut oversized, mut seen) = (0, 0, Vec::new());
        source.until(|report| {
            match report {
                SourceReport::Connected { .. } => connections += 1,
                SourceReport::Oversized { bytes, .. } => oversized = bytes,
                SourceReport::Events(events) => seen.extend(events),
                _ => {}
            }
            seen.iter()
                .any(|event| event.payload == "end")
                .then_some(())
        });
        let seen = payloads(&seen);
        assert!(
            seen.contains(&"before") && seen.contains(&"after"),
            "{seen:?}"
        );
        assert!(seen.iter().all(|payload| payload.len() < 10));
        match protocol {
            // A broker of MQTT 5 knows our limit and keeps the packet to itself.
            Protocol::V5 => assert_eq!((connections, oversized), (0, 0)),
            _ => assert_eq!((connections, oversized), (1, 50_001)),
        }
        source.stop();
    }
}

#[test]
fn a_packet_too_large_to_be_read_costs_the_session_and_no_more() {
    let broker = Broker::start("");
    let source = Source::start(broker.port(), Protocol::V311, &[], &[(1, "a")]);
    source.until_held(1);
    let mut peer = Peer::connect(broker.port(), "peer");
    peer.publish("a", &vec![b'x'; 9 << 20], 1, false);
    source.until(|report| {
        matches!(report, SourceReport::Oversized { topic: None, .. }).then_some(())
    });
    source.until_held(1);
    peer.publish("a", b"end", 1, false);
    source.events_until("end");
    source.stop();
}

#[test]
fn a_stop_leaves_the_session_with_the_broker() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let held = source.until_held(1);
        source.stop();
        broker.until_logged("Received DISCONNECT from gateway");
        Peer::connect(broker.port(), "peer").publish("a", b"end", 1, false);
        let held: Vec<_> = held.iter().map(|s| (s.id, s.filter.as_str())).collect();
        let source = Source::start(broker.port(), protocol, &held, &[(1, "a")]);
        source.events_until("end");
        source.stop();
    }
}

#[test]
fn a_source_stops_while_its_broker_is_away() {
    let broker = Broker::stopped("");
    Source::start(broker.port(), Protocol::Auto, &[], &[(1, "a")]).stop();
}

#[test]
fn a_stalled_mill_loses_neither_events_nor_the_connection() {
    for protocol in BOTH {
        let broker = Broker::start("max_queued_messages 0");
        let source = Source::with(settings(broker.port(), protocol), &[], &[(1, "a")], 4);
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        let count = 20_000;
        for number in 0..count {
            peer.publish("a", format!("{number:0100}").as_bytes(), 0, false);
        }
        peer.publish("a", b"end", 1, false);
        let events = source.events_until("end");
        let numbers: Vec<usize> = payloads(&events)
            .iter()
            .map(|p| p.parse().unwrap())
            .collect();
        assert!(
            numbers.iter().copied().eq(0..count),
            "{protocol:?}: {}",
            numbers.len()
        );
        source.stop();
    }
}

#[test]
fn refused_users_are_told_what_to_check() {
    for protocol in BOTH {
        let mut broker = Broker::stopped("");
        let passwords = broker.path("passwords");
        std::fs::write(&passwords, "").unwrap();
        broker.add(&format!("password_file {}", passwords.display()));
        broker.add("allow_anonymous false");
        broker.run();
        let source = Source::start(broker.port(), protocol, &[], &[(1, "a")]);
        let reason = source.until_disconnected();
        assert!(reason.contains("user name and password"), "{reason}");
        source.stop();
    }
}

/// Destinations and what they reported.
struct Destinations {
    handle: out::DestinationsHandle,
    reports: Receiver<out::DestinationReport>,
}

impl Destinations {
    fn start(all: Vec<out::DestinationSettings>) -> Self {
        let (sender, reports) = sync_channel(100_000);
        let handle = out::spawn(all, move |report| sender.send(report).unwrap()).unwrap();
        Self { handle, reports }
    }

    fn until_connected(&self) {
        while !matches!(
            self.reports.recv_timeout(PATIENCE).unwrap(),
            out::DestinationReport::Connected { .. }
        ) {}
    }

    /// What was acknowledged and dropped when the two add up to `sum`.
    fn until_settled(&self, sum: usize) -> (usize, usize) {
        let (mut acknowledged, mut dropped) = (0, 0);
        while acknowledged + dropped < sum {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(out::DestinationReport::Acknowledged { count, .. }) => acknowledged += count,
                Ok(out::DestinationReport::Dropped { count, .. }) => dropped += count,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{acknowledged} acknowledged, {dropped} dropped of {sum}")
                }
            }
        }
        (acknowledged, dropped)
    }
}

fn upstream(port: u16, protocol: Protocol) -> out::DestinationSettings {
    let mut settings = out::DestinationSettings::new("upstream", "127.0.0.1", port, "gateway-out");
    settings.protocol = protocol;
    settings
}

fn numbered(range: std::ops::Range<usize>, qos: u8) -> Vec<out::Outgoing> {
    range
        .map(|number| out::Outgoing {
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
            assert_eq!(destinations.handle.stop(PATIENCE), [0]);
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
        assert_eq!(destinations.handle.stop(PATIENCE), [0]);
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
        assert_eq!(destinations.handle.stop(PATIENCE), [0]);
    }
}

#[test]
fn a_stop_within_its_grace_tells_what_is_left() {
    let broker = Broker::stopped("");
    let away = upstream(broker.port(), Protocol::Auto);
    let up = Broker::start("");
    let destinations = Destinations::start(vec![away, upstream(up.port(), Protocol::Auto)]);
    destinations.handle.send(numbered(0..7, 1));
    assert_eq!(destinations.handle.stop(Duration::from_millis(300)), [7, 0]);
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

#[test]
fn source_and_destination_meet_at_the_embedded_broker() {
    let port = tidemill::demo::broker::start(None).unwrap().port();
    // It speaks 3.1.1 only, which the source finds out.
    let source = Source::start(port, Protocol::Auto, &[], &[(1, "out")]);
    source.until_held(1);
    let destinations = Destinations::start(vec![upstream(port, Protocol::Auto)]);
    destinations.handle.send(numbered(0..500, 1));
    let events = source.events_until("499");
    let expected: Vec<_> = (0..499).map(|number: u32| number.to_string()).collect();
    assert_eq!(payloads(&events), expected);
    assert_eq!(destinations.handle.stop(PATIENCE), [0]);
    source.stop();
    assert!(
        tidemill::demo::broker::start(Some(port)).is_err(),
        "the port is taken"
    );
}
