//! The configuration: `bridge.toml`, read and checked. Everything that is wrong is said with file, line and key;
//! nothing that is unknown is passed over.

mod broker;
mod file;
mod finder;
mod frames;
mod line;
mod modbus;
mod port;
mod shape;
mod words;

use std::path::{Path, PathBuf};
use tidemill_base::text::{FileError, Source};
use toml::Spanned;

pub use broker::{Broker, TlsKeys};
pub use finder::{Finder, UsbId};
pub use frames::Frames;
pub use line::{DataBits, Flow, LineSettings, Parity, Rs485, StopBits};
pub use port::{PlainIs, Port};

/// Most ports of one bridge.
pub const PORTS_MAX: usize = 32;

/// Characters of a bridge's and a port's name, which stand in topics for ever.
const NAME_BYTES_MAX: usize = 32;

/// The socket for `monitor`, where nothing is said.
const CONTROL: &str = "/run/tidemill-bridge/control";

/// A bridge's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bridge's name: part of its topics, of event ids and of its MQTT client id.
    pub id: String,
    /// The socket for `monitor`.
    pub control: PathBuf,
    /// The broker.
    pub broker: Broker,
    /// The ports, at least one.
    pub ports: Vec<Port>,
    /// The text that it was read from.
    pub text: String,
    /// Things that work, and should be otherwise.
    pub warnings: Vec<FileError>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of its lines.
    pub fn read(path: &Path) -> Result<Self, Vec<FileError>> {
        Self::of(&Source::read(path).map_err(|error| vec![error])?)
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn of(source: &Source) -> Result<Self, Vec<FileError>> {
        let file: file::File = shape::parse(source).map_err(|error| vec![error])?;
        let mut check = Check {
            source,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let id = file.bridge.get_ref().id.get_ref().clone();
        check.name("id", &file.bridge.get_ref().id);
        let broker = Broker::of(file.broker.get_ref(), &mut check);
        if file.port.is_empty() {
            let span = file.bridge.span();
            check.error(span, "there is no port; write [[port]] and below it name = \"boiler\" and path, usb or at");
        }
        if let Some(one) = file.port.get(PORTS_MAX) {
            check.error(
                one.span(),
                format!("a bridge has at most {PORTS_MAX} ports"),
            );
        }
        let ports: Vec<Port> = file
            .port
            .iter()
            .filter_map(|table| Port::of(table.get_ref(), &id, &mut check))
            .collect();
        check.each_port_once(&file.port, &ports);
        check.errors.sort_by_key(|error| error.place);
        match broker {
            Some(broker) if check.errors.is_empty() => Ok(Self {
                id,
                control: file
                    .bridge
                    .into_inner()
                    .control
                    .unwrap_or_else(|| CONTROL.into()),
                broker,
                ports,
                text: source.text.clone(),
                warnings: check.warnings,
            }),
            _ => Err(check.errors),
        }
    }
}

/// Errors and warnings of a file in the making.
struct Check<'a> {
    source: &'a Source,
    errors: Vec<FileError>,
    warnings: Vec<FileError>,
}

impl Check<'_> {
    fn error(&mut self, span: std::ops::Range<usize>, message: impl Into<String>) {
        self.errors.push(self.source.error_at(&span, message));
    }

    /// An error that one place may give rise to several times.
    fn error_once(&mut self, span: std::ops::Range<usize>, message: impl Into<String>) {
        let error = self.source.error_at(&span, message);
        if self
            .errors
            .iter()
            .all(|known| known.to_string() != error.to_string())
        {
            self.errors.push(error);
        }
    }

    fn warn(&mut self, span: std::ops::Range<usize>, message: impl Into<String>) {
        self.warnings.push(self.source.error_at(&span, message));
    }

    /// A path as it is meant: one that is not absolute begins at the file's folder.
    fn path(&self, path: &Path) -> PathBuf {
        let folder = self.source.path.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    fn name(&mut self, key: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&text.len()) || !text.bytes().all(is_allowed) {
            let why = format!("{key}: {text:?} is no name; write 1 to 32 of a-z, 0-9 and -");
            self.error(name.span(), why);
        }
    }

    /// No two ports have one name, or are one device as far as the file tells.
    fn each_port_once(&mut self, tables: &[Spanned<file::PortTable>], ports: &[Port]) {
        for (index, port) in ports.iter().enumerate() {
            let earlier = || ports.iter().take(index);
            let Some(table) = tables
                .iter()
                .find(|table| table.get_ref().name.span() == port.name_span)
            else {
                continue;
            };
            if earlier().any(|other| other.name == port.name) {
                let why = format!(
                    "name: there are two ports {:?}; each has a name of its own",
                    port.name
                );
                self.error(port.name_span.clone(), why);
            }
            if let Some(other) = earlier().find(|other| other.finder == port.finder) {
                let why = format!(
                    "port {:?} is the same device as port {:?}",
                    port.name, other.name
                );
                self.error(table.span(), why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
