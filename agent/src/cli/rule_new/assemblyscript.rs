//! A starting point in AssemblyScript: the example's source, its manifest and the files for npm.

use super::module;
use super::{File, Start};

const SOURCE: &str = include_str!("../../../../examples/assemblyscript-filter/filter.ts");
const MANIFEST: &str = include_str!("../../../../examples/assemblyscript-filter/manifest.json");
const TRANSFORM: &str = include_str!("../../../../examples/assemblyscript-filter/manifest.mjs");
const PACKAGE: &str = include_str!("../../../../examples/assemblyscript-filter/package.json");
const LOCK: &str = include_str!("../../../../examples/assemblyscript-filter/package-lock.json");

pub(super) fn start(name: &str) -> Start {
    let note = "\n// Each import is declared where it is used; manifest.json names inputs, settings and outputs.\n\n";
    let source = SOURCE.replacen("\n\n", note, 1);
    module::start(
        name,
        "node 20 or later with npm".to_owned(),
        vec!["npm ci".to_owned(), "npm run build".to_owned()],
        vec![
            File::new(format!("{name}.ts"), source),
            File::new("manifest.json", renamed(MANIFEST, name)),
            File::new("manifest.mjs", TRANSFORM),
            File::new("package.json", renamed(PACKAGE, name)),
            File::new("package-lock.json", renamed(LOCK, name)),
            File::new(".gitignore", "/node_modules/\n"),
        ],
    )
}

/// The example's file under the rule's name. Under which licence it goes on is its author's to say.
fn renamed(text: &str, name: &str) -> String {
    text.replace("assemblyscript-filter", name)
        .replace("filter.ts", &format!("{name}.ts"))
        .replace("filter.wasm", &format!("{name}.wasm"))
        .lines()
        .filter(|line| !line.contains("\"license\": \"Apache-2.0 OR MIT\""))
        .flat_map(|line| [line, "\n"])
        .collect()
}
