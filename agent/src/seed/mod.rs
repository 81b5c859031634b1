//! The seed: one file on the boot partition that says what a gateway should be, and the report beside it that
//! says what became of it. [`apply`] takes a seed over at a boot, [`check`] reads it as a gateway would.
//!
//! Nothing of a gateway changes unless the whole seed is good. Files are written aside, synced and renamed, the
//! configuration last; only then are secrets taken off the boot partition. A power cut in between leaves the
//! seed there, and the next boot does the same once more.

mod apply;
mod boot;
mod find;
mod render;
mod secrets;
mod stage;
mod system;
mod take;
mod template;
mod tree;

use std::path::{Path, PathBuf};

use tidemill_base::text::{FileError, printable};

pub use apply::apply;
pub use template::{TemplateError, write_new};

use take::{Kept, Taken};
use tree::Tree;

/// Name of a seed on the boot partition.
pub const SEED: &str = "tidemill.toml";

/// The name that editors of another system give it.
const SEED_TXT: &str = "tidemill.toml.txt";

/// Name of a seed that was taken over, without its secrets.
pub const TAKEN: &str = "tidemill.taken.toml";

/// Name of the report beside it.
pub const REPORT: &str = "tidemill-report.txt";

/// Folder of rules beside it.
pub const RULES: &str = "tidemill-rules";

/// Stands for a secret that a gateway has already.
const TAKEN_OVER: &str = "(taken over)";

/// Bytes of a seed.
const SEED_BYTES_MAX: u64 = 64 << 10;

/// The place of a seed, and the files that it leads to.
#[derive(Debug, Clone)]
pub struct Places {
    /// The boot partition.
    pub boot: PathBuf,
    /// The gateway's configuration; files, secrets and rules go beside it.
    pub config: PathBuf,
    /// Folder for settings of the system, which only the image of Tidemill has.
    pub system: Option<PathBuf>,
    /// File with the identity of this machine.
    pub machine_id: PathBuf,
}

impl Places {
    /// The folder of the configuration.
    fn etc(&self) -> &Path {
        let folder = self.config.parent();
        let named = folder.filter(|folder| !folder.as_os_str().is_empty());
        named.unwrap_or(Path::new("."))
    }
}

/// Facts about a seed that is good.
#[derive(Debug)]
pub struct Checked {
    /// The file.
    pub path: PathBuf,
    /// Parts of it, a line each.
    pub parts: Vec<String>,
    /// Lines that work and should be otherwise.
    pub warnings: Vec<FileError>,
}

/// Reads the seed of a boot partition as a gateway would, on whatever machine. Nothing is changed.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(boot: &Path) -> Result<Checked, Vec<FileError>> {
    let whole = |message: String| FileError {
        path: boot.to_owned(),
        place: None,
        message,
        excerpt: None,
    };
    let Some(found) = find::find(boot)? else {
        let way_out = "`tidemill seed new --boot DIR` writes one to start with";
        return Err(vec![whole(format!("has no {SEED}; {way_out}"))]);
    };
    let folder = tempfile::tempdir()
        .map_err(|error| vec![whole(format!("no folder for what is checked: {error}"))])?;
    let tree = Tree::new(folder.path());
    let kept = Kept::unknown();
    let taken: Taken = take::take(&found, boot, &tree, &kept)?;
    Ok(Checked {
        path: found.path,
        parts: taken
            .parts
            .iter()
            .map(|part| printable(part).to_string())
            .collect(),
        warnings: taken.warnings,
    })
}
