//! The tree that a statement is read into. Each expression knows its place in the statement.

use std::ops::Range;

/// A place in the statement, in bytes.
pub(crate) type Span = Range<usize>;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) node: Node,
    pub(crate) span: Span,
    /// Depth of the tree below: walking it recurses, and must not overflow the stack.
    pub(crate) depth: u16,
}

/// The kind of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Literal(Literal),
    /// `:name`.
    Param(String),
    Column {
        stream: Option<String>,
        name: String,
    },
    /// `*` or `stream.*`, as the argument of a function.
    Star(Option<String>),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `x IN (a, b)`.
    InList(Box<Expr>, Vec<Expr>),
    /// `x IN list`.
    InValue(Box<Expr>, Box<Expr>),
    Between(Box<Expr>, Box<Expr>, Box<Expr>),
    Like(Box<Expr>, Box<Expr>),
    IsNull(Box<Expr>),
    /// `a->name`.
    Field(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    Case {
        operand: Option<Box<Expr>>,
        arms: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Call(Box<Call>),
}

/// A value that stands in the statement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Wide(u64),
    Float(f64),
    Text(String),
}

/// Operators with two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    BitOr,
    BitXor,
    Mul,
    Div,
    Rem,
    BitAnd,
}

/// A function with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) args: Vec<Expr>,
    /// `FILTER (WHERE …)`.
    pub(crate) filter: Option<Expr>,
    /// `OVER (PARTITION BY … ORDER BY … WHEN …)`.
    pub(crate) over: Option<Over>,
}

/// The clause after OVER.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Over {
    pub(crate) partition: Vec<Expr>,
    /// Expressions by which rows are put in order before they are numbered, each with `true` for
    /// downwards.
    pub(crate) order: Vec<(Expr, bool)>,
    pub(crate) when: Option<Expr>,
    pub(crate) span: Span,
}

/// One item of the select list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Star {
        stream: Option<String>,
        except: Vec<String>,
        replace: Vec<(String, Expr)>,
        span: Span,
    },
    Value {
        expr: Expr,
        alias: Option<String>,
        invisible: bool,
    },
}

/// A stream that a statement reads, under the name that it is called by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) span: Span,
}

/// The kind of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    Cross,
}

/// A joined stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Join {
    pub(crate) kind: JoinKind,
    pub(crate) source: Source,
    pub(crate) on: Option<Expr>,
}

/// A window with what stands after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    pub(crate) kind: WindowKind,
    pub(crate) filter: Option<Expr>,
    pub(crate) over: Option<Over>,
    pub(crate) span: Span,
}

/// The kind of a window; times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WindowKind {
    Tumbling {
        length: u64,
        calendar: Option<CalendarUnit>,
    },
    Hopping {
        length: u64,
        hop: u64,
        calendar: Option<CalendarUnit>,
    },
    Sliding {
        length: u64,
        delay: u64,
    },
    Session {
        length: u64,
        gap: u64,
    },
    Count {
        count: u64,
        every: u64,
    },
    /// With one condition alone, `emit` is none: whenever it holds, one window ends and the next begins.
    State {
        begin: Box<Expr>,
        emit: Option<Box<Expr>>,
    },
}

/// A unit that the calendar of a zone makes longer or shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalendarUnit {
    Day,
    Week,
    Month,
}

/// The length of a month in milliseconds, as far as one number tells it: twelve fit into a year.
pub(crate) const MONTH_MS: u64 = 366 * 86_400_000 / 12;

impl CalendarUnit {
    /// Its name in a manifest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Its length in milliseconds, as it mostly is.
    pub(crate) fn ms(self) -> u64 {
        match self {
            Self::Day => 86_400_000,
            Self::Week => 7 * 86_400_000,
            Self::Month => MONTH_MS,
        }
    }
}

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    /// The place of DISTINCT.
    pub(crate) distinct: Option<Span>,
    pub(crate) items: Vec<Item>,
    pub(crate) from: Source,
    pub(crate) joins: Vec<Join>,
    pub(crate) filter: Option<Expr>,
    pub(crate) group: Vec<Expr>,
    pub(crate) window: Option<Window>,
    pub(crate) having: Option<Expr>,
    pub(crate) order: Vec<(Expr, bool)>,
    pub(crate) limit: Option<u64>,
    pub(crate) limit_span: Option<Span>,
}

impl Expr {
    pub(crate) fn new(node: Node, span: Span) -> Self {
        let mut depth = 0;
        node.each(&mut |child| depth = depth.max(child.depth));
        Self {
            node,
            span,
            depth: depth.saturating_add(1),
        }
    }

    /// Calls `visit` for this expression and all below it, parents first.
    pub(crate) fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        self.node.each(&mut |child| child.walk(visit));
    }

    /// Returns `true` if `found` holds for this expression or one below it.
    pub(crate) fn any(&self, found: &dyn Fn(&Node) -> bool) -> bool {
        let mut any = false;
        self.walk(&mut |expr| any |= found(&expr.node));
        any
    }
}

impl Node {
    /// Calls `visit` for each direct child, in the order of the statement.
    pub(crate) fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Literal(_) | Self::Param(_) | Self::Column { .. } | Self::Star(_) => {}
            Self::Negate(a) | Self::Not(a) | Self::IsNull(a) | Self::Field(a, _) => visit(a),
            Self::Binary(_, a, b) | Self::InValue(a, b) | Self::Like(a, b) | Self::Index(a, b) => {
                visit(a);
                visit(b);
            }
            Self::InList(a, list) => {
                visit(a);
                list.iter().for_each(visit);
            }
            Self::Between(a, b, c) => {
                visit(a);
                visit(b);
                visit(c);
            }
            Self::Slice(a, b, c) => {
                visit(a);
                b.iter().chain(c).for_each(|bound| visit(bound));
            }
            Self::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand.iter().for_each(|operand| visit(operand));
                for (when, then) in arms {
                    visit(when);
                    visit(then);
                }
                otherwise.iter().for_each(|otherwise| visit(otherwise));
            }
            Self::Call(call) => {
                call.args.iter().chain(&call.filter).for_each(&mut *visit);
                if let Some(over) = &call.over {
                    let order = over.order.iter().map(|(by, _)| by);
                    let parts = over.partition.iter().chain(order);
                    parts.chain(&over.when).for_each(visit);
                }
            }
        }
    }

    /// The same with children that may be changed, in any order.
    pub(crate) fn each_mut<'a>(&'a mut self, visit: &mut dyn FnMut(&'a mut Expr)) {
        match self {
            Self::Literal(_) | Self::Param(_) | Self::Column { .. } | Self::Star(_) => {}
            Self::Negate(a) | Self::Not(a) | Self::IsNull(a) | Self::Field(a, _) => visit(a),
            Self::Binary(_, a, b) | Self::InValue(a, b) | Self::Like(a, b) | Self::Index(a, b) => {
                visit(a);
                visit(b);
            }
            Self::InList(a, list) => {
                visit(a);
                list.iter_mut().for_each(visit);
            }
            Self::Between(a, b, c) => {
                visit(a);
                visit(b);
                visit(c);
            }
            Self::Slice(a, b, c) => {
                visit(a);
                b.iter_mut().chain(c).for_each(|bound| visit(bound));
            }
            Self::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand.iter_mut().for_each(|operand| visit(operand));
                for (when, then) in arms {
                    visit(when);
                    visit(then);
                }
                otherwise.iter_mut().for_each(|otherwise| visit(otherwise));
            }
            Self::Call(call) => {
                call.args
                    .iter_mut()
                    .chain(&mut call.filter)
                    .for_each(&mut *visit);
                if let Some(over) = &mut call.over {
                    let order = over.order.iter_mut().map(|(by, _)| by);
                    let parts = over.partition.iter_mut().chain(order);
                    parts.chain(&mut over.when).for_each(visit);
                }
            }
        }
    }
}
