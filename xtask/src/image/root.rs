//! The root of an image: Debian's packages, the agent, and the files of `packaging/image`.

use crate::setup;
use crate::shell::{Workspace, cache, capture, run, run_logged, say, turn};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The release of Debian.
const SUITE: &str = "trixie";

/// Packages of every image. `initramfs-tools` by name: the kernel of trixie-backports asks for dracut first.
const PACKAGES: &str = "systemd-sysv,systemd-timesyncd,systemd-resolved,udev,dbus,kmod,iproute2,netbase,\
     ca-certificates,fdisk,e2fsprogs,dosfstools,login,zstd,openssh-server,sudo,tzdata,initramfs-tools,raspi-firmware,\
     firmware-brcm80211,wpasupplicant,wireless-regdb,mosquitto";

/// Packages of the last build are taken again for so long.
const BASE_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Settings that the kernel's and the firmware's scripts read while they are installed. `cma=64M`, the firmware's
/// default, may keep a Pi 4 from starting; in a chroot it would find no console but `tty0`.
const BEFORE: &str = r#"mkdir -p "$1/etc/default" "$1/boot/firmware" "$1/etc/initramfs-tools"
printf 'CMA=0\nROOTPART=LABEL=RASPIROOT\nCONSOLES="tty0 ttyS1,115200"\n' >"$1/etc/default/raspi-firmware"
printf 'ro\n' >"$1/etc/default/raspi-extra-cmdline"
printf 'update_initramfs=no\n' >"$1/etc/initramfs-tools/update-initramfs.conf"
printf 'LABEL=RASPIROOT / ext4 ro,noatime 0 1\nLABEL=RASPIFIRM /boot/firmware vfat ro 0 2\n' >"$1/etc/fstab""#;

/// Choices for an image.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The agent, or its Debian package.
    pub(super) agent: PathBuf,
    /// The kernel for a Pi 5.
    pub(super) is_pi5: bool,
    /// Debian's packages anew.
    pub(super) is_fresh: bool,
}

/// A folder for a build, removed with all that is in it.
#[derive(Debug)]
pub(super) struct Work {
    folder: PathBuf,
    _turn: File,
}

impl Work {
    /// An empty folder below another, for one build at a time.
    pub(super) fn new(below: &Path) -> Result<Self> {
        let turn = turn(below)?;
        let folder = below.join("work");
        remove(&folder)?;
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            _turn: turn,
        })
    }

    /// A path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            say(format!("{} stays: {error:#}", self.folder.display()));
        }
    }
}

/// Removes a folder, but never through a mount that a build which was killed may have left.
fn remove(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let inside = format!("{}/", folder.display());
    let mut left: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|place| place.starts_with(&inside))
        .collect();
    left.sort_unstable();
    for place in left.iter().rev() {
        run(Command::new("umount").arg(place))?;
    }
    capture(
        Command::new("rm")
            .args(["-rf", "--one-file-system"])
            .arg(folder),
    )
    .map(drop)
}

/// Fails, saying what to do, where no image can be built.
pub(super) fn ensure_may_build() -> Result<()> {
    if capture(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!("files of an image belong to many users: run this as root");
    }
    let kinds = Path::new("/proc/sys/fs/binfmt_misc");
    if !kinds.join("register").exists() {
        let mounted = capture(
            Command::new("mount")
                .args(["-t", "binfmt_misc", "binfmt_misc"])
                .arg(kinds),
        );
        mounted
            .context("programs of another processor cannot be run here: there is no binfmt_misc")?;
    }
    if !kinds.join("qemu-aarch64").exists() {
        let rule = fs::read("/usr/lib/binfmt.d/qemu-aarch64.conf")
            .context("qemu-user-static has no /usr/lib/binfmt.d/qemu-aarch64.conf")?;
        fs::write(kinds.join("register"), rule)
            .context("the kernel takes no emulator for arm64: binfmt_misc is not writable")?;
    }
    Ok(())
}

/// Makes the root; returns its folder.
pub(super) fn make(workspace: &Workspace, wanted: &Wanted, work: &Work) -> Result<PathBuf> {
    let base = base(wanted)?;
    let root = work.path("root");
    fs::create_dir_all(&root)?;
    say("unpacking Debian's root");
    let mut unpack = Command::new("tar");
    unpack.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xf"]);
    capture(unpack.arg(&base).arg("-C").arg(&root))?;
    say("putting the agent in");
    install(workspace, &wanted.agent, &root)?;
    let packaging = workspace.root.join("packaging/image");
    let mut copy = Command::new("cp");
    copy.args(["-R", "--no-preserve=ownership"])
        .arg(packaging.join("root/."))
        .arg(&root);
    capture(&mut copy)?;
    run(Command::new("sh")
        .arg(packaging.join("customise"))
        .arg(&root))?;
    Ok(root)
}

/// A root of Debian's packages alone, as an archive in our cache.
fn base(wanted: &Wanted) -> Result<PathBuf> {
    let (suffix, kernel) = if wanted.is_pi5 {
        ("-pi5", format!("linux-image-arm64/{SUITE}-backports"))
    } else {
        ("", "linux-image-arm64".to_owned())
    };
    let folder = cache("image")?;
    let archive = folder.join(format!("debian-{SUITE}{suffix}.tar"));
    let age = fs::metadata(&archive)
        .and_then(|found| found.modified())
        .ok();
    let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
    if !wanted.is_fresh && age.is_some_and(|age| age < BASE_AGE_MAX) {
        say(format!(
            "taking Debian's packages of the last build ({})",
            archive.display()
        ));
        return Ok(archive);
    }
    let aside = folder.join("debian.unfinished.tar");
    let mirror = setup::debian_mirror()?;
    let log = folder.join("mmdebstrap.log");
    say(format!(
        "installing Debian {SUITE} for arm64, which takes minutes; {} tells",
        log.display()
    ));
    let mut command = Command::new("mmdebstrap");
    command.args(["--architectures=arm64", "--variant=apt", "--format=tar"]);
    command.arg("--components=main non-free-firmware");
    command.arg(format!("--include={PACKAGES},{kernel}"));
    command.arg("--aptopt=Acquire::Languages \"none\"");
    for option in [
        "force-confdef",
        "force-confold",
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/locale/*",
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
    ] {
        command.arg(format!("--dpkgopt={option}"));
    }
    command
        .arg(format!("--essential-hook={BEFORE}"))
        .arg(SUITE)
        .arg(&aside);
    let line = |suite: &str| format!("deb {mirror} {suite} main non-free-firmware");
    command.arg(line(SUITE));
    if wanted.is_pi5 {
        command.arg(line(&format!("{SUITE}-backports")));
    }
    run_logged(&mut command, &log).context("Debian's packages could not be installed")?;
    fs::rename(&aside, &archive)?;
    Ok(archive)
}

/// Installs the agent's package, or the agent alone with what its package would bring.
fn install(workspace: &Workspace, agent: &Path, root: &Path) -> Result<()> {
    let is_package = agent.extension().is_some_and(|end| end == "deb");
    if is_package {
        let inside = root.join("tmp/tidemill.deb");
        fs::copy(agent, &inside)?;
        let mut install = Command::new("chroot");
        install.arg(root).args(["dpkg", "-i", "/tmp/tidemill.deb"]);
        run(&mut install).context("the agent's package could not be installed")?;
        return Ok(fs::remove_file(inside)?);
    }
    let packaging = workspace.root.join("packaging/deb");
    for (from, to, mode) in [
        (agent.to_owned(), "usr/bin/tidemill", "0755"),
        (
            packaging.join("tidemill.service"),
            "usr/lib/systemd/system/tidemill.service",
            "0644",
        ),
        (
            packaging.join("tidemill-seed.service"),
            "usr/lib/systemd/system/tidemill-seed.service",
            "0644",
        ),
    ] {
        let mut install = Command::new("install");
        install
            .args(["-D", "-m", mode])
            .arg(from)
            .arg(root.join(to));
        capture(&mut install)?;
    }
    let inside = |words: &[&str]| run(Command::new("chroot").arg(root).args(words));
    let user = [
        "useradd",
        "--system",
        "--user-group",
        "--home-dir",
        "/var/lib/tidemill",
        "--no-create-home",
    ];
    inside(&[&user[..], &["--shell", "/usr/sbin/nologin", "tidemill"]].concat())?;
    for folder in ["etc/tidemill", "var/lib/tidemill"] {
        fs::create_dir_all(root.join(folder))?;
    }
    inside(&[
        "systemctl",
        "-q",
        "enable",
        "tidemill.service",
        "tidemill-seed.service",
    ])
}

/// Moves the files of the boot partition out of the root.
pub(super) fn take_boot(root: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(root.join("boot/firmware"))? {
        let entry = entry?;
        let name = entry.file_name();
        fs::rename(entry.path(), to.join(&name))
            .with_context(|| format!("cannot move {}", name.display()))?;
    }
    // The copies that the kernel's package left are those that the board starts.
    for entry in fs::read_dir(root.join("boot"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("initrd.img") || name.starts_with("vmlinuz") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Every package of a root with its version, and what it was made for.
pub(super) fn manifest(root: &Path, wanted: &Wanted) -> Result<String> {
    let mut query = Command::new("dpkg-query");
    query.arg(format!(
        "--admindir={}",
        root.join("var/lib/dpkg").display()
    ));
    query.args([
        "-W",
        "-f",
        "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n",
    ]);
    let packages = capture(&mut query)?;
    let note = if wanted.is_pi5 {
        "for a Pi 5, UNTESTED on any board and in QEMU"
    } else {
        "for Pi 3, Zero 2 and 4; built and booted in QEMU, on no board"
    };
    Ok(format!(
        "# Debian {SUITE} arm64 with Tidemill {}, {note}\n# package version architecture source source-version\n{packages}",
        env!("CARGO_PKG_VERSION")
    ))
}
