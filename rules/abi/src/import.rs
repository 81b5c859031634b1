//! Imports of a function: the module's name and every import by name, with its signature in words
//! of Wasm. Binding them is left to the host.

/// The import module. Its last letter is the major version of the ABI.
pub const MODULE: &str = "tidemill1";

/// `(i: i32) -> f64`: input `i` as a number, NaN when missing; converts an integer input.
pub const IN_F64: &str = "in_f64";
/// `(i: i32) -> i64`: input `i` as an integer; traps if the input is an f64.
pub const IN_I64: &str = "in_i64";
/// `(i: i32, ptr: i32, cap: i32) -> i32`: the content of a JSON string; its full length, or -1 when missing.
pub const IN_BYTES: &str = "in_bytes";
/// `(what: i32, off: i32, ptr: i32, cap: i32) -> i32`: bytes of the event from `off` on, see [`crate::EvBytes`]; the full length, whatever `off` is.
pub const EV_BYTES: &str = "ev_bytes";
/// `(what: i32) -> i64`: numbers about the event, see [`crate::EvI64`].
pub const EV_I64: &str = "ev_i64";
/// `(slot: i32) -> f64`: a numeric state slot, 0.0 at first.
pub const REG_GET: &str = "reg_get";
/// `(slot: i32, v: f64)`: sets a numeric state slot.
pub const REG_SET: &str = "reg_set";
/// `(kp: i32, kl: i32, vp: i32, vc: i32) -> i32`: reads a state entry; its full length, or -1.
pub const ST_GET: &str = "st_get";
/// `(kp: i32, kl: i32, vp: i32, vl: i32) -> i32`: writes a state entry; 0 or a code.
pub const ST_PUT: &str = "st_put";
/// `(kp: i32, kl: i32) -> i32`: removes a state entry; 0 or a code.
pub const ST_DEL: &str = "st_del";
/// `(port: i32, ptr: i32, len: i32) -> i32`: sends bytes through a port; 0 or a code.
pub const EMIT: &str = "emit";
/// `(port: i32, v: f64) -> i32`: sends a number through a port as JSON; 0 or a code.
pub const EMIT_F64: &str = "emit_f64";
/// `(v: f64, ptr: i32, cap: i32) -> i32`: writes the shortest JSON number (`null` for NaN and infinities); its full length.
pub const FMT_F64: &str = "fmt_f64";
/// `(id: i32, delay_ms: i64) -> i32`: sets a timer of this key, anew if it runs; a delay below 0 cancels it; 0 or a code.
pub const TIMER: &str = "timer";
/// `(i: i32) -> f64`: a configuration entry of type f64.
pub const CFG_F64: &str = "cfg_f64";
/// `(i: i32, ptr: i32, cap: i32) -> i32`: a configuration entry of type bytes; its full length.
pub const CFG_BYTES: &str = "cfg_bytes";
/// `(level: i32, ptr: i32, len: i32)`: one line of log, see [`crate::Level`].
pub const LOG: &str = "log";
/// `() -> i64`: random bits, seeded by rule, event and call, so that a replay sees the same ones.
pub const RAND: &str = "rand";

/// `(ptr: i32, len: i32) -> i32`: puts a row into the window of this key; 0 or a code.
pub const ROW_PUT: &str = "row_put";
/// `() -> i32`: how many rows the window has that fires; -7 outside of `on_window`.
pub const ROWS: &str = "rows";
/// `(i: i32, ptr: i32, cap: i32) -> i32`: a row of the window that fires; its full length.
pub const ROW_GET: &str = "row_get";
/// `(what: i32) -> i32`: what this event is to the window of this key, see [`crate::Win`]; 0 or a code.
pub const WIN: &str = "win";

/// `(stream: i32, name: i32) -> i32`: a column of the row; see [`crate::value`] for handles.
pub const V_COL: &str = "v_col";
/// `(stream: i32) -> i32`: the row as an object.
pub const V_ROW: &str = "v_row";
/// `(stream: i32, name: i32) -> i32`: what is known of the message beside its payload.
pub const V_META: &str = "v_meta";
/// `(op: i32, a: i32, b: i32, c: i32) -> i32`: an operator, see [`crate::value::op`].
pub const V_OP: &str = "v_op";
/// `(h: i32)`: an argument for what is called next.
pub const V_ARG: &str = "v_arg";
/// `(f: i32, n: i32) -> i32`: a function of the last n arguments.
pub const V_CALL: &str = "v_call";
/// `(f: i32, slot: i32, n: i32, partition: i32, counts: i32) -> i32`: a function of n arguments and
/// its state; the values of the partition follow the arguments.
pub const V_STEP: &str = "v_step";
/// `(h: i32) -> i32`: 1 for true, 0 for false and nothing; anything else is an error of the rule.
pub const V_TRUE: &str = "v_true";
/// `(v: f64) -> i32`: a number as a value; NaN is nothing.
pub const V_F64: &str = "v_f64";
/// `(v: i64) -> i32`: a whole number as a value.
pub const V_I64: &str = "v_i64";
/// `(name: i32, h: i32)`: a column of the row that goes out.
pub const V_SET: &str = "v_set";
/// `(stream: i32, except: i32)`: all columns of the row go out, but those of a list.
pub const V_STAR: &str = "v_star";
/// `(h: i32, name: i32)`: all columns of an object go out; what is none goes out under the name.
pub const V_MERGE: &str = "v_merge";
/// `(h: i32, descending: i32)`: what the row that goes out is put in order by.
pub const V_ORDER: &str = "v_order";
/// `()`: the row that goes out is complete.
pub const V_EMIT: &str = "v_emit";
/// `(port: i32, limit: i32)`: sorts and sends the complete rows, at most `limit` unless it is below
/// 0.
pub const V_FLUSH: &str = "v_flush";
/// `(stream: i32)`: the row joins the window of its key, as one of this stream.
pub const V_KEEP: &str = "v_keep";
/// `()  -> i32`: makes the rows of the window ready; how many there are.
pub const V_LOAD: &str = "v_load";
/// `(what: i32, arg: i32)`: begins to go through rows, see [`crate::value::walk`].
pub const V_OPEN: &str = "v_open";
/// `() -> i32`: moves to the next element; 0 if there is none, which ends the walk of `v_open`.
pub const V_NEXT: &str = "v_next";
/// `()`: the row stays, or the pair belongs together.
pub const V_HIT: &str = "v_hit";
/// `(n: i32)`: the row belongs to the group of the last n arguments.
pub const V_GROUP: &str = "v_group";
/// `(n: i32)`: the last n arguments are part of what `v_fold` sees.
pub const V_GATHER: &str = "v_gather";
/// `(f: i32, n: i32) -> i32`: a function of the n lists that were gathered in the last walk.
pub const V_FOLD: &str = "v_fold";
/// `(which: i32)`: a condition was met: 0 that of rows, 1 that of groups.
pub const V_HITS: &str = "v_hits";
/// `(f: i32, h: i32)`: stops the event unless the aggregate f can use the value.
pub const V_FITS: &str = "v_fits";
/// `(h: i32, rest: i32, high: i32)`: adds the value to a sum of whole numbers that is kept in two
/// slots.
pub const V_TOTAL: &str = "v_total";

/// The imports that work on values, in the order of the table in docs/abi.md.
pub const VALUES: [&str; 27] = [
    V_COL, V_ROW, V_META, V_OP, V_ARG, V_CALL, V_STEP, V_TRUE, V_F64, V_I64, V_SET, V_STAR,
    V_MERGE, V_ORDER, V_EMIT, V_FLUSH, V_KEEP, V_LOAD, V_OPEN, V_NEXT, V_HIT, V_GROUP, V_GATHER,
    V_FOLD, V_HITS, V_FITS, V_TOTAL,
];

/// Every import of [`MODULE`] besides [`VALUES`], for messages that list what there is.
pub const ALL: [&str; 22] = [
    IN_F64, IN_I64, IN_BYTES, EV_BYTES, EV_I64, REG_GET, REG_SET, ST_GET, ST_PUT, ST_DEL, EMIT,
    EMIT_F64, FMT_F64, TIMER, CFG_F64, CFG_BYTES, LOG, RAND, ROW_PUT, ROWS, ROW_GET, WIN,
];

/// The imports that take a pointer: a module with none of them, no data and no memory instruction needs no linear memory.
pub const WITH_POINTER: [&str; 11] = [
    IN_BYTES, EV_BYTES, ST_GET, ST_PUT, ST_DEL, EMIT, FMT_F64, CFG_BYTES, LOG, ROW_PUT, ROW_GET,
];

/// The one import outside of [`MODULE`], which AssemblyScript calls to give up: `(i32, i32, i32, i32)`; it traps.
pub const ABORT_MODULE: &str = "env";
/// The name of the import in [`ABORT_MODULE`].
pub const ABORT: &str = "abort";
