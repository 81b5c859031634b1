//! Waiting for what gateways say of a push.

use std::time::{Duration, Instant};

use tidemill_bundle::report::AttemptState;
use tidemill_bundle::{Sha256Hex, sha256};

use super::Options;
use crate::cli::Failure;
use crate::cli::fleet::apply::Wait;
use crate::cli::fleet::client::Client;
use crate::cli::fleet::place::{Place, Pushed};
use crate::cli::fleet::view::{Seen, View, is_online};
use tidemill_base::console;

impl Options {
    /// Waits for what gateways say.
    pub(super) fn wait_for(
        &self,
        client: &mut Client,
        view: &mut View,
        place: &mut Place,
        (push, wait, message): (&Pushed, Wait, &[u8]),
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let until = began + Duration::from_millis(self.timeout);
        let hash = sha256(message);
        loop {
            let told = told(view, push, wait, hash);
            let count = told.len();
            let runs = told
                .iter()
                .filter(|(_, it)| matches!(it, Told::Runs(_)))
                .count();
            let bad = told
                .iter()
                .filter(|(_, it)| matches!(it, Told::Bad(_)))
                .count();
            // Counts of gateways are small.
            let share = if count == 0 {
                0.0
            } else {
                runs as f64 / count as f64
            };
            let is_done = count > 0 && runs + bad == count;
            if is_done || Instant::now() >= until {
                self.say_told(&told, push, began)?;
                return if count > 0 && share >= self.min {
                    Ok(())
                } else if bad > 0 {
                    let text = format!("{bad} of {count} gateways refused it or went back");
                    Err(Failure::Failed(anyhow::anyhow!(text)))
                } else {
                    let text = format!("{runs} of {count} gateways run it, and time ran out");
                    Err(Failure::TimedOut(anyhow::anyhow!(text)))
                };
            }
            for message in client.receive(until.min(Instant::now() + Duration::from_secs(1)))? {
                view.take(place, message);
            }
        }
    }

    fn say_told(
        &self,
        told: &[(String, Told)],
        push: &Pushed,
        began: Instant,
    ) -> Result<(), Failure> {
        let mut out = console::stdout();
        let ms = began.elapsed().as_millis();
        if self.json {
            let gateways = told.iter().map(|(id, told)| {
                let (state, text) = told.words();
                serde_json::json!({ "gateway": id, "state": state, "text": text })
            });
            return Ok(out.json(serde_json::json!({
                "bundle": push.bundle, "scope": push.scope, "version": push.version, "sha256": push.sha256,
                "after_ms": u64::try_from(ms).unwrap_or(u64::MAX), "gateways": gateways.collect::<Vec<_>>(),
            }))?);
        }
        for (id, told) in told {
            let (state, text) = told.words();
            writeln!(out, "{id}: {state}{text}, after {ms} ms")?;
        }
        Ok(())
    }
}

/// Progress of a gateway with a push.
enum Told {
    Runs(&'static str),
    Bad(String),
    Waits(&'static str),
}

impl Told {
    fn words(&self) -> (&str, String) {
        match self {
            Self::Runs(state) | Self::Waits(state) => (state, String::new()),
            Self::Bad(why) => ("refused", format!(": {why}")),
        }
    }
}

fn told(view: &View, push: &Pushed, wait: Wait, message: Sha256Hex) -> Vec<(String, Told)> {
    let all = view.of(&push.scope);
    all.map(|(id, seen, status)| {
        let refused = status.refused.iter().find(|it| it.sha256 == message);
        let told = match refused {
            Some(it) => Told::Bad(format!("{}: {}", it.reason, it.text)),
            None => told_by(seen, push, wait, is_online(status)),
        };
        (id.to_owned(), told)
    })
    .collect()
}

fn told_by(seen: &Seen, push: &Pushed, wait: Wait, is_online: bool) -> Told {
    let attempt = seen
        .reported
        .get(&push.bundle)
        .and_then(|it| it.attempt.as_ref());
    let Some(attempt) = attempt.filter(|attempt| attempt.sha256 == push.sha256) else {
        return Told::Waits(if is_online {
            "has not answered"
        } else {
            "away"
        });
    };
    let why = || {
        let reason = attempt
            .reason
            .map_or(String::new(), |reason| format!("{reason}: "));
        format!("{reason}{}", attempt.text)
    };
    match attempt.state {
        AttemptState::Active => Told::Runs("active"),
        AttemptState::Probation if wait == Wait::Probation => Told::Runs("on probation"),
        AttemptState::Probation => Told::Waits("on probation"),
        AttemptState::Preparing => Told::Waits("preparing"),
        AttemptState::Waiting => Told::Waits("waiting"),
        AttemptState::Refused => Told::Bad(why()),
        AttemptState::RolledBack => Told::Bad(format!("rolled back: {}", why())),
    }
}
