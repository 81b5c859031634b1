//! A rule's manifest: TOML to checked values. Facts that only the function has (its ports, its
//! inputs, its parameters) are checked when the two are bound together.

mod file;
mod keys;
mod limits;
pub mod manifest;
#[cfg(any(test, not(feature = "sql")))]
mod no_sql;
#[cfg(test)]
mod page;
mod payload;
mod port;
pub mod schedule;
#[cfg(feature = "sql")]
mod sql;
pub mod stock;
mod streams;
mod tables;
mod template;
mod times;
mod window;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(not(feature = "sql"))]
use no_sql as sql;

pub use template::{
    KeySpec, LevelPiece, Sent, TopicTemplate, check_pointer, key_of_topic, place_without_braces,
};

pub use streams::{IDLE_MS, Stream};
pub use window::WindowTable;

use crate::config::limits::FunctionLimits;
pub use crate::event::emission::Priority;
use crate::rule::schedule::Schedule;
use tidemill_base::text::{FileErrors, Source};
use tidemill_transport::topic::TopicFilter;

/// A named, versioned binding: triggers, one function, its parameters, limits and the targets of
/// its ports.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique on a gateway; `[a-z0-9-]{1,64}`.
    pub name: Arc<str>,
    /// Rises with every change.
    pub version: u64,
    /// For people.
    pub description: String,
    /// Treatment of state and emissions in a crash.
    pub durability: Durability,
    /// Triggers of the rule.
    pub triggers: Triggers,
    /// Source of an event's key; `None` leaves it to the function's manifest, or the topic.
    pub key: Option<KeySpec>,
    /// The place of the key in the manifest.
    pub key_span: Option<Range<usize>>,
    /// The function to run.
    pub function: FunctionSource,
    /// Place of the function in the manifest.
    pub function_span: Range<usize>,
    /// JSON pointers by the name of the function's input, in place of the function's own.
    pub inputs: BTreeMap<String, Placed<String>>,
    /// Values by the name of the function's parameter.
    pub params: BTreeMap<String, Placed<Param>>,
    /// Lengths of the window, in place of the function's own.
    pub window: WindowTable,
    /// Streams of events, in the order of the file; empty if none is declared.
    pub streams: Vec<Stream>,
    /// Targets of the function's ports, by port name.
    pub ports: BTreeMap<String, Placed<Port>>,
    /// The gateway's limits, lowered if the rule asks for it.
    pub limits: FunctionLimits,
    /// `false` if something in its file was not understood: what seems to be missing may stand there,
    /// and nothing may run.
    pub is_whole: bool,
    /// `false` if triggers and key of such a file are not known for sure.
    pub knows_topics: bool,
    /// The manifest itself, for errors that are found later.
    pub source: Arc<Source>,
}

/// A value with its place in the manifest.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Byte range in the manifest.
    pub span: Range<usize>,
}

/// Effect of a crash on a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Each event counts once.
    ExactlyOnce,
    /// State and emissions live in memory only.
    Volatile,
}

/// Triggers of a rule.
#[derive(Debug, Clone)]
pub struct Triggers {
    /// Filters on the local broker.
    pub mqtt: Vec<TopicFilter>,
    /// `true` if messages that the broker retained from before the subscription count as events.
    pub retained: bool,
    /// Schedules at which the rule runs by itself.
    pub schedules: Vec<Schedule>,
}

/// Origin of a rule's function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionSource {
    /// A file.
    Wasm(PathBuf),
    /// A function that ships with Tidemill.
    Stock(String),
    /// A statement, compiled.
    Sql(Arc<Statement>),
    /// A module that came along with the rule.
    Inline(Arc<Vec<u8>>),
}

/// A compiled statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The statement as written.
    pub sql: String,
    /// The module.
    pub wasm: Vec<u8>,
    /// The plan for people: pairs of a name and its text.
    pub plan: Vec<(&'static str, String)>,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// A number; `true` is 1 and `false` is 0.
    Number(f64),
    /// A text.
    Text(String),
}

/// Target of a port.
#[derive(Debug, Clone)]
pub struct Port {
    /// Name of the destination.
    pub to: String,
    /// The topic there.
    pub topic: TopicTemplate,
    /// The place of the topic in the manifest.
    pub topic_span: Range<usize>,
    /// Send order relative to other emissions.
    pub priority: Priority,
    /// MQTT's retain flag.
    pub retain: bool,
    /// Quality of service, 0 or 1.
    pub qos: u8,
}

/// Facts about the gateway that a manifest is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// The gateway's id.
    pub id: &'a str,
    /// Names of its destinations; `None` if every name is good (`rule test`).
    pub destinations: Option<&'a [&'a str]>,
    /// The gateway's limits.
    pub limits: &'a FunctionLimits,
}

impl Triggers {
    /// The filter that lets in again what leaves through a port.
    pub fn fed_by(&self, port: &Port, key: &KeySpec) -> Option<&TopicFilter> {
        let is_local = port.to == crate::config::LOCAL;
        let out = port.topic.as_filter(key).filter(|_| is_local)?;
        self.mqtt.iter().find(|filter| filter.overlaps(&out))
    }
}

/// Why a shared filter beside another one is refused.
pub fn sent_twice(shared: &TopicFilter, other: &TopicFilter) -> String {
    format!(
        "{shared} and {other} match some of the same topics: the broker would send such a message once for \
         each, and it would count twice; let them be apart, or the same"
    )
}

/// Why a rule that feeds itself is refused, in words that go on from the place of its topic.
pub fn feeds_itself(filter: &TopicFilter) -> String {
    format!(
        "the rule would feed itself, because it listens to {filter}; send to a topic outside of that"
    )
}

impl Rule {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it, with file and line: it cannot be read, has an unknown key, or a
    /// value that cannot be.
    pub fn read(path: &Path, gateway: &Gateway<'_>) -> Result<Self, FileErrors> {
        let source = Source::read(path)?;
        match path.extension() {
            Some(extension) if extension == "sql" => Ok(sql::rule(source, gateway)?),
            _ => Self::parse(source, gateway),
        }
    }

    /// Reads a manifest as [`Rule::read`] does, and makes of one that is wrong what can be made of it:
    /// good enough to look for further errors where it is bound, and not to run.
    pub fn survey(path: &Path, gateway: &Gateway<'_>) -> (Option<Self>, Option<FileErrors>) {
        match Source::read(path) {
            Ok(source) => file::survey(source, gateway),
            Err(error) => (None, Some(error.into())),
        }
    }

    /// Listens to what it shares with others as if it were alone, so that it takes nothing away from them.
    pub fn leave_shares(&mut self) {
        let streams = self.streams.iter_mut().flat_map(|stream| &mut stream.mqtt);
        for filter in self.triggers.mqtt.iter_mut().chain(streams) {
            if let Ok(plain) = TopicFilter::new(filter.plain()) {
                *filter = plain;
            }
        }
    }

    /// Puts this in the place of what its streams say: how late an event may be by its own time.
    pub fn set_lateness(&mut self, lateness_ms: u64) {
        for stream in &mut self.streams {
            stream.lateness_ms = crate::event::clock::signed(lateness_ms);
        }
    }

    /// `true` if the rule runs on event time.
    pub fn is_by_event_time(&self) -> bool {
        self.streams.iter().any(|stream| stream.timestamp.is_some())
    }

    /// Checks the text of a manifest.
    ///
    /// # Errors
    /// Same as [`Rule::read`].
    pub fn parse(source: Source, gateway: &Gateway<'_>) -> Result<Self, FileErrors> {
        file::parse(source, gateway)
    }
}
