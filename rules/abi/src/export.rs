//! Exports of a function: each name with its signature in words of Wasm. The host checks at install
//! which of them a module has.

/// `(p0..pn: f64|i64|i32) -> i32|f64|i64`: the typed handler, its parameters bound in order to the manifest's inputs.
pub const TYPED: &str = "f";
/// `() -> i32`: the pull handler, which asks for what it needs.
pub const ON_EVENT: &str = "on_event";
/// `(id: i32) -> i32`: a timer of this key is due.
pub const ON_TIMER: &str = "on_timer";
/// `() -> i32`: a pane of this key closed.
pub const ON_WINDOW: &str = "on_window";
/// `()`: runs once per instance before any handler.
pub const INITIALIZE: &str = "_initialize";
/// `()`: as [`INITIALIZE`], and after it if a module has both.
pub const INIT: &str = "init";
/// `(from_schema: i32) -> i32`: carries the state of one key over from an older schema.
pub const MIGRATE: &str = "migrate";
/// The linear memory, only if bytes are used.
pub const MEMORY: &str = "memory";

/// The exports of which a module needs at least one.
pub const HANDLERS: [&str; 4] = [TYPED, ON_EVENT, ON_TIMER, ON_WINDOW];
