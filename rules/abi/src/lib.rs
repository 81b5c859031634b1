//! The contract between Tidemill and its functions, version 1, as names, codes and limits. `docs/abi.md` is the same contract in prose;
//! binding, checking and running are the host's work, making a module is the guest's (see `tidemill-sdk`).
#![no_std]
#![forbid(unsafe_code)]

mod code;
pub mod export;
pub mod import;
pub mod limit;
mod select;
pub mod value;

pub use code::{Code, Level, Outcome};
pub use select::{EvBytes, EvI64, Win, flag};

/// The major version: the value of a manifest's `abi` key, and the last letter of
/// [`import::MODULE`].
pub const VERSION: u32 = 1;

/// The custom section that holds a module's manifest as JSON.
pub const MANIFEST_SECTION: &str = "tidemill.manifest";

/// The port that a handler's result 1, and a number returned by a typed handler, leave through.
pub const PORT_MAIN: u32 = 0;

/// The name of port 0 if a module states no outputs.
pub const PORT_MAIN_NAME: &str = "out";
