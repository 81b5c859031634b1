//! What calls read from their arguments again and again: patterns and paths, kept by their text.

/// Patterns and paths by their text. Owned by whoever calls, one for each rule.
#[derive(Debug, Default)]
pub struct Cache {}
