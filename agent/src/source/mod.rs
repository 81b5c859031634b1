//! Sources of events: one adapter per protocol, each with a thread and a library of its own, joined
//! to the mill by a bounded channel.

pub mod mqtt;
