//! Documents that gateways publish of themselves, signed by their own key: one status each, and one report for each
//! bundle.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::encoding::Sha256Hex;
use crate::envelope::{Envelope, PayloadType};
use crate::json;
use crate::key::{PublicKey, SigningKey};
use crate::moment::Moment;
use crate::names::{BundleName, Scope};
use crate::refusal::{Reason, Refusal, malformed};

/// The state of a gateway's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is.
    Online,
    /// Its broker says that it is not.
    Offline,
}

/// A gateway's word on itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Its id.
    pub gateway: String,
    /// The state of its link.
    pub state: Presence,
    /// Start of the agent, and connection since then.
    pub session: [u64; 2],
    /// Version of the agent.
    pub agent: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// The root that it has reached; 0 for none.
    pub root: u64,
    /// The key that signs this.
    pub key: PublicKey,
    /// SHA-256 of its configuration.
    pub config: Sha256Hex,
    /// Quality of its clock.
    pub clock: String,
    /// Its time.
    pub at: Option<Moment>,
    /// Why rules do not run, where they do not.
    pub held: Option<String>,
    /// State of its local rules.
    pub local: String,
    /// State of its trust: as it was left, or rebuilt.
    pub trust: String,
    /// Its health.
    pub health: StatusHealth,
    /// The last that were refused before the marks.
    pub refused: Vec<RefusedBefore>,
    /// Counts of refusals of what nobody trusted has signed.
    pub unsigned: Unsigned,
    /// Versions that came again, or were old.
    pub replays: u64,
}

/// Health of a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusHealth {
    /// `true` if all is well.
    pub well: bool,
    /// `true` if its disk is full.
    pub disk_full: bool,
    /// Ledgers that do not balance.
    pub unbalanced: u64,
    /// Rules in quarantine.
    pub quarantined: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Something that was refused before the marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedBefore {
    /// The topic below the prefix, or `file`.
    pub topic: String,
    /// SHA-256 of what came.
    pub sha256: Sha256Hex,
    /// The code.
    pub reason: Reason,
    /// The reason for people.
    pub text: String,
    /// When.
    pub at: Option<Moment>,
}

/// Counts of what nobody trusted has signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsigned {
    /// Signatures that do not hold, or of keys that do not count.
    pub bad_signature: u64,
    /// No envelope.
    pub malformed: u64,
    /// Longer than its limit.
    pub too_large: u64,
}

/// A gateway's word on one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// Its id.
    pub gateway: String,
    /// The bundle.
    pub bundle: BundleName,
    /// Start of the agent, and connection since then.
    pub session: [u64; 2],
    /// Rises with each report of a session.
    pub seq: u64,
    /// The version that runs.
    pub active: Option<Active>,
    /// The latest attempt.
    pub attempt: Option<Attempt>,
    /// Accepted, and hidden by one of higher precedence.
    pub covered: Vec<Covered>,
    /// Rules that local files of the same name hide.
    pub shadowed: Vec<String>,
    /// Rules that are not well.
    pub rules: Vec<RuleState>,
    /// The number of further ones.
    pub more: u64,
}

/// A bundle that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Active {
    /// The gateways that it is for.
    pub scope: Scope,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its payload.
    pub sha256: Sha256Hex,
    /// The deployment that it belongs to.
    pub deployment: u64,
    /// `true` if it has seen as many events as its health asks for.
    pub proven: bool,
    /// `ok`, or that its key counts no more.
    pub signer: String,
}

/// The latest attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The gateways that it is for.
    pub scope: Scope,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its payload.
    pub sha256: Sha256Hex,
    /// Its progress.
    pub state: AttemptState,
    /// Why it was refused or went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Progress of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// It is read, compiled and proved.
    Preparing,
    /// Another one is in probation, or a pause lasts.
    Waiting,
    /// It runs, and may go back.
    Probation,
    /// It runs for good.
    Active,
    /// It never ran.
    Refused,
    /// It ran and went back.
    RolledBack,
}

/// A bundle that one of higher precedence hides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// The gateways that it is for.
    pub scope: Scope,
    /// Its version.
    pub version: u64,
}

/// A rule that is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleState {
    /// Its name.
    pub name: String,
    /// Its trouble.
    pub state: String,
}

/// Signs a status.
pub fn sign_status(status: &Status, key: &SigningKey) -> Vec<u8> {
    sign(PayloadType::Status, status, key)
}

/// Signs a report.
pub fn sign_reported(reported: &Reported, key: &SigningKey) -> Vec<u8> {
    sign(PayloadType::Reported, reported, key)
}

fn sign(kind: PayloadType, document: &impl Serialize, key: &SigningKey) -> Vec<u8> {
    // Numbers, texts and lists can always be written.
    let mut envelope = Envelope::new(kind, serde_json::to_vec(document).unwrap_or_default());
    envelope.sign(key);
    envelope.encode()
}

/// Reads a status, which brings its key along; `pinned` is the one that the gateway had before.
///
/// # Errors
/// When it is malformed, not signed by its own key, or that is not the pinned one.
pub fn read_status(
    bytes: &[u8],
    gateway: &str,
    pinned: Option<&PublicKey>,
) -> Result<Status, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Status)?;
    let status: Status = json::parse(&envelope.payload).map_err(malformed)?;
    let status: Status = read(&envelope, pinned.unwrap_or(&status.key))?;
    is_of(gateway, &status.gateway)?;
    Ok(status)
}

/// Reads a report by the key of its gateway.
///
/// # Errors
/// When it is malformed, not signed by the key, or of another gateway or bundle.
pub fn read_reported(
    bytes: &[u8],
    gateway: &str,
    bundle: &BundleName,
    key: &PublicKey,
) -> Result<Reported, Refusal> {
    let envelope = Envelope::parse(bytes, PayloadType::Reported)?;
    let reported: Reported = read(&envelope, key)?;
    is_of(gateway, &reported.gateway)?;
    is_of(bundle.as_str(), reported.bundle.as_str())?;
    Ok(reported)
}

fn read<T: DeserializeOwned>(envelope: &Envelope, key: &PublicKey) -> Result<T, Refusal> {
    if !envelope.is_signed_by(key) {
        let text = format!("it is not signed by device key {}", key.id());
        return Err(Refusal::new(Reason::BadSignature, text));
    }
    json::parse(&envelope.payload).map_err(malformed)
}

fn is_of(expected: &str, found: &str) -> Result<(), Refusal> {
    if expected == found {
        return Ok(());
    }
    let text = format!("it is of {found}, and was published as {expected}");
    Err(Refusal::new(Reason::WrongTopic, text))
}
