//! `cargo xtask image`: a card for a gateway, made of Debian's packages and the agent, and what QEMU shows of it.

mod boot_test;
mod disk;
mod firmware;
#[cfg(test)]
mod first_boot;
mod root;
mod sntp;
#[cfg(test)]
mod tests;

use crate::args::{Args, Misuse};
use crate::setup;
use crate::shell::{Workspace, cache, capture, run, say};
use anyhow::{Context, Result, bail};
use firmware::Board;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The text of `cargo xtask image --help`.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask image [OPTIONS]

  --agent FILE       the agent for aarch64-unknown-linux-gnu, or its Debian package for arm64
                     (default: dist/aarch64-unknown-linux-gnu/tidemill, which `cargo xtask dist` builds)
  --pi5              the kernel of trixie-backports, for a Pi 5: untested on any board and in QEMU
  --seed FILE        a seed to put on the boot partition
  --out FILE         where to (default dist/tidemill-VERSION-arm64.img, with --pi5 …-pi5-untested.img)
  --fresh            Debian's packages anew; else those of the last build are taken, up to a day old
  --compress         also as .img.xz
  --check FILE       read the boot partition of an image as the firmware of each board would, and no more
  --boot-test NAME   start FILE of --out in QEMU: virt, raspi3b or raspi4b

Root, binfmt_misc and Debian's mirror are needed to build; packages that are missing are installed. With
--boot-test nothing is built. FILE.manifest lists every package with its version.

Exit codes: 0 done, 1 failed, 2 wrong use
";

/// Boards that every image is for.
const FOR: [&str; 3] = ["3b", "zero2", "4b"];

/// Builds an image, or looks at one.
pub(crate) fn image(workspace: &Workspace, words: &[String]) -> Result<()> {
    let flags = ["pi5", "fresh", "compress"];
    let values = ["agent", "seed", "out", "check", "boot-test"];
    let args = Args::parse(words.iter().cloned(), &flags, &values)?;
    args.no_words()?;
    let is_pi5 = args.flag("pi5");
    let out = match args.text("out") {
        Some(out) => std::path::absolute(out)?,
        None => {
            let pi5 = if is_pi5 { "-pi5-untested" } else { "" };
            let name = format!("tidemill-{}-arm64{pi5}.img", env!("CARGO_PKG_VERSION"));
            workspace.root.join("dist").join(name)
        }
    };
    if let Some(name) = args.text("boot-test") {
        let machine = boot_test::Machine::named(name)?;
        setup::for_boot_tests()?;
        return boot_test::run(&out, machine);
    }
    if let Some(file) = args.text("check") {
        setup::for_images()?;
        return check(Path::new(file), is_pi5);
    }
    let default = "dist/aarch64-unknown-linux-gnu/tidemill";
    let agent = workspace.root.join(args.text("agent").unwrap_or(default));
    if !agent.is_file() {
        let way_out =
            "`cargo xtask dist aarch64-unknown-linux-gnu` builds one, or name it with --agent";
        return Err(Misuse(format!("{} is not there; {way_out}", agent.display())).into());
    }
    let seed = args.text("seed").map(PathBuf::from);
    if let Some(seed) = seed.as_ref().filter(|seed| !seed.is_file()) {
        return Err(Misuse(format!("--seed: {} is not there", seed.display())).into());
    }
    setup::for_images()?;
    root::ensure_may_build()?;
    let wanted = root::Wanted {
        agent,
        is_pi5,
        is_fresh: args.flag("fresh"),
    };
    build(workspace, &wanted, seed.as_deref(), &out)?;
    if args.flag("compress") {
        let copy = PathBuf::from(format!("{}.xz", out.display()));
        say("compressing");
        let packed = fs::File::create(&copy)?;
        run(Command::new("xz")
            .args(["-T0", "-6", "-c"])
            .arg(&out)
            .stdout(packed))?;
        say(format!(
            "{}: {:.0} MB",
            copy.display(),
            fs::metadata(&copy)?.len() as f64 / 1e6
        ));
    }
    Ok(())
}

/// Builds the image aside; it has its name once it is whole.
fn build(
    workspace: &Workspace,
    wanted: &root::Wanted,
    seed: Option<&Path>,
    out: &Path,
) -> Result<()> {
    let began = Instant::now();
    let work = root::Work::new(&cache("image")?)?;
    let root = root::make(workspace, wanted, &work)?;
    let boot = work.path("boot");
    root::take_boot(&root, &boot)?;
    if let Some(seed) = seed {
        fs::copy(seed, boot.join("tidemill.toml"))?;
    }
    say("partitions and file systems");
    let aside = work.path("disk");
    disk::make(&aside)?;
    disk::make_boot(&aside, &boot, &work.path(""))?;
    disk::make_root(&aside, &root, &work.path(""))?;
    check(&aside, wanted.is_pi5)?;
    let folder = out.parent().context("the image needs a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(
        format!("{}.manifest", out.display()),
        root::manifest(&root, wanted)?,
    )?;
    let mut copy = Command::new("cp");
    copy.arg("--sparse=always").arg(&aside).arg(out);
    capture(&mut copy)?;
    let blocks = capture(Command::new("du").arg("-m").arg(out))?;
    let mib = blocks.split_whitespace().next().unwrap_or("?").to_owned();
    say(format!(
        "{}: {} MiB, of which {mib} are used; built in {} s",
        out.display(),
        disk::END,
        began.elapsed().as_secs()
    ));
    Ok(())
}

/// Reads the boot partition as the firmware of each board would.
fn check(image: &Path, is_pi5: bool) -> Result<()> {
    let folder = cache("image-check")?;
    let fat = disk::boot_of(image);
    let pi5 = is_pi5.then_some("5b");
    for name in FOR.into_iter().chain(pi5) {
        let board = Board::named(name)?;
        let start = firmware::read(&fat, &board, &folder)
            .with_context(|| format!("{} would not start a {name}", image.display()))?;
        let named = |path: &Path| {
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        say(format!(
            "{name}: {}, {}, {}",
            named(&start.kernel),
            named(&start.initramfs),
            named(&start.tree)
        ));
    }
    if fs::read_dir(&folder)?.next().is_none() {
        bail!("nothing was read of {}", image.display());
    }
    Ok(())
}
