//! What the tests against a real broker share.

pub(crate) mod broker;
