//! One port: its device, its line, and what becomes of its lines.

use super::Check;
use super::file::PortTable;
use super::finder::{Finder, finder};
use super::frames::{self, Frames};
use super::line::{LineSettings, line};
use super::modbus;
use super::words::{number, one_of};
use crate::decode::Decode;
use crate::demux::LineEnd;
use crate::modbus::Bus;
use crate::topics::{self, Below, Pattern};
use regex_lite::Regex;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// Longest line where nothing is said, and where something is.
const LINE_BYTES: u32 = 4_096;
const LINE_BYTES_MAX: u32 = 65_536;

/// Fates of plain lines that do not match `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainIs {
    /// Telemetry until the device speaks layer 1, and log from then on.
    #[default]
    Auto,
    /// Telemetry.
    Telemetry,
    /// Log.
    Log,
}

/// A port's settings.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name in topics and event ids.
    pub name: String,
    /// The way to its device.
    pub finder: Finder,
    /// The line.
    pub line: LineSettings,
    /// Ends of lines.
    pub end: LineEnd,
    /// Packets instead of lines.
    pub frames: Option<Frames>,
    /// Units that are asked, instead of lines.
    pub modbus: Option<Arc<Bus>>,
    /// Longest line or frame that is taken.
    pub line_bytes: usize,
    /// Topics of events.
    pub topic: Pattern,
    /// The form of the text.
    pub decode: Decode,
    /// Plain lines that are log.
    pub log: Option<Regex>,
    /// Fate of the others.
    pub plain: PlainIs,
    /// `true` if raw lines for the device are taken from the broker.
    pub write: bool,
    /// The place of its name in the file.
    pub(super) name_span: Range<usize>,
}

impl Port {
    /// Checks a table; `None` where so much is wrong that nothing is left to go on with.
    pub(super) fn of(table: &PortTable, bridge: &str, check: &mut Check<'_>) -> Option<Self> {
        check.name("name", &table.name);
        let name = table.name.get_ref().clone();
        let finder = finder(table, check)?;
        let line = line(table, check);
        if one_of(table.mode.as_ref(), "mode", &MODES, check) == Mode::Modbus {
            let bus = modbus::bus(table, &line, bridge, check)?;
            return Self::of_bus(table, finder, (line, bus), bridge);
        }
        modbus::refuse_keys_of_units(table, check);
        let topic = topic(table, bridge, &name, check)?;
        let frames = match &table.frames {
            Some(given) => Some(frames::frames(given, table, check)?),
            None => {
                frames::refuse_keys_of_frames(table, check);
                None
            }
        };
        let write = table.write.as_ref().is_some_and(|write| *write.get_ref());
        Some(Self {
            finder,
            line,
            modbus: None,
            end: one_of(table.end.as_ref(), "end", &ENDS, check),
            plain: one_of(table.plain.as_ref(), "plain", &PLAIN, check),
            line_bytes: number(
                table.line_bytes.as_ref(),
                "line_bytes",
                LINE_BYTES,
                64..=LINE_BYTES_MAX,
                check,
            ) as usize,
            topic,
            decode: match frames {
                Some(_) => Decode::Auto,
                None => decode(table, check)?,
            },
            frames,
            log: match &table.log {
                Some(log) => Some(regex("log", log, check)?),
                None => None,
            },
            write,
            name,
            name_span: table.name.span(),
        })
    }

    fn of_bus(
        table: &PortTable,
        finder: Finder,
        (line, bus): (LineSettings, Bus),
        bridge: &str,
    ) -> Option<Self> {
        let name = table.name.get_ref().clone();
        let topic = topics::of_port(bridge, &name, Below::Data);
        Some(Self {
            finder,
            line,
            end: LineEnd::default(),
            frames: None,
            modbus: Some(Arc::new(bus)),
            line_bytes: LINE_BYTES as usize,
            topic: Pattern::read(&topic, bridge, &name).ok()?,
            decode: Decode::Auto,
            log: None,
            plain: PlainIs::Auto,
            write: false,
            name,
            name_span: table.name.span(),
        })
    }
}

/// Ways to speak with what hangs on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Lines,
    Modbus,
}

const MODES: [(&str, Mode); 2] = [("lines", Mode::Lines), ("modbus", Mode::Modbus)];

const ENDS: [(&str, LineEnd); 2] = [("lf", LineEnd::Lf), ("cr", LineEnd::Cr)];
const PLAIN: [(&str, PlainIs); 3] = [
    ("auto", PlainIs::Auto),
    ("telemetry", PlainIs::Telemetry),
    ("log", PlainIs::Log),
];
const DECODES: [(&str, ()); 7] = [
    ("auto", ()),
    ("json", ()),
    ("kv", ()),
    ("csv", ()),
    ("nmea", ()),
    ("regex", ()),
    ("text", ()),
];

fn topic(table: &PortTable, bridge: &str, port: &str, check: &mut Check<'_>) -> Option<Pattern> {
    let default = topics::of_port(bridge, port, Below::Data);
    let (text, span) = match &table.topic {
        Some(topic) => (topic.get_ref().as_str(), topic.span()),
        None => (default.as_str(), table.name.span()),
    };
    let pattern = Pattern::read(text, bridge, port);
    pattern
        .map_err(|error| check.error(span, format!("topic: {error}")))
        .ok()
}

fn decode(table: &PortTable, check: &mut Check<'_>) -> Option<Decode> {
    let word = table
        .decode
        .as_ref()
        .map_or("auto", |decode| decode.get_ref());
    if let Some(decode) = &table.decode {
        if frames::PACKED_ONLY.contains(&word) {
            let why = format!(
                "decode: only a port with frames has {word:?}; write frames = \"cobs\", \"slip\", \"length\" or \"gap\""
            );
            check.error(decode.span(), why);
            return None;
        }
        one_of(Some(decode), "decode", &DECODES, check);
    }
    if let Some(columns) = table.columns.as_ref().filter(|_| word != "csv") {
        check.error(columns.span(), "columns: only decode = \"csv\" has them");
    }
    if let Some(pattern) = table.pattern.as_ref().filter(|_| word != "regex") {
        check.error(pattern.span(), "pattern: only decode = \"regex\" has one");
    }
    let span = || table.decode.as_ref().map_or(0..0, Spanned::span);
    Some(match word {
        "json" => Decode::Json,
        "kv" => Decode::Kv,
        "nmea" => Decode::Nmea,
        "text" => Decode::Text,
        "csv" => {
            let Some(columns) = &table.columns else {
                check.error(span(), "decode: csv needs columns = [\"t\", \"h\"]");
                return None;
            };
            Decode::Csv(csv_columns(columns, check))
        }
        "regex" => {
            let Some(pattern) = &table.pattern else {
                check.error(span(), "decode: regex needs pattern = '^T(?P<t>[0-9.]+)$'");
                return None;
            };
            let regex = regex("pattern", pattern, check)?;
            if regex.capture_names().flatten().next().is_none() {
                let why = "pattern: name what becomes a field: (?P<t>[0-9.]+)";
                check.error(pattern.span(), why);
            }
            Decode::Regex(regex)
        }
        _ => Decode::Auto,
    })
}

fn csv_columns(columns: &Spanned<Vec<String>>, check: &mut Check<'_>) -> Vec<String> {
    let names = columns.get_ref();
    let is_twice =
        |index: usize, name: &String| names.iter().take(index).any(|other| other == name);
    let is_foul = |name: &String| name.is_empty() || name.chars().any(char::is_control);
    if names.is_empty() || names.iter().any(is_foul) {
        check.error(
            columns.span(),
            "columns: write a name for each value, such as [\"t\", \"h\"]",
        );
    }
    if let Some((_, name)) = names
        .iter()
        .enumerate()
        .find(|(index, name)| is_twice(*index, name))
    {
        check.error(
            columns.span(),
            format!("columns: {name:?} stands there twice"),
        );
    }
    names.clone()
}

fn regex(key: &str, text: &Spanned<String>, check: &mut Check<'_>) -> Option<Regex> {
    Regex::new(text.get_ref())
        .map_err(|error| {
            let why = format!("{key}: {:?} is no regular expression: {error}; in single quotes '…' a backslash is one", text.get_ref());
            check.error(text.span(), why);
        })
        .ok()
}
