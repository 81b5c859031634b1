//! Functions: name and number, arguments and result, and the way they are called.

mod budget;
mod cache;

use std::fmt;

use crate::ops::OpError;
use crate::{CastError, Map, Value};

pub use budget::{Budget, Price};
pub use cache::Cache;

/// Size limit of the result of one call, in bytes: `repeat` and `lpad` would fill the memory.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// One function of the dialect.
#[derive(Clone, Copy)]
pub struct Function {
    /// Number by which compiled code calls it. Never changes and is never given to another
    /// function.
    pub number: u16,
    /// Name in lower case; SQL may write it in any case.
    pub name: &'static str,
    /// Number of arguments.
    pub arity: Arity,
    /// The arguments as documentation writes them: `text, start[, end]`.
    pub arguments: &'static str,
    /// Description of the result, in one line.
    pub gives: &'static str,
    /// Chapter of the documentation.
    pub group: Group,
    /// Calling convention.
    pub kind: Kind,
    /// Result if an argument is null.
    pub nulls: Nulls,
    /// Dependence of the result on anything but the arguments.
    pub purity: Purity,
    /// Price of a call, before what the function spends on its way.
    pub price: Price,
    pub(crate) run: Run,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.arguments)
    }
}

/// Number of arguments of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arity {
    /// The minimum.
    pub min: usize,
    /// The maximum; `None` for any number.
    pub max: Option<usize>,
}

impl Arity {
    /// Exactly this many.
    pub const fn exactly(count: usize) -> Self {
        Self::between(count, count)
    }

    /// From `min` to `max`.
    pub const fn between(min: usize, max: usize) -> Self {
        Self {
            min,
            max: Some(max),
        }
    }

    /// This many or more.
    pub const fn at_least(min: usize) -> Self {
        Self { min, max: None }
    }

    /// `true` if a call may have `count` arguments.
    pub fn takes(self, count: usize) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

impl fmt::Display for Arity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (0, Some(0)) => write!(f, "no argument"),
            (1, Some(1)) => write!(f, "1 argument"),
            (min, Some(max)) if min == max => write!(f, "{min} arguments"),
            (min, Some(max)) => write!(f, "{min} to {max} arguments"),
            (min, None) => write!(
                f,
                "at least {min} argument{}",
                if min == 1 { "" } else { "s" }
            ),
        }
    }
}

/// The chapters of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say what they are")]
pub enum Group {
    Math,
    Text,
    Time,
    Conversion,
    Hashing,
    Json,
    Array,
    Object,
    Other,
    Bytes,
    Aggregate,
    Analytic,
    Window,
}

/// Calling convention of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One value from the arguments of one row: [`crate::call`].
    Scalar,
    /// One value from many rows: [`crate::call`] with each argument's values over the rows as a list.
    Aggregate,
    /// One value from a row and what was before: [`crate::step`].
    Analytic,
    /// Several rows from one: the compiler makes them.
    MultiRow,
    /// Asks about the window or the event: the compiler does it.
    Window,
}

/// Result of a call if an argument is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// Null.
    Null,
    /// `false`.
    False,
    /// 0.
    Zero,
    /// -1.
    MinusOne,
    /// The function sees it; the text says what it makes of it.
    Seen(&'static str),
}

/// Dependence of a result on anything but the arguments, which decides whether a call can be
/// evaluated ahead of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purity {
    /// The same arguments give the same value: it may be folded.
    Pure,
    /// Depends on the event or the rule.
    Event,
    /// Draws random numbers.
    Random,
}

pub(crate) type Scalar = fn(&mut Context<'_>, &[Value]) -> Result<Value, FnError>;
pub(crate) type Step = fn(&Value, &[Value], bool) -> Result<(Value, Value), FnError>;

#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// A scalar or an aggregate.
    Call(Scalar),
    /// From the state before, the arguments and whether the row counts, to the state after and the
    /// value.
    Step(Step),
    /// No code here.
    Compiled,
}

/// Facts available to a call besides its arguments.
pub struct Context<'a> {
    /// The time of the event, in milliseconds since 1970: what `now()` gives.
    pub now_ms: i64,
    /// The rule's name.
    pub rule: &'a str,
    /// When the rule was started, in milliseconds since 1970.
    pub rule_start_ms: i64,
    /// The event's topic.
    pub topic: &'a str,
    /// Metadata of the message, as `meta()` sees it besides the topic.
    pub meta: &'a Map,
    /// The next random number; seeded by the caller, so that a replay draws the same.
    pub random: &'a mut dyn FnMut() -> u64,
    /// Patterns and paths that were read before. Changes no result, only how long it takes.
    pub cache: &'a mut Cache,
    /// Fuel and bytes that the call may still take.
    pub budget: &'a mut Budget,
}

/// Why a call gives no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FnError {
    /// Too few or too many arguments.
    #[error("{name} takes {arity}, not {count}")]
    Arity {
        /// The function.
        name: &'static str,
        /// Number of arguments it takes.
        arity: Arity,
        /// Number of arguments given.
        count: usize,
    },
    /// An argument of another type, or out of its range.
    #[error("argument {place} should be {wanted}, not {found}")]
    Argument {
        /// Number of the argument, from 1.
        place: usize,
        /// The expected argument.
        wanted: &'static str,
        /// The argument given, as messages show it.
        found: String,
    },
    /// A conversion that is not possible.
    #[error(transparent)]
    Cast(#[from] CastError),
    /// An operator that does not fit the values.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The result would be larger than [`VALUE_BYTES_MAX`] or nested deeper than
    /// [`crate::NESTING_MAX`].
    #[error("the result would be too large or nested too deep")]
    TooLarge,
    /// The fuel does not cover what the call would do.
    #[error("out of fuel")]
    OutOfFuel,
    /// The call would hold more bytes than it may.
    #[error("more bytes of values than a call may hold")]
    NoRoom,
    /// State that another version or another function wrote.
    #[error("the state {0} is not of this function")]
    State(String),
    /// The function is not one to be called here.
    #[error("{0} cannot be called on values alone")]
    NotCallable(&'static str),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

impl FnError {
    /// The argument at `place`, counted from 0, should have been something else.
    pub(crate) fn argument(args: &[Value], place: usize, wanted: &'static str) -> Self {
        Self::Argument {
            place: place + 1,
            wanted,
            found: args
                .get(place)
                .map_or_else(|| "null".to_owned(), Value::shown),
        }
    }
}
