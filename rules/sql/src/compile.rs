//! A tree to a module. The driver: which streams there are, which handlers the module has, and what
//! its manifest says. Expressions, conditions, rows and windows each have a file.

mod apart;
mod calls;
mod columns;
mod condition;
mod describe;
mod expression;
mod fold;
mod judge;
mod kept;
mod names;
mod naming;
mod number;
mod output;
mod path;
mod remember;
mod rows;
mod sense;
mod streams;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;
use tidemill_abi::{export, import, limit::FUEL_STATEMENT};
use tidemill_values::{Budget, FieldType, VALUE_BYTES_MAX, Value};
use wasm_encoder::{Instruction, ValType};

use crate::ast::{Expr, Select, Span};
use crate::error::SqlError;
use crate::module::{Body, Local, Module};
use crate::parse::parse;

use condition::ROWS;
use names::Alias;
use naming::Naming;
pub(crate) use path::Path;
use remember::{Note, Step};
use streams::{pointer, streams};
use window::{kind_name, window_json};

/// Longest module of a statement.
const STATEMENT_MODULE_BYTES_MAX: usize = 64 * 1024;

/// Settings of the compiler for a statement.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The rule's name, which the module's manifest bears.
    pub name: String,
    /// Values of `:name`.
    pub params: BTreeMap<String, Value>,
    /// Streams that the rule declares; others listen to the topic of their name.
    pub streams: Vec<Stream>,
    /// `true` if a missing value goes out as `null` instead of being left out.
    pub nulls: bool,
    /// `true` if the rule keeps keys apart by itself: the statement then sees one of them at a
    /// time.
    pub keyed: bool,
    /// JSON pointer at which the rule finds the key in the payload, if it does.
    pub key_pointer: Option<String>,
    /// `true` if events are handled by their own time, where no stream has a timestamp.
    pub event_time: bool,
    /// Way in which windows are computed.
    pub plan: Plan,
}

/// Way in which a window is computed. The results are the same; tests hold one against the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plan {
    /// Folded into slots where that can be done, else with the rows of each group kept apart, else with
    /// all rows together.
    #[default]
    Auto,
    /// All rows together.
    Together,
}

/// A stream that a statement reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// Its name in FROM: the one behind AS, if there is one.
    pub name: String,
    /// The name in front of AS, by which it is declared.
    pub source: String,
    /// `true` if the rule or the statement declares it.
    pub declared: bool,
    /// Topic filters that it listens to; none where the statement's name for it is the topic.
    pub filters: Vec<String>,
    /// Types of fields.
    pub fields: Vec<(String, FieldType)>,
    /// The JSON pointer of the moment at which an event happened.
    pub timestamp: Option<String>,
    /// `true` if its messages are something else than the JSON that goes out: none of them can go
    /// on as it came.
    pub recoded: bool,
    /// The format of its messages, where each is one value without columns.
    pub bare: Option<String>,
    /// `true` if no column is known but those of its fields.
    pub complete: bool,
    /// `true` if a value of another type than its field is an error even where it could be
    /// converted.
    pub strict: bool,
    /// Options of the declaration that only the host makes sense of.
    pub options: Vec<StreamOption>,
}

/// An option of a stream that only the host makes sense of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOption {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Place of the value in the statement.
    pub span: Span,
}

/// The window that the host has to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Kind, as the module's manifest has it.
    pub kind: &'static str,
    /// In words, for people.
    pub text: String,
}

/// A compiled statement.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The module.
    pub wasm: Vec<u8>,
    /// The streams that it reads, in the order of the statement.
    pub streams: Vec<Stream>,
    /// Its window.
    pub window: Option<Window>,
    /// The plan, line by line, for people: a name and what there is to say.
    pub plan: Vec<(&'static str, String)>,
}

/// Compiles a statement, with the declarations of streams before it.
///
/// # Errors
/// When the statement is none, or says what cannot be done; with the place.
pub fn compile(sql: &str, options: &Options) -> Result<Compiled, SqlError> {
    let mut file = parse(sql)?;
    apart::part_by_groups(&mut file.select);
    let streams = streams(&file.select, &file.declarations, options)?;
    let compiler = Compiler::new(&file.select, options, streams);
    compiler.compile(sql)
}

/// Names of the statement with their meanings, and the module in the making.
struct Compiler<'a> {
    select: &'a Select,
    options: &'a Options,
    module: Module,
    aliases: Vec<Alias<'a>>,
    streams: Vec<Stream>,
    /// The functions that remember, in the order in which they were met.
    steps: Vec<Step>,
    /// Functions that remember whose values are kept with the rows of the window, by the number of
    /// their note.
    notes: Vec<Note>,
    params_used: BTreeSet<String>,
    naming: Naming,
    /// Slots of the folded window, where it keeps no rows.
    folding: Option<fold::Folding>,
    event_time: bool,
    /// `true` if a row, a pair of rows or a group of a window that fires can fail without the
    /// others.
    apart: bool,
    /// Number of expressions written out, and of those around the one at hand.
    written: usize,
    depth: usize,
    /// Budget left for working out what no event can change.
    folding_budget: Budget,
}

/// Over what an expression is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The row at hand.
    Row,
    /// A group, through its first row; aggregates are allowed.
    Group,
    /// A row inside of an aggregate.
    Fold,
}

/// Code that is being written, and the facts that hold there.
struct Scope {
    body: Body,
    level: Level,
    /// Aliases that were worked out already.
    lets: BTreeMap<usize, Local>,
    /// Results for the event of functions that remember, each with its stream, by their places.
    steps: BTreeMap<i32, (Local, i32)>,
    /// Aggregates in WHERE, which are worked out before it, by their places.
    totals: BTreeMap<usize, Local>,
    /// Aliases in which functions that remember were looked for.
    looked_into: BTreeSet<usize>,
    /// Aliases that are being written out: their own names mean columns in there.
    open: Vec<usize>,
    /// `true` if the code runs for every event, so that a wrong type may stop it.
    always: bool,
    /// `true` if the handler has inputs.
    typed: bool,
    /// `true` if an alias that is made of a column of the same name means the column.
    plain: bool,
}

impl Scope {
    fn new(level: Level, typed: bool) -> Self {
        Self {
            body: Body::default(),
            level,
            lets: BTreeMap::new(),
            steps: BTreeMap::new(),
            totals: BTreeMap::new(),
            looked_into: BTreeSet::new(),
            open: Vec::new(),
            always: true,
            typed,
            plain: false,
        }
    }
}

impl<'a> Compiler<'a> {
    fn new(select: &'a Select, options: &'a Options, streams: Vec<Stream>) -> Self {
        let event_time =
            options.event_time || streams.iter().any(|stream| stream.timestamp.is_some());
        Self {
            select,
            options,
            module: Module::default(),
            aliases: names::aliases(select),
            streams,
            steps: Vec::new(),
            notes: Vec::new(),
            params_used: BTreeSet::new(),
            naming: Naming::new(naming::hash),
            folding: None,
            event_time,
            apart: false,
            written: 0,
            depth: 0,
            folding_budget: Budget {
                fuel: FUEL_STATEMENT,
                bytes: 4 * VALUE_BYTES_MAX,
            },
        }
    }

    fn compile(mut self, sql: &str) -> Result<Compiled, SqlError> {
        self.check()?;
        self.check_sense()?;
        self.see_columns();
        self.build(sql)
    }

    /// Refuses all that can be refused before any code is written.
    fn check(&self) -> Result<(), SqlError> {
        let select = self.select;
        if let Some(join) = select.joins.first()
            && select.window.is_none()
        {
            let message = "a join needs a window; write GROUP BY TUMBLINGWINDOW(ss, 10)";
            return Err(SqlError::new(&join.source.span, message));
        }
        if let (Some(having), None) = (&select.having, &select.window) {
            let message = "HAVING needs a window; a condition on single events is written WHERE";
            return Err(SqlError::new(&having.span, message));
        }
        if let (Some(by), None) = (select.group.first(), &select.window) {
            let message =
                "GROUP BY needs a window; write TUMBLINGWINDOW(ss, 10) among what it groups by";
            return Err(SqlError::new(&by.span, message));
        }
        if let (Some((by, _)), None) = (select.order.first(), &select.window) {
            return Err(SqlError::new(&by.span, "ORDER BY needs a window"));
        }
        if let (Some(filter), None) = (&select.filter, &select.window) {
            self.refuse_aggregates(filter, "WHERE")?;
        }
        self.refuse_circles()?;
        for group in &select.group {
            self.refuse_aggregates(group, "GROUP BY")?;
        }
        for join in &select.joins {
            if let Some(on) = &join.on {
                self.refuse_aggregates(on, "ON")?;
            }
        }
        Ok(())
    }

    fn refuse_aggregates(&self, expr: &Expr, clause: &str) -> Result<(), SqlError> {
        let mut found = None;
        expr.walk(&mut |expr| {
            if calls::is_aggregate(&expr.node) && found.is_none() {
                found = Some(expr.span.clone());
            }
        });
        match found {
            None => Ok(()),
            Some(span) => {
                let message = format!(
                    "{clause} looks at single rows; a condition on an aggregate is written HAVING"
                );
                Err(SqlError::new(&span, message))
            }
        }
    }

    fn build(mut self, sql: &str) -> Result<Compiled, SqlError> {
        let mut manifest = Map::new();
        manifest.insert("abi".to_owned(), tidemill_abi::VERSION.into());
        if !self.options.name.is_empty() {
            manifest.insert("name".to_owned(), self.options.name.as_str().into());
        }
        let mut plan = Vec::new();
        let window = match &self.select.window {
            None => {
                self.event_handler()?;
                None
            }
            Some(window) => {
                self.check_partition(window)?;
                let folded = match self.options.plan {
                    Plan::Auto => self.fold(window)?,
                    Plan::Together => None,
                };
                let (json, key) = match folded {
                    Some(folded) => folded,
                    None => self.windowed(window)?,
                };
                let way = match (&self.folding, &key) {
                    (Some(_), _) => "slots: numbers are kept, no rows",
                    (None, Some(_)) => "rows, those of each key for themselves",
                    (None, None) => "rows, all together",
                };
                plan.push(("keeps", way.to_owned()));
                if let Some(key) = key {
                    plan.push(("key", key.clone()));
                    manifest.insert("key".to_owned(), key.into());
                }
                manifest.insert("window".to_owned(), json);
                Some(Window {
                    kind: kind_name(&window.kind),
                    text: sql.get(window.span.clone()).unwrap_or_default().to_owned(),
                })
            }
        };
        self.check_params(sql)?;
        let state = self.state_json()?;
        manifest.insert("state".to_owned(), state);
        let sql_part = self.sql_part();
        self.describe(&mut plan, sql);
        let wasm = match self.module.finish(manifest, sql_part) {
            Ok(wasm) => wasm,
            Err(what) => {
                return Err(SqlError::new(
                    &(0..0),
                    format!("the statement is too long: {what}"),
                ));
            }
        };
        let bytes = wasm.len();
        if bytes > STATEMENT_MODULE_BYTES_MAX {
            let message = format!("the statement is too long: its module has {bytes} bytes");
            return Err(SqlError::new(&(0..0), message));
        }
        Ok(Compiled {
            wasm,
            streams: self.streams,
            window,
            plan,
        })
    }

    /// A parameter that nothing uses is a slip of the pen.
    fn check_params(&self, _sql: &str) -> Result<(), SqlError> {
        let unused = self.options.params.keys();
        match unused
            .into_iter()
            .find(|name| !self.params_used.contains(*name))
        {
            None => Ok(()),
            Some(name) => {
                let message = format!("params.{name} is not used: the statement has no :{name}");
                Err(SqlError::new(&(0..0), message))
            }
        }
    }

    /// A handler for single events: the condition, then the row that goes out.
    fn event_handler(&mut self) -> Result<(), SqlError> {
        let level = if self.has_aggregates() {
            Level::Group
        } else {
            Level::Row
        };
        let mut scope = Scope::new(level, true);
        self.read_strictly(&mut scope);
        self.step_for_output(&mut scope)?;
        if let Some(filter) = &self.select.filter {
            self.step_plainly(&mut scope, filter)?;
        }
        if self.passes_through() {
            match &self.select.filter {
                Some(filter) => self.where_holds(&mut scope, filter)?,
                None => scope.body.i32(1),
            }
        } else {
            if let Some(filter) = &self.select.filter {
                self.where_is(&mut scope, filter)?;
                leave_unless(&mut scope.body);
                scope.always = false;
            }
            self.row_out(&mut scope)?;
            if self.asks_for_hits(self.select.filter.as_ref(), ROWS) {
                // The row that went out tells of the hits before this one.
                self.count_hit(&mut scope.body, ROWS);
            }
            self.distinct(&mut scope);
            self.flush(&mut scope.body, self.select.limit);
            scope.body.i32(0);
        }
        let name = self.event_export();
        self.module.handler(name, scope.body);
        Ok(())
    }

    /// Reads the event as a row before anything else, where each value has to be of its field's type.
    fn read_strictly(&mut self, scope: &mut Scope) {
        if self.streams.iter().any(|stream| stream.strict) {
            self.read_row(&mut scope.body);
        }
    }

    /// Reads the event as a row: one that is none, or of which a field has a wrong type, goes no further.
    fn read_row(&mut self, body: &mut Body) {
        body.i32(tidemill_abi::value::ANY_STREAM);
        self.module.call(body, import::V_ROW);
        body.push(Instruction::Drop);
    }

    /// `SELECT *` of one stream without types: the payload goes on as it came.
    fn passes_through(&self) -> bool {
        use crate::ast::Item;
        let plain = matches!(
            &*self.select.items,
            [Item::Star { except, replace, .. }] if except.is_empty() && replace.is_empty()
        );
        plain
            && self.streams.len() == 1
            && self
                .streams
                .iter()
                .all(|stream| stream.fields.is_empty() && !stream.recoded)
    }

    /// Puts the condition of WHERE on the stack as a number, and counts a hit if it holds.
    fn where_holds(&mut self, scope: &mut Scope, filter: &'a Expr) -> Result<(), SqlError> {
        self.where_is(scope, filter)?;
        self.count_hits(scope, filter);
        scope.always = false;
        Ok(())
    }

    /// Puts the condition of WHERE on the stack as a number.
    fn where_is(&mut self, scope: &mut Scope, filter: &'a Expr) -> Result<(), SqlError> {
        scope.plain = true;
        self.lets(scope, &[filter])?;
        self.condition(scope, filter)?;
        scope.plain = false;
        Ok(())
    }

    /// `f` where there are inputs to hand over, else `on_event`.
    fn event_export(&self) -> &'static str {
        if self.module.inputs.is_empty() {
            export::ON_EVENT
        } else {
            export::TYPED
        }
    }

    /// Sends the rows that are complete.
    fn flush(&mut self, body: &mut Body, limit: Option<u64>) {
        body.i32(0);
        body.i32(limit.map_or(-1, |limit| i32::try_from(limit).unwrap_or(i32::MAX)));
        self.module.call(body, import::V_FLUSH);
    }

    /// Keeps what is on the stack in a local.
    fn keep(&self, scope: &mut Scope) -> Local {
        let local = scope.body.local(ValType::I32);
        scope.body.set(local);
        local
    }
}

/// Ends the handler with 0 unless the stack holds true.
fn leave_unless(body: &mut Body) {
    body.push(Instruction::I32Eqz);
    body.begin_if(None);
    body.i32(0);
    body.push(Instruction::Return);
    body.end();
}
