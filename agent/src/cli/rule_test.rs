//! `tidemill rule test`: a rule on events from a file, under a virtual clock, through the very mill
//! that a gateway runs.

mod expect;

use std::io::{BufRead, Read as _, Write as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use self::expect::Expected;
use super::Failure;
use super::rule_build::install;
use crate::clock::Now;
use crate::event::Event;
use crate::mill::{Deployment, Emitted, Input, Mill, Output};
use crate::text::duration_ms;
use crate::topic::Topic;
use crate::watermark;

pub(super) const HELP: &str = r#"Events, one a line:
  {"at": 1541152486013, "topic": "sensors/d1/env", "payload": {"temperature": 61}}
  "at" is the arrival in milliseconds; "payload_base64" stands for bytes that are not JSON.

Results, one a line, in the order in which things happened:
  {"at": 1541152486013, "port": "out", "key": "d1", "payload": {"temperature": 61}}
  {"at": 1541152486013, "dead_letter": "reason", "topic": "sensors/d1/env"}

Examples:
  tidemill rule test overheat.toml --events events.jsonl
  tidemill rule test average.toml --events events.jsonl --until 1541152490000
  tidemill rule test mine.toml --events - --cold < events.jsonl
  tidemill rule test overheat.toml --events events.jsonl > expected.jsonl
  tidemill rule test overheat.toml --events events.jsonl --expect expected.jsonl

With --expect the differences are written instead of the results; nothing if there are none. Lines
are compared as JSON: blanks, the order of members, and 3 or 3.0 are of no matter.

Exit codes: 0 it ran, also where nothing came out; 1 something else came than --expect says; 2 rule,
module or file is wrong or refused"#;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The rule's manifest
    #[arg(value_name = "RULE.toml")]
    rule: PathBuf,
    /// The events; - for standard input
    #[arg(long, value_name = "FILE.jsonl")]
    events: PathBuf,
    /// When the clock starts, in milliseconds [default: the first event]
    #[arg(long, value_name = "MS")]
    from: Option<i64>,
    /// When the clock stops; what falls due exactly then still happens [default: the last event]
    #[arg(long, value_name = "MS")]
    until: Option<i64>,
    /// How late an event may be by its own timestamp, for all streams of the rule
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    lateness: Option<u64>,
    /// Start a fresh instance for every call, to find a function that relies on its memory
    #[arg(long)]
    cold: bool,
    /// Write the emissions of a rule in SQL as lists
    #[arg(long)]
    array: bool,
    /// Compare the results with this file, and show how they differ
    #[arg(long, value_name = "FILE.jsonl")]
    expect: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    at: i64,
    topic: String,
    #[serde(borrow, default, deserialize_with = "given")]
    payload: Option<&'a RawValue>,
    payload_base64: Option<String>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

/// A payload of `null` is a payload, unlike one that is not there.
fn given<'de, D: Deserializer<'de>>(line: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(line).map(Some)
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultLine<'a> {
    Json {
        at: i64,
        port: &'a str,
        key: &'a str,
        payload: &'a RawValue,
    },
    Bytes {
        at: i64,
        port: &'a str,
        key: &'a str,
        payload_base64: String,
    },
    DeadLetter {
        at: i64,
        dead_letter: &'a str,
        topic: &'a str,
    },
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let events = read_events(options)?;
    let expected = options.expect.as_deref().map(Expected::read).transpose()?;
    let bound = install(&options.rule, |rule| {
        let lateness = options.lateness.map(crate::clock::signed);
        for stream in &mut rule.streams {
            stream.lateness_ms = lateness.unwrap_or(stream.lateness_ms);
        }
    })?;
    let from = options
        .from
        .or(events.first().map(|event| event.arrival_ms))
        .unwrap_or(0);
    let until = options
        .until
        .or(events.last().map(|event| event.arrival_ms))
        .unwrap_or(from);
    let mut mill = Mill::new();
    mill.set_cold(options.cold);
    mill.set_time_floor(watermark::FLOOR_MS.min(from.saturating_sub(RECORDED_BEFORE_MS)));
    let now = virtual_now(from);
    let deployment = Deployment {
        rules: vec![bound],
        ..Deployment::default()
    };
    mill.deploy(now, deployment, &mut Vec::new())
        .map_err(|error| Failure::Failed(error.into()))?;
    let mut run = Run {
        mill,
        out: std::io::stdout().lock(),
        kept: expected.is_some().then(Vec::new),
        outputs: Vec::new(),
        counts: Counts::default(),
        array: options.array,
        rows: Vec::new(),
    };
    for event in events {
        let at = event.arrival_ms;
        if at < from || at > until {
            run.counts.outside += 1;
            continue;
        }
        run.advance(at)?;
        run.counts.events += 1;
        run.step(at, Input::Events(vec![event]))?;
    }
    run.advance(until)?;
    run.step(until, Input::Tick)?;
    run.summary()?;
    match expected {
        Some(expected) => run.compare(&expected),
        None => Ok(()),
    }
}

/// How long before the clock starts events may have happened: recordings may be old, and late.
const RECORDED_BEFORE_MS: i64 = 366 * 86_400_000;

/// Wall and monotonic time are the same in here.
fn virtual_now(at: i64) -> Now {
    Now {
        mono_ms: u64::try_from(at).unwrap_or(0),
        wall_ms: at,
        ..Now::default()
    }
}

#[derive(Debug, Default)]
struct Counts {
    events: u64,
    outside: u64,
    emissions: u64,
    dead: u64,
}

struct Run<'a> {
    mill: Mill,
    out: std::io::StdoutLock<'a>,
    /// The results, where they are to be compared and not written.
    kept: Option<Vec<String>>,
    outputs: Vec<Output>,
    counts: Counts,
    /// Whether what goes out together is one line.
    array: bool,
    /// What has gone out together so far.
    rows: Vec<Emitted>,
}

impl Run<'_> {
    /// Lets everything happen that falls due until then.
    fn advance(&mut self, until: i64) -> Result<(), Failure> {
        let until = virtual_now(until).mono_ms;
        while let Some(due) = self.mill.next_due_mono_ms().filter(|due| *due <= until) {
            self.step(i64::try_from(due).unwrap_or(i64::MAX), Input::Tick)?;
        }
        Ok(())
    }

    fn step(&mut self, at: i64, input: Input) -> Result<(), Failure> {
        self.mill.step(virtual_now(at), input, &mut self.outputs);
        for output in std::mem::take(&mut self.outputs) {
            let line = match &output {
                Output::Emission(sent) if self.array => {
                    let last = self.rows.last();
                    if last.is_some_and(|last| last.together != sent.together) {
                        self.gathered()?;
                    }
                    self.counts.emissions += 1;
                    self.rows.push(sent.clone());
                    continue;
                }
                Output::Emission(sent) => {
                    self.counts.emissions += 1;
                    let payload = one_line(&sent.payload);
                    let (at, port, key) = (sent.at_ms, sent.port.name.as_str(), &*sent.key);
                    match serde_json::from_slice::<&RawValue>(&payload) {
                        Ok(payload) => serde_json::to_string(&ResultLine::Json {
                            at,
                            port,
                            key,
                            payload,
                        }),
                        Err(_) => {
                            let payload_base64 = BASE64_STANDARD.encode(&sent.payload);
                            serde_json::to_string(&ResultLine::Bytes {
                                at,
                                port,
                                key,
                                payload_base64,
                            })
                        }
                    }
                }
                Output::DeadLetter(dead) => {
                    self.gathered()?;
                    self.counts.dead += 1;
                    let (topic, at) = (dead.topic.as_str(), dead.at_ms);
                    serde_json::to_string(&ResultLine::DeadLetter {
                        at,
                        dead_letter: &dead.reason,
                        topic,
                    })
                }
                Output::Logs { lines, .. } => {
                    let mut err = std::io::stderr().lock();
                    for line in lines {
                        writeln!(err, "log at {at}: {}", line.text)?;
                    }
                    continue;
                }
                Output::Quarantined { for_ms, .. } => {
                    let seconds = for_ms / 1_000;
                    writeln!(
                        std::io::stderr(),
                        "at {at}: too many faults, the rule rests for {seconds} s"
                    )?;
                    continue;
                }
                // This mill keeps nothing, so it has nothing to say of journal, lanes and sessions.
                _ => continue,
            };
            let line = line.map_err(|error| Failure::Failed(error.into()))?;
            self.write(line)?;
        }
        self.gathered()
    }

    /// Writes what has gone out together as one line.
    fn gathered(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let texts: Vec<String> = rows
            .iter()
            .map(|row| String::from_utf8_lossy(&one_line(&row.payload)).into_owned())
            .collect();
        let payload = RawValue::from_string(format!("[{}]", texts.join(",")))
            .map_err(|error| Failure::Failed(error.into()))?;
        let line = ResultLine::Json {
            at: first.at_ms,
            port: first.port.name.as_str(),
            key: &first.key,
            payload: &payload,
        };
        let line = serde_json::to_string(&line).map_err(|error| Failure::Failed(error.into()))?;
        self.write(line)
    }

    fn write(&mut self, line: String) -> Result<(), Failure> {
        match &mut self.kept {
            Some(kept) => kept.push(line),
            None => writeln!(self.out, "{line}")?,
        }
        Ok(())
    }

    fn compare(&mut self, expected: &Expected) -> Result<(), Failure> {
        let kept = self.kept.take().unwrap_or_default();
        let (text, count) = expected.compare(&kept)?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        let count = match count {
            0 => return Ok(()),
            1 => "1 difference".to_owned(),
            _ => format!("{count} differences"),
        };
        Err(Failure::Failed(anyhow::anyhow!(
            "{count} to what is expected"
        )))
    }

    fn summary(&mut self) -> Result<(), Failure> {
        self.out.flush()?;
        let Counts {
            events,
            outside,
            emissions,
            dead,
        } = self.counts;
        let mut text = format!("{events} events, {emissions} emissions, {dead} dead letters");
        if self.mill.unrouted() > 0 {
            text.push_str(&format!(
                ", {} events that no trigger matched",
                self.mill.unrouted()
            ));
        }
        if outside > 0 {
            text.push_str(&format!(", {outside} events outside of --from and --until"));
        }
        writeln!(std::io::stderr(), "{text}")?;
        Ok(())
    }
}

/// JSON may be written over several lines; a line break is never part of a string in it.
fn one_line(payload: &Bytes) -> Bytes {
    if !payload.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return payload.clone();
    }
    payload
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect()
}

fn read_events(options: &Options) -> Result<Vec<Event>, Failure> {
    let name = options.events.display().to_string();
    let wrong = |line: usize, why: String| Failure::Wrong(vec![format!("{name}:{line}: {why}")]);
    let mut text = Vec::new();
    if name == "-" {
        std::io::stdin().lock().read_to_end(&mut text)?;
    } else {
        std::fs::File::open(&options.events)
            .and_then(|mut file| file.read_to_end(&mut text))
            .map_err(|error| Failure::Wrong(vec![format!("{name}: cannot be read: {error}")]))?;
    }
    let mut events: Vec<Event> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.map_err(|_| wrong(number, "is not UTF-8".to_owned()))?;
        if line.trim().is_empty() {
            continue;
        }
        let event = read_event(&line).map_err(|why| wrong(number, why))?;
        if events
            .last()
            .is_some_and(|last| last.arrival_ms > event.arrival_ms)
        {
            let why = "\"at\" is before that of the line above; events stand in the order of their arrival";
            return Err(wrong(number, why.to_owned()));
        }
        events.push(event);
    }
    Ok(events)
}

fn read_event(line: &str) -> Result<Event, String> {
    let line: EventLine<'_> = serde_json::from_str(line).map_err(|error| {
        format!("{error}; expected {{\"at\": MS, \"topic\": \"…\", \"payload\": …}}")
    })?;
    if line.at < 0 {
        return Err("\"at\" is before 1970".to_owned());
    }
    let payload = match (line.payload, &line.payload_base64) {
        (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
        (None, Some(text)) => BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("payload_base64: {error}"))?
            .into(),
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return Err("has both payload and payload_base64".to_owned()),
    };
    let topic = Topic::new(&line.topic).map_err(|error| format!("topic: {error}"))?;
    let mut event = Event::new(topic, payload, line.at);
    if let Some(meta) = line.meta {
        event.properties = Bytes::copy_from_slice(meta.get().as_bytes());
    }
    Ok(event)
}
