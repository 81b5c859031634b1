//! Tests of the agent from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it is for"
)]

mod anchors;
mod certificates;
mod cron_cases;
#[cfg(feature = "demo")]
mod demo;
mod draw;
mod floors;
mod http_destinations;
mod mill_fuzzed;
#[cfg(feature = "demo")]
mod mqtt_adapters;
mod mqtt_destinations;
mod mqtt_source;
mod payload_fuzzed;
mod sql_cases;
mod sql_manifests;
mod sql_mixed;
mod sql_plans;
mod sql_rules;
mod tls;
mod topic_cases;
