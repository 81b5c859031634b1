//! The values of Tidemill's SQL: their types, their encodings, and the operators and functions on
//! them. Nothing here reads a clock, draws a random number or knows the agent: the caller supplies
//! the time, so that the same call gives the same value on every machine.

mod map;
mod value;

mod binary;
mod json;

mod cast;
pub mod extreme;
mod ops;

mod function;
mod group;
mod registry;
mod settings;

mod functions;

pub use binary::{
    DecodeError, ENCODED_BYTES_MAX, EncodeError, NESTING_MAX, Names, decode, decode_within, encode,
    encode_into,
};
pub use cast::{CastError, FieldType, cast, convert};
pub use function::{
    Arity, Budget, Cache, Context, FnError, Function, Group, Kind, Nulls, Price, Purity,
    VALUE_BYTES_MAX,
};
pub use functions::{TIMES_MS, float16, meta};
pub use group::{Total, fits, fits_arithmetic, judges};
pub use json::{
    JsonError, from_json, json_fuel, json_weight, number_text, to_json, write_json,
    write_json_within,
};
pub use map::Map;
pub use ops::{
    BinaryOp, OpError, between, binary, case_equal, contains, field, index, like, negate, not,
    order, price_of_binary, price_of_field, price_of_in, price_of_like, price_of_slice, slice,
    total_order,
};
pub use registry::{by_number, call, functions, lookup, nearest, step};
pub use settings::{NeverRight, check_known};
pub(crate) use value::Identity;
pub use value::{List, SLOT_BYTES, Value};
