//! Serial ports: opened once, with locks that keep others out, and the words for those that cannot be.

use crate::config::{DataBits, Finder, Flow, LineSettings, Parity, Rs485, StopBits};
use crate::devices::{self, Roots};
use crate::port::{Line, State};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{ioctl_tiocexcl, ioctl_tiocnxcl, isatty};
use serial2_tokio::rs4xx::Rs485Config;
use serial2_tokio::{CharSize, FlowControl, KeepSettings, SerialPort, Settings};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// An open port.
#[derive(Debug)]
pub struct Serial {
    /// Reads and writes.
    pub port: SerialPort,
    /// The tty once more: it holds the lock, and answers for counts.
    guard: File,
}

/// `HUPCL` of `asm-generic/termbits.h`: the last one who closes drops DTR, which resets many boards.
const HANG_UP_ON_CLOSE: u32 = 0o2000;

impl Serial {
    /// Opens the device of a port, locks it and sets its line.
    ///
    /// # Errors
    /// The state for the port's status where it cannot be had, with the reason and a way out.
    pub fn open(
        roots: &Roots,
        finder: &Finder,
        settings: &LineSettings,
    ) -> Result<(Self, Line), Line> {
        let tty = devices::find(roots, finder).map_err(|why| absent(None, why.to_string()))?;
        let fail = |error: io::Error| explain(roots, &tty, &error);
        let found = fs::metadata(&tty).map_err(fail)?;
        if !found.file_type().is_char_device() {
            return Err(denied(
                &tty,
                "this is no serial port but a file or folder".to_owned(),
            ));
        }
        let guard = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY))
            .open(&tty)
            .map_err(fail)?;
        if !isatty(&guard) {
            return Err(denied(
                &tty,
                "this is a device, but no serial port".to_owned(),
            ));
        }
        flock(&guard, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| fail(error.into()))?;
        let mut port = SerialPort::open(&tty, KeepSettings).map_err(fail)?;
        // Nobody opens it from now on, but for root.
        ioctl_tiocexcl(&guard).map_err(|error| fail(error.into()))?;
        configure(&mut port, settings).map_err(|error| denied(&tty, error))?;
        let line = Line {
            state: State::Open,
            tty: Some(tty.display().to_string()),
            why: None,
        };
        Ok((Self { port, guard }, line))
    }

    /// Sets the line anew.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn configure(&mut self, wanted: &LineSettings) -> Result<(), String> {
        configure(&mut self.port, wanted)
    }

    /// Characters that were lost before anybody could read them, where the driver counts them.
    pub fn overruns(&self) -> Option<u64> {
        let counters = tidemill_tty::counters(&self.guard).ok()?;
        Some(counters.overrun + counters.buffer_overrun)
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // The kernel does so at the last close, but not of a pseudo-terminal whose other end is open.
        let _ = ioctl_tiocnxcl(&self.guard);
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

fn configure(port: &mut SerialPort, wanted: &LineSettings) -> Result<(), String> {
    let baud = wanted.baud;
    let fail = |error: io::Error| format!("the line settings were refused: {error}");
    let mut settings = port.get_configuration().map_err(fail)?;
    raw(&mut settings, wanted).map_err(fail)?;
    port.set_configuration(&settings).map_err(|error| {
        format!("{baud} baud or another setting was refused: {error}; try baud = 115200")
    })?;
    if wanted.rs485 == Rs485::Kernel {
        port.set_rs4xx_mode(Rs485Config::new()).map_err(|error| {
            format!("the driver does not switch RS-485: {error}; write rs485 = \"adapter\" if the adapter does")
        })?;
    }
    Ok(())
}

fn raw(settings: &mut Settings, wanted: &LineSettings) -> io::Result<()> {
    settings.set_raw();
    settings.set_baud_rate(wanted.baud)?;
    settings.set_char_size(match wanted.bits {
        DataBits::Seven => CharSize::Bits7,
        DataBits::Eight => CharSize::Bits8,
    });
    settings.set_parity(match wanted.parity {
        Parity::None => serial2_tokio::Parity::None,
        Parity::Even => serial2_tokio::Parity::Even,
        Parity::Odd => serial2_tokio::Parity::Odd,
    });
    settings.set_stop_bits(match wanted.stop_bits {
        StopBits::One => serial2_tokio::StopBits::One,
        StopBits::Two => serial2_tokio::StopBits::Two,
    });
    settings.set_flow_control(match wanted.flow {
        Flow::None => FlowControl::None,
        Flow::RtsCts => FlowControl::RtsCts,
    });
    settings.as_termios_mut().c_cflag &= !HANG_UP_ON_CLOSE;
    Ok(())
}

fn absent(tty: Option<&Path>, why: String) -> Line {
    Line {
        state: State::Absent,
        tty: tty.map(|tty| tty.display().to_string()),
        why: Some(why),
    }
}

fn denied(tty: &Path, why: String) -> Line {
    Line {
        state: State::Denied,
        ..absent(Some(tty), why)
    }
}

/// Says why a port cannot be had, and what to do.
fn explain(roots: &Roots, tty: &Path, error: &io::Error) -> Line {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::IO) => {
            absent(Some(tty), error.to_string())
        }
        Some(Errno::BUSY | Errno::AGAIN) => {
            let holder = devices::holder(&roots.proc, tty);
            let why = match holder {
                Some(holder) => {
                    format!("{holder} has it; end that one, or take the port out of this file")
                }
                None => {
                    "another program has it, which only root may see: try sudo fuser -v".to_owned()
                }
            };
            Line {
                state: State::Busy,
                ..absent(Some(tty), why)
            }
        }
        Some(Errno::ACCESS | Errno::PERM) => denied(tty, permission(tty)),
        _ => denied(tty, error.to_string()),
    }
}

/// A sentence on permissions that names the group.
fn permission(tty: &Path) -> String {
    let group = fs::metadata(tty).ok().and_then(|found| {
        let groups = fs::read_to_string("/etc/group").ok()?;
        group_name(&groups, found.gid())
    });
    match group.as_deref() {
        Some("root") | None => {
            "this user may not open it, and no group may: a rule for udev has to give it one"
                .to_owned()
        }
        Some(group) => format!(
            "this user is not in the group {group}, which may open it; type: sudo usermod -aG {group} \"$USER\", or in a unit SupplementaryGroups={group}"
        ),
    }
}

fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn what_is_no_port_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let check = |path: &Path, state: State, why: &str| {
            let finder = Finder::Path(path.to_owned());
            let opened = Serial::open(&Roots::default(), &finder, &LineSettings::default());
            let line = opened.unwrap_err();
            assert_eq!(line.state, state, "{line:?}");
            assert!(line.why.as_ref().unwrap().contains(why), "{line:?}");
        };
        check(
            &directory.path().join("none"),
            State::Absent,
            "none is not there",
        );
        check(
            directory.path(),
            State::Denied,
            "no serial port but a file or folder",
        );
        check(
            Path::new("/dev/null"),
            State::Denied,
            "a device, but no serial port",
        );
    }

    #[test]
    fn the_group_of_a_port_is_named() {
        let groups = "root:x:0:\ndialout:x:20:me,you\n";
        assert_eq!(group_name(groups, 20).as_deref(), Some("dialout"));
        assert_eq!(group_name(groups, 21), None);
    }
}
