//! The trust of one gateway: the root that it has reached and the marks that it has set. Deciding
//! about an envelope changes nothing; what was decided is taken over in a second step, so that it can
//! be written to the disk in between.

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, agent_version};
use crate::encoding::Sha256Hex;
use crate::envelope::{Envelope, PayloadType};
use crate::key::KeyId;
use crate::marks::{Mark, Marks};
use crate::moment::Moment;
use crate::names::Scope;
use crate::refusal::{Reason, Refusal, malformed};
use crate::root::Root;
use crate::topics::DesiredTopic;

/// Facts about the gateway that judges an envelope.
#[derive(Debug, Clone)]
pub struct Gateway<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its groups; the last one wins.
    pub groups: &'a [String],
    /// The version of the agent.
    pub agent: &'a str,
    /// A moment that is past for certain: now where a time server keeps the clock, else the latest that
    /// was ever written down.
    pub past: Option<Moment>,
}

/// Root and marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    root: Option<Root>,
    marks: Marks,
}

/// The form in which trust is kept: the number of the root, whose envelope is kept beside it, and marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    root: u64,
    marks: Marks,
}

/// A bundle that may run, and what it is known by.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The bundle.
    pub bundle: Bundle,
    /// SHA-256 of its payload.
    pub sha256: Sha256Hex,
    /// The keys that signed it and may.
    pub signers: Vec<KeyId>,
    /// `false` if it was accepted before.
    pub is_new: bool,
}

impl Trust {
    /// The root.
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The marks.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Begins with a root that the owner has put there; marks stay, as far as their keys count.
    pub fn begin(&mut self, root: Root) {
        self.root = Some(root);
        self.forget_marks();
    }

    /// Takes the next root over. An expired root accepts it as well.
    ///
    /// # Errors
    /// As for [`Root::next`]; and when there is no root yet.
    pub fn advance(&mut self, envelope: &Envelope) -> Result<u64, Refusal> {
        let root = self.root.as_ref().ok_or_else(no_root)?;
        let next = root.next(envelope)?;
        let number = next.root;
        self.root = Some(next);
        self.forget_marks();
        Ok(number)
    }

    /// Judges an envelope. `topic` is where it was published; a file has none.
    ///
    /// # Errors
    /// The first reason, in the order in which anybody can cause them.
    pub fn judge(
        &self,
        bytes: &[u8],
        topic: Option<&DesiredTopic>,
        gateway: &Gateway<'_>,
    ) -> Result<Accepted, Refusal> {
        let envelope = Envelope::parse(bytes, PayloadType::Bundle)?;
        let root = self.root.as_ref().ok_or_else(no_root)?;
        let signed: Vec<KeyId> = signers(root, &envelope)?;
        let bundle = Bundle::parse(&envelope.payload)?;
        if let Some(topic) = topic
            && (topic.scope != bundle.scope || topic.bundle != bundle.bundle)
        {
            let text = format!(
                "it is bundle {} for {}, published as {} for {}",
                bundle.bundle, bundle.scope, topic.bundle, topic.scope
            );
            return Err(Refusal::new(Reason::WrongTopic, text));
        }
        if !is_for(&bundle.scope, gateway) {
            let text = format!("it is for {}, this is gateway {}", bundle.scope, gateway.id);
            return Err(Refusal::new(Reason::NotForMe, text));
        }
        let allowed = |id: &KeyId| {
            let key = root.bundle_key(*id);
            key.is_some_and(|key| key.may_sign(&bundle.scope, &bundle.bundle))
        };
        let signers: Vec<KeyId> = signed.into_iter().filter(allowed).collect();
        if signers.is_empty() {
            let text = format!(
                "its key may not sign bundle {} for {}; root edit --bundle-key gives it scopes and bundles",
                bundle.bundle, bundle.scope
            );
            return Err(Refusal::new(Reason::NotAllowed, text));
        }
        check_age(&bundle, root, gateway)?;
        let sha256 = envelope.sha256();
        let is_new = self
            .marks
            .admit(&bundle.scope, &bundle.bundle, bundle.version, sha256)?;
        Ok(Accepted {
            bundle,
            sha256,
            signers,
            is_new,
        })
    }

    /// The trust with the marks of a bundle that was accepted.
    ///
    /// # Errors
    /// When there are as many as are kept.
    pub fn marked(&self, accepted: &Accepted) -> Result<Self, Refusal> {
        let mut trust = self.clone();
        for key in &accepted.signers {
            trust.marks.set(Mark {
                scope: accepted.bundle.scope.clone(),
                bundle: accepted.bundle.bundle.clone(),
                key: *key,
                version: accepted.bundle.version,
                sha256: accepted.sha256,
            })?;
        }
        Ok(trust)
    }

    /// Tells the keys of a bundle that runs already and still may: after a key was removed or narrowed
    /// there are none.
    pub fn still_signed_by(&self, envelope: &Envelope, bundle: &Bundle) -> Vec<KeyId> {
        let keys = self.root.iter().flat_map(|root| &root.bundle_keys);
        let keys = keys.filter(|key| key.may_sign(&bundle.scope, &bundle.bundle));
        let keys = keys.filter(|key| envelope.is_signed_by(&key.key));
        keys.map(|key| key.id).collect()
    }

    /// The form in which it is kept, but for the root's envelope.
    pub fn encode(&self) -> Vec<u8> {
        let kept = Kept {
            root: self.root.as_ref().map_or(0, |root| root.root),
            marks: self.marks.clone(),
        };
        // Numbers and texts can always be written.
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    /// Reads what was kept, with the root whose envelope stood beside it.
    ///
    /// # Errors
    /// When it is not what was written, or the root is another one.
    pub fn decode(bytes: &[u8], root: Option<Root>) -> Result<Self, Refusal> {
        let kept: Kept = crate::json::parse(bytes).map_err(malformed)?;
        let number = root.as_ref().map_or(0, |root| root.root);
        if kept.root != number {
            let text = format!("it is of root {}, and root {number} is there", kept.root);
            return Err(malformed(text));
        }
        let marks = kept.marks;
        Ok(Self { root, marks })
    }

    fn forget_marks(&mut self) {
        let Some(root) = &self.root else { return };
        self.marks.retain(|id| root.bundle_key(id).is_some());
    }
}

fn no_root() -> Refusal {
    let text = "this gateway has no root of trust; name one as root under [fleet]";
    Refusal::new(Reason::NoRoot, text)
}

/// The keys of the root that have signed the envelope.
fn signers(root: &Root, envelope: &Envelope) -> Result<Vec<KeyId>, Refusal> {
    let named = || envelope.signatures.iter().map(|signature| signature.keyid);
    let keys = named().filter_map(|id| root.bundle_key(id));
    let good: Vec<KeyId> = keys
        .filter(|key| envelope.is_signed_by(&key.key))
        .map(|key| key.id)
        .collect();
    if !good.is_empty() {
        return Ok(good);
    }
    let list = named()
        .map(|id| id.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    if named().any(|id| root.bundle_key(id).is_some()) {
        let text = format!("no signature holds (keys {list})");
        return Err(Refusal::new(Reason::BadSignature, text));
    }
    if named().any(|id| root.removed.contains(&id)) {
        let text = format!("key {list} was removed by root {}", root.root);
        return Err(Refusal::new(Reason::KeyRemoved, text));
    }
    let text = format!("root {} has no key {list}", root.root);
    Err(Refusal::new(Reason::UnknownKey, text))
}

fn is_for(scope: &Scope, gateway: &Gateway<'_>) -> bool {
    match scope {
        Scope::All => true,
        Scope::Group(name) => gateway.groups.iter().any(|group| **group == **name),
        Scope::Gateway(id) => **id == *gateway.id,
    }
}

/// `true` for a version of an agent such as `0.2.0`.
pub fn is_version(text: &str) -> bool {
    agent_version(text).is_some()
}

fn check_age(bundle: &Bundle, root: &Root, gateway: &Gateway<'_>) -> Result<(), Refusal> {
    if bundle.root > root.root {
        let text = format!(
            "it needs root {}, and this gateway has reached root {}",
            bundle.root, root.root
        );
        return Err(Refusal::new(Reason::RootMissing, text));
    }
    if agent_version(&bundle.min_agent) > agent_version(gateway.agent) {
        let text = format!(
            "it needs agent {}, this is {}",
            bundle.min_agent, gateway.agent
        );
        return Err(Refusal::new(Reason::AgentTooOld, text));
    }
    let is_past = |expires: Option<Moment>| expires.filter(|at| gateway.past >= Some(*at));
    if let Some(at) = is_past(bundle.expires) {
        let text = format!("it was to be accepted until {at}");
        return Err(Refusal::new(Reason::Expired, text));
    }
    if let Some(at) = is_past(root.expires) {
        let text = format!("root {} expired at {at}; publish the next one", root.root);
        return Err(Refusal::new(Reason::Expired, text));
    }
    Ok(())
}
