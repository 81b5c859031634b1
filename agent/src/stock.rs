//! The functions that ship with Tidemill, compiled. They are built from `rules/stock` by
//! `cargo xtask stock` and kept in the repository, so that the agent builds where no compiler for
//! wasm32 is installed.

const MODULES: &[(&str, &[u8])] = &[
    (
        "average",
        include_bytes!("../../rules/stock/wasm/average.wasm"),
    ),
    (
        "convert",
        include_bytes!("../../rules/stock/wasm/convert.wasm"),
    ),
    (
        "deadband",
        include_bytes!("../../rules/stock/wasm/deadband.wasm"),
    ),
    (
        "debounce",
        include_bytes!("../../rules/stock/wasm/debounce.wasm"),
    ),
    ("ewma", include_bytes!("../../rules/stock/wasm/ewma.wasm")),
    (
        "moving-average",
        include_bytes!("../../rules/stock/wasm/moving_average.wasm"),
    ),
    (
        "rate-limit",
        include_bytes!("../../rules/stock/wasm/rate_limit.wasm"),
    ),
    (
        "report-by-exception",
        include_bytes!("../../rules/stock/wasm/report_by_exception.wasm"),
    ),
    (
        "threshold",
        include_bytes!("../../rules/stock/wasm/threshold.wasm"),
    ),
];

/// The module of a stock function.
pub fn module(name: &str) -> Option<&'static [u8]> {
    MODULES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, wasm)| *wasm)
}

/// The names of all stock functions.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODULES.iter().map(|(name, _)| *name)
}
