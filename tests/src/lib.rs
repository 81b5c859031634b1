//! What tests of the whole share: a real broker, a bare MQTT client, and the `tidemill` program with
//! its own directory. It knows the agent only from outside, so every crate's tests may use it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod broker;
mod gateway;
mod peer;
mod program;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub use broker::{Broker, free_port};
pub use gateway::Gateway;
pub use peer::Peer;
pub use program::{Ran, run, run_with_input, tidemill};

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

/// Sends a signal, by its name without SIG.
pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "no signal {name} could be sent");
}
