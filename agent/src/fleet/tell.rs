//! The state of pushed rules, for whoever asks on the gateway.

use serde_json::{Value, json};

use super::rollout::{Entry, Progress};
use super::work::Work;

impl Work {
    /// Everything about pushed rules, as `tidemill inspect fleet` shows it.
    pub(super) fn tell(&self) -> Value {
        let pending =
            self.state.pending.as_ref().map(
                |pending| json!({ "deployment": pending.deployment, "starts": pending.starts }),
            );
        let in_force = self.in_force.iter().map(|of| {
            let signer = if of.is_signed {
                "ok"
            } else {
                "its key counts no more"
            };
            let told = json!({ "rules": of.rules, "signer": signer });
            with(told_entry(&of.entry), told)
        });
        let attempts = self.rollout.progress().map(|(entry, progress)| {
            let (state, refusal, is_proven) = match progress {
                Progress::Waiting => ("waiting", None, None),
                Progress::Preparing => ("preparing", None, None),
                Progress::Probation => ("probation", None, None),
                Progress::Active(is_proven) => ("active", None, Some(*is_proven)),
                Progress::Refused(refusal) => ("refused", Some(refusal), None),
                Progress::RolledBack(refusal) => ("rolled_back", Some(refusal), None),
            };
            let told = json!({
                "state": state,
                "proven": is_proven,
                "reason": refusal.map(|refusal| refusal.reason),
                "text": refusal.map(|refusal| &refusal.text),
            });
            with(told_entry(entry), told)
        });
        let marks: Vec<_> = self.trust.marks().iter().collect();
        json!({
            "gateway": self.config.gateway_id,
            "groups": self.fleet.as_ref().map(|fleet| &fleet.groups),
            "device_key": self.device.public(),
            "root": self.trust.root().map_or(0, |root| root.root),
            "trust": if self.is_rebuilt { "rebuilt" } else { "ok" },
            "damage": self.damage,
            "start": self.state.start,
            "active": self.rollout.active().number,
            "previous": self.state.previous,
            "pending": pending,
            "in_force": in_force.collect::<Vec<_>>(),
            "attempts": attempts.collect::<Vec<_>>(),
            "shadowed": self.shadowed,
            "marks": marks,
            "refused": self.refusals.last,
            "unsigned": self.refusals.unsigned,
            "replays": self.refusals.replays,
        })
    }
}

fn told_entry(entry: &Entry) -> Value {
    json!({
        "bundle": entry.bundle, "scope": entry.scope, "version": entry.version, "sha256": entry.sha256,
    })
}

/// Both objects in one.
fn with(mut told: Value, more: Value) -> Value {
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    told
}
