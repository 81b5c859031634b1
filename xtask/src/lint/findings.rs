//! The rules: which functions, structs and files break one.

use super::sources::{Source, attributes, is_of_tests};
use std::fmt;
use std::path::PathBuf;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, Fields, FnArg, GenericArgument, ImplItemFn, Item, ItemFn, ItemImpl,
    ItemStruct, ItemTrait, Lit, Meta, Pat, PathArguments, Signature, TraitItemFn, Type,
};

/// Parameters of a function, without `self`; more need a reason in the doc comment.
const PARAMETERS_MAX: usize = 5;

/// Lines of code of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of code of a file, tests aside.
const FILE_LINES_MAX: usize = 400;

/// Folders and files whose structs may not hold two fields of one bare integer type: records, the mill,
/// lanes and the journal, where a swapped pair would be written to disk.
const FIELDS_IN: [&str; 5] = [
    "agent/src/commit",
    "agent/src/mill",
    "agent/src/destination",
    "agent/src/storage",
    "agent/journal/src",
];

/// Beginning of the paragraph of a doc comment that gives the reason for a long train of parameters.
const REASON: &str = "Parameters: ";

const INTEGERS: [&str; 12] = [
    "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
];

/// A rule by the name that the list uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// Two parameters of one bare integer type.
    Integers,
    /// Two fields of one bare integer type.
    Fields,
    /// Too many parameters.
    Parameters,
    /// Too long a function.
    FunctionLines,
    /// Too long a file.
    FileLines,
}

impl Rule {
    pub(crate) const ALL: [Self; 5] = [
        Self::Integers,
        Self::Fields,
        Self::Parameters,
        Self::FunctionLines,
        Self::FileLines,
    ];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integers => "integers",
            Self::Fields => "fields",
            Self::Parameters => "parameters",
            Self::FunctionLines => "function-lines",
            Self::FileLines => "file-lines",
        })
    }
}

/// One place that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    /// Name of the function or struct; the file's for a file.
    pub(crate) name: String,
    /// The rest of the sentence that begins with the name.
    says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Self {
            rule,
            line,
            name,
            says,
            ..
        } = self;
        write!(f, "{path}:{line}: {name} {says} ({rule})")
    }
}

/// All places of a file that break a rule.
pub(crate) fn of_source(source: &Source) -> Vec<Finding> {
    let mut look = Look {
        source,
        within: Vec::new(),
        found: Vec::new(),
    };
    look.visit_file(&source.file);
    let lines = source.file_lines();
    if lines > FILE_LINES_MAX {
        let name = source.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let says = format!("has {lines} lines of code, more than {FILE_LINES_MAX}");
        look.enter(Rule::FileLines, 1, name, says);
    }
    look.found
}

struct Look<'a> {
    source: &'a Source,
    /// Types, traits and functions around the place.
    within: Vec<String>,
    found: Vec<Finding>,
}

impl Look<'_> {
    fn enter(&mut self, rule: Rule, line: usize, name: String, says: String) {
        self.found.push(Finding {
            rule,
            path: self.source.path.clone(),
            line,
            name,
            says,
        });
    }

    fn qualified(&self, name: impl fmt::Display) -> String {
        let mut names = self.within.clone();
        names.push(name.to_string());
        names.join("::")
    }

    /// Looks at what a function takes.
    fn signature(&mut self, signature: &Signature, attributes: &[Attribute]) {
        let typed: Vec<_> = signature
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(typed),
                FnArg::Receiver(_) => None,
            })
            .collect();
        if self.is_import(typed.first().map(|first| &*first.ty)) {
            return;
        }
        let line = signature.ident.span().start().line;
        let integers = typed.iter().map(|it| (named(&it.pat), &*it.ty));
        if let Some((first, second, kind)) = pair(integers) {
            let name = self.qualified(&signature.ident);
            let says = format!("takes {first} and {second}, both a bare {kind}");
            self.enter(Rule::Integers, line, name, says);
        }
        if typed.len() > PARAMETERS_MAX && !has_reason(attributes) {
            let name = self.qualified(&signature.ident);
            let count = typed.len();
            let says = format!(
                "takes {count} parameters, more than {PARAMETERS_MAX}, and its doc has no paragraph \
                 \"{REASON}…\" that says why"
            );
            self.enter(Rule::Parameters, line, name, says);
        }
    }

    /// `true` for an import of a guest, which takes the caller first: the words behind it are the ABI's,
    /// of which a guest has two types.
    fn is_import(&self, first: Option<&Type>) -> bool {
        let of_wasmi = self.source.path.starts_with("agent/src/function");
        of_wasmi && first.is_some_and(|kind| matches!(&*type_name(kind), "Call" | "Caller"))
    }

    /// Looks at the length of a function, from its signature to its end.
    fn length(&mut self, signature: &Signature, end: usize) {
        let line = signature.span().start().line;
        let lines = self.source.code_lines(line, end);
        if lines > FUNCTION_LINES_MAX {
            let name = self.qualified(&signature.ident);
            let says = format!("has {lines} lines of code, more than {FUNCTION_LINES_MAX}");
            self.enter(Rule::FunctionLines, line, name, says);
        }
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.within.push(name);
        visit(self);
        self.within.pop();
    }
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_of_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.signature(&item.sig, &item.attrs);
        self.length(&item.sig, item.block.span().end().line);
        let name = item.sig.ident.to_string();
        self.within(name, |look| visit::visit_item_fn(look, item));
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let name = type_name(&item.self_ty);
        self.within(name, |look| {
            for inner in &item.items {
                let syn::ImplItem::Fn(function) = inner else {
                    continue;
                };
                if is_of_tests(&function.attrs) {
                    continue;
                }
                // What a trait's function takes is the trait's choice.
                if item.trait_.is_none() {
                    look.signature(&function.sig, &function.attrs);
                }
                look.visit_impl_item_fn(function);
            }
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.length(&item.sig, item.block.span().end().line);
        let name = item.sig.ident.to_string();
        self.within(name, |look| visit::visit_impl_item_fn(look, item));
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        let name = item.ident.to_string();
        self.within(name, |look| visit::visit_item_trait(look, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.signature(&item.sig, &item.attrs);
        if let Some(block) = &item.default {
            self.length(&item.sig, block.span().end().line);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if !FIELDS_IN
            .iter()
            .any(|folder| self.source.path.starts_with(folder))
        {
            return;
        }
        let (Fields::Named(_) | Fields::Unnamed(_)) = &item.fields else {
            return;
        };
        let fields = item.fields.iter().enumerate().map(|(at, field)| {
            let name = field.ident.as_ref().map(ToString::to_string);
            (name.unwrap_or_else(|| at.to_string()), &field.ty)
        });
        if let Some((first, second, kind)) = pair(fields) {
            let name = self.qualified(&item.ident);
            let says = format!("holds {first} and {second}, both a bare {kind}");
            self.enter(Rule::Fields, item.ident.span().start().line, name, says);
        }
    }
}

/// The first two names of one bare integer type, and that type.
fn pair<'a>(
    typed: impl Iterator<Item = (String, &'a Type)>,
) -> Option<(String, String, &'static str)> {
    let mut seen: Vec<(String, &'static str)> = Vec::new();
    for (name, kind) in typed {
        let Some(kind) = bare(kind) else { continue };
        if let Some((first, _)) = seen.iter().find(|(_, other)| *other == kind) {
            return Some((first.clone(), name, kind));
        }
        seen.push((name, kind));
    }
    None
}

/// The integer type that a type is, also behind references and in an `Option`.
fn bare(kind: &Type) -> Option<&'static str> {
    match kind {
        Type::Reference(reference) => bare(&reference.elem),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            if let PathArguments::AngleBracketed(arguments) = &last.arguments
                && last.ident == "Option"
                && let Some(GenericArgument::Type(inner)) = arguments.args.first()
            {
                return bare(inner);
            }
            INTEGERS.into_iter().find(|name| last.ident == name)
        }
        _ => None,
    }
}

fn named(pattern: &Pat) -> String {
    match pattern {
        Pat::Ident(ident) => ident.ident.to_string(),
        _ => "_".to_owned(),
    }
}

fn type_name(kind: &Type) -> String {
    match kind {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        Type::Reference(reference) => Some(type_name(&reference.elem)),
        _ => None,
    }
    .unwrap_or_else(|| "_".to_owned())
}

/// `true` if a doc comment has a line that gives the reason.
fn has_reason(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return false;
        };
        let Expr::Lit(literal) = &pair.value else {
            return false;
        };
        let Lit::Str(text) = &literal.lit else {
            return false;
        };
        let text = text.value();
        let reason = text.trim_start().strip_prefix(REASON);
        pair.path.is_ident("doc") && reason.is_some_and(|reason| !reason.trim().is_empty())
    })
}
