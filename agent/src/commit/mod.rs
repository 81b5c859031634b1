//! Contents of a commit: applied messages, acknowledgements and waiting rows, as values and as the
//! bytes of a record.

pub mod event_ids;
pub mod image;
pub mod outbox;
pub mod receipts;
pub mod record;
