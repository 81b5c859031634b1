//! Brokers that are slow or silent, and links that are.

use super::*;
use crate::mqtt_source::script::Script;
use tidemill_tests::{Link, Proxy};

#[test]
fn rows_cross_a_slow_link_once() {
    const ROW_BYTES: usize = 30_000;
    for protocol in BOTH {
        let broker = Broker::start("");
        let proxy = Proxy::to(broker.port());
        proxy.rate(24_000);
        let mut settings = upstream(proxy.port(), protocol);
        // Far shorter than what the rows take that the link holds at once.
        settings.keep_alive = Duration::from_secs(1);
        settings.timeout = Duration::from_secs(1);
        let destinations = Destinations::start(vec![settings]);
        let mut batch = rows(1..=6);
        batch
            .iter_mut()
            .for_each(|row| row.payload = vec![b'x'; ROW_BYTES].into());
        destinations.handle.ship(0, Priority::Normal, batch);
        destinations.until_acknowledged(Priority::Normal, 6);
        let payload = 6 * ROW_BYTES as u64;
        let carried = proxy.bytes_up();
        assert!(carried * 10 < payload * 12, "{carried} bytes for {payload}");
        assert_eq!(proxy.connections(), 1, "{protocol:?}");
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_lane_goes_on_after_packets_were_swallowed() {
    for protocol in BOTH {
        let broker = Broker::start("");
        let proxy = Proxy::to(broker.port());
        let mut settings = upstream(proxy.port(), protocol);
        settings.timeout = Duration::from_secs(1);
        let destinations = Destinations::start(vec![settings]);
        destinations.until_connected();
        proxy.set(Link::BlackHole);
        destinations.handle.ship(0, Priority::Normal, rows(1..=3));
        let reason = destinations.until_disconnected();
        assert!(reason.contains("does not answer"), "{reason}");
        // The next attempt meets with silence, too.
        let reason = destinations.until_disconnected();
        assert!(reason.contains("does not answer"), "{reason}");
        proxy.set(Link::Up);
        destinations.until_acknowledged(Priority::Normal, 3);
        destinations.handle.stop(PATIENCE);
    }
}

#[test]
fn a_missing_acknowledgement_ends_the_connection_though_pings_are_answered() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = upstream(script.port(), protocol);
        settings.timeout = Duration::from_secs(1);
        let destinations = Destinations::start(vec![settings]);
        destinations.handle.ship(0, Priority::Normal, rows(1..=1));
        let mut forgets = script.accept(false);
        assert_eq!(forgets.read().0 & 0xf0, 0x30);
        let pings = std::thread::spawn(move || {
            while let Some((first, _)) = forgets.try_read() {
                assert_eq!(first, 0xc0, "nothing is sent again on this connection");
                forgets.write(&[0xd0, 0]);
            }
        });
        let reason = destinations.until_disconnected();
        assert!(reason.contains("acknowledgement is missing"), "{reason}");
        pings.join().unwrap();
        let mut line = script.accept(false);
        let (_, body) = line.read_but_pings();
        line.write(&[0x40, 2, body[5], body[6]]);
        destinations.until_acknowledged(Priority::Normal, 1);
        destinations.handle.stop(Duration::ZERO);
    }
}

#[test]
fn a_missing_acknowledgement_stays_the_trouble_until_one_comes() {
    for protocol in BOTH {
        let script = Script::new(protocol);
        let mut settings = upstream(script.port(), protocol);
        settings.timeout = Duration::from_secs(1);
        settings.keep_alive = Duration::from_secs(1);
        let destinations = Destinations::start(vec![settings]);
        destinations.handle.ship(0, Priority::Normal, rows(1..=1));
        // One says nothing of the message; one acknowledges and receives what nobody has sent.
        for words in [&[][..], &[0x40, 2, 0xea, 0x60, 0x50, 2, 0xea, 0x60]] {
            let mut line = script.accept(false);
            destinations.until_connected();
            assert_eq!(line.read_but_pings().0 & 0xf0, 0x30);
            line.write(words);
            let pings = std::thread::spawn(move || {
                while line.try_read().is_some() {
                    line.write(&[0xd0, 0]);
                }
            });
            let reason = destinations.until_disconnected();
            assert!(reason.contains("acknowledgement is missing"), "{reason}");
            assert!(destinations.handle.status().remove(0).unheard);
            pings.join().unwrap();
        }
        let mut line = script.accept(false);
        let (_, body) = line.read_but_pings();
        let status = destinations.handle.status().remove(0);
        assert!(status.connected && status.unheard, "{status:?}");
        let trouble = status.trouble.unwrap_or_default();
        assert!(trouble.contains("acknowledgement is missing"), "{trouble}");
        line.write(&[0x40, 2, body[5], body[6]]);
        destinations.until_acknowledged(Priority::Normal, 1);
        let status = destinations.handle.status().remove(0);
        assert!(status.connected && !status.unheard, "{status:?}");
        assert_eq!(status.trouble, None);
        destinations.handle.stop(Duration::ZERO);
    }
}

#[test]
fn a_broker_that_is_silent_after_each_greeting_is_not_well() {
    let script = Script::new(Protocol::V5);
    let mut settings = upstream(script.port(), Protocol::V5);
    settings.timeout = Duration::from_secs(1);
    let destinations = Destinations::start(vec![settings]);
    destinations.handle.ship(0, Priority::Normal, rows(1..=1));
    let mut silent = script.accept(false);
    assert_eq!(silent.read().0 & 0xf0, 0x30);
    destinations.until_disconnected();
    let status = destinations.handle.status().remove(0);
    assert!(!status.unheard, "it may be away: {status:?}");
    let mut again = script.accept(false);
    assert_eq!(again.read().0 & 0xf0, 0x30);
    let status = destinations.handle.status().remove(0);
    assert!(status.connected && status.unheard, "{status:?}");
    assert!(status.trouble.is_some());
    destinations.handle.stop(Duration::ZERO);
}
