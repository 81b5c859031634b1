//! Witness of the kernel: strace's record of a real run, held against the promise that nothing is
//! acknowledged and nothing leaves before the sync that covers it has returned.

use std::fs;

use tidemill_tests::{Collector, Gateway, Trace, skipped, wait_until};

use super::{PROTOCOLS, broker, cloud, events, pass, topic};
use crate::support::sensor;

/// The reason why no process can be traced here, if there is one.
pub(super) fn cannot_trace() -> Option<String> {
    let [strace, arguments @ ..] = Trace::STRACE;
    let tried = std::process::Command::new(strace)
        .args(arguments)
        .args(["-o", "/dev/null", "true"])
        .output();
    match tried {
        Err(_) => Some("strace is not there; `cargo xtask setup` installs it".to_owned()),
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
    }
}

#[test]
fn nothing_leaves_before_the_sync_that_covers_it_has_returned() {
    if let Some(why) = cannot_trace() {
        return skipped(&format!("no witness of system calls: {why}"));
    }
    let events = events(300).min(5_000);
    for protocol in PROTOCOLS {
        let (local, upstream) = (broker(), broker());
        let lines = format!("{protocol}\n{}", cloud(upstream.port()));
        let mut gateway = Gateway::new(local.port(), &lines);
        pass(&gateway, "cloud");
        let output = gateway.path("trace");
        let mut strace = Trace::STRACE.to_vec();
        let path = output.display().to_string();
        strace.extend(["-o", &path]);
        gateway.wrap(&strace);
        gateway.start();
        let arrived = Collector::start(upstream.port(), "#");
        let mut sensor = sensor(&local);
        // A flood, then a trickle: commits of many and commits of few.
        let event = |n: u64| (topic(n), format!("wit-{n:06}").into_bytes());
        sensor.publish_all((0..events / 2).map(event));
        for n in events / 2..events {
            sensor.publish_all([event(n)]);
            if n % 10 == 0 {
                arrived.until(n as usize);
            }
        }
        arrived.until(events as usize);
        gateway.stop();
        let ended = || fs::read_to_string(&output).is_ok_and(|text| text.ends_with("with 0 +++\n"));
        wait_until(ended, || "strace has not ended".to_owned());
        let text = fs::read_to_string(&output).unwrap();
        let witnessed = Trace::read(&text).witness(local.port(), "wit-");
        let first: Vec<_> = witnessed.violations.iter().take(5).collect();
        assert!(
            first.is_empty(),
            "{protocol}: {} times something left too early, such as {first:#?}",
            witnessed.violations.len()
        );
        let seen = (witnessed.acknowledged as u64, witnessed.sent as u64);
        assert_eq!(
            seen,
            (events, events),
            "{protocol}: the witness missed some"
        );
        assert!(witnessed.syncs > 0, "{protocol}: no sync of the journal");
    }
}
