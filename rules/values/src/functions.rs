//! The functions themselves, a chapter a file. Numbers go by chapter, a hundred each: a new function takes
//! the next free one of its chapter.

mod arguments;
mod math;
mod text;
mod time;

use crate::Function;

pub(crate) use time::{moment, rfc3339};

/// All chapters, in the order of the documentation.
pub(crate) const ALL: &[&[Function]] = &[math::FUNCTIONS, text::FUNCTIONS];
