//! The threads of the demo that have something to say to its main loop: the agent, and the one that
//! hears signals.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use tokio::signal::unix::{SignalKind, signal};

use super::Input;
use crate::agent;
use crate::config::Config;

/// Exit code that a shell expects of a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Runs an agent on a thread of its own.
pub(super) fn start_agent(config: Config, inbox: SyncSender<Input>) -> io::Result<()> {
    let run = move || {
        let outcome = agent::run(config, |remote| {
            let _ = inbox.send(Input::AgentStarted(remote));
        });
        // Nobody listens any more where the demo has given up.
        let _ = inbox.send(Input::AgentEnded(outcome));
    };
    std::thread::Builder::new()
        .name("demo-agent".to_owned())
        .spawn(run)
        .map(|_| ())
}

/// Passes the first SIGINT or SIGTERM on. A second one ends the process at once, without `folder`.
pub(super) fn start_signals(folder: PathBuf, inbox: SyncSender<Input>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let listen = async move {
        for times in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if times > 0 {
                let _ = std::fs::remove_dir_all(&folder);
                std::process::exit(INTERRUPTED);
            }
            let _ = inbox.try_send(Input::Signal);
        }
    };
    std::thread::Builder::new()
        .name("demo-signals".to_owned())
        .spawn(move || runtime.block_on(listen))
        .map(|_| ())
}
