//! HTTP endpoints that answer without end, beside one that is as it should be.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tidemill_tests::{Endpoint, Gateway, wait_until};

use crate::support::{PASS, broker, counted, payloads, rule};

/// The way in which an endpoint answers once a request is there.
type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

/// An endpoint that counts what it was asked.
struct Endless {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Endless {
    fn new(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    if read_request(&stream).is_some() {
                        counter.fetch_add(1, Ordering::Relaxed);
                        let _ = answer(&mut stream);
                    }
                });
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

fn read_request(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()
}

fn endless(stream: &mut TcpStream, start: &str, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(start.as_bytes())?;
    loop {
        stream.write_all(bytes)?;
    }
}

/// A hundred megabytes of zeros, as gzip makes them.
fn bomb() -> &'static [u8] {
    static BOMB: OnceLock<Vec<u8>> = OnceLock::new();
    BOMB.get_or_init(|| {
        let zeros = "head -c 104857600 /dev/zero | gzip -9";
        let made = Command::new("sh").args(["-c", zeros]).output().unwrap();
        assert!(made.stdout.len() > 64 << 10, "{made:?}");
        made.stdout
    })
}

const ANSWERS: [(&str, Answer); 6] = [
    ("interim", |stream| {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        endless(stream, "", interim.repeat(100).as_bytes())
    }),
    ("processing", |stream| {
        endless(
            stream,
            "",
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(100).as_bytes(),
        )
    }),
    ("drip", |stream| {
        for byte in b"HTTP/1.1 200 OK\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }),
    ("chunks", |stream| {
        let head = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n";
        endless(stream, head, "1\r\nx\r\n".repeat(100).as_bytes())
    }),
    ("taken", |stream| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        endless(stream, head, "1\r\nx\r\n".repeat(100).as_bytes())
    }),
    ("bomb", |stream| {
        let bomb = bomb();
        let head = format!(
            "HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(bomb)
    }),
];

/// The time for which they are watched: a minute by hand, see docs/development.md.
fn span() -> Duration {
    let asked = std::env::var("TIDEMILL_HOSTILE_SECONDS").ok();
    Duration::from_secs(asked.map_or(5, |asked| asked.parse().unwrap()))
}

#[test]
fn endpoints_that_answer_without_end_take_no_core_and_no_memory() {
    let broker = broker();
    let good = Endpoint::start(|_| 200);
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    silent.set_nonblocking(true).unwrap();
    let second = silent.local_addr().unwrap().port();
    let moved = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let moved_port = moved.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in moved.incoming().map_while(Result::ok) {
            read_request(&stream);
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{second}/\r\nContent-Length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let all = ANSWERS.map(|(name, answer)| (name, Endless::new(answer)));
    let mut ports: Vec<_> = all.iter().map(|(name, it)| (*name, it.port)).collect();
    ports.extend([("good", good.port()), ("moved", moved_port)]);
    let lines: String = ports
        .iter()
        .map(|(name, port)| format!("[destinations.{name}]\nurl = \"http://127.0.0.1:{port}/\"\n"))
        .collect();
    let mut gateway = Gateway::new(broker.port(), &lines);
    gateway.module("pass", PASS);
    let to_local = rule("\"in/#\"", "wasm = \"pass.wasm\"", "out");
    gateway.rule("local", &to_local);
    for (name, _) in &ports {
        gateway.rule(name, &to_local.replace("\"local\"", &format!("{name:?}")));
    }
    gateway.start();
    let mut hears = crate::support::listener(&broker, "out");
    let mut sensor = crate::support::sensor(&broker);
    let mut published = 0;
    let mut publish = || {
        published += 1;
        sensor.publish("in/a", published.to_string().as_bytes(), 1, false);
        published
    };
    publish();
    for (name, endless) in &all {
        wait_until(|| endless.requests() > 0, || format!("{name}: no request"));
    }
    // Memory that is taken once, at the first requests, is there.
    publish();
    std::thread::sleep(Duration::from_secs(1));
    let before = gateway.memory();
    let (began, used) = (Instant::now(), gateway.processor_seconds());
    let mut last = 0;
    while began.elapsed() < span() {
        last = publish();
        std::thread::sleep(Duration::from_millis(500));
    }
    let share = (gateway.processor_seconds() - used) / began.elapsed().as_secs_f64() * 100.0;
    let more = gateway.memory().now - before.now;
    println!(
        "{share:.2} % of a core, {more:.2} MB more in {:?}",
        began.elapsed()
    );
    assert!(share < 5.0, "{share} % of a core");
    assert!(
        more < 2.0,
        "{more} MB more: {before:?}, {:?}",
        gateway.memory()
    );
    assert_eq!(payloads(hears.receive_texts(last)), counted(last));
    let arrived = || {
        let received = good.received();
        let rows = received.of_lane("good/normal");
        rows.values().map(Vec::len).sum::<usize>()
    };
    wait_until(|| arrived() == last, || format!("{} of {last}", arrived()));
    let followed = silent.accept();
    assert!(
        followed.is_err(),
        "nobody follows to another address: {followed:?}"
    );
    gateway.stop();
}
