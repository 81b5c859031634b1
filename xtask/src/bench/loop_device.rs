//! A file system on a loop device: what is written to it is counted by the kernel at the block layer,
//! file-system journal and all, which no account of a process shows.

use crate::shell::{capture, program};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A sector, whatever the device's own is.
const SECTOR_BYTES: u64 = 512;

/// A mounted ext4; unmounted when it is dropped.
pub(super) struct LoopDevice {
    mounted_at: PathBuf,
    /// `/sys/block/loop3/stat`.
    stat: PathBuf,
}

/// Writes to the device since it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) requests: u64,
    pub(super) flushes: u64,
}

impl LoopDevice {
    /// Makes an image of so many MiB in `folder` and mounts it at `at`.
    pub(super) fn mount(folder: &Path, at: &Path, mib: u64) -> Result<Self> {
        let image = folder.join("image");
        File::create(&image)?.set_len(mib << 20)?;
        fs::create_dir_all(at)?;
        // All of it is written now: what mkfs leaves for later would be taken for the agent's.
        let make = [
            "-q",
            "-F",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
        ];
        capture(tool("mkfs.ext4")?.args(make).arg(&image))?;
        capture(tool("mount")?.args(["-o", "loop"]).arg(&image).arg(at)).context(
            "loop devices are not allowed here (it takes root, and a kernel that lets it)",
        )?;
        let mut device = Self {
            mounted_at: at.to_owned(),
            stat: PathBuf::new(),
        };
        let name = device.name()?;
        device.stat = Path::new("/sys/block").join(name).join("stat");
        device.written()?;
        Ok(device)
    }

    fn name(&self) -> Result<String> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let at = self.mounted_at.display().to_string();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(&at));
        let device = line.and_then(|line| line.split(' ').next()?.strip_prefix("/dev/"));
        Ok(device
            .with_context(|| format!("{at} is not mounted"))?
            .to_owned())
    }

    /// Writes out what the file system holds back, then reads the device's count.
    pub(super) fn settled(&self) -> Result<Written> {
        capture(tool("sync")?.arg("-f").arg(&self.mounted_at))?;
        self.written()
    }

    /// The device's count.
    pub(super) fn written(&self) -> Result<Written> {
        let text = fs::read_to_string(&self.stat)
            .with_context(|| format!("no account of writes in {}", self.stat.display()))?;
        parse(&text).with_context(|| format!("{} says {text:?}", self.stat.display()))
    }

    /// Bytes of the device that files take.
    pub(super) fn used_bytes(&self) -> Result<u64> {
        let line = capture(
            tool("df")?
                .args(["--block-size=1", "--output=used"])
                .arg(&self.mounted_at),
        )?;
        let number = line
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok());
        number.with_context(|| format!("df says {line:?}"))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // The agent may be a moment from its end; a lazy unmount waits for that.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(&self.mounted_at)
            .status();
    }
}

fn tool(name: &str) -> Result<Command> {
    match program(name).or_else(|| program_of_root(name)) {
        Some(path) => Ok(Command::new(path)),
        None => bail!("{name} is not installed"),
    }
}

fn program_of_root(name: &str) -> Option<PathBuf> {
    let path = Path::new("/sbin").join(name);
    path.is_file().then_some(path)
}

/// The fields that the kernel's Documentation/block/stat.rst numbers 5, 7 and 16.
fn parse(stat: &str) -> Option<Written> {
    let fields: Vec<u64> = stat
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    Some(Written {
        requests: *fields.get(4)?,
        bytes: fields.get(6)? * SECTOR_BYTES,
        // Older kernels do not count them.
        flushes: fields.get(15).copied().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_read_from_the_right_fields() {
        let stat = "  54  0  2100  4  1  0  2  0  0  4  4  0  0  0  0  7  1\n";
        let written = Written {
            bytes: 1_024,
            requests: 1,
            flushes: 7,
        };
        assert_eq!(parse(stat), Some(written));
        assert_eq!(parse("1 2 3"), None);
    }
}
