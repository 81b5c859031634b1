//! What a commit is made of: what was applied, what is acknowledged and what waits to leave, as values
//! and as the bytes of a record.

pub mod event_ids;
pub mod image;
pub mod outbox;
pub mod receipts;
pub mod record;
