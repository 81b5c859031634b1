//! Windows that keep numbers instead of rows.

use serde_json::Value as Json;

use super::Compiler;
use crate::ast::Window;
use crate::error::SqlError;

impl<'a> Compiler<'a> {
    /// Both handlers of a window that folds its events, if the statement can be worked out like that:
    /// what the manifest says of the window, and the key.
    pub(super) fn fold(
        &mut self,
        _window: &'a Window,
    ) -> Result<Option<(Json, Option<String>)>, SqlError> {
        Ok(None)
    }
}
