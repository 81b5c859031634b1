//! The default limits, each with its reason. A rule may lower them, a gateway's configuration may raise those that do not say "fixed";
//! enforcing them is the host's work.

/// Bytes of a module: ten times what a useful Rust function with strings needs, and 1,000 of them still fit on a small card.
pub const MODULE_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a manifest, fixed: it is parsed before anything about the module is known.
pub const MANIFEST_BYTES_MAX: usize = 32 * 1024;
/// Pages of 64 KiB of linear memory: 1 MiB, so that a few hundred such rules fit into 512 MB.
pub const MEMORY_PAGES_MAX: u32 = 16;
/// Bytes of a page of linear memory, which WebAssembly fixes.
pub const MEMORY_PAGE_BYTES: usize = 64 * 1024;
/// Entries of a table: function pointers of a large program.
pub const TABLE_ENTRIES_MAX: u32 = 1_000;
/// Linear memories of a module, fixed: multi-memory is not part of the ABI.
pub const MEMORIES_MAX: u32 = 1;
/// Tables of a module, fixed.
pub const TABLES_MAX: u32 = 1;
/// Nesting depth of blocks: compilers stay below 100, and a validator's work grows with depth.
pub const BLOCK_DEPTH_MAX: u32 = 1_000;
/// Depth of nested calls: enough for a recursive descent parser, little enough for a small stack.
pub const CALL_DEPTH_MAX: u32 = 256;
/// Fuel of one call: about 1 ms on a desktop, 10 ms on a small board.
pub const FUEL_EVENT: u64 = 1_000_000;
/// Fuel of `_initialize` and `init` together, which run once.
pub const FUEL_START: u64 = 10_000_000;
/// Fuel of installing a module, fixed: compiling it, its start and its tests, all together. A third of a second on a desktop.
pub const FUEL_INSTALL: u64 = 1_000_000_000;
/// Fuel of compiling a byte of a module.
pub const FUEL_COMPILED_BYTE: u64 = 50;
/// Fuel of working out what is constant in a statement, fixed: a tenth of a second on a small board.
pub const FUEL_STATEMENT: u64 = 30_000_000;
/// Parameters of a typed handler, fixed.
pub const TYPED_PARAMS_MAX: usize = 16;
/// Inputs of a manifest, fixed: what a typed handler cannot take, `in_*` can.
pub const INPUTS_MAX: usize = 64;
/// Emissions of one call: a function selects and sums up, it does not multiply.
pub const EMISSIONS_MAX: usize = 16;
/// Bytes that one call may emit in all. The input passed on through port 0 does not count.
pub const EMISSION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a log line; the rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 256;
/// Log lines of a rule in a second; more are dropped and counted.
pub const LOG_LINES_PER_SECOND: u32 = 10;
/// Numeric state slots of a key, fixed: slots are stored with a number of one byte.
pub const SLOTS_MAX: usize = 256;
/// Bytes of all state of a rule.
pub const STATE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a state entry's key, fixed.
pub const STATE_KEY_BYTES_MAX: usize = 256;
/// Bytes of a state entry's value, fixed: 64 KiB less the room in which key, lengths and a checksum travel with it.
pub const STATE_VALUE_BYTES_MAX: usize = 64 * 1024 - 1024;
/// Rows that a window may hold for one key; the oldest goes beyond.
pub const ROWS_MAX: u64 = 16_384;
/// Bytes of memory that all values of one call may take: what a message of 100 KB makes at worst, so that a few calls fit into the
/// smallest gateway.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Bytes that a firing may hold for each row of its window, beside those of an event.
pub const VALUE_BYTES_PER_ROW: usize = 256;
/// Fuel that a firing has for each row of its window, beside that of an event.
pub const FUEL_PER_ROW: u64 = 4_000;
/// Fuel that a call has for each byte of its event's payload or of the rows of its window, beside the rest and beside what reading them costs.
pub const FUEL_PER_BYTE: u64 = 16;
/// Pairs of rows that the joins of a call may look at or make.
pub const PAIRS_MAX: u64 = 100_000;
/// Fuel that a firing has for each pair of rows that a join looks at.
pub const FUEL_PER_PAIR: u64 = 1_200;
/// Sliding windows of a key that wait for what still belongs to them; the oldest goes beyond.
pub const WINDOWS_MAX: usize = 256;
/// Rows that one call may put.
pub const ROWS_PER_CALL_MAX: usize = 256;
/// Bytes of rows that one call may put.
pub const ROW_BYTES_PER_CALL_MAX: usize = 256 * 1024;
/// Timers of one key that run at the same time, whatever their ids.
pub const TIMERS_MAX: u32 = 32;
/// The longest delay of a timer in ms, fixed: ten years, so that sums of times stay far from overflow.
pub const TIMER_DELAY_MS_MAX: i64 = 10 * 365 * 24 * 60 * 60 * 1000;
/// Faults within [`QUARANTINE_SPAN_MS`] after which a rule is taken out.
pub const QUARANTINE_FAULTS: u32 = 5;
/// The span in ms over which [`QUARANTINE_FAULTS`] are counted.
pub const QUARANTINE_SPAN_MS: i64 = 60_000;
/// Values that `NOTE` may note with one row.
pub const NOTES_MAX: usize = 256;
