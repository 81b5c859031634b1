//! One connection to an MQTT broker, of either version, and what it stands on: packets, topics, names of
//! hosts and TLS. Sessions, subscriptions and what is done with a message are its users' business.

#![forbid(unsafe_code)]

pub mod connection;
pub mod fingerprint;
pub mod link;
pub mod malformed;
pub mod message;
pub mod negotiation;
pub mod packets;
pub mod reconnect;
pub mod resolve;
pub mod tls;
pub mod topic;
pub mod trouble;
