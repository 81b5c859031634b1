//! Columns by the names that lead to them: `a`, or `a.b.c` and `a->b->c` into objects.

use tidemill_values::FieldType;

use super::{Compiler, Stream};
use crate::ast::{Expr, Node};

/// The names that lead to a value of the payload, outermost first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(Vec<String>);

impl Path {
    /// A column at the top of the payload.
    pub(crate) fn column(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// The place that a declaration names.
    pub(crate) fn declared(name: &str) -> Self {
        Self(name.split('.').map(str::to_owned).collect())
    }

    /// The names, outermost first.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The name of the column, and those that lead on from it.
    pub(crate) fn split(&self) -> (&str, &[String]) {
        match self.0.split_first() {
            Some((first, rest)) => (first, rest),
            None => ("", &[]),
        }
    }

    /// Returns `true` if the path leads into an object.
    pub(crate) fn is_nested(&self) -> bool {
        self.0.len() > 1
    }

    /// The names with points between them, as `fields` writes them.
    pub(crate) fn dotted(&self) -> String {
        self.0.join(".")
    }

    /// The JSON pointer of the place.
    pub(crate) fn pointer(&self) -> String {
        self.names().fold(String::new(), |pointer, name| {
            pointer + "/" + &name.replace('~', "~0").replace('/', "~1")
        })
    }
}

impl Compiler<'_> {
    /// The place that an expression names, if it is nothing but a column or a field of one, and the stream
    /// that it is said to be of.
    pub(super) fn place(&self, expr: &Expr) -> Option<(Option<usize>, Path)> {
        match &expr.node {
            Node::Column { stream: None, name } => Some((None, Path::column(name))),
            Node::Column {
                stream: Some(stream),
                name,
            } => Some(match self.stream(stream) {
                Some(number) => (Some(number), Path::column(name)),
                None => (None, Path(vec![stream.clone(), name.clone()])),
            }),
            Node::Field(inner, name) => {
                let (stream, Path(mut names)) = self.place(inner)?;
                names.push(name.clone());
                Some((stream, Path(names)))
            }
            _ => None,
        }
    }

    /// The same inside of an aggregate, for what a typed input can stand for: no alias, and no name that might be a place in a list.
    pub(super) fn input_path(&self, expr: &Expr) -> Option<Path> {
        let (stream, path) = self.place(expr)?;
        let (column, inner) = path.split();
        // Inside of an aggregate the name of one that is made of aggregates means the column.
        let mut aliases = self.aliases.iter();
        let is_alias =
            stream.is_none() && aliases.any(|alias| alias.name == column && !alias.aggregates);
        let is_index = |name: &String| name.parse::<usize>().is_ok();
        let is_bare = path.is_nested() && column.eq_ignore_ascii_case("self");
        (!is_alias && !is_bare && !inner.iter().any(is_index)).then_some(path)
    }

    /// The type that is declared of a place; of one inside of a column by its names with points between.
    pub(super) fn declared_at(&self, path: &Path) -> Option<FieldType> {
        let dotted = path.dotted();
        let mut fields = self.streams.iter().flat_map(|stream| &stream.fields);
        fields
            .find(|(field, _)| *field == dotted)
            .map(|(_, ty)| *ty)
    }
}

/// Returns `true` if something is declared of the stream that a column by that name, in whatever
/// case, may be or hold.
pub(super) fn declares(stream: &Stream, path: &Path) -> bool {
    let (column, _) = path.split();
    stream.fields.iter().any(|(field, _)| {
        let top = field.split('.').next().unwrap_or(field);
        field.eq_ignore_ascii_case(column) || top.eq_ignore_ascii_case(column)
    })
}
