//! The disk of an image: its partition table and file systems, made as files without mounts or loop devices.

use super::firmware::Fat;
use crate::shell::{capture, program};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// Begin and length of a partition, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// The boot partition.
pub(crate) const BOOT: Place = Place {
    start: 4,
    size: 512,
};

/// Room for a second one.
const BOOT_B: Place = Place {
    start: 516,
    size: 512,
};

/// The partition around the roots.
const ROOTS: Place = Place {
    start: 1_028,
    size: 4_104,
};

/// The root.
const ROOT: Place = Place {
    start: 1_032,
    size: 2_048,
};

/// Room for a second one.
const ROOT_B: Place = Place {
    start: 3_084,
    size: 2_048,
};

/// The beginning of the data partition, which the first boot makes: this never changes.
#[cfg(test)]
pub(crate) const DATA_START: u64 = 5_132;

/// The end of an image: what follows is made by the first boot, or is room.
pub(crate) const END: u64 = 3_085;

/// The table as sfdisk reads it.
fn table() -> String {
    let line = |place: Place, kind: &str| {
        format!(
            "start={}MiB, size={}MiB, type={kind}\n",
            place.start, place.size
        )
    };
    format!(
        "label: dos\n{}{}{}{}{}",
        line(BOOT, "c, bootable"),
        line(BOOT_B, "c"),
        line(ROOTS, "5"),
        // The fourth primary partition stays free.
        line(ROOT, "83").replacen("start", "5: start", 1),
        line(ROOT_B, "83").replacen("start", "6: start", 1),
    )
}

/// Makes a disk with its table, and nothing in its partitions.
pub(crate) fn make(disk: &Path) -> Result<()> {
    let file = File::create(disk).with_context(|| format!("cannot write {}", disk.display()))?;
    // sfdisk refuses a table that ends beyond its file.
    file.set_len((ROOTS.start + ROOTS.size) * MIB)?;
    let sfdisk = program("sfdisk").context("sfdisk is not installed")?;
    let mut child = Command::new(sfdisk)
        .args(["-q", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(table().as_bytes())?;
    }
    if !child.wait()?.success() {
        bail!("sfdisk refused the partition table of an image");
    }
    file.set_len(END * MIB)?;
    Ok(())
}

/// Makes a boot partition of a folder's files.
pub(crate) fn make_boot(disk: &Path, files: &Path, work: &Path) -> Result<()> {
    for (place, label) in [(BOOT, "RASPIFIRM"), (BOOT_B, "RASPIFIRMB")] {
        let image = work.join("fat");
        let _ = fs::remove_file(&image);
        File::create(&image)?.set_len(place.size * MIB)?;
        let mkfs = program("mkfs.vfat").context("mkfs.vfat is not installed")?;
        capture(
            Command::new(mkfs)
                .args(["-F", "32", "-n", label])
                .arg(&image),
        )?;
        if place.start == BOOT.start {
            let mut copy = Command::new("mcopy");
            copy.args(["-Q", "-s", "-i"]).arg(&image);
            for entry in fs::read_dir(files)? {
                copy.arg(entry?.path());
            }
            capture(copy.arg("::/"))?;
        }
        put(&image, disk, place.start * MIB)?;
        fs::remove_file(&image)?;
    }
    Ok(())
}

/// Makes a root of a folder.
pub(crate) fn make_root(disk: &Path, root: &Path, work: &Path) -> Result<()> {
    let image = work.join("ext4");
    let _ = fs::remove_file(&image);
    let mke2fs = program("mke2fs").context("mke2fs is not installed")?;
    let mut make = Command::new(mke2fs);
    make.args(["-q", "-F", "-t", "ext4", "-L", "RASPIROOT", "-m", "0", "-d"]);
    make.arg(root).arg(&image).arg(format!("{}M", ROOT.size));
    capture(&mut make).context("the root does not fit, or cannot be made")?;
    put(&image, disk, ROOT.start * MIB)?;
    fs::remove_file(&image)?;
    Ok(())
}

/// The boot partition of a disk.
pub(crate) fn boot_of(disk: &Path) -> Fat {
    Fat::at(disk, BOOT.start * MIB)
}

/// Copies a file to a place of a disk; what is zero stays a hole.
fn put(from: &Path, disk: &Path, offset: u64) -> Result<()> {
    let mut from = File::open(from)?;
    let mut disk = File::options().write(true).open(disk)?;
    let mut block = vec![0; MIB as usize];
    let mut at = offset;
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match from.read(block.get_mut(filled..).unwrap_or_default())? {
                0 => break,
                count => filled += count,
            }
        }
        let read = block.get(..filled).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        if read.iter().any(|byte| *byte != 0) {
            disk.seek(SeekFrom::Start(at))?;
            disk.write_all(read)?;
        }
        at += filled as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with the table of an image; `None` without the tools for it.
    fn disk(folder: &Path) -> Option<std::path::PathBuf> {
        if program("sfdisk").is_none() || program("mke2fs").is_none() {
            eprintln!("SKIPPED: fdisk and e2fsprogs are not installed");
            return None;
        }
        let disk = folder.join("disk");
        make(&disk).unwrap();
        Some(disk)
    }

    fn sfdisk(arguments: &[&str], disk: &Path) -> String {
        let mut command = Command::new(program("sfdisk").unwrap());
        capture(command.args(arguments).arg(disk)).unwrap()
    }

    #[test]
    fn the_table_is_that_of_the_documentation_and_the_image_ends_in_the_second_root() {
        let folder = crate::image::tests::folder();
        let Some(disk) = disk(&folder) else { return };
        let dump = sfdisk(&["--dump"], &disk);
        let start = |number: &str| -> u64 {
            let line = dump
                .lines()
                .find(|line| line.contains(&format!("disk{number} :")));
            let line = line.unwrap_or_else(|| panic!("no partition {number} in {dump}"));
            let start = line
                .split("start=")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap();
            start.trim().parse::<u64>().unwrap() / 2_048
        };
        assert_eq!(
            [1, 2, 3, 5, 6].map(|n| start(&n.to_string())),
            [4, 516, 1_028, 1_032, 3_084]
        );
        assert!(!dump.contains("disk4 :"), "{dump}");
        assert_eq!(fs::metadata(&disk).unwrap().len(), END * MIB);
        assert_eq!(ROOTS.start + ROOTS.size, DATA_START);
        let script = include_str!("../../../packaging/image/root/usr/lib/tidemill/data");
        assert!(script.contains(&format!("start_mib={DATA_START}\n")));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bytes_land_at_their_place() {
        let folder = crate::image::tests::folder();
        let (from, disk) = (folder.join("from"), folder.join("disk"));
        let mut bytes = vec![0; 3 * MIB as usize];
        bytes[MIB as usize + 5] = 7;
        fs::write(&from, &bytes).unwrap();
        File::create(&disk).unwrap().set_len(8 * MIB).unwrap();
        put(&from, &disk, 2 * MIB).unwrap();
        let all = fs::read(&disk).unwrap();
        assert_eq!(
            all.iter().position(|byte| *byte == 7),
            Some(3 * MIB as usize + 5)
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
