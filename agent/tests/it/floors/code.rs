//! The agent's sources as the guard reads them: without comments, texts and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's path below the crate, such as `["mill", "active"]`; empty for `lib.rs`.
pub(super) type Module = Vec<String>;

/// One file of the agent.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Its text without comments, literals and modules of tests; line breaks are kept.
    pub(super) code: String,
    /// All of it.
    pub(super) text: String,
}

/// All files of a crate by module, those of tests left out.
pub(super) struct Sources(pub(super) BTreeMap<Module, Source>);

impl Sources {
    /// Reads a crate's folder `src`.
    pub(super) fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        rust_files(root, &mut files);
        // The program is one call of the library.
        files.retain(|path| *path != root.join("main.rs"));
        assert!(files.len() > 20, "found only {files:?}");
        let texts = files.into_iter().map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root).unwrap().to_owned(), text)
        });
        Self::of(texts)
    }

    /// Takes files with their paths below `src`.
    pub(super) fn of(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let mut modules = BTreeMap::new();
        let mut of_tests = BTreeSet::new();
        for (path, text) in texts {
            let module = module_of(&path);
            let (code, tests) = without_tests(&without_literals(&text));
            for name in tests {
                of_tests.insert([module.clone(), vec![name]].concat());
            }
            modules.insert(module, Source { path, code, text });
        }
        modules.retain(|module, _| !of_tests.iter().any(|tests| module.starts_with(tests)));
        Self(modules)
    }

    /// The modules that one names, as files: a name within a file is that file's.
    pub(super) fn named_by(&self, module: &[String]) -> BTreeSet<Module> {
        let Some(source) = self.0.get(module) else {
            return BTreeSet::new();
        };
        let mut found: BTreeSet<_> = paths(&source.code)
            .iter()
            .filter_map(|path| self.resolve(module, path))
            .collect();
        found.remove(module);
        found
    }

    fn resolve(&self, from: &[String], path: &str) -> Option<Module> {
        let mut names = path.split("::").map(str::trim).peekable();
        let mut module = from.to_vec();
        match *names.peek()? {
            "crate" => {
                module.clear();
                names.next();
            }
            "self" => {
                names.next();
            }
            "super" => {
                while names.next_if_eq(&"super").is_some() {
                    module.pop()?;
                }
            }
            first => {
                module.push(first.to_owned());
                if !self.0.contains_key(&module) {
                    return None;
                }
                names.next();
            }
        }
        for name in names {
            module.push(name.to_owned());
            if !self.0.contains_key(&module) {
                module.pop();
                break;
            }
        }
        Some(module)
    }
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn module_of(path: &Path) -> Module {
    let mut module: Module = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if module
        .last()
        .is_some_and(|name| matches!(name.as_str(), "mod" | "lib"))
    {
        module.pop();
    }
    module
}

/// A text with its comments and the contents of its literals blanked.
fn without_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&close).unwrap() + open + close.len()
        } else if next == '"' {
            closing(rest, '"')
        } else if next == '\'' && is_char(rest) {
            closing(rest, '\'')
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        code.extend(rest[..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    code
}

/// The number of hashes, where a raw text begins.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// `true` for a character, `false` for a lifetime.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    let first = chars.next();
    first == Some('\\') || chars.next() == Some('\'')
}

/// The length of a literal that begins here.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// The code without modules of tests, and the names of those that stand in files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::new();
    let mut files = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let item = rest.trim_start();
        let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
        let Some(named) = item.strip_prefix("mod ") else {
            continue;
        };
        let end = named.find([';', '{']).unwrap();
        if named[end..].starts_with(';') {
            files.push(named[..end].trim().to_owned());
            rest = &named[end + 1..];
        } else {
            rest = &named[end + braces(&named[end..])..];
        }
    }
    kept.push_str(rest);
    (kept, files)
}

/// The length of a block that begins with its brace.
fn braces(text: &str) -> usize {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Each path that a file names, those of its `use` trees one by one.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let begins = rest[..at]
            .chars()
            .next_back()
            .is_none_or(|c| c.is_whitespace() || c == ';');
        rest = &rest[at + 4..];
        if begins {
            let end = rest.find(';').unwrap_or(rest.len());
            branches(&rest[..end], "", &mut found);
        }
    }
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let path = &code[at..];
            let end = path
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(path.len());
            found.push(path[..end].trim_end_matches(':').to_owned());
        }
    }
    found
}

fn branches(tree: &str, before: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        found.push(format!("{before}{name}"));
        return;
    };
    let before = format!("{before}{}", tree[..open].trim());
    let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let mut depth = 0;
    let mut from = 0;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches(&inside[from..at], &before, found);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inside[from..].trim().is_empty() {
        branches(&inside[from..], &before, found);
    }
}
