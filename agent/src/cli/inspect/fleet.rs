//! Pushed rules as text: what runs, what was tried, what was refused.

use serde_json::Value;

use super::{part, table, text as shown};

const IN_FORCE: [&str; 5] = ["bundle", "scope", "version", "rules", "signer"];
const ATTEMPTS: [&str; 6] = ["bundle", "scope", "version", "state", "reason", "text"];
const REFUSED: [&str; 3] = ["topic", "reason", "text"];

/// The answer of a running agent.
pub(super) fn text(answer: &Value) -> String {
    let pending = match part(answer, "pending") {
        Value::Null => "nothing".to_owned(),
        pending => format!("deployment {}", shown(part(pending, "deployment"))),
    };
    let mut lines = format!(
        "root        {} (trust {})\ndeployment  {} runs for good, on probation: {pending}\n",
        shown(part(answer, "root")),
        shown(part(answer, "trust")),
        shown(part(answer, "active")),
    );
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    for (title, key, columns) in [
        ("in force", "in_force", &IN_FORCE[..]),
        ("tried", "attempts", &ATTEMPTS[..]),
        ("refused before anything was tried", "refused", &REFUSED[..]),
    ] {
        let list = part(answer, key);
        if !is_empty(list) {
            lines += &format!("\n{title}\n{}", table(list, columns));
        }
    }
    for why in part(answer, "damage").as_array().into_iter().flatten() {
        lines += &format!("\nlost: {}\n", shown(why));
    }
    let shadowed = part(answer, "shadowed");
    if !is_empty(shadowed) {
        let names = shadowed.as_array().into_iter().flatten().map(shown);
        let names = names.collect::<Vec<_>>().join(", ");
        lines += &format!("\nhidden by local files of the same name: {names}\n");
    }
    lines
}
