//! Rules in SQL that make commits longer than a record of the journal: the agent stays up, killed and
//! started again as often as one likes, and what else it does goes on.

use tidemill_tests::{Collector, Gateway, Peer};

use super::{broker, cloud, pass, until_one_passes};
use crate::support::sensor;

/// Number of times that the agent is killed and started again.
const KILLS: usize = 10;

fn sql(statement: &str, topic: &str) -> String {
    format!(
        "[on]\nmqtt = [\"devices/#\"]\n[function]\nsql = '{statement}'\n\
         [ports.out]\nto = \"cloud\"\ntopic = \"{topic}\"\n"
    )
}

/// Sends events to a gateway with the rule, kills it again and again with what it has made of them, and
/// expects that another rule goes on each time.
#[track_caller]
fn survives(rule: &str, send: impl FnOnce(&mut Peer)) {
    let (local, upstream) = (broker(), broker());
    let mut gateway = Gateway::new(local.port(), &cloud(upstream.port()));
    pass(&gateway, "cloud");
    gateway.rule("sql", rule);
    let arrived = Collector::start(upstream.port(), "#");
    gateway.start();
    let mut sensor = sensor(&local);
    send(&mut sensor);
    for kill in 0..KILLS {
        assert!(gateway.is_running(), "it ended before kill {kill}");
        gateway.kill();
        gateway.start();
        until_one_passes(&mut sensor, &arrived, &format!("probe{kill}"));
    }
    assert!(gateway.is_running());
    assert_eq!(gateway.count_logged("does not balance"), 0);
    gateway.stop();
}

#[test]
fn topics_of_60_kb_never_end_the_agent() {
    let rule = sql("SELECT * FROM x", "long");
    survives(&rule, |sensor| {
        let level = "l".repeat(60_000);
        let event = |n: u32| (format!("devices/{level}/{n}"), b"{\"v\":1}".to_vec());
        sensor.publish_all((0..600).map(event));
    });
}
