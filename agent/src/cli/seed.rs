//! `tidemill seed`: writes, checks and takes over the file on a boot partition that says what a gateway is.

use std::path::{Path, PathBuf};

use super::{ConfigOption, Failure};
use crate::agent::seeded::Outcome;
use crate::seed::{self, Places, REPORT, SEED, TemplateError};
use tidemill_base::console;
use tidemill_base::text::{is_all_printable, printable};

pub(super) const NEW_HELP: &str = "Examples:
  tidemill seed new --boot /media/you/RASPIFIRM
  tidemill seed new --boot /media/you/bootfs --gateway plant-7

Exit codes: 0 the seed was written, 2 there is one already or it cannot be written";

pub(super) const CHECK_HELP: &str = "Reads the seed, the files that it names and the rules beside it as a gateway would, on whatever machine; nothing \
is changed. A secret that a gateway has taken over already is believed to be there.

Examples:
  tidemill seed check --boot /media/you/RASPIFIRM

Exit codes: 0 a gateway would take it over, 2 something is wrong";

pub(super) const APPLY_HELP: &str = "What tidemill-seed.service runs at each boot, as root. The whole seed is checked first; where something is wrong \
nothing is changed. A gateway that has no configuration gets its defaults. The report on the boot partition says \
what was done.

Examples:
  tidemill seed apply
  tidemill seed apply --boot /boot --config /etc/tidemill/agent.toml

Exit codes: 0 done, or there is no seed; 1 it failed, or secrets or report could not be written to the boot \
partition; 2 the seed is wrong";

/// Boot partitions of Raspberry Pi OS and Debian, the newer one first.
const BOOT: [&str; 2] = ["/boot/firmware", "/boot"];

/// The identity of this machine.
const MACHINE_ID: &str = "/etc/machine-id";

#[derive(Debug, clap::Args)]
pub(super) struct NewOptions {
    /// The boot partition
    #[arg(long, value_name = "DIR")]
    boot: PathBuf,
    /// Name of the gateway
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckOptions {
    /// The boot partition
    #[arg(long, value_name = "DIR")]
    boot: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct ApplyOptions {
    /// The boot partition; without it /boot/firmware, or /boot where there is none
    #[arg(long, value_name = "DIR")]
    boot: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigOption,
    /// Folder for settings of the system, of which only the image of Tidemill has one
    #[arg(long, value_name = "DIR", hide = true)]
    system: Option<PathBuf>,
}

pub(super) fn new(options: &NewOptions) -> Result<(), Failure> {
    let good = |id: &String| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=64).contains(&id.len()) && id.chars().all(is_good) && is_all_printable(id)
    };
    if let Some(id) = options.gateway.as_ref().filter(|id| !good(id)) {
        let why = format!("--gateway {id:?}: a gateway has 1 to 64 letters, digits, - _ or .");
        return Err(Failure::Wrong(vec![why]));
    }
    let written = seed::write_new(&options.boot, options.gateway.as_deref());
    let path = written.map_err(|error: TemplateError| Failure::Wrong(vec![error.to_string()]))?;
    let mut out = console::stdout();
    writeln!(out, "wrote {}", path.display())?;
    out.text(&format!(
        "\nNext: edit it, then\n  tidemill seed check --boot {}\n",
        printable(super::rule_new::quoted(&options.boot))
    ))?;
    Ok(())
}

pub(super) fn check(options: &CheckOptions) -> Result<(), Failure> {
    let checked = seed::check(&options.boot)?;
    let mut out = console::stdout();
    writeln!(out, "{}: a gateway would take over", checked.path.display())?;
    for part in &checked.parts {
        writeln!(out, "  {part}")?;
    }
    for warning in &checked.warnings {
        writeln!(out, "warning: {warning:#}")?;
    }
    Ok(())
}

pub(super) fn apply(options: &ApplyOptions) -> Result<(), Failure> {
    let boot = options.boot.clone().unwrap_or_else(|| {
        let found = BOOT.iter().map(Path::new).find(|folder| folder.is_dir());
        found.unwrap_or(Path::new("/boot/firmware")).to_owned()
    });
    let places = Places {
        boot,
        config: options.file.config.clone(),
        system: options.system.clone(),
        machine_id: MACHINE_ID.into(),
    };
    let outcome: Outcome = seed::apply(&places)?;
    let mut out = console::stdout();
    if outcome.wrong.is_empty() {
        let told = match outcome.taken_ms {
            Some(_) => format!("the configuration is that of the last {SEED}"),
            None => format!("no {SEED} was taken over yet"),
        };
        writeln!(out, "{told}; {REPORT} says more")?;
    }
    if !outcome.wrong.is_empty() {
        let wrong = outcome.wrong.iter().chain(&outcome.troubles);
        return Err(Failure::Wrong(wrong.cloned().collect()));
    }
    match outcome.troubles.first() {
        Some(trouble) => Err(Failure::Failed(anyhow::anyhow!(trouble.clone()))),
        None => Ok(()),
    }
}
