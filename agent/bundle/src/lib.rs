//! Signed bundles of rules, without files, clocks or network: the envelope and its signatures, the
//! bundle inside, the root of trust that says whose signature counts for what, and the marks that
//! keep a gateway from going back. `docs/fleet.md` tells how an operator uses them, `docs/formats.md`
//! has every byte.

#![forbid(unsafe_code)]

mod bundle;
mod encoding;
mod envelope;
mod json;
mod key;
mod marks;
mod moment;
mod names;
mod refusal;
pub mod report;
mod root;
mod tmb;
mod topics;
mod trust;

pub use bundle::{Bundle, BundleRule, Health, InlineModule, RuleStream, StateChoice};
pub use encoding::{Sha256Hex, sha256};
pub use envelope::{ENVELOPE_BYTES_MAX, Envelope, PayloadType, ROOT_BYTES_MAX, Signature};
pub use key::{KeyError, KeyId, PublicKey, SEED_BYTES, SigningKey};
pub use marks::{Mark, Marks};
pub use moment::Moment;
pub use names::{BundleName, NameError, Pattern, Scope};
pub use refusal::{Reason, Refusal};
pub use root::{BundleKey, Root, RootKey};
pub use tmb::{Entry, TmbError, read_tmb, write_tmb};
pub use topics::{DesiredTopic, PREFIX, Topics};
pub use trust::{Accepted, Gateway, Trust, is_version};
