//! The functions that ship with Tidemill, compiled. They are built from `rules/stock` by `cargo
//! xtask stock` and kept in the repository, so that the agent builds without a compiler for wasm32.

const MODULES: &[(&str, &[u8])] = &[
    (
        "average",
        include_bytes!("../../../rules/stock/wasm/average.wasm"),
    ),
    (
        "convert",
        include_bytes!("../../../rules/stock/wasm/convert.wasm"),
    ),
    (
        "deadband",
        include_bytes!("../../../rules/stock/wasm/deadband.wasm"),
    ),
    (
        "debounce",
        include_bytes!("../../../rules/stock/wasm/debounce.wasm"),
    ),
    (
        "ewma",
        include_bytes!("../../../rules/stock/wasm/ewma.wasm"),
    ),
    (
        "moving-average",
        include_bytes!("../../../rules/stock/wasm/moving_average.wasm"),
    ),
    (
        "rate-limit",
        include_bytes!("../../../rules/stock/wasm/rate_limit.wasm"),
    ),
    (
        "report-by-exception",
        include_bytes!("../../../rules/stock/wasm/report_by_exception.wasm"),
    ),
    (
        "silence",
        include_bytes!("../../../rules/stock/wasm/silence.wasm"),
    ),
    (
        "threshold",
        include_bytes!("../../../rules/stock/wasm/threshold.wasm"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::manifest::ModuleManifest;

    fn manifest(wasm: &[u8]) -> ModuleManifest {
        let mut sections = wasmparser::Parser::new(0)
            .parse_all(wasm)
            .filter_map(|payload| match payload {
                Ok(wasmparser::Payload::CustomSection(section)) => Some(section),
                _ => None,
            });
        let section = sections.find(|section| section.name() == tidemill_abi::MANIFEST_SECTION);
        ModuleManifest::parse(section.unwrap().data()).unwrap()
    }

    /// A number with a comma between thousands, as the page has it.
    fn shown(number: usize) -> String {
        match number {
            0..1_000 => number.to_string(),
            _ => format!("{},{:03}", number / 1_000, number % 1_000),
        }
    }

    #[test]
    fn the_page_says_of_each_function_all_parameters_and_ports_and_how_large_it_is() {
        let page = include_str!("../../../docs/functions.md");
        let page = page.replace('\n', " ");
        for name in names() {
            let (_, section) = page.split_once(&format!(" ## {name} ")).unwrap();
            let section = section.split(" ## ").next().unwrap();
            let wasm = module(name).unwrap();
            let manifest = manifest(wasm);
            assert_eq!(manifest.name.as_deref(), Some(name));
            let parameters = manifest.config.iter();
            let parameters = parameters.map(|entry| entry.duration_name().unwrap_or(&entry.name));
            for known in parameters.chain(manifest.outputs.iter().map(String::as_str)) {
                let is_said = section.contains(&format!("| `{known}`"))
                    || section.contains(&format!("`{known}` |"));
                assert!(is_said, "{name}: {known}");
            }
            let size = format!(" {} bytes.", shown(wasm.len()));
            assert!(section.contains(&size), "{name}:{size}");
            let slots = match manifest.state.slots {
                0 => "No state".to_owned(),
                1 => "State: 1 slot".to_owned(),
                slots => format!("State: {slots} slots"),
            };
            assert!(section.contains(&slots), "{name}: {slots}");
        }
    }
}
