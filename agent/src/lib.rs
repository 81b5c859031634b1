//! The gateway agent: takes events in, runs functions on them, keeps their state and sends on what
//! they emit. `docs/architecture.md` tells the way of an event through these modules.

#![forbid(unsafe_code)]

pub mod clock;
pub mod event;
pub mod topic;
pub mod value;

pub mod effects;
pub mod frame;
pub mod limits;
pub mod state;

pub mod backoff;
pub mod demo;
pub mod destination;
pub mod source;
