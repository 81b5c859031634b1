//! What `tidemill demo` is made of. So far the broker.

pub mod broker;
