//! Cost of the intake for the source's thread: a flood of QoS 1 from a real mosquitto, acknowledged
//! in batches of 256, over both versions of MQTT. CPU seconds of that thread per million events.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that panics has failed, which is what it is for"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tidemill::event::clock::Clock;
use tidemill::source::mqtt::{
    self, Flow, Protocol, SourceCommand, SourceHandle, SourceReport, SourceSettings, Subscription,
};
use tidemill_tests::{Broker, Peer};
use tidemill_transport::topic::TopicFilter;

const EVENTS: u64 = 500_000;

const BATCH: usize = 256;

fn main() {
    for window in [1_000, 20] {
        for protocol in [Protocol::V5, Protocol::V311] {
            flood(protocol, window);
        }
    }
}

fn flood(protocol: Protocol, window: u16) {
    let lines = format!("max_inflight_messages {window}\nmax_queued_messages 0");
    let broker = Broker::start(&lines);
    let mut settings = SourceSettings::new("127.0.0.1", broker.port(), "bench", Clock::new(0));
    settings.protocol = protocol;
    let wanted = Subscription {
        id: 1,
        filter: TopicFilter::new("sensors/#").unwrap(),
    };
    let cpu_ns = Arc::<AtomicU64>::default();
    let told = Arc::clone(&cpu_ns);
    let (sender, reports) = sync_channel(100_000);
    let source = mqtt::spawn(settings, Vec::new(), vec![wanted], move |report| {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        told.store(used.as_nanos() as u64, Ordering::Relaxed);
        match sender.send(report) {
            Ok(()) => Flow::Taken,
            Err(_) => Flow::Gone,
        }
    })
    .unwrap();
    source.proceed(u64::MAX);
    while !matches!(
        reports.recv().unwrap(),
        SourceReport::Subscribed { held } if !held.is_empty()
    ) {}
    let events = if window < 100 { EVENTS / 10 } else { EVENTS };
    let port = broker.port();
    let sensor = std::thread::spawn(move || {
        let payload = [b'7'; 100];
        let messages = (0..events).map(|n| (format!("sensors/d{:03}", n % 100), payload.to_vec()));
        Peer::connect(port, "sensor").publish_all(messages);
    });
    let before = cpu_ns.load(Ordering::Relaxed);
    let began = Instant::now();
    take(&source, &reports, events, usize::from(window).min(BATCH));
    let took = began.elapsed();
    let used = cpu_ns.load(Ordering::Relaxed) - before;
    sensor.join().unwrap();
    eprintln!(
        "{protocol:?}, window {window}: {:.2} s of CPU per million events, {:.0} events/s",
        used as f64 / events as f64 / 1_000.0,
        events as f64 / took.as_secs_f64()
    );
    source.command(SourceCommand::Stop);
    assert!(source.join());
}

/// Acknowledges in batches until all events have come.
fn take(source: &SourceHandle, reports: &Receiver<SourceReport>, events: u64, batch: usize) {
    let (mut count, mut packets) = (0, Vec::new());
    while count < events {
        match reports.recv().unwrap() {
            SourceReport::Events(events) => {
                for delivery in events.iter().filter_map(|event| event.delivery()) {
                    count += 1;
                    packets.push(delivery.packet);
                    if packets.len() >= batch {
                        source.acknowledge(delivery.epoch, std::mem::take(&mut packets));
                    }
                }
            }
            SourceReport::Confirmed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    source.acknowledge(1, packets);
}
