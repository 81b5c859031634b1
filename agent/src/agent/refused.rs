//! The last reload, where it was refused: health tells of it until one succeeds.

use super::AgentError;
use super::health::{Health, Part};
use tidemill_base::text::FileError;

/// Faults of a refused reload that health names.
const NAMED_MAX: usize = 3;

/// Reasons why the gateway does not run on what its files say.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Faults of the rules, in words, and the moment of the reload that found them first, in wall time.
    rules: Option<(String, i64)>,
    /// The same of the configuration, which only the next start needs.
    configuration: Option<(String, i64)>,
}

impl Refused {
    /// Takes note of a reload of the rules: of why it was refused, or that it succeeded.
    pub(super) fn rules(&mut self, why: Option<String>, wall_ms: i64) {
        self.rules = dated(why, self.rules.take(), wall_ms);
    }

    /// Takes note of whether the configuration could be read at a reload.
    pub(super) fn configuration(&mut self, why: Option<String>, wall_ms: i64) {
        self.configuration = dated(why, self.configuration.take(), wall_ms);
    }

    /// Tells health, which is not well as long as something was refused.
    pub(super) fn tell(&self, health: &mut Health) {
        let part = Part("reload", "");
        if let Some((why, since_ms)) = &self.rules {
            let says = format!(
                "refused, the rules before run on: {why}; mend it and reload again, `tidemill check` says all of it"
            );
            health.ails_at(part, says, Some(*since_ms));
        }
        if let Some((why, since_ms)) = &self.configuration {
            let says =
                format!("the configuration cannot be read, which the next start needs: {why}");
            health.ails_at(part, says, Some(*since_ms));
        }
    }
}

fn dated(
    why: Option<String>,
    before: Option<(String, i64)>,
    wall_ms: i64,
) -> Option<(String, i64)> {
    let since_ms = before.map_or(wall_ms, |(_, since_ms)| since_ms);
    Some((why?, since_ms))
}

/// A refusal in one line.
pub(super) fn in_words(error: &AgentError) -> String {
    match error {
        AgentError::Rules(errors) => of_files(errors),
        AgentError::Deploy(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// Faults of files in one line.
pub(super) fn of_files(errors: &[FileError]) -> String {
    let named: Vec<String> = errors
        .iter()
        .take(NAMED_MAX)
        .map(|error| format!("{error:#}"))
        .collect();
    match errors.len().saturating_sub(NAMED_MAX) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use tidemill_base::heartbeat::Heartbeats;

    fn answer(refused: &Refused) -> serde_json::Value {
        let mut health = Health::of_threads(&Heartbeats::default());
        refused.tell(&mut health);
        health.into_value()
    }

    #[test]
    fn health_is_not_well_from_a_refused_reload_to_one_that_succeeds() {
        let mut refused = Refused::default();
        assert_eq!(answer(&refused)["well"], true);
        refused.rules(Some("a.toml:1:1: no".to_owned()), 5);
        refused.rules(Some("a.toml:2:1: no".to_owned()), 9);
        let told = answer(&refused);
        assert_eq!(told["well"], false, "{told}");
        assert_eq!(told["lines"][0]["since"], 5, "{told}");
        let says = told["troubles"][0].as_str().unwrap();
        assert!(says.contains("a.toml:2:1: no"), "{says}");
        refused.configuration(Some("agent.toml:1:1: no".to_owned()), 9);
        refused.rules(None, 11);
        assert_eq!(
            answer(&refused)["well"],
            false,
            "the configuration is not mended"
        );
        refused.configuration(None, 12);
        assert_eq!(answer(&refused)["well"], true);
    }

    #[test]
    fn of_many_faults_the_first_are_named() {
        let fault = |line| FileError {
            path: PathBuf::from("a.toml"),
            place: Some((line, 1)),
            message: "no".to_owned(),
            excerpt: Some("not here".to_owned()),
        };
        let faults: Vec<FileError> = (1..=5).map(fault).collect();
        let expected = "a.toml:1:1: no; a.toml:2:1: no; a.toml:3:1: no; and 2 more";
        assert_eq!(in_words(&AgentError::Rules(faults)), expected);
    }
}
