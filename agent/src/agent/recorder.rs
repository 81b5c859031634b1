//! A bounded ring of recent events, for trials and for questions. No promise rests on it: it is
//! lost with the process, and the oldest events go first. Where the owner grants flash for it, two
//! files are filled in turn, without any sync.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::event::Event;
use tidemill_base::files::create_own;

/// Bytes that an event costs besides its topic and payload.
const OVERHEAD_BYTES: usize = 48;

/// Bytes written to disk at once.
const WRITE_BYTES: usize = 64 << 10;

/// An event as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// When it arrived, wall time in milliseconds since 1970.
    pub at_ms: i64,
    /// Topic, then payload.
    bytes: Box<[u8]>,
    topic_bytes: u32,
}

impl Recorded {
    /// Topic of the event.
    pub fn topic(&self) -> &str {
        let topic = self.bytes.get(..self.topic_bytes as usize);
        topic
            .and_then(|topic| std::str::from_utf8(topic).ok())
            .unwrap_or_default()
    }

    /// Payload of the event.
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(self.topic_bytes as usize..)
            .unwrap_or_default()
    }

    /// The event as a line of a file that `tidemill rule test --events` reads.
    pub fn to_line(&self) -> Value {
        use base64::Engine as _;
        let payload = self.payload();
        match serde_json::from_slice::<Value>(payload) {
            Ok(json) => json!({ "at": self.at_ms, "topic": self.topic(), "payload": json }),
            Err(_) => {
                let base64 = base64::prelude::BASE64_STANDARD.encode(payload);
                json!({ "at": self.at_ms, "topic": self.topic(), "payload_base64": base64 })
            }
        }
    }
}

/// The latest events.
#[derive(Debug)]
pub struct Recorder {
    events: VecDeque<Recorded>,
    bytes: usize,
    bytes_max: usize,
    disk: Option<Disk>,
}

/// Two files, filled in turn.
#[derive(Debug)]
struct Disk {
    dir: PathBuf,
    /// Limit of one file: half of the bytes granted.
    file_bytes_max: u64,
    file: Option<File>,
    written: u64,
    second: bool,
    buffer: Vec<u8>,
}

impl Recorder {
    /// A recorder with a limit for memory, none when 0, and one for files below `dir`, both in
    /// bytes.
    pub fn new(bytes_max: u64, disk: Option<u64>, dir: &Path) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            disk: disk.map(|bytes| Disk {
                dir: dir.to_owned(),
                file_bytes_max: bytes / 2,
                file: None,
                written: 0,
                second: false,
                buffer: Vec::new(),
            }),
        }
    }

    /// Remembers an event.
    pub fn record(&mut self, event: &Event) {
        let topic = event.topic.as_str().as_bytes();
        let bytes = topic.len() + event.payload.len() + OVERHEAD_BYTES;
        if bytes > self.bytes_max {
            return;
        }
        // A copy: the payload may be a small part of a large buffer.
        let recorded = Recorded {
            at_ms: event.arrival_ms,
            bytes: [topic, &event.payload].concat().into(),
            topic_bytes: u32::try_from(topic.len()).unwrap_or(u32::MAX),
        };
        if let Some(disk) = &mut self.disk {
            disk.write(&recorded);
        }
        self.bytes += bytes;
        self.events.push_back(recorded);
        while self.bytes > self.bytes_max
            && let Some(old) = self.events.pop_front()
        {
            self.bytes -= old.bytes.len() + OVERHEAD_BYTES;
        }
    }

    /// The latest `count` events, oldest first.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &Recorded> {
        let first = self.events.len().saturating_sub(count);
        self.events.range(first..)
    }
}

impl Disk {
    fn write(&mut self, event: &Recorded) {
        let start = self.buffer.len();
        if serde_json::to_writer(&mut self.buffer, &event.to_line()).is_err() {
            self.buffer.truncate(start);
            return;
        }
        self.buffer.push(b'\n');
        if self.buffer.len() < WRITE_BYTES {
            return;
        }
        // An event that cannot be written is not recorded; a full disk is the journal's to complain
        // of.
        if self.file.is_none() || self.written >= self.file_bytes_max {
            let name = if self.second {
                "recorder-b.jsonl"
            } else {
                "recorder-a.jsonl"
            };
            self.second = !self.second;
            self.file = create_own(&self.dir.join(name)).ok();
            self.written = 0;
        }
        if let Some(file) = &mut self.file
            && file.write_all(&self.buffer).is_err()
        {
            self.file = None;
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_transport::topic::Topic;

    fn event(payload: &str) -> Event {
        Event::new(Topic::new("s/a").unwrap(), payload.to_owned(), 7)
    }

    #[test]
    fn the_latest_events_are_kept_up_to_the_bound() {
        let each = 3 + 2 + OVERHEAD_BYTES as u64;
        let mut recorder = Recorder::new(3 * each, None, Path::new("."));
        for number in 10..20 {
            recorder.record(&event(&number.to_string()));
        }
        let last: Vec<_> = recorder.last(10).map(Recorded::payload).collect();
        assert_eq!(last, [b"17", b"18", b"19"]);
        let line = recorder.last(1).next().unwrap().to_line();
        assert_eq!(line, json!({"at": 7, "topic": "s/a", "payload": 19}));
        recorder.record(&event(&"x".repeat(1_000)));
        assert_eq!(
            recorder.last(10).count(),
            3,
            "one that does not fit displaces none"
        );
    }

    #[test]
    fn on_disk_no_more_is_used_than_was_granted() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(1 << 20, Some(400 << 10), dir.path());
        for _ in 0..20_000 {
            recorder.record(&event(&"x".repeat(100)));
        }
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        let bytes: u64 = files
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert_eq!(files.len(), 2);
        assert!(bytes > 200 << 10 && bytes < 600 << 10, "{bytes}");
    }
}
