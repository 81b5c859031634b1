//! A look-out for devices that come: changes in `/dev`, and in the folders of the ports' paths.

use crate::config::{Config, Finder};
use crate::devices::Roots;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

/// Time after which the folders are watched anew: one that was taken away comes back as another.
const AGAIN: Duration = Duration::from_secs(5);

/// Time in which changes count as one: udev makes several for each device.
const TOGETHER: Duration = Duration::from_millis(50);

/// Tells all ports when a device may have come. Where the system cannot, they look by themselves.
pub(super) fn watch(roots: &Roots, config: &Config) -> watch::Receiver<()> {
    let (tell, told) = watch::channel(());
    let parents = config.ports.iter().filter_map(|port| match &port.finder {
        Finder::Path(path) => path.parent().map(Path::to_owned),
        _ => None,
    });
    let folders: BTreeSet<PathBuf> = parents.chain([roots.dev.clone()]).collect();
    tokio::spawn(async move {
        if let Err(error) = look_out(&folders, &tell).await {
            warn!("devices that come are noticed after 5 s only: {error}");
        }
        // Kept, because a channel without a sender would tell all the time.
        tell.closed().await;
    });
    told
}

async fn look_out(folders: &BTreeSet<PathBuf>, tell: &watch::Sender<()>) -> io::Result<()> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let told = inotify.try_clone()?;
    // It is no pipe, and is read like one.
    let changes = pipe::Receiver::from_owned_fd_unchecked(told)?;
    loop {
        for folder in folders {
            let there = folder.ancestors().find(|folder| folder.is_dir());
            let wanted = WatchFlags::CREATE | WatchFlags::ATTRIB | WatchFlags::MOVED_TO;
            // One that has just gone is there again the next time.
            let _ = there.map(|there| inotify::add_watch(&inotify, there, wanted));
        }
        let Ok(ready) = timeout(AGAIN, changes.readable()).await else {
            continue;
        };
        ready?;
        // What has changed is not looked at: that something has is enough.
        let mut bytes = [0; 4_096];
        while changes.try_read(&mut bytes).is_ok_and(|count| count > 0) {}
        tokio::time::sleep(TOGETHER).await;
        tell.send_replace(());
    }
}
