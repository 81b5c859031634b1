//! Ways to find the device of a port.

use super::Check;
use super::file::PortTable;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Vendor and product of a USB device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsbId {
    /// The vendor.
    pub vendor: u16,
    /// The vendor's number for the product.
    pub product: u16,
}

impl fmt::Display for UsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)
    }
}

/// Ways to find the device of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finder {
    /// By a path, which may be a link.
    Path(PathBuf),
    /// By USB id, and serial number where one is said.
    Usb {
        /// Vendor and product.
        id: UsbId,
        /// The device's own number.
        serial: Option<String>,
    },
    /// By the socket it is plugged in, such as `1-1.3`.
    At(String),
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Usb { id, serial: None } => write!(f, "USB {id}"),
            Self::Usb {
                id,
                serial: Some(serial),
            } => write!(f, "USB {id}/{serial}"),
            Self::At(socket) => write!(f, "socket {socket}"),
        }
    }
}

/// Reads which device is meant.
pub(super) fn finder(table: &PortTable, check: &mut Check<'_>) -> Option<Finder> {
    match (&table.path, &table.usb, &table.at) {
        (Some(path), None, None) => {
            if !path.get_ref().is_absolute() {
                check.error(
                    path.span(),
                    "path: write the whole path, such as \"/dev/serial/by-id/usb-…\"",
                );
            }
            warn_of_numbers(path, check);
            Some(Finder::Path(path.get_ref().clone()))
        }
        (None, Some(usb), None) => {
            let found = usb_finder(usb.get_ref());
            if found.is_none() {
                let why = format!(
                    "usb: {:?} is no USB id; write \"0403:6001\" or \"0403:6001/SERIAL\", as `tidemill-bridge ports` shows it",
                    usb.get_ref()
                );
                check.error(usb.span(), why);
            }
            found
        }
        (None, None, Some(at)) => {
            let socket = at.get_ref();
            let is_socket = !socket.is_empty()
                && socket.contains('-')
                && socket
                    .bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b':'));
            if !is_socket {
                let why = format!(
                    "at: {socket:?} is no socket; write \"1-1.3\", as `tidemill-bridge ports` shows it"
                );
                check.error(at.span(), why);
            }
            Some(Finder::At(socket.clone()))
        }
        _ => {
            let why = "a port has one of path, usb and at, by which its device is found";
            check.error(table.name.span(), why);
            None
        }
    }
}

/// Warns of paths that name another device after the next start.
fn warn_of_numbers(path: &Spanned<PathBuf>, check: &mut Check<'_>) {
    let is_numbered = |path: &Path| {
        let text = path.to_string_lossy();
        text.starts_with("/dev/ttyUSB") || text.starts_with("/dev/ttyACM")
    };
    if is_numbered(path.get_ref()) {
        let why = format!(
            "path: {} may be another device after the next start; write usb = \"…\" or a path below /dev/serial/by-id, as `tidemill-bridge ports` shows them",
            path.get_ref().display()
        );
        check.warn(path.span(), why);
    }
}

fn usb_finder(text: &str) -> Option<Finder> {
    let (id, serial) = match text.split_once('/') {
        Some((id, serial)) => (id, Some(serial)),
        None => (text, None),
    };
    let (vendor, product) = id.split_once(':')?;
    let hex = |text: &str| match text.len() {
        4 => u16::from_str_radix(text, 16).ok(),
        _ => None,
    };
    let id = UsbId {
        vendor: hex(vendor)?,
        product: hex(product)?,
    };
    let serial = serial.map(str::to_owned);
    serial
        .as_ref()
        .is_none_or(|serial| !serial.is_empty())
        .then_some(Finder::Usb { id, serial })
}
