//! Acknowledgement: only when told, in order, on the connection that the message came on.

use tidemill::event::{Delivery, Event};
use tidemill::source::mqtt::{Confirmation, SourceReport};
use tidemill_tests::{Broker, Peer};

use super::script::Script;
use super::*;

impl Source {
    /// Waits until this many events have come.
    pub(crate) fn events(&self, count: usize) -> Vec<Event> {
        let mut all = Vec::new();
        while all.len() < count {
            if let SourceReport::Events(events) = self.next() {
                all.extend(events);
            }
        }
        all
    }

    /// Waits for a connection, lets the source go on, and returns its epoch and whether the session
    /// was kept.
    pub(crate) fn until_epoch(&self) -> (u64, bool) {
        self.until(|report| match report {
            SourceReport::Connected {
                epoch,
                session_present,
                ..
            } => {
                self.handle.proceed(epoch);
                Some((epoch, session_present))
            }
            _ => None,
        })
    }

    pub(crate) fn until_confirmed(&self, acknowledged: u64) -> Confirmation {
        self.until(|report| match report {
            SourceReport::Confirmed(confirmation) if confirmation.acknowledged >= acknowledged => {
                Some(confirmation)
            }
            _ => None,
        })
    }
}

fn deliveries(events: &[Event]) -> Vec<Delivery> {
    events.iter().filter_map(|event| event.delivery()).collect()
}

/// The parts that stay the same when a message comes again.
fn identities(events: &[Event]) -> Vec<(u16, u128)> {
    let identity = |delivery: Delivery| (delivery.packet, delivery.fingerprint.hash);
    deliveries(events).into_iter().map(identity).collect()
}

#[test]
fn what_is_not_acknowledged_comes_again_and_what_is_does_not() {
    for protocol in BOTH {
        let mut broker = Broker::start("persistence true");
        let source = Source::silent(settings(broker.port(), protocol), &[], &[(1, "a")]);
        assert_eq!(source.until_epoch(), (1, false));
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        for payload in ["one", "two", "three"] {
            peer.publish("a", payload.as_bytes(), 1, false);
        }
        let first = source.events(3);
        assert!(deliveries(&first).iter().all(|d| d.epoch == 1 && !d.dup));
        source.acknowledge(&first[..1]);
        source.until_confirmed(1);
        broker.stop();
        broker.run();
        source.until_disconnected();
        assert_eq!(source.until_epoch(), (2, true));
        let again = source.events(2);
        assert_eq!(payloads(&again), ["two", "three"], "{protocol:?}");
        assert_eq!(identities(&again), identities(&first[1..]), "{protocol:?}");
        assert!(deliveries(&again).iter().all(|d| d.epoch == 2 && d.dup));
        source.stop();
    }
}

#[test]
fn acknowledgements_leave_in_the_order_given() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        (1..=5).for_each(|packet| line.publish(packet, false, "x"));
        source.events(5);
        source.handle.acknowledge(1, vec![2, 3]);
        source.handle.acknowledge(1, vec![1]);
        source.handle.acknowledge(1, vec![5, 4]);
        assert_eq!(line.acknowledged(5), [2, 3, 1, 5, 4], "{protocol:?}");
        source.stop();
    }
}

#[test]
fn acknowledgements_of_an_earlier_connection_are_never_sent() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        line.publish(1, false, "before");
        source.events(1);
        drop(line);
        source.until_disconnected();
        // While there is no connection, and on the next one.
        source.handle.acknowledge(1, vec![1]);
        let mut line = script.accept(true);
        line.publish(1, false, "another message under the same number");
        line.publish(2, false, "the next");
        assert_eq!(source.events(2)[0].delivery().unwrap().epoch, 2);
        source.handle.acknowledge(1, vec![1]);
        source.handle.acknowledge(2, vec![2]);
        assert_eq!(line.acknowledged(1), [2], "{protocol:?}");
        source.stop();
    }
}

#[test]
fn what_came_with_an_error_is_left_to_come_again() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        // A length without end, in the same breath.
        let mut bytes = line.message(7, false, b"a", b"seven");
        bytes.extend([0x30, 0xff, 0xff, 0xff, 0xff]);
        line.write(&bytes);
        let mut seen = 0;
        source.until(|report| {
            seen += usize::from(matches!(report, SourceReport::Events(_)));
            matches!(report, SourceReport::Disconnected { .. }).then_some(())
        });
        assert_eq!(seen, 0, "{protocol:?}");
        let mut line = script.accept(true);
        line.publish(7, true, "seven");
        let again = source.events(1);
        let delivery = again[0].delivery().unwrap();
        assert_eq!((delivery.epoch, delivery.packet), (2, 7));
        assert!(delivery.dup);
        source.acknowledge(&again);
        assert_eq!(line.acknowledged(1), [7]);
        source.stop();
    }
}

#[test]
fn a_window_is_all_that_comes_before_acknowledgements() {
    for (protocol, window) in [
        (Protocol::V5, 20),
        (Protocol::V311, 20),
        (Protocol::V311, 1_000),
    ] {
        let lines = format!("max_inflight_messages {window}\nmax_queued_messages 0");
        let broker = Broker::start(&lines);
        let mut settings = settings(broker.port(), protocol);
        // Of a client that names a window mosquitto takes that, whatever its own is.
        settings.receive_maximum = Some(window as u16);
        let source = Source::silent(settings, &[], &[(1, "a")]);
        source.until_epoch();
        source.until_held(1);
        let mut peer = Peer::connect(broker.port(), "peer");
        let numbers = 0..2 * window + 1;
        peer.publish_all(numbers.map(|n| ("a".to_owned(), n.to_string().into_bytes())));
        let first = source.events(window);
        // Messages that the broker sends on its own account come before the answer to a question.
        source.command(&[(1, "a"), (2, "b")]);
        let mut more = 0;
        source.until(|report| match report {
            SourceReport::Events(events) => {
                more += events.len();
                None
            }
            SourceReport::Subscribed { held } => (held.len() == 2).then_some(()),
            _ => None,
        });
        assert_eq!((first.len(), more), (window, 0), "{protocol:?}");
        source.acknowledge(&first);
        let mut rest = source.events(window);
        while rest.len() <= window {
            source.acknowledge(&rest);
            rest.extend(source.events(1));
        }
        let expected: Vec<_> = (window..=2 * window).map(|n| n.to_string()).collect();
        assert_eq!(payloads(&rest), expected, "{protocol:?}");
        source.stop();
    }
}

#[test]
fn a_stop_says_good_bye_after_the_last_acknowledgements() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let source = Source::silent(settings(script.port(), protocol), &[], &[]);
        let mut line = script.accept(true);
        (1..=3).for_each(|packet| line.publish(packet, false, "x"));
        let events = source.events(3);
        source.acknowledge(&events[..2]);
        source.handle.command(SourceCommand::Stop);
        assert_eq!(line.acknowledged(2), [1, 2]);
        assert_eq!(line.read().0, 0xe0, "{protocol:?}: a good-bye");
        drop(line);
        assert!(source.handle.join());
    }
}

#[test]
fn acknowledgements_and_pings_leave_while_nobody_takes_reports() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = settings(script.port(), protocol);
        settings.keep_alive = Duration::from_secs(1);
        settings.batch_events_max = 10;
        let source = Source::with(settings, &[], &[], 1);
        let mut line = script.accept(true);
        source.until_connected();
        line.publish(1, false, "x");
        let event = source.until(|report| match report {
            SourceReport::Events(events) => events.into_iter().next(),
            _ => None,
        });
        let delivery = event.delivery().unwrap();
        assert_eq!(line.acknowledged(1), [1], "the test's source answers");
        line.publish(2, false, "x");
        for _ in 0..1_000 {
            line.publish(0, false, "x");
        }
        for _ in 0..3 {
            assert_eq!(
                line.read().0,
                0xc0,
                "a ping, though nobody reads the answers"
            );
        }
        source.handle.acknowledge(delivery.epoch, vec![2]);
        assert_eq!(line.acknowledged(1), [2], "{protocol:?}");
        line.publish(0, false, "end");
        assert_eq!(source.events_until("end").len(), 1_001);
        source.stop();
    }
}

/// Behaviour of a broken source: shown where the faults can be built in.
#[cfg(feature = "sabotage")]
mod broken {
    use super::*;
    use tidemill_base::sabotage::{self, Sabotage};

    fn source(port: u16, protocol: Protocol, fault: Sabotage) -> Source {
        Source::breaking(settings(port, protocol), move || sabotage::set(Some(fault)))
    }

    #[test]
    fn an_acknowledgement_across_connections_would_be_noticed() {
        for protocol in BOTH {
            let script = Script::new(protocol);
            let source = source(script.port(), protocol, Sabotage::AckAcrossEpochs);
            let mut line = script.accept(true);
            line.publish(1, false, "before");
            source.events(1);
            drop(line);
            source.until_disconnected();
            let mut line = script.accept(true);
            source.until_epoch();
            source.handle.acknowledge(1, vec![1]);
            assert_eq!(line.acknowledged(1), [1], "{protocol:?}");
            source.stop();
        }
    }

    #[test]
    fn what_a_dead_connection_left_would_be_noticed() {
        for protocol in BOTH {
            let script = Script::new(protocol);
            let source = source(script.port(), protocol, Sabotage::StaleEventsKept);
            let mut line = script.accept(true);
            source.until_epoch();
            let mut bytes = line.message(7, false, b"a", b"seven");
            bytes.extend([0x30, 0xff, 0xff, 0xff, 0xff]);
            line.write(&bytes);
            source.until_disconnected();
            let mut line = script.accept(true);
            line.publish(8, false, "eight");
            let events = source.events(2);
            let delivery = events[0].delivery().unwrap();
            assert_eq!((delivery.epoch, delivery.packet), (2, 7), "{protocol:?}");
            source.stop();
        }
    }
}
