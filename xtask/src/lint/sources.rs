//! The files of a crate, found from its roots by their `mod`s, without what belongs to tests.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::{Attribute, File, Item, Meta};

/// A file as parsed, with its path in the workspace.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) file: File,
}

impl Source {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let file = syn::parse_file(text);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            file: file.with_context(|| format!("cannot parse {}", path.display()))?,
        })
    }

    /// Lines of code among those of a span: neither blank nor comments.
    pub(crate) fn code_lines(&self, first: usize, last: usize) -> usize {
        let lines = self.text.lines().take(last).skip(first.saturating_sub(1));
        lines
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .count()
    }

    /// Lines of code without those of tests.
    pub(crate) fn file_lines(&self) -> usize {
        let tests = self
            .file
            .items
            .iter()
            .filter(|item| is_of_tests(attributes(item)));
        let lines = tests.map(|item| {
            let span = item.span();
            self.code_lines(span.start().line, span.end().line)
        });
        self.code_lines(1, usize::MAX) - lines.sum::<usize>()
    }
}

/// All files of the crate in `folder`, from `lib.rs`, `main.rs` and the examples' and binaries' roots.
pub(crate) fn of_crate(root: &Path, folder: &str) -> Result<Vec<Source>> {
    let src = Path::new(folder).join("src");
    let mut found = Vec::new();
    for name in ["lib.rs", "main.rs"] {
        if root.join(&src).join(name).is_file() {
            add(root, &src.join(name), &src, &mut found)?;
        }
    }
    if found.is_empty() {
        bail!("no sources in {folder}");
    }
    Ok(found)
}

/// Adds a file and those of its modules, which lie in `below`.
fn add(root: &Path, path: &Path, below: &Path, found: &mut Vec<Source>) -> Result<()> {
    let text = fs::read_to_string(root.join(path));
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let source = Source::parse(path, &text)?;
    let mut modules = Vec::new();
    files_of(&source.file.items, below, &mut modules);
    found.push(source);
    for module in modules {
        let inner = module.with_extension("");
        let folder = inner.join("mod.rs");
        let path = if root.join(&folder).is_file() {
            folder
        } else {
            module
        };
        add(root, &path, &inner, found)?;
    }
    Ok(())
}

/// The files that the `mod`s among `items` stand for.
fn files_of(items: &[Item], below: &Path, found: &mut Vec<PathBuf>) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        if is_of_tests(&module.attrs) {
            continue;
        }
        let name = module.ident.to_string();
        if let Some((_, items)) = &module.content {
            files_of(items, &below.join(name), found);
        } else {
            found.push(below.join(name).with_extension("rs"));
        }
    }
}

/// `true` for what is compiled for tests only, and for the models that tests use.
pub(crate) fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            let mut words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
            words.any(|word| word == "test") && !condition.contains("not")
        }
        _ => false,
    })
}

/// The attributes of an item that may belong to tests.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}
