//! The functions themselves, a chapter a file. Numbers go by chapter, a hundred each: a new function
//! takes the next free one of its chapter, and none is ever used again.

mod arguments;
mod table;

mod math;
mod text;
mod time;

mod array;
mod bytes;
mod conversion;
mod hashing;
mod json;
mod object;
mod other;

mod aggregates;
mod analytic;
mod compiled;

use crate::Function;

pub use bytes::float16;
pub(crate) use json::Path;
pub use other::meta;
pub use time::TIMES_MS;
pub(crate) use time::{Zone, moment, rfc3339};

/// All chapters, in the order of the documentation.
pub(crate) const ALL: &[&[Function]] = &[
    math::FUNCTIONS,
    text::FUNCTIONS,
    time::FUNCTIONS,
    conversion::FUNCTIONS,
    hashing::FUNCTIONS,
    json::FUNCTIONS,
    array::FUNCTIONS,
    object::FUNCTIONS,
    other::FUNCTIONS,
    bytes::FUNCTIONS,
    aggregates::FUNCTIONS,
    analytic::FUNCTIONS,
    compiled::FUNCTIONS,
];
