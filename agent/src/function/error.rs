//! Why a module was refused and why a call came to nothing, in words that a person can act on.

use std::fmt;

use tidemill_abi::{export, import};

use super::guest::GuestFault;
use super::signature::Signature;
use crate::rule::manifest::ManifestError;

/// Why a module cannot be run here.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// More bytes than a module may have.
    #[error("the module has {bytes} bytes, the limit is {limit}")]
    TooBig {
        /// Size of the module in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not WebAssembly, or WebAssembly that uses what this version does not run.
    #[error("the module does not validate: {0}")]
    Invalid(String),
    /// Above a limit of the structure, which has nothing to do with what it does.
    #[error("the module has {what}: {found}, the limit is {limit}")]
    Limit {
        /// The thing counted.
        what: &'static str,
        /// Its count.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Something that a module may not have at all.
    #[error("the module {0}")]
    Unsupported(&'static str),
    /// An import that the host does not have.
    #[error("unknown import `{module}.{name}`{}", suggestion(.nearest.as_deref()))]
    UnknownImport {
        /// Module of the import.
        module: Box<str>,
        /// Name of the import.
        name: Box<str>,
        /// A similar name that may have been meant.
        nearest: Option<Box<str>>,
    },
    /// An import or export that is there, with another signature.
    #[error("`{name}` has the type {found}, expected {expected}")]
    WrongType {
        /// The import or export.
        name: Box<str>,
        /// The type in the module.
        found: Box<str>,
        /// The type that the contract asks for.
        expected: Box<str>,
    },
    /// No handler to call.
    #[error("the module exports no handler; it needs one of `{}`", export::HANDLERS.join("`, `"))]
    NoHandler,
    /// Two handlers of the same event.
    #[error(
        "the module exports both `{}` and `{}`; it may have one",
        export::TYPED,
        export::ON_EVENT
    )]
    TwoHandlers,
    /// A typed handler needs to say what its parameters are.
    #[error(
        "`{}` needs a `{}` section that names its inputs",
        export::TYPED,
        tidemill_abi::MANIFEST_SECTION
    )]
    NoManifest,
    /// The parameters of the typed handler are not what the inputs make of them.
    #[error(
        "`{}` takes {params}, but the manifest's inputs are {inputs}",
        export::TYPED
    )]
    Inputs {
        /// Parameters of the handler.
        params: Signature,
        /// Types of the inputs.
        inputs: Box<str>,
    },
    /// An import that reads or writes memory, in a module that does not show its own.
    #[error(
        "the module imports `{}.{import}` but exports no memory named `{}`",
        import::MODULE,
        export::MEMORY
    )]
    NoMemory {
        /// The import.
        import: Box<str>,
    },
    /// The manifest in the module is wrong.
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// The rule grants less memory than the module starts with.
    #[error("the module starts with {pages} pages of memory, the rule allows {limit}")]
    Memory {
        /// Pages of memory at the start.
        pages: u64,
        /// Pages that the rule allows.
        limit: u32,
    },
    /// A configuration that does not fit the manifest: a mistake of the host, named so that it shows.
    #[error("{found} configuration entries were given, the manifest has {expected}")]
    Config {
        /// Number of entries in the manifest.
        expected: usize,
        /// Number of entries given.
        found: usize,
    },
    /// Startup failed: data out of bounds, or `_initialize` or `init` ended badly.
    #[error("the module does not start: {0}")]
    Start(Box<CallFault>),
}

/// Why a call came to nothing. Its effects are void.
#[derive(Debug, thiserror::Error)]
pub enum CallFault {
    /// The call needed more fuel than granted.
    #[error("out of fuel after {limit} units")]
    OutOfFuel {
        /// The fuel granted.
        limit: u64,
    },
    /// A WebAssembly instruction trapped.
    #[error("trapped: {reason}")]
    Trap {
        /// The reason.
        reason: Box<str>,
    },
    /// The function itself says that it failed.
    #[error("the function answered the error {code}")]
    Rule {
        /// The result, below 0.
        code: i32,
    },
    /// Values that do not fit what is done with them: the fault of the event, not of the function.
    #[error("{reason}")]
    Data {
        /// The reason, with the value's type.
        reason: Box<str>,
    },
    /// An answer that means nothing.
    #[error("`{handler}` answered {code}, which means nothing there")]
    BadResult {
        /// The handler.
        handler: &'static str,
        /// The result.
        code: i32,
    },
    /// A breach of the contract with the host.
    #[error("broke the contract: {0}")]
    Abi(#[from] GuestFault),
    /// The module has no such handler.
    #[error("the module exports no `{handler}`")]
    NoHandler {
        /// The handler.
        handler: &'static str,
    },
    /// The frame has not what the typed handler needs: a mistake of the host, named so that it shows.
    #[error("the inputs handed over do not fit the parameters")]
    Inputs,
    /// A fresh instance was needed, and could not be made.
    #[error("cannot start anew: {0}")]
    Restart(Box<LoadError>),
}

fn suggestion(name: Option<&str>) -> impl fmt::Display {
    name.map_or_else(String::new, |name| {
        format!("; the nearest known is `{name}`")
    })
}
