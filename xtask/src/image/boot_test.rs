//! Starts an image in QEMU as the firmware of a board would, gives it a seed and sees what it does: the first
//! result upstream, what health says, what the unit may do, a second boot.

mod guest;

use super::disk;
use super::firmware::{self, Board};
use super::sntp::TimeServer;
use crate::args::Misuse;
use crate::shell::{cache, capture, say};
use anyhow::{Context, Result, bail};
use guest::{Guest, Shell, Upstream, free_port};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Stands in every secret of the seed.
const HUSH: &str = "hush-4c1d-card";

/// A card in QEMU, whose size has to be a power of two on some boards.
const CARD_GIB: u64 = 8;

/// The longest time to a result; an emulated board is slow, and a first boot makes its data partition.
const RESULT_WITHIN: Duration = Duration::from_secs(1_500);

/// A machine of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    Virt,
    Raspi3b,
    Raspi4b,
}

impl Machine {
    /// The machine of this name; fails with all names where there is none.
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "virt" => Ok(Self::Virt),
            "raspi3b" => Ok(Self::Raspi3b),
            "raspi4b" => Ok(Self::Raspi4b),
            _ => {
                let why = format!(
                    "--boot-test: there is no machine {name:?}, there are virt, raspi3b and raspi4b"
                );
                Err(Misuse(why).into())
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Raspi3b => "raspi3b",
            Self::Raspi4b => "raspi4b",
        }
    }

    /// The board whose files it starts from.
    fn board(self) -> &'static str {
        match self {
            Self::Virt | Self::Raspi3b => "3b",
            Self::Raspi4b => "4b",
        }
    }
}

/// Ports of this machine that lead to a guest and its surroundings.
#[derive(Debug, Clone, Copy)]
struct Ports {
    broker: u16,
    shell: u16,
    upstream: u16,
}

/// Starts an image and checks what it does; prints times.
pub(super) fn run(image: &Path, machine: Machine) -> Result<()> {
    if !image.is_file() {
        let why = format!(
            "{} is not there; `cargo xtask image` builds it",
            image.display()
        );
        return Err(Misuse(why).into());
    }
    let machines = capture(Command::new("qemu-system-aarch64").args(["-M", "help"]))?;
    if !machines
        .lines()
        .any(|line| line.split(' ').next() == Some(machine.name()))
    {
        let version = capture(Command::new("qemu-system-aarch64").arg("--version"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        say(format!("SKIPPED: {} is not in {version}", machine.name()));
        return Ok(());
    }
    let work = cache("boot-test")?;
    let card = Card::new(image, &work)?;
    let time = TimeServer::start()?;
    let ports = Ports {
        broker: free_port()?,
        shell: free_port()?,
        upstream: free_port()?,
    };
    let upstream = Upstream::start(ports.upstream, &work)?;
    card.seed(&ports)?;
    let start = firmware::read(
        &disk::boot_of(&card.disk),
        &Board::named(machine.board())?,
        &work,
    )?;
    let log = |boot: u32| work.join(format!("console-{}-{boot}.log", machine.name()));
    for boot in 1..=2 {
        let began = Instant::now();
        let console = log(boot);
        say(format!(
            "boot {boot} of {}; its console: {}",
            machine.name(),
            console.display()
        ));
        let mut guest = Guest::start(&command(machine, &start, &card, &ports, &console))?;
        if machine == Machine::Raspi4b {
            guest.until_console(&console, "login:", RESULT_WITHIN)?;
            say(format!("login after {} s", began.elapsed().as_secs()));
            return Ok(());
        }
        first_result(&upstream, &mut guest, &ports).with_context(|| tail(&console))?;
        say(format!(
            "first result upstream {} s after power",
            began.elapsed().as_secs()
        ));
        let shell = Shell::new(ports.shell, &card.key);
        look_inside(&shell, boot).with_context(|| tail(&console))?;
        say(format!(
            "the time server was asked {} times",
            time.answered()
        ));
        // The guest goes down while it answers.
        let _ = shell.run("sudo systemctl poweroff");
        guest.until_end(Duration::from_secs(180))?;
    }
    say(format!("{}: passed", machine.name()));
    Ok(())
}

/// The last lines of a console, for an error.
fn tail(console: &Path) -> String {
    let bytes = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(30);
    format!(
        "the console's end:\n{}",
        lines.get(from..).unwrap_or_default().join("\n")
    )
}

/// A copy of the image as large as a card, and the key that opens it.
struct Card {
    disk: PathBuf,
    key: PathBuf,
    work: PathBuf,
}

impl Card {
    fn new(image: &Path, work: &Path) -> Result<Self> {
        let disk = work.join("card.img");
        let mut copy = Command::new("cp");
        capture(copy.arg("--sparse=always").arg(image).arg(&disk))?;
        fs::File::options()
            .write(true)
            .open(&disk)?
            .set_len(CARD_GIB << 30)?;
        let key = work.join("key");
        for name in ["key", "key.pub"] {
            let _ = fs::remove_file(work.join(name));
        }
        let mut make = Command::new("ssh-keygen");
        capture(
            make.args(["-q", "-t", "ed25519", "-N", "", "-C", "boot-test", "-f"])
                .arg(&key),
        )?;
        Ok(Self {
            disk,
            key,
            work: work.to_owned(),
        })
    }

    /// Puts a seed on its boot partition, as a person would on another machine.
    fn seed(&self, ports: &Ports) -> Result<()> {
        let public = fs::read_to_string(self.key.with_extension("pub"))?;
        let seed = format!(
            "[gateway]\nid = \"plant-7\"\n\n[destinations.cloud]\nurl = \"mqtt://10.0.2.2:{}\"\nusername = \"plant-7\"\n\
             password = \"{HUSH}-cloud\"\n\n[system]\nhostname = \"plant-7\"\ntimezone = \"Europe/Berlin\"\n\
             time_servers = [\"10.0.2.2\"]\nssh_keys = [\"{}\"]\n\
             sensors = {{ port = 1883, users = {{ sensor = \"{HUSH}\" }} }}\n",
            ports.upstream,
            public.trim()
        );
        let rule = "name = \"hot\"\n\n[on]\nmqtt = [\"sensors/+/env\"]\nkey = \"{topic.1}\"\n\n[function]\n\
             stock = \"threshold\"\n\n[inputs]\nvalue = \"\"\n\n[params]\nlimit = 50\n\n[ports.out]\n\
             to = \"cloud\"\ntopic = \"hot/{key}\"\n";
        let boot = format!("{}@@{}", self.disk.display(), disk::BOOT.start << 20);
        let mut folder = Command::new("mmd");
        capture(folder.args(["-D", "s", "-i", &boot, "::/tidemill-rules"]))?;
        for (name, text) in [
            ("tidemill.toml", seed.as_str()),
            ("tidemill-rules/hot.toml", rule),
        ] {
            let file = self.work.join("in");
            fs::write(&file, text)?;
            let mut copy = Command::new("mcopy");
            capture(
                copy.args(["-o", "-i", &boot])
                    .arg(&file)
                    .arg(format!("::/{name}")),
            )?;
        }
        Ok(())
    }
}

/// The command that starts a machine with what the firmware would hand over.
fn command(
    machine: Machine,
    start: &firmware::Start,
    card: &Card,
    ports: &Ports,
    console: &Path,
) -> Command {
    let mut command = Command::new("qemu-system-aarch64");
    let disk = card.disk.display();
    let net = format!(
        "user,id=n0,hostfwd=tcp:127.0.0.1:{}-:1883,hostfwd=tcp:127.0.0.1:{}-:22",
        ports.broker, ports.shell
    );
    let log = format!("file:{}", console.display());
    command.args([
        "-display",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
        "-netdev",
        &net,
    ]);
    command
        .args(["-M", machine.name()])
        .arg("-kernel")
        .arg(&start.kernel);
    command.arg("-initrd").arg(&start.initramfs);
    match machine {
        Machine::Virt => {
            let words = start.with_console("ttyAMA0");
            command.args([
                "-cpu",
                "cortex-a72",
                "-smp",
                "2",
                "-m",
                "1024",
                "-append",
                &words,
            ]);
            command.args(["-drive", &format!("file={disk},if=virtio,format=raw")]);
            command.args(["-device", "virtio-net-pci,netdev=n0,romfile="]);
            // A board has no clock.
            command.args(["-rtc", "base=1970-01-01T00:00:00", "-serial", &log]);
        }
        Machine::Raspi3b | Machine::Raspi4b => {
            let words = start.with_console("ttyS1,115200");
            command
                .args(["-append", &words])
                .arg("-dtb")
                .arg(&start.tree);
            command.args(["-drive", &format!("file={disk},if=sd,format=raw")]);
            command.args(["-serial", "null", "-serial", &log]);
            if machine == Machine::Raspi3b {
                command.args(["-device", "usb-net,netdev=n0"]);
            }
        }
    }
    command
}

/// Publishes events from outside until their result is upstream.
fn first_result(upstream: &Upstream, guest: &mut Guest, ports: &Ports) -> Result<()> {
    let began = Instant::now();
    let before = upstream.results();
    let port = ports.broker.to_string();
    while upstream.results() == before {
        if began.elapsed() > RESULT_WITHIN {
            bail!("no result upstream within {} s", RESULT_WITHIN.as_secs());
        }
        guest.check_runs()?;
        for value in ["40", "60"] {
            let mut publish = Command::new("timeout");
            publish.args([
                "10",
                "mosquitto_pub",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-q",
                "1",
            ]);
            publish.args([
                "-u",
                "sensor",
                "-P",
                HUSH,
                "-t",
                "sensors/d1/env",
                "-m",
                value,
            ]);
            // Nobody answers before the guest is up.
            let _ = capture(&mut publish);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(())
}

/// Facts that hold in a gateway which works: a command, and what its output has to have in it.
const INSIDE: [(&str, &str); 10] = [
    ("sudo tidemill inspect health || true", "  seed"),
    (
        "sudo tidemill inspect health || true",
        "  destination cloud",
    ),
    (
        "sudo cat /boot/firmware/tidemill-report.txt",
        "state: taken over on",
    ),
    (
        "sudo cat /boot/firmware/tidemill.taken.toml",
        "(taken over)",
    ),
    ("hostname", "plant-7"),
    ("findmnt -no OPTIONS /", "ro,"),
    ("findmnt -no OPTIONS /boot/firmware", "ro,"),
    ("findmnt -no FSTYPE /data", "ext4"),
    (
        "grep -E '^(NoNewPrivs|Seccomp):' /proc/$(systemctl show -p MainPID --value tidemill)/status",
        "NoNewPrivs:\t1",
    ),
    (
        "sudo grep CapEff /proc/$(systemctl show -p MainPID --value tidemill)/status",
        "CapEff:\t0000000000000000",
    ),
];

fn look_inside(shell: &Shell, boot: u32) -> Result<()> {
    for (command, expected) in INSIDE {
        let said = shell.run(command)?;
        if !said.contains(expected) {
            bail!("`{command}` does not say {expected:?}:\n{said}");
        }
    }
    let found = shell.run(&format!("sudo grep -rl {HUSH} /boot/firmware || true"))?;
    if !found.trim().is_empty() {
        bail!("secrets are still on the boot partition, in {found}");
    }
    let synced = "sudo journalctl -u tidemill | grep 'a time server keeps the clock' || true";
    let began = Instant::now();
    while shell.run(synced)?.is_empty() {
        if began.elapsed() > Duration::from_secs(180) {
            bail!("the agent does not see that a time server keeps the clock");
        }
        std::thread::sleep(Duration::from_secs(5));
    }
    let made = shell.run("sudo journalctl -u tidemill-data | grep -c 'making the data' || true")?;
    let expected = if boot == 1 { "1" } else { "0" };
    if made.trim() != expected {
        bail!(
            "in boot {boot} the data partition was made {} times",
            made.trim()
        );
    }
    let failed = shell.run("systemctl --failed --no-legend --plain || true")?;
    if !failed.trim().is_empty() {
        say(format!("units that failed: {}", failed.trim()));
    }
    let told =
        shell.run("sudo tidemill inspect health || true; systemd-analyze time || true; free -m")?;
    say(told.trim());
    Ok(())
}
