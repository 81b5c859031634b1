//! Words to systemd.

use crate::config::Config;
use sd_notify::NotifyState;

/// The bridge has begun.
pub(super) fn ready(config: &Config) {
    let ports = config.ports.len();
    let status = format!("{ports} ports");
    let _ = sd_notify::notify(false, &[NotifyState::Ready, NotifyState::Status(&status)]);
    let mut interval_us = 0;
    if sd_notify::watchdog_enabled(false, &mut interval_us) {
        let every = std::time::Duration::from_micros(interval_us / 2);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(every);
            loop {
                // The one thread turns, else this would not be reached.
                beat.tick().await;
                let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
            }
        });
    }
}

/// The bridge begins anew, and will say when it is ready.
pub(super) fn reloading() {
    let _ = sd_notify::notify(false, &[NotifyState::Reloading]);
}

/// The bridge ends.
pub(super) fn stopping() {
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}
