//! The first boot's program on image files: each state of a card, and a cut behind each of its steps.

use super::disk;
use super::tests::folder;
use crate::shell::{capture, program};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/image/root/usr/lib/tidemill/data"
);

/// Programs that change something on a card.
const TOOLS: [&str; 3] = ["sfdisk", "mke2fs", "sync"];

/// A card as an image leaves it, larger than the image, and what the program needs beside it.
struct Card {
    folder: PathBuf,
}

impl Card {
    fn new(mib: u64) -> Option<Self> {
        if ["sfdisk", "mke2fs", "debugfs", "e2fsck"]
            .iter()
            .any(|tool| program(tool).is_none())
        {
            eprintln!("SKIPPED: fdisk and e2fsprogs are not installed");
            return None;
        }
        let card = Self { folder: folder() };
        fs::create_dir_all(card.path("template/tidemill")).unwrap();
        fs::create_dir_all(card.path("firmware")).unwrap();
        fs::write(card.path("firmware/config.txt"), "").unwrap();
        fs::write(card.path("template/tidemill-data"), "a data partition").unwrap();
        disk::make(&card.path("disk")).unwrap();
        card.resize(mib);
        Some(card)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn resize(&self, mib: u64) {
        let disk = File::options().write(true).open(self.path("disk")).unwrap();
        disk.set_len(mib << 20).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .arg(SCRIPT)
            .arg(self.path("disk"))
            .env("TIDEMILL_FIRMWARE", self.path("firmware"))
            .env("TIDEMILL_TEMPLATE", self.path("template"))
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()),
            );
        command
    }

    fn boot(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Flashes the image again: all of it but what lies behind its end.
    fn flash(&self) {
        let image = self.path("image");
        disk::make(&image).unwrap();
        let mut copy = Command::new("dd");
        copy.arg(format!("if={}", image.display()));
        copy.arg(format!("of={}", self.path("disk").display()));
        capture(copy.args(["conv=notrunc,sparse", "bs=1M", "status=none"])).unwrap();
    }

    fn kind(&self) -> String {
        let mut command = Command::new(program("sfdisk").unwrap());
        command.arg("--part-type").arg(self.path("disk")).arg("4");
        capture(&mut command).unwrap_or_default().trim().to_owned()
    }

    fn debugfs(&self, arguments: &[&str]) -> String {
        let offset = disk::DATA_START << 20;
        let mut command = Command::new(program("debugfs").unwrap());
        command.args(arguments);
        command.arg(format!("{}?offset={offset}", self.path("disk").display()));
        capture(&mut command).unwrap_or_default()
    }

    /// Puts a file of an owner on the data partition.
    fn keep(&self) {
        let file = self.path("mine");
        fs::write(&file, "precious").unwrap();
        let write = format!("write {} mine", file.display());
        self.debugfs(&["-w", "-R", &write]);
        assert!(self.has("mine"));
    }

    fn has(&self, name: &str) -> bool {
        self.debugfs(&["-R", &format!("stat /{name}")])
            .contains("Inode:")
    }

    fn report(&self) -> String {
        fs::read_to_string(self.path("firmware/tidemill-report.txt")).unwrap_or_default()
    }

    #[track_caller]
    fn check_whole(&self, context: &str) {
        let booted = self.boot();
        assert!(booted.status.success(), "{context}: {booted:?}");
        assert_eq!(self.kind(), "83", "{context}");
        assert!(
            self.has("tidemill-data") && self.has("tidemill"),
            "{context}"
        );
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_new_card_gets_a_data_partition_once() {
    let Some(card) = Card::new(7_600) else { return };
    let before = fs::metadata(card.path("disk")).unwrap().len();
    assert_eq!(card.kind(), "");
    card.check_whole("first boot");
    card.keep();
    card.check_whole("second boot");
    assert!(card.has("mine"), "it is never made anew");
    assert_eq!(card.report(), "");
    assert_eq!(fs::metadata(card.path("disk")).unwrap().len(), before);
}

#[test]
fn a_card_that_is_flashed_again_keeps_its_data() {
    let Some(card) = Card::new(7_600) else { return };
    card.check_whole("first boot");
    card.keep();
    card.flash();
    assert_eq!(card.kind(), "", "the image's table has no data partition");
    card.check_whole("flashed again");
    assert!(card.has("mine"));
    // Data of somebody else at the same place are none of ours.
    let mut make = Command::new(program("mke2fs").unwrap());
    make.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-E",
        &format!("offset={}", disk::DATA_START << 20),
    ]);
    make.arg(card.path("disk")).arg("1024m");
    capture(&mut make).unwrap();
    card.flash();
    card.check_whole("over a foreign file system");
    assert!(!card.has("mine"));
}

#[test]
fn a_data_partition_that_is_damaged_is_never_made_anew() {
    let Some(card) = Card::new(7_600) else { return };
    card.check_whole("first boot");
    let zeros = |at: u64, count: u64| {
        let mut wipe = Command::new("dd");
        wipe.args(["if=/dev/zero", "bs=512", "conv=notrunc", "status=none"]);
        wipe.arg(format!("of={}", card.path("disk").display()));
        wipe.arg(format!("seek={}", (disk::DATA_START << 11) + at))
            .arg(format!("count={count}"));
        capture(&mut wipe).unwrap();
    };
    zeros(2, 2);
    for _ in 0..2 {
        let booted = card.boot();
        assert_eq!(booted.status.code(), Some(1), "{booted:?}");
        assert_eq!(card.kind(), "83");
        let report = card.report();
        for said in [
            "is damaged, and is never made anew",
            "uperblock",
            "e2fsck -y",
        ] {
            assert!(report.contains(said), "no {said:?} in {report}");
        }
    }
}

#[test]
fn a_card_that_is_too_small_is_left_alone_and_the_report_says_how_much_is_missing() {
    let Some(card) = Card::new(4_000) else { return };
    let before = capture(
        Command::new(program("sfdisk").unwrap())
            .arg("--dump")
            .arg(card.path("disk")),
    );
    let booted = card.boot();
    assert_eq!(booted.status.code(), Some(1), "{booted:?}");
    let report = card.report();
    assert!(
        report.contains("this card has 4000 MiB, and 7400 are needed"),
        "{report}"
    );
    assert!(report.contains("3400 MiB are missing"), "{report}");
    let after = capture(
        Command::new(program("sfdisk").unwrap())
            .arg("--dump")
            .arg(card.path("disk")),
    );
    assert_eq!(before.unwrap_or_default(), after.unwrap_or_default());
}

/// Programs in front of the real ones: each counts, runs the real one, and ends the script at a number.
fn cutting_tools(card: &Card, at: u32) -> PathBuf {
    let tools = card.path("tools");
    fs::create_dir_all(&tools).unwrap();
    let count = card.path("count");
    fs::write(&count, "0").unwrap();
    for tool in TOOLS {
        let real = program(tool).unwrap();
        let text = format!(
            "#!/bin/sh\nn=$(($(cat {count}) + 1))\necho $n >{count}\n{real} \"$@\"\ncode=$?\n\
             [ $n -lt {at} ] || kill -9 $PPID\nexit $code\n",
            count = count.display(),
            real = real.display(),
        );
        let path = tools.join(tool);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    tools
}

#[test]
fn a_first_boot_that_is_cut_behind_any_step_ends_in_a_whole_one() {
    let mut cuts = 0;
    for at in 1..40 {
        let Some(card) = Card::new(7_600) else { return };
        let tools = cutting_tools(&card, at);
        let path = format!(
            "{}:{}:/usr/sbin:/sbin",
            tools.display(),
            std::env::var("PATH").unwrap()
        );
        let cut = card.command().env("PATH", path).output().unwrap();
        if cut.status.success() {
            break;
        }
        cuts += 1;
        card.check_whole(&format!("cut behind step {at}"));
        card.keep();
        card.check_whole(&format!("the boot after a cut behind step {at}"));
        assert!(card.has("mine"), "{at}");
    }
    assert!(cuts > 5, "only {cuts} cuts");
}

#[test]
fn a_first_boot_that_is_cut_over_a_used_card_keeps_its_data() {
    for at in 1..40 {
        let Some(card) = Card::new(7_600) else { return };
        card.check_whole("first boot");
        card.keep();
        card.flash();
        let tools = cutting_tools(&card, at);
        let path = format!(
            "{}:{}:/usr/sbin:/sbin",
            tools.display(),
            std::env::var("PATH").unwrap()
        );
        let cut = card.command().env("PATH", path).output().unwrap();
        card.check_whole(&format!("cut behind step {at}"));
        assert!(card.has("mine"), "cut behind step {at}");
        if cut.status.success() {
            break;
        }
    }
}
