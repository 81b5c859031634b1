//! Takes a seed over at a boot, before the agent starts.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::Places;
use super::boot::{Boot, is_reported};
use super::find::{Found, find};
use super::render::{PASSWORDS, PRIVATE, render};
use super::stage::Stage;
use super::system::System;
use super::take::{AGENT, Kept, Taken, take};
use super::tree::sync_folder;
use crate::agent::seeded::{OUTCOME_FILE, Outcome};
use crate::event::clock::{Clock, EARLIEST_WALL_MS, Quality};
use tidemill_base::text::{FileError, Source};

/// Permissions of a file of the configuration and of a folder: root and the agent's group.
const ETC_MODES: (u32, u32) = (0o640, 0o750);

/// Permissions of files of the system's services.
const SYSTEM_MODES: (u32, u32) = (0o644, 0o755);

/// Folder of notes beside the configuration, which other services of an image leave for the report.
const NOTES: &str = "notes";

/// A file that every taken seed of an image leaves.
const SYSTEM_MARK: &str = "mosquitto.conf";

/// Takes the seed over, or says what is wrong with it. A gateway without any configuration has its defaults
/// afterwards, and the report is written.
///
/// # Errors
/// When not even a default can be written.
pub fn apply(places: &Places) -> io::Result<Outcome> {
    let etc = places.etc();
    fs::create_dir_all(etc)?;
    let mut outcome = Outcome::read(etc);
    outcome.wrong.clear();
    outcome.troubles = notes(&etc.join(NOTES));
    let found = find(&places.boot).unwrap_or_else(|errors| {
        outcome.wrong = said(errors);
        None
    });
    let mut off = None;
    if let Some(found) = found {
        match take_over(places, &found) {
            Ok(taken) => {
                outcome.taken_ms = Some(Clock::new(0).now().wall_ms);
                outcome.parts.clone_from(&taken.parts);
                outcome.warnings = said(taken.warnings.clone());
                off = Some((found, taken));
            }
            Err(errors) => outcome.wrong = said(errors),
        }
    }
    defaults(places)?;
    let taken_off = off.map(|(found, taken)| {
        Boot::open(&places.boot)?.blank(&found.path, &taken.blank, &taken.secret_files)
    });
    if let Some(Err(error)) = taken_off {
        outcome.troubles.push(format!(
            "the seed could not be taken off the boot partition, and its secrets are still there: {error}; remove \
             them, or it is taken over again at each boot"
        ));
    }
    report(places, &mut outcome);
    if outcome.is_news(etc) {
        let (stage, tree) = Stage::new(etc, ETC_MODES)?;
        tree.put(
            OUTCOME_FILE,
            serde_json::to_string_pretty(&outcome)?.as_bytes(),
        )?;
        stage.commit(&tree, &[OUTCOME_FILE.to_owned()])?;
    }
    Ok(outcome)
}

/// The notes of other services, a line each.
fn notes(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries.map(|entry| entry.path()).collect();
    all.sort();
    let read = |path: &std::path::PathBuf| Some(Source::read(path).ok()?.text.trim().to_owned());
    all.iter().filter_map(read).collect()
}

fn said(errors: Vec<FileError>) -> Vec<String> {
    errors.iter().map(|error| format!("{error:#}")).collect()
}

/// Writes the report where it says something new. Where it cannot be written, nothing else suffers.
fn report(places: &Places, outcome: &mut Outcome) {
    let id = id_of(places).unwrap_or_default();
    let text = outcome.report(&id, &clock());
    if is_reported(&places.boot, &text) {
        return;
    }
    let written = Boot::open(&places.boot).and_then(|boot| boot.report(&text));
    if let Err(error) = written {
        outcome.troubles.push(format!(
            "no report could be written to the boot partition: {error}"
        ));
    }
}

/// The clock in words.
fn clock() -> String {
    let now = Clock::new(0).now();
    let at = chrono::DateTime::from_timestamp_millis(now.wall_ms).unwrap_or_default();
    let quality = match now.quality {
        Quality::Synced => "a time server keeps it",
        Quality::Restored | Quality::None if now.wall_ms < EARLIEST_WALL_MS => "it is not set",
        Quality::Restored | Quality::None => "no time server has set it yet",
    };
    format!("{}, {quality}", at.format("%Y-%m-%d %H:%M UTC"))
}

/// Writes the files of a seed to their places, the configuration last.
fn take_over(places: &Places, found: &Found) -> Result<Taken, Vec<FileError>> {
    let etc = places.etc();
    let failed = |error: io::Error| {
        let message = format!("cannot be taken over: {error}");
        vec![found.source.error(message)]
    };
    let kept = Kept {
        etc: Some(etc.to_owned()),
        is_image: places.system.is_some(),
        id: id_of(places).unwrap_or_else(|| new_id(&places.machine_id)),
        data_dir: value_of(places, "data_dir"),
    };
    let (stage, tree) = Stage::new(etc, ETC_MODES).map_err(failed)?;
    let taken = match take(found, &places.boot, &tree, &kept) {
        Ok(taken) => taken,
        Err(errors) => {
            let _ = stage.end();
            return Err(errors);
        }
    };
    if let Some(folder) = &places.system {
        settle(&taken.system, folder).map_err(failed)?;
    }
    stage.commit(&tree, &taken.names).map_err(failed)?;
    Ok(taken)
}

/// Writes the files of the system's services.
fn settle(system: &System, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (mut stage, tree) = Stage::new(folder, SYSTEM_MODES)?;
    let names = render(system, folder, &tree)?;
    for name in PRIVATE {
        stage.private(name, 0o600, None);
    }
    stage.private(PASSWORDS.0, 0o640, group(PASSWORDS.1));
    stage.commit(&tree, &names)
}

/// Writes what a gateway has without any seed, where that is not there yet.
fn defaults(places: &Places) -> io::Result<()> {
    let etc = places.etc();
    if let Some(folder) = &places.system
        && !folder.join(SYSTEM_MARK).exists()
    {
        settle(&System::default(), folder)?;
    }
    if places.config.exists() {
        return Ok(());
    }
    let (stage, tree) = Stage::new(etc, ETC_MODES)?;
    let id = new_id(&places.machine_id);
    let text = format!(
        "# Written by `tidemill seed apply` for a gateway without a seed. A seed on the boot partition replaces it.\n\n\
         [gateway]\nid = \"{id}\"\nstart = \"held\"\nrules_dir = \"rules\"\n\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n"
    );
    tree.put("rules/.keep", b"")?;
    tree.put(AGENT, text.as_bytes())?;
    stage.commit(&tree, &["rules/.keep".to_owned(), AGENT.to_owned()])?;
    sync_folder(etc)
}

/// The name of a gateway as its configuration has it.
fn id_of(places: &Places) -> Option<String> {
    value_of(places, "id")
}

/// A text under `[gateway]` of the configuration that is there.
fn value_of(places: &Places, key: &str) -> Option<String> {
    let text = fs::read_to_string(&places.config).ok()?;
    let table: toml::Table = toml::from_str(&text).ok()?;
    Some(table.get("gateway")?.get(key)?.as_str()?.to_owned())
}

/// A name for a gateway that has none: of the machine, or random where the machine does not know itself.
fn new_id(machine_id: &Path) -> String {
    let machine = fs::read_to_string(machine_id).unwrap_or_default();
    let mut seed = machine.trim().as_bytes().to_vec();
    if seed.len() < 32 {
        seed = vec![0; 32];
        let random = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
        if random.is_err() {
            seed = std::process::id().to_le_bytes().to_vec();
        }
    }
    let digest = Sha256::new()
        .chain_update(b"tidemill gateway\0")
        .chain_update(&seed)
        .finalize();
    let digits: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("gw-{digits}")
}

/// The number of a group, where the system has one.
fn group(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")))?;
    line.split(':').nth(1)?.parse().ok()
}
