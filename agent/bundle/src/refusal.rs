//! Reasons for which something is refused: a short code for machines, a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reason. Those up to `TooMany` come before the marks, so anybody can cause them; the others are
/// found in what a trusted key has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Longer than its limit.
    TooLarge,
    /// Not of the form that it has to have.
    Malformed,
    /// A signature that does not hold.
    BadSignature,
    /// No signature of a key that the root names.
    UnknownKey,
    /// Signed by a key that was removed.
    KeyRemoved,
    /// Published under another topic than that of its scope and name.
    WrongTopic,
    /// For other gateways.
    NotForMe,
    /// Signed by a key that may not sign for this scope or name.
    NotAllowed,
    /// The gateway has no root.
    NoRoot,
    /// It needs a root that the gateway has not reached.
    RootMissing,
    /// Not newer than what was accepted before.
    Replay,
    /// Past its date.
    Expired,
    /// For newer agents.
    AgentTooOld,
    /// One more than the gateway keeps marks for, or bundles in force.
    TooMany,
    /// A rule listens or sends beyond what the key may.
    BeyondKey,
    /// A rule cannot be installed.
    Install,
    /// A test inside a module failed.
    TestFailed,
    /// Rules would feed each other in a circle.
    Cycle,
    /// Another bundle has a rule of this name.
    NameTaken,
    /// State cannot be carried over.
    Migration,
    /// More than the gateway's limits allow.
    Limits,
    /// The disk is full or cannot be written.
    Storage,
    /// A changed rule faulted too often.
    Quarantined,
    /// Too large a share of events became dead letters.
    DeadShare,
    /// The process ended three times before it was confirmed.
    Died,
    /// A ledger does not balance.
    Unbalanced,
    /// A newer version came during probation.
    Superseded,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Serialised as it stands in documents, so that there is one list of words.
        let word = serde_json::to_value(self).ok();
        f.write_str(word.as_ref().and_then(|word| word.as_str()).unwrap_or("?"))
    }
}

/// A refusal. What was refused has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text}")]
pub struct Refusal {
    /// The code.
    pub reason: Reason,
    /// The reason for people, and the way out.
    pub text: String,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { reason, text }
    }
}

/// A refusal of something that has not the right form.
pub(crate) fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Malformed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words() {
        let refusal = Refusal::new(Reason::NotForMe, "it is for group:b");
        assert_eq!(refusal.to_string(), "not_for_me: it is for group:b");
    }
}
