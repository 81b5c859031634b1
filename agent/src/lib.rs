//! The gateway agent: takes events in, runs functions on them, keeps their state and sends on what
//! they emit. `docs/architecture.md` tells the way of an event through these modules.

#![forbid(unsafe_code)]

// Floor 0: values.
pub mod backoff;
pub mod clock;
pub mod console;
pub mod data_dir;
pub mod event;
pub mod files;
pub mod heartbeat;
pub mod payload;
pub mod sabotage;
pub mod secret;
pub mod text;
pub mod timestamp;
pub mod topic;
pub mod value;
pub mod zone;

// Floor 1: limits, state and effects, schedules.
pub mod config;
pub mod effects;
pub mod emission;
pub mod frame;
pub mod ledger;
pub mod limits;
pub mod record;
pub mod resolve;
pub mod schedule;
pub mod state;
pub mod tls;

// Floor 2: manifests to checked values.
pub mod manifest;
pub mod rule;
pub mod stock;

// Floor 3: an event to rules and inputs.
pub mod decode;
pub mod event_ids;
pub mod image;
pub mod input;
pub mod outbox;
pub mod receipts;
pub mod router;
pub mod watermark;
pub mod window;

// Floor 4: wasmi.
pub mod function;

// Floor 5: the state machine.
pub mod mill;

// Floor 6: files and disk.
pub mod books;
pub mod install;
pub mod journal;
pub mod pond;
pub mod readback;
pub mod recorder;
pub mod recovery;

// Floor 7: adapters.
pub mod destination;
pub mod source;

// Floor 8: the agent as a whole.
pub mod agent;

// Floor 9: the demo.
#[cfg(feature = "demo")]
pub mod demo;

// Floor 10: the command line.
pub mod cli;
