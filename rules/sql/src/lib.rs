//! The compiler of Tidemill's SQL: a statement becomes a WebAssembly module that any host of the ABI
//! runs. What is known to be a number travels as a number; everything else goes through the host's
//! value handles. Reading manifests and running the module are left to the agent.

mod ast;
mod compile;
mod error;
mod lex;
mod module;
mod parse;

pub use compile::{Compiled, Options, Plan, Stream, StreamOption, Window, compile};
pub use error::SqlError;
