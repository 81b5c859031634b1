//! Commands of a fleet's operator: keys, roots of trust, signed bundles, pushes and what gateways say.

pub(super) mod apply;
pub(super) mod begin;
pub(super) mod bundle;
mod client;
mod files;
pub(super) mod key_file;
pub(super) mod keys;
mod pack;
mod place;
pub(super) mod push;
pub(super) mod root;
pub(super) mod status;
mod view;

use tidemill_bundle::Moment;

use super::Failure;
use crate::event::clock::Clock;

/// A failure of one sentence over wrong input.
fn wrong(text: impl Into<String>) -> Failure {
    Failure::Wrong(vec![text.into()])
}

/// The moment that documents bear: now, or the one of `SOURCE_DATE_EPOCH`, by which the same command
/// makes the same bytes again.
fn issued() -> Result<Moment, Failure> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.trim().parse().ok(),
        Err(_) => u64::try_from(Clock::new(0).now().wall_ms / 1_000).ok(),
    };
    let moment = seconds.and_then(Moment::from_seconds);
    moment.ok_or_else(|| {
        wrong("SOURCE_DATE_EPOCH is no number of seconds since 1970; unset it, or set one such as 1796115600")
    })
}

/// The moment so many milliseconds after another one.
fn after(moment: Moment, ms: u64) -> Result<Moment, Failure> {
    let seconds = u64::try_from(moment.seconds()).unwrap_or(0);
    let later = Moment::from_seconds(seconds.saturating_add(ms / 1_000));
    later.ok_or_else(|| wrong("--expires lies beyond the year 9999"))
}
