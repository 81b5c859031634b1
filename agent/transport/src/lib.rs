//! One connection to an MQTT broker, of either version, with its foundations: packets, topics, host
//! names and TLS. Sessions, subscriptions and the processing of messages are left to its users.

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
