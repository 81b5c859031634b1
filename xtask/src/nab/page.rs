//! Output of the example into its folder: files, and blocks of its README. With `--check` it
//! compares instead.

use super::tell;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder, and whether it may be changed.
pub(super) struct Page {
    folder: PathBuf,
    check: bool,
    different: Vec<String>,
}

impl Page {
    pub(super) fn new(folder: &Path, check: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            check,
            different: Vec::new(),
        }
    }

    /// Makes `name` hold `text`.
    pub(super) fn file(&mut self, name: &str, text: &str) -> Result<()> {
        self.settle(name, name, text)
    }

    /// Makes the block of the README that is called `name` hold `text`.
    pub(super) fn block(&mut self, name: &str, text: &str) -> Result<()> {
        let readme = self.folder.join("README.md");
        let page = fs::read_to_string(&readme)
            .with_context(|| format!("cannot read {}", readme.display()))?;
        let page = with_block(&page, name, text)
            .with_context(|| format!("{} has no place for it", readme.display()))?;
        self.settle("README.md", &format!("README.md, block {name}"), &page)
    }

    fn settle(&mut self, file: &str, shown: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        if self.check {
            self.different.push(shown.to_owned());
            return Ok(());
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        tell("wrote", file);
        Ok(())
    }

    /// Fails if something differed.
    pub(super) fn end(self) -> Result<()> {
        if !self.different.is_empty() {
            bail!(
                "examples/nab is not what the agent gives: {} (run `cargo xtask nab`, and `cargo xtask nab --sweep`)",
                self.different.join("; ")
            );
        }
        tell("up to date:", "");
        Ok(())
    }
}

/// `page` with `text` between the two comments that enclose the block `name`.
fn with_block(page: &str, name: &str, text: &str) -> Result<String> {
    let open = format!("<!-- {name} -->\n");
    let close = format!("<!-- end of {name} -->");
    let lacks = || anyhow!("a block stands between `{}` and `{close}`", open.trim_end());
    let (before, rest) = page.split_once(&open).ok_or_else(lacks)?;
    let (_, after) = rest.split_once(&close).ok_or_else(lacks)?;
    Ok(format!("{before}{open}```\n{text}```\n{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_replaced_and_nothing_else() {
        let page = "a\n<!-- score -->\nold\n<!-- end of score -->\nb\n";
        let new = with_block(page, "score", "7\n").unwrap();
        assert_eq!(
            new,
            "a\n<!-- score -->\n```\n7\n```\n<!-- end of score -->\nb\n"
        );
        assert_eq!(with_block(&new, "score", "7\n").unwrap(), new);
        let error = with_block(page, "sweep", "7\n").unwrap_err().to_string();
        assert!(error.contains("<!-- end of sweep -->"), "{error}");
    }

    #[test]
    fn a_difference_is_told_and_nothing_written() {
        let folder = std::env::temp_dir().join(format!("tidemill-nab-page-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.svg"), "old").unwrap();
        let mut page = Page::new(&folder, true);
        page.file("a.svg", "new").unwrap();
        let error = page.end().unwrap_err().to_string();
        assert!(error.contains("a.svg"), "{error}");
        assert_eq!(fs::read_to_string(folder.join("a.svg")).unwrap(), "old");
        let mut page = Page::new(&folder, false);
        page.file("a.svg", "new").unwrap();
        page.end().unwrap();
        assert_eq!(fs::read_to_string(folder.join("a.svg")).unwrap(), "new");
        fs::remove_dir_all(folder).unwrap();
    }
}
