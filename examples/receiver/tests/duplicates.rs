//! The real receiver beside a real broker: rows that come twice, over MQTT and over HTTP, and a
//! receiver that is killed in between, count once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tidemill_tests::{Broker, Peer5, free_port, wait_until};

/// A running receiver; killed when it is dropped.
struct Receiver(Child);

impl Receiver {
    /// Starts one and waits until it has said this so many times.
    fn start(database: &Path, arguments: &[&str], until: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_receiver"))
            .arg(database)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(until)));
        assert!(said.is_some(), "the receiver ended before it {until:?}");
        // Somebody has to read on, or it would wait.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shown(database: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_receiver"))
        .arg("show")
        .arg(database)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn until_shown(database: &Path, expected: &str) {
    wait_until(
        || shown(database) == expected,
        || format!("wanted\n{expected}\ngot\n{}", shown(database)),
    );
}

#[test]
fn rows_that_come_again_over_mqtt_count_once() {
    let broker = Broker::start("max_queued_messages 0");
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("received.sqlite");
    let address = format!("127.0.0.1:{}", broker.port());
    let arguments = ["--mqtt", &address, "--filter", "up/#"];
    let mut receiver = Receiver::start(&database, &arguments, "subscribed");
    let mut gateway = Peer5::connect(broker.port(), "gw");
    let mut send = |lane: &str, seq: u64| {
        let seq = seq.to_string();
        let name = [
            ("tm-gw", "gw"),
            ("tm-inc", "00ff"),
            ("tm-lane", lane),
            ("tm-seq", &seq),
        ];
        gateway.publish("up/a", seq.as_bytes(), &name);
    };
    // As a gateway does that was killed: it goes on from the last row it knows to be there.
    for seq in (1..=50).chain(30..=80) {
        send("cloud/normal", seq);
    }
    send("cloud/high", 1);
    // The broker keeps what it has not heard back of.
    drop(receiver);
    for seq in 70..=100 {
        send("cloud/normal", seq);
    }
    receiver = Receiver::start(&database, &arguments, "subscribed");
    let expected = "up/a: 101 messages, the last 100\n\
         lane gw cloud/high 00ff: 1 rows\nlane gw cloud/normal 00ff: 100 rows\n";
    until_shown(&database, expected);
    // A message without a name is no row, and holds nothing up.
    Peer5::connect(broker.port(), "other").publish("up/b", b"nameless", &[]);
    send("cloud/high", 2);
    until_shown(
        &database,
        "up/a: 102 messages, the last 2\n\
         lane gw cloud/high 00ff: 2 rows\nlane gw cloud/normal 00ff: 100 rows\n",
    );
    drop(receiver);
}

/// Posts a batch; the status of the answer.
fn post(port: u16, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /rows HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Idempotency-Key: gw-00ff-web/normal-x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn batch(first: u64, last: u64) -> String {
    let row = |seq| format!(r#"{{"seq":{seq},"at":1,"topic":"up/a","payload":{seq}}}"#);
    let rows: Vec<_> = (first..=last).map(row).collect();
    format!(
        r#"{{"gateway":"gw","incarnation":"00ff","lane":"web/normal","first":{first},"last":{last},"rows":[{}]}}"#,
        rows.join(",")
    )
}

#[test]
fn rows_that_come_again_over_http_count_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("received.sqlite");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let arguments = ["--http", &address];
    let receiver = Receiver::start(&database, &arguments, "listens");
    for (first, last) in [(1, 20), (1, 20), (21, 25)] {
        assert_eq!(post(port, &batch(first, last)), "200");
    }
    drop(receiver);
    let _receiver = Receiver::start(&database, &arguments, "listens");
    // The answer to the last batch was lost with the receiver: it comes again, then the next.
    for (first, last) in [(21, 25), (26, 40)] {
        assert_eq!(post(port, &batch(first, last)), "200");
    }
    assert_eq!(post(port, "{}"), "400");
    let expected = "up/a: 40 messages, the last 40\nlane gw web/normal 00ff: 40 rows\n";
    assert_eq!(shown(&database), expected);
}
