//! Circles: files that name each other, directly or over others.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{Module, Sources};

/// All circles of a crate, each by its files. A file and the ones below it may name each other: they
/// are one module.
pub(super) fn circles(sources: &Sources) -> Vec<Vec<Module>> {
    let names: BTreeMap<_, BTreeSet<_>> = sources
        .0
        .keys()
        .map(|module| {
            let mut named = sources.named_by(module);
            named.retain(|other| !other.starts_with(module) && !module.starts_with(other));
            (module, named)
        })
        .collect();
    let reached: BTreeMap<_, _> = names
        .keys()
        .map(|from| (*from, reach(from, &names)))
        .collect();
    let mut found: Vec<Vec<Module>> = Vec::new();
    for (module, others) in &reached {
        if others.contains(*module) && !found.iter().any(|circle| circle.contains(module)) {
            let together = others.iter().filter(|other| {
                let back = reached.get(*other);
                back.is_some_and(|back| back.contains(*module))
            });
            found.push(together.cloned().collect());
        }
    }
    found
}

/// Every module that can be reached from one by the names that files use.
fn reach(from: &Module, names: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.clone()];
    while let Some(module) = next.pop() {
        for other in names.get(&module).into_iter().flatten() {
            if seen.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    seen
}
