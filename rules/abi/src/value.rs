//! Values that are no numbers: a call has an arena of them in the host, and a function handles them
//! by number. Handles 0, 1 and 2 are null, false and true; the constants of the manifest follow
//! from 3 on, and behind them the values made by the call.

/// Null: a missing column or a JSON `null`.
pub const NULL: i32 = 0;
/// `false`; `true` is the next one.
pub const FALSE: i32 = 1;
/// `true`.
pub const TRUE: i32 = 2;
/// The first constant of the manifest.
pub const FIRST_CONSTANT: i32 = 3;
/// In place of a handle: an absent argument, which is not the same as a null.
pub const ABSENT: i32 = -1;
/// In place of a stream: whichever has the column, the left-most first.
pub const ANY_STREAM: i32 = -1;

/// Operations of `v_op`; numbers below 16 are the binary operators.
pub mod op {
    /// `-a`.
    pub const NEGATE: i32 = 16;
    /// `NOT a`.
    pub const NOT: i32 = 17;
    /// `a IS NULL`.
    pub const IS_NULL: i32 = 18;
    /// `a->b`, b a text.
    pub const FIELD: i32 = 19;
    /// `a[b]`.
    pub const INDEX: i32 = 20;
    /// `a[b:c]`, either may be absent.
    pub const SLICE: i32 = 21;
    /// `a IN b`.
    pub const IN: i32 = 22;
    /// `a NOT IN b`.
    pub const NOT_IN: i32 = 23;
    /// `a BETWEEN b AND c`.
    pub const BETWEEN: i32 = 24;
    /// `a NOT BETWEEN b AND c`.
    pub const NOT_BETWEEN: i32 = 25;
    /// `a LIKE b`.
    pub const LIKE: i32 = 26;
    /// `true` if `CASE a WHEN b` applies.
    pub const CASE_EQUAL: i32 = 27;
    /// A list of the last a arguments of `v_arg`; a is a number, not a handle.
    pub const LIST: i32 = 28;
    /// Start of the window, in ms since 1970.
    pub const WINDOW_START: i32 = 29;
    /// End of the window, in ms since 1970.
    pub const WINDOW_END: i32 = 30;
    /// Time of the row, in ms since 1970.
    pub const EVENT_TIME: i32 = 31;
    /// The number of the row in its emission, from 1.
    pub const ROW_NUMBER: i32 = 32;
    /// Number of times the condition was met; b as in `v_hits`.
    pub const HIT_COUNT: i32 = 33;
    /// Time the condition was last met, in ms since 1970; b as in `v_hits`.
    pub const HIT_TIME: i32 = 34;
    /// The current element of `v_next`.
    pub const ELEMENT: i32 = 35;
    /// Time of the window's trigger: that of the event, or of the firing.
    pub const WINDOW_TRIGGER: i32 = 36;
    /// The whole group as a list of objects.
    pub const GROUP_ROWS: i32 = 37;
    /// `a NOT LIKE b`.
    pub const NOT_LIKE: i32 = 38;
    /// An object of the last a arguments of `v_arg`, name and value by turns; a is a number.
    pub const OBJECT: i32 = 39;
    /// The key of the call, as a value of the kind a; a is a number, see [`super::kind`], and below 0 that of -0.0.
    pub const KEY: i32 = 40;
    /// Stops the call with a text: the event, or the window, becomes a dead letter.
    pub const FAIL: i32 = 41;
    /// Notes the value a with the event's row, under the number b; both are kept together. b is a number.
    pub const NOTE: i32 = 42;
    /// The value noted under the number a with the current row, or with that of the stream b of
    /// joined rows; a and b are numbers.
    pub const NOTED: i32 = 43;
    /// Numbers the rows of the emission under the name a: by turns those that are alike in the last but n arguments of `v_arg`, b of
    /// them, and each in the order of the last n; c is n and, from bit 16 on, which of those go downwards. b and c are numbers.
    pub const NUMBER_ROWS: i32 = 44;
    /// Sends only the first of identical rows of the emission.
    pub const DISTINCT: i32 = 45;
    /// Lets the slots b and c hold the number a, if it is smaller than the one that they hold; b and c are numbers.
    pub const LEAST: i32 = 46;
    /// The same if it is larger.
    pub const GREATEST: i32 = 47;
    /// The number that the slots a and b hold; a and b are numbers.
    pub const EXTREME: i32 = 48;
}

/// Sequences that `v_open` can iterate over.
pub mod walk {
    /// The rows of the group, or of the window if there are no groups.
    pub const ROWS: i32 = 0;
    /// The groups, each standing for its first row.
    pub const GROUPS: i32 = 1;
    /// The rows; those without a `v_hit` go.
    pub const FILTER: i32 = 2;
    /// The elements of a list, by its handle.
    pub const LIST: i32 = 3;
    /// The pairs of what is joined so far and the rows of a stream; from here on the kinds of joins.
    pub const INNER: i32 = 4;
    /// Like `INNER`; rows without a partner on the right stay.
    pub const LEFT: i32 = 5;
    /// Like `INNER`; rows without a partner on the left stay.
    pub const RIGHT: i32 = 6;
    /// Like `INNER`; all rows without a partner stay.
    pub const FULL: i32 = 7;
    /// Beside the kind of a join: only pairs that are equal in a column of each side are gone through. Their names are the last two arguments of
    /// `v_arg`, that of the left side first; from bit 8 on the stream is followed by that of the left column.
    pub const BY_COLUMN: i32 = 16;
}

/// Kinds of values, as an input of type `kind` reports them.
pub mod kind {
    /// No value, or `null`.
    pub const MISSING: i32 = 0;
    /// A number written without fraction or exponent that fits 64 bits.
    pub const WHOLE: i32 = 1;
    /// Any other number.
    pub const FLOAT: i32 = 2;
    /// A string.
    pub const TEXT: i32 = 3;
    /// `true` or `false`.
    pub const TRUTH: i32 = 4;
    /// An array or an object.
    pub const OTHER: i32 = 5;
}
