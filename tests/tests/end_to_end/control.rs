//! Clients of the control socket that take their time.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidemill_tests::{Gateway, wait_until};

use crate::support::{PASS, broker, listener, rule, sensor};

/// Longer than what sockets hold.
const LARGE: usize = 200_000;

#[test]
fn one_who_drips_and_one_who_does_not_read_hold_up_nobody() {
    let broker = broker();
    let mut gateway = Gateway::new(broker.port(), "");
    gateway.module("pass", PASS);
    gateway.rule("pass", &rule("\"in/#\"", "wasm = \"pass.wasm\"", "out"));
    gateway.start();
    let mut hears = listener(&broker, "out");
    let mut sensor = sensor(&broker);
    for _ in 0..10 {
        sensor.publish("in/a", &vec![b'x'; LARGE], 1, false);
    }
    hears.receive_texts(10);
    let connect = || UnixStream::connect(gateway.path("data/control")).unwrap();
    // So many that they would be all that are served.
    let deaf: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect();
            let asked = b"{\"ask\":\"events\",\"last\":10}\n";
            stream.write_all(asked).unwrap();
            stream
        })
        .collect();
    let ended = Arc::new(AtomicBool::new(false));
    let drips: Vec<_> = (0..40)
        .map(|_| {
            let (mut stream, ended) = (connect(), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) && stream.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(100));
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let ran = gateway.tidemill("inspect health");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.out.starts_with("well"), "{ran:?}");
    }
    ended.store(true, Ordering::Relaxed);
    for drip in drips {
        drip.join().unwrap();
    }
    // The unread rest was given up with its connection.
    let mut last = deaf.into_iter().next_back().unwrap();
    let mut answer = Vec::new();
    let _ = last.read_to_end(&mut answer);
    assert!(answer.len() < 100 * LARGE, "{}", answer.len());
    wait_until(
        || gateway.tidemill("inspect health").code == Some(0),
        || "not well".to_owned(),
    );
    gateway.stop();
}
