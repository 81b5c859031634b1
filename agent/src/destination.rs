//! Where emissions leave to: one adapter per protocol, each with a thread and a library of its own.

pub mod mqtt;
