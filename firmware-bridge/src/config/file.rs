//! Tables and keys of the file, as they are written.

use serde::Deserialize;
use std::path::PathBuf;
use toml::Spanned;

/// All of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) bridge: Spanned<BridgeTable>,
    pub(super) broker: Spanned<BrokerTable>,
    #[serde(default)]
    pub(super) port: Vec<Spanned<PortTable>>,
}

/// `[bridge]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BridgeTable {
    pub(super) id: Spanned<String>,
    pub(super) control: Option<PathBuf>,
}

/// `[broker]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BrokerTable {
    pub(super) url: Spanned<String>,
    pub(super) username: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) cert_file: Option<Spanned<PathBuf>>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
    pub(super) keep_alive: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
}

/// `[[port]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PortTable {
    pub(super) name: Spanned<String>,
    pub(super) usb: Option<Spanned<String>>,
    pub(super) at: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) baud: Option<Spanned<u32>>,
    pub(super) bits: Option<Spanned<u8>>,
    pub(super) parity: Option<Spanned<String>>,
    pub(super) stop_bits: Option<Spanned<u8>>,
    pub(super) flow: Option<Spanned<String>>,
    pub(super) rs485: Option<Spanned<String>>,
    pub(super) end: Option<Spanned<String>>,
    pub(super) topic: Option<Spanned<String>>,
    pub(super) decode: Option<Spanned<String>>,
    pub(super) columns: Option<Spanned<Vec<String>>>,
    pub(super) pattern: Option<Spanned<String>>,
    pub(super) log: Option<Spanned<String>>,
    pub(super) plain: Option<Spanned<String>>,
    pub(super) write: Option<Spanned<bool>>,
    pub(super) line_bytes: Option<Spanned<u32>>,
    pub(super) frames: Option<Spanned<String>>,
    pub(super) silence: Option<Spanned<String>>,
    pub(super) length: Option<Spanned<LengthTable>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) gap: Option<Spanned<String>>,
    pub(super) late: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) unit: Vec<Spanned<UnitTable>>,
}

/// `[[port.unit]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitTable {
    pub(super) id: Spanned<u8>,
    pub(super) name: Spanned<String>,
    pub(super) every: Option<Spanned<String>>,
    pub(super) read: Spanned<Vec<Spanned<ReadTable>>>,
}

/// `{ … }` in `read` of a unit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadTable {
    pub(super) reg: Spanned<String>,
    #[serde(rename = "as")]
    pub(super) name: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Spanned<String>>,
    pub(super) order: Option<Spanned<String>>,
    pub(super) scale: Option<Spanned<f64>>,
    pub(super) offset: Option<Spanned<f64>>,
    pub(super) bit: Option<Spanned<u8>>,
    pub(super) length: Option<Spanned<u8>>,
}

/// `length = { … }` of a port.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LengthTable {
    pub(super) start: Spanned<String>,
    pub(super) at: Option<Spanned<u16>>,
    pub(super) bytes: Option<Spanned<u16>>,
    pub(super) add: Option<Spanned<u16>>,
    pub(super) sum: Option<Spanned<String>>,
}
