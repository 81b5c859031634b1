//! Installs what a task needs and is not there, and says so: targets, Debian packages, toolchain
//! components. A second call finds everything and is silent. Which task needs what is said here too.

mod apt;
pub(crate) mod cargo_tools;
pub(crate) mod python;
mod rust_src;
mod target;

use crate::shell::{Workspace, capture, run, say};
use anyhow::{Context, Result};
use apt::Package;
use std::process::Command;

/// Target that guests are compiled for.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

const BROKER: &[Package] = &[
    Package {
        name: "mosquitto",
        program: "mosquitto",
        why: "the broker that tests and benches run against",
    },
    Package {
        name: "mosquitto-clients",
        program: "mosquitto_pub",
        why: "publishes and subscribes in tests",
    },
];

/// Tools of the tests of the bridge, which fail without them.
const SERIAL: &[Package] = &[Package {
    name: "socat",
    program: "socat",
    why: "joins pseudo-terminals as a cable would",
}];

/// Tests that find one of these missing say so and are passed over: they must not be in CI.
const WITNESSES: &[Package] = &[
    Package {
        name: "strace",
        program: "strace",
        why: "shows tests what left the agent, and when",
    },
    Package {
        name: "e2fsprogs",
        program: "mkfs.ext4",
        why: "makes small file systems for tests to fill, and to count what is written",
    },
    Package {
        name: "mount",
        program: "losetup",
        why: "mounts them",
    },
];

const C_COMPILER: &[Package] = &[
    Package {
        name: "clang",
        program: "clang",
        why: "compiles the example in C",
    },
    Package {
        name: "lld",
        program: "wasm-ld",
        why: "links the example in C",
    },
];

const READELF: &[Package] = &[Package {
    name: "binutils",
    program: "readelf",
    why: "tells what a binary asks of its system",
}];

const EMULATOR: &[Package] = &[Package {
    name: "qemu-user-static",
    program: "qemu-arm-static",
    why: "runs programs of other boards",
}];

const ROOTS: &[Package] = &[
    Package {
        name: "mmdebstrap",
        program: "mmdebstrap",
        why: "makes roots of Debian",
    },
    Package {
        name: "util-linux",
        program: "unshare",
        why: "runs programs in them, apart from this machine",
    },
];

const ARCH_TEST: &[Package] = &[Package {
    name: "arch-test",
    program: "arch-test",
    why: "tells which boards' programs run here",
}];

const CARD: &[Package] = &[
    Package {
        name: "mtools",
        program: "mcopy",
        why: "fills boot partitions",
    },
    Package {
        name: "dosfstools",
        program: "mkfs.vfat",
        why: "makes boot partitions",
    },
    Package {
        name: "fdisk",
        program: "sfdisk",
        why: "makes partition tables",
    },
    Package {
        name: "e2fsprogs",
        program: "mke2fs",
        why: "makes roots",
    },
];

const IMAGE: &[Package] = &[
    Package {
        name: "mmdebstrap",
        program: "mmdebstrap",
        why: "installs Debian into a folder",
    },
    Package {
        name: "arch-test",
        program: "arch-test",
        why: "tells mmdebstrap which programs run here",
    },
    Package {
        name: "qemu-user-static",
        program: "qemu-aarch64-static",
        why: "runs programs of arm64",
    },
    Package {
        name: "xz-utils",
        program: "xz",
        why: "compresses images",
    },
];

const QEMU: &[Package] = &[
    Package {
        name: "qemu-system-arm",
        program: "qemu-system-aarch64",
        why: "starts images",
    },
    Package {
        name: "openssh-client",
        program: "ssh",
        why: "looks into what was started",
    },
];

/// Installs the tools that build images.
pub(crate) fn for_images() -> Result<()> {
    apt::ensure(CARD)?;
    apt::ensure(IMAGE)
}

/// Installs the tools that start images.
pub(crate) fn for_boot_tests() -> Result<()> {
    for_images()?;
    apt::ensure(QEMU)?;
    apt::ensure(BROKER)
}

/// The address of the Debian mirror that this machine's packages come from.
pub(crate) fn debian_mirror() -> Result<String> {
    let format = "$(REPO_URI)";
    let all = capture(Command::new("apt-get").args(["indextargets", "--format", format]))
        .context("apt does not say where its packages come from")?;
    let found = all.lines().map(|line| line.trim_end_matches('/'));
    let mut found = found.filter(|line| line.ends_with("/debian"));
    let mirror = found
        .next()
        .context("apt's sources have no mirror of Debian; run apt-get update")?;
    Ok(mirror.to_owned())
}

/// Installs the tools for `cargo xtask test`; with `all` also the compilers of every example that
/// Debian has.
pub(crate) fn for_tests(workspace: &Workspace, all: bool) -> Result<()> {
    target::ensure(workspace, WASM)?;
    apt::ensure(BROKER)?;
    for_bridge_tests()?;
    apt::ensure(WITNESSES)?;
    apt::ensure(CARD)?;
    if all {
        apt::ensure(C_COMPILER)?;
    }
    Ok(())
}

/// Installs the tools for a build of guests written in Rust.
pub(crate) fn for_guests(workspace: &Workspace) -> Result<()> {
    target::ensure(workspace, WASM)
}

/// The standard library of `target`.
pub(crate) fn for_target(workspace: &Workspace, name: &str) -> Result<()> {
    target::ensure(workspace, name)
}

/// Origin of the standard library of `target`.
pub(crate) fn origin_of_std(workspace: &Workspace, name: &str) -> Result<&'static str> {
    target::origin(workspace, name)
}

/// Installs the emulator that runs programs of other targets.
pub(crate) fn for_emulation() -> Result<()> {
    apt::ensure(EMULATOR)
}

/// Installs the tools that make roots of Debian, of other architectures as well if `foreign`.
pub(crate) fn for_roots(foreign: bool) -> Result<()> {
    apt::ensure(ROOTS)?;
    if foreign {
        apt::ensure(ARCH_TEST)?;
        apt::ensure(EMULATOR)?;
    }
    Ok(())
}

/// The Debian mirror that this machine's apt uses.
pub(crate) fn mirror() -> Result<String> {
    rust_src::mirror()
}

/// The package that looks at binaries for other boards.
pub(crate) fn for_cross_tools() -> Result<()> {
    apt::ensure(READELF)
}

/// Installs the tools of the bridge's tests, and the peers that it is tried against.
pub(crate) fn for_bridge_tests() -> Result<()> {
    apt::ensure(BROKER)?;
    apt::ensure(SERIAL)?;
    python::peers();
    Ok(())
}

/// Installs the tools for `cargo xtask bench`.
pub(crate) fn for_benches() -> Result<()> {
    apt::ensure(BROKER)
}

/// Installs the programs that `cargo xtask bridge` needs.
pub(crate) fn for_bridge() -> Result<()> {
    apt::ensure(BROKER)?;
    apt::ensure(SERIAL)
}

/// Installs the tools that `cargo xtask ci` needs beyond the tests.
pub(crate) fn for_ci(workspace: &Workspace) -> Result<()> {
    for (component, command) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if capture(&mut workspace.cargo(&[command, "--version"])).is_ok() {
            continue;
        }
        say(format!("adding {component} to the toolchain"));
        run(Command::new("rustup")
            .args(["component", "add", component])
            .current_dir(&workspace.root))
        .with_context(|| format!("the toolchain lacks {component}, which CI needs"))?;
    }
    Ok(())
}

/// `cargo xtask setup`: everything at once, and the standard library of `targets`.
pub(crate) fn everything(workspace: &Workspace, all: bool, targets: &[String]) -> Result<()> {
    for_tests(workspace, all)?;
    for name in targets {
        target::ensure(workspace, name)?;
    }
    say("everything is there");
    Ok(())
}
