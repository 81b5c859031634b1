//! Support for tests of the whole: a real broker, a bare MQTT client, and the `tidemill` program
//! with its own directory. It knows the agent only from outside, so every crate's tests may use it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod broker;
mod collector;
mod counter;
mod endpoint;
mod false_clock;
mod gateway;
mod loop_disk;
mod name_server;
pub mod page;
mod peer;
mod peer5;
mod program;
mod proxy;
mod random;
mod received;
mod threads;
mod trace;
mod wire;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub use broker::{Broker, free_port};
pub use collector::Collector;
pub use counter::COUNTER;
pub use endpoint::{Endpoint, Request};
pub use false_clock::FalseClock;
pub use gateway::{Gateway, Memory};
pub use loop_disk::{FileSystem, LoopDisk};
pub use name_server::NameServer;
pub use peer::Peer;
pub use peer5::{Message, Peer5};
pub use program::{Ran, example, is_emulated, itself, run, run_with_input, tidemill};
pub use proxy::{Cut, Link, Proxy};
pub use random::{Random, setting};
pub use received::{Received, RowName};
pub use threads::{ThreadTimes, busy_threads};
pub use trace::{FileTrace, Loss, Trace, Tree, Witnessed};

/// A test that waits longer than this for one thing has failed. Far above what is needed, for
/// machines that are busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at something that cannot wake us.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks at `condition` again and again until it holds; fails with `complaint` when it never does.
pub fn wait_until(mut condition: impl FnMut() -> bool, complaint: impl Fn() -> String) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "{}", complaint());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Writes a file that is for its owner alone, whatever the umask.
pub fn write_secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Says that a test has nothing to run on. The runner hides what a passing test prints, but not
/// what it writes to the terminal itself.
pub fn skipped(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Sends a signal, by its name without SIG.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "no signal {name} could be sent");
}
