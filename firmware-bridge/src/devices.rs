//! Serial devices of the machine, from a tree of `/sys`: USB id, serial number and socket of each, and the one that a
//! port means. Only folders and files are read; nothing is opened that could reset a board.

mod holder;

use crate::config::{Finder, UsbId};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use holder::name as process_name;
pub use holder::{Holder, holder};

/// Folders in which the machine shows its devices; another one for tests.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
    /// `/proc`
    pub proc: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            proc: "/proc".into(),
        }
    }
}

/// The USB device behind a tty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usb {
    /// Vendor and product.
    pub id: UsbId,
    /// Its own number, which cheap adapters lack.
    pub serial: Option<String>,
    /// The socket it is plugged in: `1-1.3`.
    pub socket: String,
    /// The interface of a device with several: `1-1.3:1.2`.
    pub interface: Option<String>,
    /// Words of maker and product.
    pub product: Option<String>,
}

/// A serial device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The tty: `/dev/ttyUSB0`.
    pub tty: PathBuf,
    /// Its USB device, unless it is soldered to the board.
    pub usb: Option<Usb>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// A link in `/dev/serial/by-id`, which stays the same.
    pub by_id: Option<PathBuf>,
}

/// Reasons for a port to have no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// Nothing like it is plugged in.
    #[error("{0} is not there")]
    Nothing(String),
    /// Several are.
    #[error(
        "{what} is there {times} times: {names}; write at = \"…\" with the socket of the one that is meant"
    )]
    Several {
        /// The device that is looked for.
        what: String,
        /// The number of times it was found.
        times: usize,
        /// Each with its socket.
        names: String,
    },
}

/// Lists the serial devices of the machine by name. Consoles and ports without hardware are none.
pub fn list(roots: &Roots) -> Vec<Device> {
    let Ok(entries) = fs::read_dir(roots.sys.join("class/tty")) else {
        return Vec::new();
    };
    let links = by_id(&roots.dev);
    let mut devices: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| device(roots, &entry.path(), &links))
        .collect();
    devices.sort_by_key(|device| natural(&device.tty));
    devices
}

/// Sorts `ttyUSB2` before `ttyUSB10`.
fn natural(path: &Path) -> (usize, PathBuf) {
    (path.as_os_str().len(), path.to_owned())
}

fn device(roots: &Roots, class: &Path, links: &[(PathBuf, PathBuf)]) -> Option<Device> {
    let name = class.file_name()?;
    let hardware = fs::canonicalize(class.join("device")).ok()?;
    // A serial port of a PC that is only a number in the kernel has the type 0.
    if read(class, "type").as_deref() == Some("0") {
        return None;
    }
    let driver = fs::read_link(hardware.join("driver")).ok();
    let driver = driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned()));
    let tty = roots.dev.join(name);
    let by_id = links.iter().find(|(_, target)| *target == tty);
    Some(Device {
        usb: usb(&hardware),
        driver: driver.filter(|driver| driver != "port"),
        by_id: by_id.map(|(link, _)| link.clone()),
        tty,
    })
}

/// The nearest folder above a tty that has a USB id.
fn usb(hardware: &Path) -> Option<Usb> {
    let device = hardware
        .ancestors()
        .find(|path| path.join("idVendor").is_file())?;
    let hex = |file: &str| u16::from_str_radix(&read(device, file)?, 16).ok();
    let interface = hardware
        .ancestors()
        .take_while(|path| *path != device)
        .find(|path| path.join("bInterfaceNumber").is_file());
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let words = [read(device, "manufacturer"), read(device, "product")];
    let words: Vec<String> = words.into_iter().flatten().collect();
    Some(Usb {
        id: UsbId {
            vendor: hex("idVendor")?,
            product: hex("idProduct")?,
        },
        serial: read(device, "serial"),
        socket: name(device)?,
        interface: interface.and_then(name),
        product: (!words.is_empty()).then(|| words.join(" ")),
    })
}

/// Links by which udev names devices, with the ttys they lead to.
fn by_id(dev: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(dev.join("serial/by-id")).into_iter().flatten();
    let links = entries.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.path(), dev.join(target.file_name()?)))
    });
    links.collect()
}

fn read(folder: &Path, file: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Returns the tty of the device that is meant.
///
/// # Errors
/// When there is none, or more than one.
pub fn find(roots: &Roots, finder: &Finder) -> Result<PathBuf, NotFound> {
    if let Finder::Path(path) = finder {
        let there = fs::symlink_metadata(path).is_ok() && fs::canonicalize(path).is_ok();
        return there
            .then(|| path.clone())
            .ok_or_else(|| NotFound::Nothing(finder.to_string()));
    }
    let found: Vec<Device> = list(roots)
        .into_iter()
        .filter(|device| device.usb.as_ref().is_some_and(|usb| is_meant(finder, usb)))
        .collect();
    match &*found {
        [] => Err(NotFound::Nothing(finder.to_string())),
        [one] => Ok(one.tty.clone()),
        several => Err(NotFound::Several {
            what: finder.to_string(),
            times: several.len(),
            names: several
                .iter()
                .map(with_place)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn with_place(device: &Device) -> String {
    let usb = device.usb.as_ref();
    let place = usb.map(|usb| usb.interface.as_ref().unwrap_or(&usb.socket).as_str());
    format!("{} at {}", device.tty.display(), place.unwrap_or("?"))
}

fn is_meant(finder: &Finder, usb: &Usb) -> bool {
    match finder {
        Finder::Path(_) => false,
        Finder::Usb { id, serial } => usb.id == *id && (serial.is_none() || *serial == usb.serial),
        Finder::At(place) => usb.socket == *place || usb.interface.as_ref() == Some(place),
    }
}

#[cfg(test)]
mod tests;
