//! Functions that need the statement around them: only named here, so that they are found, numbered and
//! documented like the others.

use super::table::compiled;
use crate::{Function, Kind};

pub(super) const FUNCTIONS: &[Function] = &[
    compiled(
        1101,
        "window_start",
        "",
        "where the window begins, in milliseconds since 1970",
        Kind::Window,
    ),
    compiled(
        1102,
        "window_end",
        "",
        "where the window ends, in milliseconds since 1970",
        Kind::Window,
    ),
    compiled(
        1103,
        "window_trigger",
        "",
        "when the window fired, in milliseconds since 1970",
        Kind::Window,
    ),
    compiled(
        1104,
        "event_time",
        "",
        "the time of the event, or of the window's firing, in milliseconds since 1970",
        Kind::Window,
    ),
    compiled(
        1105,
        "row_number",
        "",
        "the number of the row among those that are sent together, from 1; `OVER (PARTITION BY … ORDER BY …)` numbers each part in an order, in which the rows then go out",
        Kind::Window,
    ),
    compiled(
        1106,
        "unnest",
        "array",
        "one row for each element; an object's names become columns",
        Kind::MultiRow,
    ),
    compiled(
        1107,
        "extract",
        "object",
        "the object's names as columns",
        Kind::MultiRow,
    ),
];
