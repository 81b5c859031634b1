//! The gateway agent: takes events in, runs functions on them, keeps their state and sends on what
//! they emit. `docs/architecture.md` tells the way of an event through these wings.

#![forbid(unsafe_code)]

// Floor 0: values.
pub mod event;

// Floor 1: configuration.
pub mod config;

// Floor 2: manifests to checked values.
pub mod rule;

// Floor 3: one call, and what a commit is made of.
pub mod commit;
pub mod function;

// Floor 4: the state machine.
pub mod mill;

// Floor 5: rules ready to run, and what lies on disk.
pub mod install;
pub mod storage;

// Floor 6: adapters, and rules that are pushed.
pub mod destination;
pub mod fleet;
pub mod source;

// Floor 7: the agent as a whole.
pub mod agent;

// Floor 8: the seed, the demo, and above them the command line.
pub mod cli;
#[cfg(feature = "demo")]
pub mod demo;
pub mod seed;
