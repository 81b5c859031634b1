//! The firmware stand-in: reads a boot partition as a board's firmware would, and refuses what would not start
//! there. It knows what the files say, and nothing of what the firmware itself does.

use crate::shell::capture;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A board, as far as its firmware chooses among files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Board {
    /// Its name on our command lines.
    pub(crate) name: &'static str,
    /// Sections of `config.txt` that it reads besides `[all]`.
    sections: &'static [&'static str],
    /// Files that its ROM or EEPROM starts; none where that starts the kernel itself.
    start: &'static [&'static str],
    /// The device tree that it takes where nothing else is named, by upstream's names.
    tree: &'static str,
    /// The same by the vendor's name.
    vendor_tree: &'static str,
}

/// All boards that an image is checked for.
pub(crate) const BOARDS: [Board; 4] = [
    Board {
        name: "3b",
        sections: &["pi3"],
        start: &["bootcode.bin", "start.elf", "fixup.dat"],
        tree: "bcm2837-rpi-3-b.dtb",
        vendor_tree: "bcm2710-rpi-3-b.dtb",
    },
    Board {
        name: "zero2",
        sections: &["pi02", "pi0", "pi3"],
        start: &["bootcode.bin", "start.elf", "fixup.dat"],
        tree: "bcm2837-rpi-zero-2-w.dtb",
        vendor_tree: "bcm2710-rpi-zero-2-w.dtb",
    },
    Board {
        name: "4b",
        sections: &["pi4"],
        start: &["start4.elf", "fixup4.dat"],
        tree: "bcm2711-rpi-4-b.dtb",
        vendor_tree: "bcm2711-rpi-4-b.dtb",
    },
    Board {
        name: "5b",
        sections: &["pi5"],
        start: &[],
        tree: "bcm2712-rpi-5-b.dtb",
        vendor_tree: "bcm2712-rpi-5-b.dtb",
    },
];

impl Board {
    /// The board of this name; fails with all names where there is none.
    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = BOARDS.iter().find(|board| board.name == name);
        let names: Vec<&str> = BOARDS.iter().map(|board| board.name).collect();
        found.copied().ok_or_else(|| {
            crate::args::Misuse(format!(
                "there is no board {name:?}, there are {}",
                names.join(", ")
            ))
            .into()
        })
    }
}

/// A file system of kind FAT in a file, or in a part of one.
#[derive(Debug, Clone)]
pub(crate) struct Fat {
    /// The file as mtools names it, with an offset behind `@@` where it has one.
    image: String,
}

impl Fat {
    /// The file system that begins at an offset of a file.
    pub(crate) fn at(file: &Path, offset: u64) -> Self {
        Self {
            image: format!("{}@@{offset}", file.display()),
        }
    }

    /// Copies a file out of it to a folder; returns where it lies then.
    fn take(&self, name: &str, to: &Path) -> Result<PathBuf> {
        let path = to.join(Path::new(name).file_name().unwrap_or_default());
        let mut command = Command::new("mcopy");
        command.args(["-n", "-o", "-i", &self.image]);
        command.arg(format!("::/{name}")).arg(&path);
        capture(&mut command).map_err(|_| anyhow::anyhow!("the boot partition has no {name}"))?;
        Ok(path)
    }

    fn text(&self, name: &str, to: &Path) -> Result<String> {
        let path = self.take(name, to)?;
        fs::read_to_string(&path).with_context(|| format!("{name} is no text"))
    }

    /// `true` if it has a file.
    fn has(&self, name: &str) -> bool {
        let mut command = Command::new("mdir");
        command.args(["-b", "-i", &self.image, &format!("::/{name}")]);
        capture(&mut command).is_ok()
    }
}

/// The files and words that a board's firmware hands to a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The kernel, copied out of the boot partition.
    pub(crate) kernel: PathBuf,
    /// The first file system, likewise.
    pub(crate) initramfs: PathBuf,
    /// The device tree, likewise.
    pub(crate) tree: PathBuf,
    /// The command line as it stands there.
    pub(crate) command_line: String,
}

/// The settings of `config.txt` that choose files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settings {
    kernel: Option<String>,
    initramfs: Option<String>,
    prefix: String,
    tree: Option<String>,
    is_upstream: bool,
    command_line: Option<String>,
}

impl Settings {
    /// Reads the file as one board does: the last line that counts for it wins.
    fn read(text: &str, board: &Board) -> Self {
        let mut settings = Self::default();
        let mut counts = true;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(section) = line.strip_prefix('[') {
                let section = section.trim_end_matches(']').trim().to_lowercase();
                counts = section == "all" || board.sections.contains(&section.as_str());
                continue;
            }
            if !counts {
                continue;
            }
            if let Some(rest) = line.strip_prefix("initramfs ") {
                settings.initramfs = rest.split_whitespace().next().map(str::to_owned);
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().to_owned();
            match key.trim() {
                "kernel" => settings.kernel = Some(value),
                "ramfsfile" => settings.initramfs = Some(value),
                "os_prefix" => settings.prefix = value,
                "device_tree" => settings.tree = Some(value),
                "upstream_kernel" => settings.is_upstream = value == "1",
                "cmdline" => settings.command_line = Some(value),
                _ => {}
            }
        }
        settings
    }
}

/// Reads a boot partition as the firmware of a board would, copying what it names to a folder; fails with what
/// would keep the board from starting.
pub(crate) fn read(fat: &Fat, board: &Board, to: &Path) -> Result<Start> {
    for file in board.start {
        if !fat.has(file) {
            bail!(
                "the boot partition has no {file}, which a {} starts from",
                board.name
            );
        }
    }
    let config = fat.text("config.txt", to)?;
    let settings = Settings::read(&config, board);
    let of_prefix = |name: &str| format!("{}{name}", settings.prefix);
    let kernel = settings
        .kernel
        .as_deref()
        .context("config.txt names no kernel, and our kernels have no default name")?;
    let initramfs = settings
        .initramfs
        .as_deref()
        .context("config.txt names no initramfs, and the root cannot be found without")?;
    let default_tree = if settings.is_upstream {
        board.tree
    } else {
        board.vendor_tree
    };
    let tree = settings.tree.as_deref().unwrap_or(default_tree);
    let tree = fat
        .take(&of_prefix(tree), to)
        .with_context(|| format!("the device tree of a {}", board.name))?;
    let name = settings.command_line.as_deref().unwrap_or("cmdline.txt");
    let command_line = command_line(&fat.text(&of_prefix(name), to)?)?;
    Ok(Start {
        kernel: fat.take(&of_prefix(kernel), to)?,
        initramfs: fat.take(&of_prefix(initramfs), to)?,
        tree,
        command_line,
    })
}

/// Checks the words that go to the kernel.
fn command_line(text: &str) -> Result<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let [line] = lines.as_slice() else {
        bail!(
            "cmdline.txt has {} lines, and firmware hands over the first one alone: it has to be one",
            lines.len()
        );
    };
    let mut words = line.split_whitespace();
    if !words.clone().any(|word| word.starts_with("root=")) {
        bail!("cmdline.txt has no root=");
    }
    if let Some(word) = words.find(|word| word.starts_with("cma=")) {
        bail!("cmdline.txt has {word}, with which a Pi 4 may not start; build with CMA=0");
    }
    Ok(line.trim().to_owned())
}

impl Start {
    /// The command line with this console in place of those of a board.
    pub(crate) fn with_console(&self, console: &str) -> String {
        let words = self.command_line.split_whitespace();
        let others = words.filter(|word| !word.starts_with("console="));
        let words: Vec<&str> = others.collect();
        format!("console={console} {}", words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::program;

    const CONFIG: &str = "# x\narm_64bit=1\nupstream_kernel=1\nkernel=vmlinuz-1\n[pi4]\nkernel=vmlinuz-4\n\
         [all]\ninitramfs initrd.img-1\n[none]\nkernel=nothing\n";
    const WORDS: &str = "console=tty0 console=ttyS1,115200 root=LABEL=RASPIROOT ro rootwait\n";

    fn board(name: &str) -> Board {
        Board::named(name).unwrap()
    }

    /// A small boot partition with these files besides the firmware's; `None` without the tools for it.
    fn partition(folder: &Path, files: &[(&str, &str)]) -> Option<Fat> {
        if program("mcopy").is_none() || program("mkfs.vfat").is_none() {
            eprintln!("SKIPPED: mtools and dosfstools are not installed");
            return None;
        }
        let image = folder.join("fat");
        fs::File::create(&image).unwrap().set_len(2 << 20).unwrap();
        capture(Command::new(program("mkfs.vfat").unwrap()).arg(&image)).unwrap();
        let fat = Fat::at(&image, 0);
        let own = [
            "bootcode.bin",
            "start.elf",
            "fixup.dat",
            "start4.elf",
            "fixup4.dat",
        ];
        let trees = BOARDS.iter().map(|board| board.tree);
        let kernels = ["vmlinuz-1", "vmlinuz-4", "initrd.img-1"];
        let names = own.into_iter().chain(trees).chain(kernels);
        let all: Vec<(&str, &str)> = names
            .map(|name| (name, name))
            .chain(files.iter().copied())
            .collect();
        for (name, text) in all {
            let path = folder.join("in");
            fs::write(&path, text).unwrap();
            let mut command = Command::new("mcopy");
            command
                .args(["-o", "-i", &fat.image])
                .arg(&path)
                .arg(format!("::/{name}"));
            capture(&mut command).unwrap();
        }
        Some(fat)
    }

    fn remove(fat: &Fat, name: &str) {
        let mut command = Command::new("mdel");
        command.args(["-i", &fat.image, &format!("::/{name}")]);
        capture(&mut command).unwrap();
    }

    #[test]
    fn each_board_takes_its_own_files() {
        let folder = tempfile();
        let files = [("config.txt", CONFIG), ("cmdline.txt", WORDS)];
        let Some(fat) = partition(&folder, &files) else {
            return;
        };
        for (name, kernel) in [
            ("3b", "vmlinuz-1"),
            ("zero2", "vmlinuz-1"),
            ("4b", "vmlinuz-4"),
            ("5b", "vmlinuz-1"),
        ] {
            let board = board(name);
            let start = read(&fat, &board, &folder).unwrap();
            assert_eq!(fs::read_to_string(&start.kernel).unwrap(), kernel, "{name}");
            assert_eq!(
                fs::read_to_string(&start.tree).unwrap(),
                board.tree,
                "{name}"
            );
            assert_eq!(
                start.with_console("ttyAMA0"),
                "console=ttyAMA0 root=LABEL=RASPIROOT ro rootwait"
            );
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_would_not_start_is_refused_by_name() {
        let folder = tempfile();
        let check = |files: &[(&str, &str)], gone: &str, name: &str, expected: &str| {
            let own = [("config.txt", CONFIG), ("cmdline.txt", WORDS)];
            let all = [&own[..], files].concat();
            let Some(fat) = partition(&folder, &all) else {
                return;
            };
            if !gone.is_empty() {
                remove(&fat, gone);
            }
            let error = read(&fat, &board(name), &folder).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains(expected), "{said}");
        };
        check(
            &[],
            "bcm2837-rpi-3-b.dtb",
            "3b",
            "has no bcm2837-rpi-3-b.dtb",
        );
        check(&[], "start.elf", "zero2", "has no start.elf");
        check(&[], "start4.elf", "4b", "has no start4.elf");
        check(&[], "initrd.img-1", "3b", "has no initrd.img-1");
        check(&[], "config.txt", "3b", "has no config.txt");
        check(&[], "cmdline.txt", "3b", "has no cmdline.txt");
        let cma = [("cmdline.txt", "root=LABEL=R ro cma=64M\n")];
        check(
            &cma,
            "",
            "4b",
            "cmdline.txt has cma=64M, with which a Pi 4 may not start",
        );
        let two = [("cmdline.txt", "console=tty0\nroot=LABEL=R\n")];
        check(&two, "", "3b", "cmdline.txt has 2 lines");
        check(
            &[("cmdline.txt", "ro\n")],
            "",
            "3b",
            "cmdline.txt has no root=",
        );
        check(
            &[("config.txt", "arm_64bit=1\n")],
            "",
            "3b",
            "config.txt names no kernel",
        );
        let prefix = format!("{CONFIG}[all]\nos_prefix=a/\n");
        check(
            &[("config.txt", &prefix)],
            "",
            "3b",
            "has no a/bcm2837-rpi-3-b.dtb",
        );
        let vendor = CONFIG.replace("upstream_kernel=1\n", "");
        check(
            &[("config.txt", &vendor)],
            "",
            "3b",
            "has no bcm2710-rpi-3-b.dtb",
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_board_that_nobody_knows_is_refused_with_the_known_ones() {
        let error = Board::named("2b").unwrap_err().to_string();
        assert!(error.contains("3b, zero2, 4b, 5b"), "{error}");
    }

    fn tempfile() -> PathBuf {
        crate::image::tests::folder()
    }
}
