//! `tidemill status`: the fleet at a glance, trouble first, and what the broker lost.

use serde_json::json;
use tidemill_bundle::DesiredTopic;
use tidemill_bundle::report::AttemptState;

use super::super::Failure;
use super::super::inspect::table;
use super::client::Client;
use super::place::{FleetOption, Place};
use super::view::{Seen, View, filters, is_online};
use super::wrong;
use tidemill_base::console;

pub(in crate::cli) const HELP: &str = "One line for each gateway and bundle, trouble first. Each gateway signs what it tells by a key of its own, which is pinned \
in fleet.lock when it is first seen: what another key signs is shown as forged, and never counted.

Examples:
  tidemill status
  tidemill status gw-17 --json
  tidemill status --trust-key gw-17      its board or card was replaced

Exit codes: 0 all is well, 1 there is trouble, or the broker cannot be reached, 2 wrong use";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only these gateways
    #[arg(value_name = "GATEWAY")]
    gateways: Vec<String>,
    /// Pin the key that this gateway signs with now
    #[arg(long, value_name = "GATEWAY")]
    trust_key: Vec<String>,
    #[command(flatten)]
    fleet: FleetOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Columns of the table.
const COLUMNS: [&str; 7] = [
    "gateway", "link", "bundle", "runs", "attempt", "root", "trouble",
];

pub(in crate::cli) fn run(options: &Options) -> Result<(), Failure> {
    let mut place = Place::read(&options.fleet)?;
    for gateway in &options.trust_key {
        if place.lock.gateways.remove(gateway).is_none() {
            return Err(wrong(format!(
                "no key of {gateway} is pinned, so there is none to replace"
            )));
        }
    }
    let mut client = Client::connect(&place.broker)?;
    let pushed = place.lock.pushed.iter().map(|push| DesiredTopic {
        scope: push.scope.clone(),
        bundle: push.bundle.clone(),
    });
    let topics: Vec<String> = pushed.map(|topic| topic.topic()).collect();
    let listened: Vec<String> = filters()
        .into_iter()
        .chain(topics.iter().cloned())
        .collect();
    let (mut view, mut kept) = (View::default(), std::collections::BTreeMap::new());
    for (topic, payload) in client.listen(&listened)? {
        if topics.contains(&topic) {
            kept.insert(topic, payload);
        } else {
            view.take(&mut place, (topic, payload));
        }
    }
    place.write_lock()?;
    let lost = place.lock.pushed.iter().zip(&topics).filter_map(|(push, topic)| {
        let is_there = kept.get(topic).is_some_and(|it| *it == push.envelope.encode());
        (!is_there).then(|| {
            format!(
                "the broker does not have bundle {} version {} for {} any more, or another one; tidemill push --again",
                push.bundle, push.version, push.scope
            )
        })
    });
    let lost: Vec<String> = lost.collect();
    let wanted =
        |id: &str| options.gateways.is_empty() || options.gateways.iter().any(|it| it == id);
    let mut rows: Vec<serde_json::Value> = view
        .gateways
        .iter()
        .filter(|(id, _)| wanted(id))
        .flat_map(|(id, seen)| rows_of(id, seen))
        .collect();
    rows.sort_by_key(|row| row.get("trouble").is_none_or(|it| it == ""));
    let has_trouble = rows
        .iter()
        .any(|row| row.get("trouble").is_some_and(|it| it != ""));
    let mut out = console::stdout();
    if options.json {
        out.json(json!({ "gateways": rows, "lost": lost }))?;
    } else {
        for line in &lost {
            writeln!(out, "{line}")?;
        }
        if rows.is_empty() {
            writeln!(out, "no gateway has reported yet")?;
        } else {
            out.text(&table(&serde_json::Value::from(rows), &COLUMNS))?;
        }
    }
    if has_trouble || !lost.is_empty() {
        return Err(Failure::Failed(anyhow::anyhow!("not all is well")));
    }
    Ok(())
}

/// Lines of a gateway: one for each bundle, at least one.
fn rows_of(id: &str, seen: &Seen) -> Vec<serde_json::Value> {
    let mut troubles = Vec::new();
    troubles.extend(seen.forged.as_ref().map(|why| {
        format!("FORGED, or its board was replaced ({why}); then: tidemill status --trust-key {id}")
    }));
    let (mut link, mut root) = ("unknown", String::new());
    if let Some(status) = &seen.status {
        link = if is_online(status) { "online" } else { "away" };
        root = status.root.to_string();
        let health = &status.health;
        if health.disk_full {
            troubles.push("its disk is full".to_owned());
        }
        if health.quarantined > 0 {
            troubles.push(format!("{} rules in quarantine", health.quarantined));
        }
        if health.unbalanced > 0 {
            troubles.push("a ledger does not balance".to_owned());
        }
        if status.trust != "ok" {
            troubles.push(format!("its trust is {}", status.trust));
        }
        troubles.extend(status.held.clone());
        if let Some(refused) = status.refused.last() {
            troubles.push(format!(
                "refused {}: {}: {}",
                refused.topic, refused.reason, refused.text
            ));
        }
    }
    let row = |bundle: &str, runs: String, attempt: String, troubles: &[String]| {
        json!({
            "gateway": id, "link": link, "bundle": bundle, "runs": runs, "attempt": attempt, "root": root,
            "trouble": troubles.join("; "),
        })
    };
    if seen.reported.is_empty() {
        return vec![row("", String::new(), String::new(), &troubles)];
    }
    let bundles = seen.reported.iter().map(|(bundle, reported)| {
        let mut troubles = troubles.clone();
        let runs = reported
            .active
            .as_ref()
            .map_or("nothing".to_owned(), |active| {
                if active.signer != "ok" {
                    troubles.push("its key counts no more".to_owned());
                }
                format!("{} of {}", active.version, active.scope)
            });
        let attempt = reported.attempt.as_ref().map_or(String::new(), |attempt| {
            if matches!(
                attempt.state,
                AttemptState::Refused | AttemptState::RolledBack
            ) {
                let reason = attempt
                    .reason
                    .map_or(String::new(), |reason| reason.to_string());
                troubles.push(format!(
                    "version {}: {reason}: {}",
                    attempt.version, attempt.text
                ));
            }
            let state = serde_json::to_value(attempt.state).unwrap_or_default();
            format!(
                "{} {}",
                attempt.version,
                state.as_str().unwrap_or_default().replace('_', " ")
            )
        });
        row(bundle.as_str(), runs, attempt, &troubles)
    });
    bundles.collect()
}
