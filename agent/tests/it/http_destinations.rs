//! HTTP destinations against a real server that speaks HTTP/1.1 over a real socket and answers as
//! each test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tidemill::config::{HttpEndpoint, HttpLogin};
use tidemill::destination::http::HttpSettings;
use tidemill::destination::{self, DestinationReport, DestinationsHandle, Identity, Outgoing};
use tidemill::event::emission::{LaneReport, Priority, Row};
use tidemill_base::secret::SecretFile;
use tidemill_tests::{Proxy, free_port, wait_until};
use tidemill_transport::topic::Topic;

use crate::certificates::Authority;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Number of the connection that brought it, counted from 0.
    pub(crate) connection: usize,
    line: String,
    headers: Vec<(String, String)>,
    body: String,
    at: Instant,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    fn key(&self) -> &str {
        self.header("idempotency-key").unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Reaction of the server to a request.
pub(crate) enum Reaction {
    /// Status line, headers but for the length, body.
    Reply(&'static str, &'static str),
    /// Nothing, and the connection stays open.
    Silence,
    /// Answers, and closes the connection.
    Last(&'static str),
}

use Reaction::{Last, Reply, Silence};

pub(crate) const OK: Reaction = Reply("HTTP/1.1 200 OK\r\n", "");

pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Receiver<Asked>,
}

impl Server {
    /// Reacts to each request in turn as `react` says.
    fn start(react: impl FnMut(&Asked) -> Reaction + Send + 'static) -> Self {
        Self::on(0, react)
    }

    fn on(port: u16, react: impl FnMut(&Asked) -> Reaction + Send + 'static) -> Self {
        Self::serving(port, None, react)
    }

    /// With the certificate `name`; `asks`: only clients that show one are served.
    pub(crate) fn encrypted(
        authority: &Authority,
        name: &str,
        asks: bool,
        react: impl FnMut(&Asked) -> Reaction + Send + 'static,
    ) -> Self {
        let tls = Arc::new(authority.server(name, asks));
        Self::serving(0, Some(tls), react)
    }

    fn serving(
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        react: impl FnMut(&Asked) -> Reaction + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = sync_channel(1_000);
        let react = Arc::new(Mutex::new(react));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (stream, sender, react) = (stream.unwrap(), sender.clone(), react.clone());
                let tls = tls.clone();
                std::thread::spawn(move || {
                    let react = |asked: &Asked| react.lock().unwrap()(asked);
                    match tls {
                        None => serve(stream, connection, &sender, react),
                        Some(config) => {
                            let server = ServerConnection::new(config).unwrap();
                            let stream = StreamOwned::new(server, stream);
                            serve(stream, connection, &sender, react);
                        }
                    }
                });
            }
        });
        Self { port, asked }
    }

    pub(crate) fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).unwrap()
    }
}

fn serve(
    stream: impl Read + Write,
    connection: usize,
    sender: &SyncSender<Asked>,
    mut react: impl FnMut(&Asked) -> Reaction,
) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader, connection) {
        let reaction = react(&asked);
        let _ = sender.send(asked);
        let (head, body, last) = match reaction {
            Reply(head, body) => (head, body, false),
            Last(head) => (head, "", true),
            Silence => continue,
        };
        let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        if reader.get_mut().write_all(text.as_bytes()).is_err() || last {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead, connection: usize) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut asked = Asked {
        connection,
        line: lines[0].clone(),
        headers,
        body: String::new(),
        at: Instant::now(),
    };
    let length = asked.header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}

pub(crate) struct Sending {
    pub(crate) handle: DestinationsHandle,
    reports: Receiver<DestinationReport>,
    woken: Receiver<()>,
}

pub(crate) fn settings(port: u16) -> HttpSettings {
    let endpoint = HttpEndpoint {
        host: "127.0.0.1".to_owned(),
        port,
        path: "/in?a=b".to_owned(),
        tls: None,
        login: None,
        timeout: HttpEndpoint::TIMEOUT,
        answer_timeout: HttpEndpoint::TIMEOUT,
    };
    let identity = Identity {
        gateway: "gw".to_owned(),
        incarnation: "00ff".to_owned(),
    };
    HttpSettings::new("cloud", &endpoint, identity)
}

impl Sending {
    fn to(port: u16) -> Self {
        Self::with(settings(port))
    }

    pub(crate) fn with(settings: HttpSettings) -> Self {
        let (sender, reports) = sync_channel(10_000);
        let (waker, woken) = sync_channel(1);
        let hear = move |report| sender.send(report).unwrap();
        let wake = move || {
            let _ = waker.try_send(());
        };
        let handle = destination::spawn(vec![settings.into()], hear, wake).unwrap();
        Self {
            handle,
            reports,
            woken,
        }
    }

    pub(crate) fn ship(&self, numbers: RangeInclusive<u64>) {
        self.handle.ship(0, Priority::Normal, rows(numbers));
    }

    /// The next reports of what became of rows.
    pub(crate) fn settled(&self) -> Vec<LaneReport> {
        loop {
            let mut reports = self.reports_of_lanes();
            reports.retain(|report| !matches!(report, LaneReport::RequestBytes { .. }));
            if !reports.is_empty() {
                return reports;
            }
        }
    }

    fn reports_of_lanes(&self) -> Vec<LaneReport> {
        self.woken.recv_timeout(PATIENCE).unwrap();
        self.handle.take_lane_reports()
    }

    fn until_stalled(&self) -> String {
        let stalled = || self.handle.status()[0].stalled.clone();
        wait_until(|| stalled().is_some(), || "no stall".to_owned());
        stalled().unwrap()
    }

    pub(crate) fn until_trouble(&self) -> String {
        loop {
            if let DestinationReport::Disconnected { reason, .. } =
                self.reports.recv_timeout(PATIENCE).unwrap()
            {
                return reason;
            }
        }
    }
}

fn rows(numbers: RangeInclusive<u64>) -> Vec<Row> {
    let row = |seq: u64| Row {
        seq,
        rule: "rule".into(),
        topic: Topic::new("out").unwrap(),
        payload: format!("{{\"n\":{seq}}}").into(),
        at_ms: 1_700_000_000_000,
        made_ms: 0,
        qos: 1,
        retain: false,
    };
    numbers.map(row).collect()
}

pub(crate) fn taken(first: u64, last: u64) -> LaneReport {
    LaneReport::Acknowledged {
        destination: 0,
        priority: Priority::Normal,
        first,
        last,
    }
}

#[test]
fn what_is_shipped_at_once_is_one_request_and_its_connection_is_kept() {
    let server = Server::start(|_| Reply("HTTP/1.1 202 Accepted\r\n", "fine"));
    let sending = Sending::to(server.port);
    sending.ship(1..=2);
    let asked = server.next();
    assert_eq!(asked.line, "POST /in?a=b HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let host = format!("127.0.0.1:{}", server.port);
    assert_eq!(asked.header("host"), Some(host.as_str()));
    assert_eq!(asked.key(), "gw-00ff-cloud/normal-1-2");
    let body = asked.json();
    assert_eq!(body["lane"], "cloud/normal");
    assert_eq!((&body["first"], &body["last"]), (&1.into(), &2.into()));
    assert_eq!(body["rows"][1]["payload"]["n"], 2);
    assert_eq!(sending.settled(), [taken(1, 2)]);
    sending.ship(3..=3);
    assert_eq!(server.next().connection, asked.connection);
    assert_eq!(sending.settled(), [taken(3, 3)]);
    let status = sending.handle.status().remove(0);
    assert!(status.connected && status.trouble.is_none(), "{status:?}");
    sending.handle.stop(PATIENCE);
}

#[test]
fn a_batch_that_failed_goes_again_unchanged() {
    for failure in ["500 No", "503 No", "408 No", "599 No"] {
        let head: &'static str = format!("HTTP/1.1 {failure}\r\n").leak();
        let mut first = true;
        let server = Server::start(move |_| {
            if std::mem::take(&mut first) {
                Reply(head, "out of order")
            } else {
                OK
            }
        });
        let sending = Sending::to(server.port);
        sending.ship(1..=3);
        sending.ship(4..=4);
        let (before, after) = (server.next(), server.next());
        assert_eq!(before.key(), after.key());
        assert_eq!(before.body, after.body);
        assert_eq!(server.next().key(), "gw-00ff-cloud/normal-4-4");
        assert!(sending.until_trouble().contains("out of order"));
        let left = sending.handle.stop(PATIENCE);
        assert_eq!(left.lanes, [taken(1, 4)]);
    }
}

#[test]
fn a_refused_batch_is_told_with_its_reason_and_comes_back_in_pieces() {
    let server = Server::start(|asked| {
        if asked.body.contains("\"n\":2}") {
            Reply("HTTP/1.1 400 Bad\r\n", "row 2 is bad")
        } else {
            OK
        }
    });
    let sending = Sending::to(server.port);
    sending.ship(1..=3);
    sending.ship(4..=5);
    let refused = |first, last| LaneReport::Refused {
        destination: 0,
        priority: Priority::Normal,
        first,
        last,
        reason: "HTTP 400: row 2 is bad".to_owned(),
    };
    assert_eq!(sending.settled(), [refused(1, 3)]);
    sending.ship(1..=1);
    assert_eq!(sending.settled(), [taken(1, 1)]);
    sending.ship(2..=2);
    assert_eq!(sending.settled(), [refused(2, 2)]);
    sending.ship(3..=3);
    let mut settled = sending.settled();
    while settled.last() != Some(&taken(3, 5)) && settled.last() != Some(&taken(4, 5)) {
        settled.extend(sending.settled());
    }
    let keys = server.asked.try_iter().map(|asked| asked.key().to_owned());
    let keys: Vec<_> = keys
        .map(|key| key.replace("gw-00ff-cloud/normal-", ""))
        .collect();
    assert_eq!(keys, ["1-3", "1-1", "2-2", "3-3", "4-5"]);
    sending.handle.stop(PATIENCE);
}

#[test]
fn what_its_owner_must_mend_stalls_a_lane_and_loses_nothing() {
    for (head, hint) in [
        ("HTTP/1.1 401 No\r\n", "check username, password or token"),
        ("HTTP/1.1 403 No\r\n", "may not send there"),
        ("HTTP/1.1 404 No\r\n", "check the path"),
        ("HTTP/1.1 405 No\r\n", "under maintenance"),
        ("HTTP/1.1 410 No\r\n", "under maintenance"),
        ("HTTP/1.1 101 Other\r\n", "no answer to a POST"),
        ("HTTP/1.1 301 No\r\nlocation: /\r\n", "write its address"),
    ] {
        let server = Server::start(move |_| Reply(head, ""));
        let sending = Sending::to(server.port);
        sending.ship(1..=3);
        let why = sending.until_stalled();
        assert!(why.contains(hint), "{why}");
        let status = sending.handle.status().remove(0);
        assert_eq!((status.connected, status.rows), (false, 3));
        let left = sending.handle.stop(PATIENCE);
        assert_eq!(left.lanes, [], "a stop does not wait for it");
    }
}

#[test]
fn a_web_page_on_an_open_connection_takes_nothing() {
    let server = Server::start(|_| Reply("HTTP/1.1 200 OK\r\n", "<!doctype html><title>Pay"));
    let sending = Sending::to(server.port);
    sending.ship(1..=3);
    let why = sending.until_stalled();
    assert!(why.contains("captive portal"), "{why}");
    let left = sending.handle.stop(PATIENCE);
    assert_eq!(left.lanes, []);
}

#[test]
fn rows_that_are_all_refused_are_sent_again_after_a_rest_and_told_as_a_stall() {
    let mut first = true;
    let server = Server::start(move |_| {
        if std::mem::take(&mut first) {
            Reply("HTTP/1.1 422 No\r\n", "new version")
        } else {
            OK
        }
    });
    let sending = Sending::to(server.port);
    sending.ship(1..=1);
    assert!(matches!(
        sending.settled()[..],
        [LaneReport::Refused { .. }]
    ));
    let refused = server.next();
    let again = rows(1..=1);
    sending.handle.ship_after_rest(0, Priority::Normal, again);
    let why = sending.until_stalled();
    assert!(why.contains("new version; all rows are refused"), "{why}");
    assert_eq!(sending.settled(), [taken(1, 1)]);
    assert!(server.next().at - refused.at >= Duration::from_secs(5));
    assert_eq!(sending.handle.status().remove(0).stalled, None);
    sending.handle.stop(PATIENCE);
}

/// A server that does as `serve` says with each connection, counted from 0; its port.
fn raw(serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(number, stream));
        }
    });
    port
}

/// Reads up to the end of a request's head, and perhaps a little of its body.
fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        seen.push(byte[0]);
    }
}

fn large_row(seq: u64, bytes: usize) -> Vec<Row> {
    let mut rows = rows(seq..=seq);
    rows[0].payload = format!("\"{}\"", "x".repeat(bytes)).into();
    rows
}

#[test]
fn a_slow_link_carries_large_rows_once() {
    const BYTES: usize = 120_000;
    let server = Server::start(|_| OK);
    let link = Proxy::to(server.port);
    link.rate(50_000);
    let mut settings = settings(link.port());
    (settings.timeout, settings.answer_timeout) =
        (Duration::from_millis(500), Duration::from_millis(500));
    let sending = Sending::with(settings);
    for seq in 1..=3 {
        let row = large_row(seq, BYTES);
        sending.handle.ship(0, Priority::Normal, row);
    }
    let mut settled = Vec::new();
    while !settled
        .iter()
        .any(|report| matches!(report, LaneReport::Acknowledged { last: 3, .. }))
    {
        settled.extend(sending.reports_of_lanes());
    }
    let smaller = |report: &LaneReport| matches!(report, LaneReport::RequestBytes { bytes, .. } if *bytes < 64 << 10);
    assert!(
        settled.iter().any(smaller),
        "the next ones are: {settled:?}"
    );
    let carried = link.bytes_up();
    assert!(
        carried < 3 * BYTES as u64 * 12 / 10,
        "{carried} bytes were sent"
    );
    assert_eq!(link.connections(), 1);
    sending.handle.stop(PATIENCE);
}

#[test]
fn an_answer_may_come_before_the_batch_was_read() {
    let port = raw(|_, mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n");
    });
    let sending = Sending::to(port);
    let row = large_row(1, 4 << 20);
    sending.handle.ship(0, Priority::Normal, row);
    let settled = sending.settled();
    assert!(
        matches!(settled[..], [LaneReport::Refused { .. }]),
        "{settled:?}"
    );
    sending.handle.stop(Duration::ZERO);
}

#[test]
fn nobody_has_taken_what_was_not_sent_to_its_end() {
    let port = raw(|number, mut stream| {
        read_head(&mut stream);
        if number == 0 {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let sending = Sending::to(port);
    let row = large_row(1, 16 << 20);
    sending.handle.ship(0, Priority::Normal, row);
    let why = sending.until_trouble();
    assert!(why.contains("before the whole batch was sent"), "{why}");
    let left = sending.handle.stop(Duration::ZERO);
    assert_eq!(left.lanes, []);
}

#[test]
fn answers_that_never_end_are_taken_by_their_head() {
    let port = raw(|number, mut stream| {
        read_head(&mut stream);
        let head = match number {
            0 => "HTTP/1.1 200 OK\r\n\r\n",
            1 => "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        };
        let _ = stream.write_all(head.as_bytes());
        // The first one babbles, the second falls silent, the third speaks nonsense.
        while number == 0 && stream.write_all(&[b'x'; 1_000]).is_ok() {}
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut settings = settings(port);
    settings.timeout = Duration::from_millis(300);
    let sending = Sending::with(settings);
    for number in 1..=3 {
        sending.ship(number..=number);
        assert_eq!(sending.settled(), [taken(number, number)]);
    }
    sending.handle.stop(PATIENCE);
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_waited_for() {
    let port = raw(|number, mut stream| {
        read_head(&mut stream);
        assert_eq!(number, 0, "it was sent again");
        let early = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20);
        let _ = stream.write_all(early.as_bytes());
        for byte in b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n" {
            std::thread::sleep(Duration::from_millis(40));
            let _ = stream.write_all(&[*byte]);
        }
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut settings = settings(port);
    (settings.timeout, settings.answer_timeout) =
        (Duration::from_millis(900), Duration::from_millis(900));
    let sending = Sending::with(settings);
    sending.ship(1..=1);
    assert_eq!(sending.settled(), [taken(1, 1)]);
    sending.handle.stop(PATIENCE);
}

#[test]
fn a_flood_of_headers_is_no_answer() {
    let port = raw(|_, mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream
            .write_all(b"x-more: and more and more and more\r\n")
            .is_ok()
        {}
    });
    let sending = Sending::to(port);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    assert!(why.contains("the connection broke"), "{why}");
    let left = sending.handle.stop(Duration::ZERO);
    assert_eq!(left.lanes, []);
}

#[test]
fn retry_after_is_kept() {
    let mut first = true;
    let server = Server::start(move |_| {
        if std::mem::take(&mut first) {
            Reply("HTTP/1.1 429 Slow\r\nretry-after: 1\r\n", "")
        } else {
            OK
        }
    });
    let sending = Sending::to(server.port);
    sending.ship(1..=1);
    let (before, after) = (server.next(), server.next());
    assert!(after.at - before.at >= Duration::from_secs(1));
    assert_eq!(before.key(), after.key());
    assert_eq!(sending.settled(), [taken(1, 1)]);
    sending.handle.stop(PATIENCE);
}

#[test]
fn silence_is_an_answer_that_did_not_come() {
    let mut first = true;
    let server = Server::start(move |_| {
        if std::mem::take(&mut first) {
            Silence
        } else {
            OK
        }
    });
    let mut impatient = settings(server.port);
    impatient.answer_timeout = Duration::from_millis(300);
    let sending = Sending::with(impatient);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    assert!(why.starts_with("no answer came within 0.3 s"), "{why}");
    let (before, after) = (server.next(), server.next());
    assert_eq!((before.key(), &before.body), (after.key(), &after.body));
    assert_ne!(before.connection, after.connection);
    assert_eq!(sending.settled(), [taken(1, 1)]);
    sending.handle.stop(PATIENCE);
}

#[test]
fn a_server_that_is_away_is_named_and_waited_for() {
    let port = free_port();
    let sending = Sending::to(port);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    assert!(why.contains("are host and port right?"), "{why}");
    let server = Server::on(port, |_| OK);
    assert_eq!(sending.settled(), [taken(1, 1)]);
    assert_eq!(server.next().key(), "gw-00ff-cloud/normal-1-1");
    sending.handle.stop(PATIENCE);
}

#[test]
fn a_kept_connection_that_was_closed_is_no_failure() {
    let server = Server::start(|_| Last("HTTP/1.1 200 OK\r\n"));
    let sending = Sending::to(server.port);
    for number in 1..=20 {
        sending.ship(number..=number);
        assert_eq!(sending.settled(), [taken(number, number)]);
        assert_eq!(
            server.next().key(),
            format!("gw-00ff-cloud/normal-{number}-{number}")
        );
    }
    let trouble = sending
        .reports
        .try_iter()
        .find(|report| matches!(report, DestinationReport::Disconnected { .. }));
    assert_eq!(trouble, None);
    sending.handle.stop(PATIENCE);
}

#[test]
fn what_is_no_http_is_told_so() {
    let server = Server::start(|_| Reply("220 ready for mail\r\n", ""));
    let sending = Sending::to(server.port);
    sending.ship(1..=1);
    let why = sending.until_trouble();
    assert!(why.contains("is that port an HTTP server's?"), "{why}");
    sending.handle.stop(PATIENCE);
}

#[test]
fn a_high_lane_overtakes_a_normal_one_that_gets_no_answer() {
    let server = Server::start(|asked| {
        if asked.key().contains("/normal-") {
            Silence
        } else {
            OK
        }
    });
    let sending = Sending::to(server.port);
    sending.ship(1..=1);
    assert!(server.next().key().contains("/normal-"));
    sending.handle.ship(0, Priority::High, rows(1..=1));
    let expected = LaneReport::Acknowledged {
        destination: 0,
        priority: Priority::High,
        first: 1,
        last: 1,
    };
    assert_eq!(sending.settled(), [expected]);
    let left = sending.handle.stop(Duration::from_millis(100));
    assert_eq!(left.lanes, []);
}

#[test]
fn secrets_are_read_before_each_request_and_shown_by_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "hush-1\n").unwrap();
    let mut first = true;
    let server = Server::start(move |_| {
        if std::mem::take(&mut first) {
            Reply("HTTP/1.1 503 No\r\n", "")
        } else {
            OK
        }
    });
    let mut secret = settings(server.port);
    secret.login = Some(HttpLogin::Bearer(SecretFile::new(file.clone())));
    assert!(!format!("{secret:?}").contains("hush"));
    let sending = Sending::with(secret);
    sending.ship(1..=1);
    assert_eq!(server.next().header("authorization"), Some("Bearer hush-1"));
    std::fs::write(&file, "hush-2\n").unwrap();
    assert_eq!(server.next().header("authorization"), Some("Bearer hush-2"));
    sending.handle.stop(PATIENCE);

    let server = Server::start(|_| OK);
    let mut secret = settings(server.port);
    secret.login = Some(HttpLogin::Basic {
        username: "user".to_owned(),
        password: SecretFile::new(file),
    });
    let sending = Sending::with(secret);
    sending.ship(1..=1);
    let basic = "Basic dXNlcjpodXNoLTI=";
    assert_eq!(server.next().header("authorization"), Some(basic));
    sending.handle.stop(PATIENCE);
}

#[test]
fn messages_that_are_no_rows_go_without_numbers_and_may_be_dropped() {
    let server = Server::start(|asked| {
        if asked.body.contains("bad") {
            Reply("HTTP/1.1 422 No\r\n", "bad one")
        } else {
            OK
        }
    });
    let sending = Sending::to(server.port);
    let message = |payload: &'static str| Outgoing {
        destination: 0,
        topic: Topic::new("out").unwrap(),
        payload: payload.into(),
        qos: 1,
        retain: false,
    };
    sending.handle.send(vec![message("\"bad\"")]);
    let asked = server.next();
    assert_eq!(asked.header("idempotency-key"), None);
    assert_eq!(asked.json()["lane"], serde_json::Value::Null);
    sending.handle.send(vec![message("1")]);
    assert_eq!(server.next().json()["rows"][0]["payload"], 1);
    let left = sending.handle.stop(PATIENCE);
    assert_eq!(left.unsent, [0]);
    let counts: Vec<_> = sending
        .reports
        .try_iter()
        .filter(|report| !matches!(report, DestinationReport::Connected { .. }))
        .collect();
    let dropped = DestinationReport::Dropped {
        destination: 0,
        count: 1,
        why: "HTTP 422: bad one".to_owned(),
    };
    let acknowledged = DestinationReport::Acknowledged {
        destination: 0,
        count: 1,
    };
    assert_eq!(counts, [dropped, acknowledged]);
}

/// Messages of the queue with these numbers, each of which may be a bad one.
fn messages(count: usize, is_bad: impl Fn(usize) -> bool) -> Vec<Outgoing> {
    let payload = |number: usize| {
        if is_bad(number) {
            format!("\"bad {number}\"")
        } else {
            number.to_string()
        }
    };
    let message = |number| Outgoing {
        destination: 0,
        topic: Topic::new("out").unwrap(),
        payload: payload(number).into(),
        qos: 1,
        retain: false,
    };
    (0..count).map(message).collect()
}

/// Counts of acknowledged and of dropped messages, once all of them are one or the other.
fn until_settled(sending: &Sending, sum: usize) -> (usize, usize) {
    let (mut acknowledged, mut dropped) = (0, 0);
    while acknowledged + dropped < sum {
        match sending.reports.recv_timeout(PATIENCE).unwrap() {
            DestinationReport::Acknowledged { count, .. } => acknowledged += count,
            DestinationReport::Dropped { count, .. } => dropped += count,
            _ => {}
        }
    }
    (acknowledged, dropped)
}

#[test]
fn a_message_that_is_refused_costs_no_other_of_its_batch() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let server = Server::start(move |asked| {
        if asked.body.contains("bad") {
            return Reply("HTTP/1.1 422 No\r\n", "bad one");
        }
        let all = asked.json();
        let rows = all["rows"].as_array().unwrap().iter();
        seen.lock()
            .unwrap()
            .extend(rows.map(|row| row["payload"].as_u64().unwrap()));
        OK
    });
    let sending = Sending::to(server.port);
    let is_bad = |number| [0, 40, 41, 99].contains(&number);
    sending.handle.send(messages(100, is_bad));
    assert_eq!(until_settled(&sending, 100), (96, 4));
    let expected: Vec<u64> = (0..100).filter(|n| !is_bad(*n as usize)).collect();
    assert_eq!(*taken.lock().unwrap(), expected);
    assert_eq!(sending.handle.stop(PATIENCE).unsent, [0]);
}

#[test]
fn an_endpoint_that_refuses_all_messages_is_not_asked_for_each() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply("HTTP/1.1 400 Bad Request\r\n", "no")
    });
    let sending = Sending::to(server.port);
    sending.handle.send(messages(256, |_| false));
    assert_eq!(until_settled(&sending, 256), (0, 256));
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(asked < 32, "{asked} requests");
    assert_eq!(sending.handle.stop(PATIENCE).unsent, [0]);
}
