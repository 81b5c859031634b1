//! Another client with the gateway's id: both are told, neither fights without end.

use std::time::{Duration, Instant};

use tidemill_tests::{Collector, Gateway, Peer};

use super::{PROTOCOLS, broker, cloud, pass, until_one_passes};
use crate::support::sensor;

/// Number of times that the other client comes back at once when the agent has pushed it out.
const THEFTS: usize = 6;

/// An agent in a tight loop is through all thefts in a few milliseconds each. With back-off the sum of
/// its waits is below this less often than once in a million runs; a slow machine only adds to it.
const LEAST: Duration = Duration::from_millis(100);

#[test]
fn a_stolen_client_id_is_told_and_makes_no_tight_loop() {
    for protocol in PROTOCOLS {
        let (local, upstream) = (broker(), broker());
        let lines = format!("{protocol}\n{}", cloud(upstream.port()));
        let mut gateway = Gateway::new(local.port(), &lines);
        pass(&gateway, "cloud");
        gateway.start();
        let begun = Instant::now();
        for _ in 0..THEFTS {
            let mut thief = Peer::connect(local.port(), "gw");
            // It hears nothing, until the broker closes the connection for the agent's sake.
            assert_eq!(thief.receive(), None);
        }
        let took = begun.elapsed();
        assert!(took >= LEAST, "{protocol}: {THEFTS} thefts in {took:?}");
        gateway.until_logged("same client id");
        // A thief with a clean session has thrown the gateway's away: that is told as well.
        gateway.until_logged("has lost this gateway's session");
        let arrived = Collector::start(upstream.port(), "#");
        until_one_passes(&mut sensor(&local), &arrived, "after");
        gateway.stop();
    }
}
