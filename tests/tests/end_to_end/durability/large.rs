//! Messages far above what a packet may have: each is at most one dead letter, and never ends the
//! agent, its connection for good, or its board's memory.

use tidemill_tests::{Collector, Gateway};

use super::{NORMAL, PROTOCOLS, broker, cloud, pass, until_one_passes};
use crate::support::sensor;

/// Most resident memory of the agent, however large a message is.
const MEMORY_MB: f64 = 40.0;

/// The release's program in that memory. A build for tests has a larger one, which is not counted.
const PROGRAM_MB: f64 = 8.0;

/// Most connections in all: one, and for each large message one that ended for it and one with a
/// higher limit. An agent in a loop would have far more.
const CONNECTIONS_MAX: usize = 7;

#[test]
fn messages_of_any_size_leave_the_agent_alive_and_small() {
    for protocol in PROTOCOLS {
        let (local, upstream) = (broker(), broker());
        let lines = format!("{protocol}\n{}", cloud(upstream.port()));
        let mut gateway = Gateway::new(local.port(), &lines);
        pass(&gateway, "cloud");
        let arrived = Collector::start(upstream.port(), "#");
        gateway.start();
        let mut sensor = sensor(&local);
        // Above what MQTT libraries take by default, and below our limit: it passes.
        sensor.publish("sensors/d1/env", &vec![b'x'; 11_000], 1, false);
        arrived.until(1);
        for (number, length) in [(1, 2 << 20), (2, 200_000_000)] {
            let before = gateway.count_logged("dead letter");
            sensor.publish("sensors/d1/env", &vec![b'x'; length], 1, false);
            until_one_passes(&mut sensor, &arrived, &format!("probe{number}"));
            let letters = gateway.count_logged("dead letter") - before;
            assert!(
                letters <= 1,
                "{protocol}: {letters} dead letters of one message of {length} bytes"
            );
            let memory = gateway.memory();
            let peak = memory.peak - memory.program + PROGRAM_MB.min(memory.program);
            eprintln!("{protocol}: {length} bytes: {memory:?}, counted as {peak:.1} MB");
            assert!(
                peak < MEMORY_MB,
                "{protocol}: a message of {length} bytes made the agent {peak:.1} MB large"
            );
        }
        let connections = gateway.count_logged("connected broker=");
        assert!(
            connections <= CONNECTIONS_MAX,
            "{protocol}: {connections} connections for two large messages"
        );
        gateway.stop();
        let passed = arrived.received(|received| received.of_lane(NORMAL)["out/d1"].len());
        assert_eq!(
            passed, 1,
            "{protocol}: a message above the limit was passed on"
        );
    }
}
