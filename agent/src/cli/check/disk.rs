//! The data directory: whether it can be written, and has room for two segments of the journal.

use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::Config;
use crate::storage::recovery;
use tidemill_base::text::size_shown;

/// Says why no agent could work in the data directory, if none could.
pub(super) fn trouble(config: &Config) -> Option<String> {
    let dir = &config.data_dir;
    let fail = |why: String| Some(format!("gateway.data_dir: {why}"));
    // A directory that is not there yet is made by the agent.
    let there = dir.ancestors().find(|dir| dir.symlink_metadata().is_ok());
    let there = match there {
        Some(path) if path.as_os_str().is_empty() => Path::new("."),
        Some(path) => path,
        None => Path::new("."),
    };
    let shown = there.display();
    if !there.is_dir() {
        return fail(format!("{shown} is no directory; choose another"));
    }
    if let Err(error) = access(there, Access::WRITE_OK | Access::EXEC_OK) {
        return fail(format!(
            "{shown} cannot be written by this user: {error}; run this as the user that runs the agent, and \
             let that own it"
        ));
    }
    let needed = config.segment_bytes.saturating_mul(2);
    let free = recovery::free_bytes(there).ok()?;
    if free >= needed {
        return None;
    }
    let (needed, free) = (size_shown(needed), size_shown(free));
    fail(format!(
        "{shown} has no room for two segments of the journal: needed {needed}, free {free}; make room, or \
         write less for segment_bytes under [journal]"
    ))
}
