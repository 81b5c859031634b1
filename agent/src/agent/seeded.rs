//! The outcome of the last seed: what was taken over, what is wrong. It stays beside the configuration, where a
//! running agent finds it for health; the report on the boot partition says the same for people.

use std::fmt::Write as _;
use std::path::Path;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use tidemill_base::files::{TEXT_BYTES_MAX, read_input};
use tidemill_base::text::printable;

/// Name of the file beside the configuration.
pub(crate) const OUTCOME_FILE: &str = "seed.json";

/// The outcome of the seed at this boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The moment of the last seed that was taken over, in milliseconds since 1970 by the clock of the gateway.
    pub taken_ms: Option<i64>,
    /// Parts of that seed, a line each.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Lines of it that work and should be otherwise.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Reasons why the seed that lies on the boot partition now was refused.
    #[serde(default)]
    pub wrong: Vec<String>,
    /// Troubles that have nothing to do with what a seed says.
    #[serde(default)]
    pub troubles: Vec<String>,
}

impl Outcome {
    /// Reads the outcome of the last boot; one that cannot be read is none.
    pub(crate) fn read(etc: &Path) -> Self {
        Self::find(etc).unwrap_or_default()
    }

    fn find(etc: &Path) -> Option<Self> {
        let bytes = read_input(&etc.join(OUTCOME_FILE), TEXT_BYTES_MAX).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// `true` if the file beside the configuration says something else.
    pub(crate) fn is_news(&self, etc: &Path) -> bool {
        Self::find(etc).as_ref() != Some(self)
    }

    /// The report for people.
    pub(crate) fn report(&self, gateway: &str, clock: &str) -> String {
        let mut text = format!(
            "Tidemill {} on gateway {}: what became of the seed\n\n",
            env!("CARGO_PKG_VERSION"),
            printable(gateway)
        );
        let taken = self.taken_ms.and_then(DateTime::from_timestamp_millis);
        let state = match (self.wrong.is_empty(), taken) {
            (false, _) => "refused, and nothing was changed".to_owned(),
            (true, Some(at)) => format!("taken over on {}", at.format("%Y-%m-%d %H:%M UTC")),
            (true, None) => "no seed yet, the gateway has its defaults".to_owned(),
        };
        let _ = write!(text, "state: {state}\nclock: {clock}\n");
        let mut section = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                let _ = write!(text, "\n{title}\n");
                for line in lines {
                    let _ = writeln!(text, "  {}", printable(line));
                }
            }
        };
        section("Wrong, and to be mended in the seed:", &self.wrong);
        section("Troubles:", &self.troubles);
        let last = if self.wrong.is_empty() {
            "Taken over:"
        } else {
            "Taken over before, and in force:"
        };
        section(last, &self.parts);
        section("Should be otherwise:", &self.warnings);
        text
    }
}

/// The last seed in words for health: a line for one that is in force, and each reason why one is not. `None`
/// where no seed was ever looked for.
pub(super) fn told_to_health(config: &Path) -> Option<(String, Vec<String>)> {
    let outcome = Outcome::find(config.parent()?)?;
    let taken = outcome.taken_ms.and_then(DateTime::from_timestamp_millis);
    let line = match taken {
        Some(at) => format!("taken over on {}", at.format("%Y-%m-%d %H:%M UTC")),
        None => "none was taken over yet".to_owned(),
    };
    let refused = outcome.wrong.iter().map(|why| format!("refused: {why}"));
    Some((
        line,
        refused.chain(outcome.troubles.iter().cloned()).collect(),
    ))
}
