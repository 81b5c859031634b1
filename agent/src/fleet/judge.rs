//! Refusals as a status tells them, and the terms of what was accepted.

use std::collections::VecDeque;

use tidemill_bundle::report::{RefusedBefore, Unsigned};
use tidemill_bundle::{Bundle, Moment, PREFIX, Reason, Refusal, sha256};

use super::rollout::Terms;
use crate::config::Fleet;
use tidemill_base::text::duration_ms;

/// Refusals that a status tells of.
const REFUSED_MAX: usize = 8;

/// Bytes of what a refusal says in a status.
const TEXT_BYTES: usize = 300;

/// Wait for events where a bundle says something that is no span of time, in milliseconds.
const WITHIN_MS: u64 = 600_000;

/// Refusals of what nobody trusted has signed, and of what was signed and not taken.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) last: VecDeque<RefusedBefore>,
    pub(super) unsigned: Unsigned,
    pub(super) replays: u64,
}

impl Refusals {
    /// Takes note of a refusal. `topic` is where it came from.
    pub(super) fn add(&mut self, topic: &str, bytes: &[u8], refusal: &Refusal, at: Option<Moment>) {
        match refusal.reason {
            Reason::TooLarge => self.unsigned.too_large += 1,
            Reason::Malformed => self.unsigned.malformed += 1,
            Reason::BadSignature | Reason::UnknownKey | Reason::KeyRemoved => {
                self.unsigned.bad_signature += 1;
            }
            Reason::Replay => self.replays += 1,
            _ => {}
        }
        let topic = topic
            .strip_prefix(PREFIX)
            .map_or(topic, |rest| rest.trim_start_matches('/'));
        let sha256 = sha256(bytes);
        // The broker sends what it keeps with each connection.
        self.last
            .retain(|known| known.topic != topic || known.sha256 != sha256);
        if self.last.len() >= REFUSED_MAX {
            self.last.pop_front();
        }
        self.last.push_back(RefusedBefore {
            topic: topic.chars().take(TEXT_BYTES).collect(),
            sha256,
            reason: refusal.reason,
            text: refusal.text.chars().take(TEXT_BYTES).collect(),
            at,
        });
    }
}

/// The terms of a bundle on a gateway.
pub(super) fn terms_of(bundle: &Bundle, fleet: &Fleet) -> Terms {
    let probation_ms = u64::try_from(fleet.probation.as_millis()).unwrap_or(u64::MAX);
    let within_ms = duration_ms(&bundle.health.within).unwrap_or(WITHIN_MS);
    Terms {
        probation_ms,
        events: bundle.health.events,
        within_ms: within_ms.max(probation_ms),
        dead_share: bundle.health.dead_share,
    }
}
