//! `tidemill keys`: signing keys of a fleet's operator.

use std::path::PathBuf;

use serde_json::json;

use super::super::Failure;
use super::key_file::{self, Passphrase};
use super::wrong;
use tidemill_base::console;

pub(in crate::cli) const HELP: &str = "A key is a file that its owner alone can read (mode 0600), sealed with a passphrase unless there is \
none. The public half goes into a root of trust; the file never leaves this machine.

Examples:
  tidemill keys new ops                               writes ops.key
  tidemill keys new root --passphrase-file pass.txt
  tidemill keys list
  tidemill keys public ops.key

Exit codes: 0 done, 1 no random numbers or no room, 2 wrong use, a file is there already or is no key";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key; writes NAME.key
    New {
        /// Its name
        name: String,
        /// The folder
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the keys in a folder: names, ids, whether they are sealed
    List {
        /// The folder
        #[arg(value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the public half of a key
    Public {
        /// The key's file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    match &options.what {
        What::New {
            name,
            dir,
            passphrase,
            json,
        } => {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
                return Err(wrong(format!(
                    "{name:?} is no name of a key: it has 1 to 64 letters, digits, - and _"
                )));
            }
            let path = dir.join(format!("{name}.key"));
            if path.symlink_metadata().is_ok() {
                let text = "is there already and is not written over; choose another name";
                return Err(wrong(format!("{} {text}", path.display())));
            }
            let passphrase = passphrase.for_new()?;
            let public = key_file::make(&path, name, passphrase.as_ref())?.public();
            if passphrase.is_none() {
                let mut err = console::stderr();
                writeln!(
                    err,
                    "warning: {} is not sealed, whoever reads it can sign; --passphrase-file FILE seals it",
                    path.display()
                )?;
            }
            let mut out = console::stdout();
            if *json {
                out.json(json!({ "file": path, "id": public.id(), "public": public }))?;
            } else {
                writeln!(out, "{}  {}  {public}", path.display(), public.id())?;
            }
        }
        What::List { dir, json } => list(dir, *json)?,
        What::Public { file, json } => {
            let (name, public, _) = key_file::public(file)?;
            let mut out = console::stdout();
            if *json {
                out.json(json!({ "name": name, "id": public.id(), "public": public }))?;
            } else {
                writeln!(out, "{public}")?;
            }
        }
    }
    Ok(())
}

fn list(dir: &std::path::Path, as_json: bool) -> Result<(), Failure> {
    let entries = std::fs::read_dir(dir)
        .map_err(|error| wrong(format!("{}: cannot be read: {error}", dir.display())))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "key"))
        .collect();
    paths.sort();
    let mut out = console::stdout();
    let mut all = Vec::new();
    for path in paths {
        let (name, public, is_sealed) = key_file::public(&path)?;
        if as_json {
            all.push(json!({
                "file": path, "name": name, "id": public.id(), "public": public, "sealed": is_sealed,
            }));
        } else {
            let sealed = if is_sealed { "sealed" } else { "not sealed" };
            writeln!(out, "{}  {}  {sealed}", path.display(), public.id())?;
        }
    }
    if as_json {
        out.json(serde_json::Value::from(all))?;
    }
    Ok(())
}
