//! An HTTP endpoint on a free loopback port that keeps what was posted to it and answers as a test
//! tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::{Received, RowName, wait_until};

/// A request that was posted.
#[derive(Debug, Clone)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// The header `Idempotency-Key`, empty when there is none.
    pub idempotency_key: String,
    /// The body, read as JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// The status it was answered with.
    pub status: u16,
}

impl Request {
    /// The rows of a batch: their names, topics and payloads. A payload that is JSON is written
    /// as that.
    ///
    /// # Errors
    /// When the body is no batch.
    pub fn rows(&self) -> Result<Vec<(RowName, String, String)>, String> {
        let body = &self.body;
        let text = |value: &Value, name: &str| {
            let found = value[name].as_str().map(str::to_owned);
            found.ok_or_else(|| format!("no text {name} in {value}"))
        };
        let rows = body["rows"].as_array();
        let rows = rows.ok_or_else(|| format!("no rows in {body}"))?;
        let read = |row: &Value| {
            let name = RowName {
                gateway: text(body, "gateway")?,
                incarnation: text(body, "incarnation")?,
                lane: text(body, "lane")?,
                seq: row["seq"]
                    .as_u64()
                    .ok_or_else(|| format!("no seq in {row}"))?,
            };
            let payload = match &row["payload"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Ok((name, text(row, "topic")?, payload))
        };
        rows.iter().map(read).collect()
    }
}

type Answer = dyn Fn(&Request) -> u16 + Send + Sync;

struct Shared {
    requests: Mutex<Vec<Request>>,
    answer: Box<Answer>,
    ended: AtomicBool,
    echoes: bool,
}

/// A running endpoint; it ends when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Starts one that answers each request with this status.
    pub fn start(answer: impl Fn(&Request) -> u16 + Send + Sync + 'static) -> Self {
        Self::serving(answer, false)
    }

    /// Starts one that answers each request with this status, and repeats the request's head.
    pub fn echoing(status: u16) -> Self {
        Self::serving(move |_| status, true)
    }

    fn serving(answer: impl Fn(&Request) -> u16 + Send + Sync + 'static, echoes: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            answer: Box::new(answer),
            ended: AtomicBool::new(false),
            echoes,
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.ended.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // It ends with its connection, at the latest with the test.
                std::thread::spawn(move || while serve(&stream, &shared).is_some() {});
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// Its address with a path.
    pub fn url(&self) -> String {
        format!("http://{}/rows", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The rows of all requests that were answered with success, each once.
    ///
    /// # Panics
    /// When a row was lost or has changed, with its name.
    #[track_caller]
    pub fn received(&self) -> Received {
        let mut received = Received::default();
        let requests = self.requests();
        for request in requests.iter().filter(|request| request.status < 300) {
            for (name, topic, payload) in request.rows().unwrap() {
                let taken = received.take(&name, &topic, payload.as_bytes());
                taken.unwrap_or_else(|fault| panic!("{fault}"));
            }
        }
        received
    }

    /// Waits until what was posted is as wished.
    pub fn until(&self, good: impl Fn(&[Request]) -> bool, what: &str) {
        wait_until(
            || good(&self.shared.requests.lock().unwrap()),
            || format!("never {what}: {} requests came", self.requests().len()),
        );
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads and answers one request; `None` when there is none any more.
fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut head = line;
    let (mut length, mut idempotency_key) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        head.push_str(&line);
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "idempotency-key" => value.trim().clone_into(&mut idempotency_key),
            _ => {}
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let mut request = Request {
        path,
        idempotency_key,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        bytes,
        status: 0,
    };
    request.status = (shared.answer)(&request);
    let said = if shared.echoes { &*head } else { "" };
    let answer = format!(
        "HTTP/1.1 {} Told\r\nContent-Length: {}\r\n\r\n{said}",
        request.status,
        said.len()
    );
    shared.requests.lock().unwrap().push(request);
    let mut writer = stream;
    writer.write_all(answer.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_posted_is_kept_and_answered_as_told() {
        let endpoint =
            Endpoint::start(|request| if request.body["first"] == 1 { 200 } else { 503 });
        let mut client = TcpStream::connect(endpoint.address).unwrap();
        for first in [1, 2] {
            let body = format!(
                "{{\"gateway\":\"gw\",\"incarnation\":\"00\",\"lane\":\"web/normal\",\"first\":{first},\
                 \"last\":{first},\"rows\":[{{\"seq\":{first},\"topic\":\"t\",\"payload\":7}}]}}"
            );
            let request = format!(
                "POST /rows HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k-{first}\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(request.as_bytes()).unwrap();
            let mut status = String::new();
            let mut reader = BufReader::new(&client);
            reader.read_line(&mut status).unwrap();
            let expected = if first == 1 { " 200 " } else { " 503 " };
            assert!(status.contains(expected), "{status}");
        }
        let requests = endpoint.requests();
        assert_eq!(requests[1].idempotency_key, "k-2");
        let received = endpoint.received();
        assert_eq!(received.of_lane("web/normal")["t"], ["7"]);
    }
}
