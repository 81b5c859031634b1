//! Several errors of files at once, so that an owner mends them in one go.

use std::cell::{Cell, RefCell};
use std::fmt;

use super::FileError;

/// Everything that is wrong with a file, in the order of its lines; one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileErrors(Vec<FileError>);

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FileErrors {}

impl From<FileError> for FileErrors {
    fn from(error: FileError) -> Self {
        Self(vec![error])
    }
}

impl IntoIterator for FileErrors {
    type Item = FileError;
    type IntoIter = std::vec::IntoIter<FileError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FileErrors {
    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &FileError> {
        self.0.iter()
    }
}

/// Gathers errors while a check goes on. What depends on a wrong value is given one that is good.
#[derive(Debug, Default)]
pub struct Errors {
    all: RefCell<Vec<FileError>>,
    /// Lines that are no TOML: whatever else is found there follows from that.
    broken: RefCell<Vec<usize>>,
    /// `true` if all further errors would follow from those reported.
    is_muted: Cell<bool>,
    is_broken_table: Cell<bool>,
    warnings: RefCell<Vec<FileError>>,
}

impl Errors {
    /// Takes note of an error.
    pub fn push(&self, error: FileError) {
        let line = error.place.map(|(line, _)| line);
        let is_broken = line.is_some_and(|line| self.broken.borrow().contains(&line));
        if !is_broken && !self.is_muted.get() {
            self.all.borrow_mut().push(error);
        }
    }

    /// Takes note of something that works, and should be otherwise.
    pub fn warn(&self, warning: FileError) {
        self.warnings.borrow_mut().push(warning);
    }

    /// The warnings so far, which are forgotten here.
    pub fn take_warnings(&self) -> Vec<FileError> {
        self.warnings.take()
    }

    /// Takes note of a line that is no TOML. If it is the header of a table, the lines below belong
    /// to an unknown table, and are not reported.
    pub fn push_broken(&self, error: FileError, is_table: bool) {
        let line = error.place.map(|(line, _)| line);
        self.push(error);
        self.broken.borrow_mut().extend(line);
        self.is_broken_table
            .set(self.is_broken_table.get() || is_table);
    }

    /// Ends the report of lines that are no TOML.
    pub fn syntax_is_checked(&self) {
        self.is_muted.set(self.is_broken_table.get());
    }

    /// Takes note of errors.
    pub fn extend(&self, errors: impl IntoIterator<Item = FileError>) {
        errors.into_iter().for_each(|error| self.push(error));
    }

    /// The value of a result, after taking note of its error.
    pub fn take<T>(&self, result: Result<T, FileError>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Number of errors so far.
    pub fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// `true` if there is none.
    pub fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// The value if nothing is wrong, else the errors, in the order of the lines.
    ///
    /// # Errors
    /// When there are some.
    pub fn or<T>(self, value: T) -> Result<T, FileErrors> {
        match self.into_list() {
            Some(errors) => Err(errors),
            None => Ok(value),
        }
    }

    /// The errors in the order of the lines, each once; `None` if there is none.
    pub fn into_list(self) -> Option<FileErrors> {
        let mut all = self.all.into_inner();
        all.sort_by_key(|error| error.place);
        all.dedup();
        (!all.is_empty()).then_some(FileErrors(all))
    }
}
