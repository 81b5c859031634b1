//! Everything that is written down, as bytes: commits for the journal, and what the pond keeps. Each
//! record begins with the version of its format; `docs/formats.md` describes every byte, and tests
//! here pin them.

mod agent;
mod codec;
mod commit;
mod dead;
pub mod entries;
mod forgotten;
mod lane;
mod naming;
mod parts;
mod receipt;
mod section;
mod state;
mod waiting;

pub use agent::{AgentRecord, EventIdsRecord, IntakeCounts, ProducerRecord};
pub use codec::RecordError;
pub use commit::{
    Boot, COMMIT_FORMAT, Commit, EntryChange, EventId, EventIdChange, KeyChange, LaneDelta,
    RuleDelta, SETTLED_BYTES_MAX, Settled, Settlement, Voided, row_bytes_max,
};
pub use dead::Dead;
pub use lane::{GapRow, LaneCounts, LaneRecord};
pub use parts::{Parts, RECORD_BYTES_MIN, cut, part_of, summary};
pub use receipt::{Receipt, decode_receipts, encode_receipts};
pub use section::{Section, SectionKind};
pub use state::{EVENT_TIME, RuleRecord, decode_state, encode_state};
pub use waiting::Waiting;
