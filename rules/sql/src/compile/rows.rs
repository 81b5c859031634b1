//! Windows that keep rows: what a row has to be to join one, and what becomes of the rows when it fires.

use serde_json::Value as Json;
use tidemill_abi::{export, import, value::walk};
use wasm_encoder::Instruction;

use super::calls::{self, again, open};
use super::{Compiler, Level, Scope, leave_unless, window_json};
use crate::ast::{Expr, JoinKind, Node, Window, WindowKind};
use crate::error::SqlError;
use crate::module::Body;

impl<'a> Compiler<'a> {
    /// Both handlers of a window that keeps rows, and what the manifest says of it.
    pub(super) fn windowed(&mut self, window: &'a Window) -> Result<Json, SqlError> {
        self.check_window(window)?;
        // The inputs are those of the handler of events; what runs at a firing has none.
        self.row_handler(window)?;
        self.window_handler(window)?;
        let mut json = window_json(window);
        json.insert("rows".to_owned(), true.into());
        Ok(json.into())
    }

    fn check_window(&self, window: &Window) -> Result<(), SqlError> {
        if let Some(over) = &window.over {
            if let Some(partition) = over.partition.first() {
                let message =
                    "a window is the rule's: what is kept apart in it is written GROUP BY";
                return Err(SqlError::new(&partition.span, message));
            }
            if over.when.is_some() && !matches!(window.kind, WindowKind::Sliding { .. }) {
                let message = "OVER (WHEN …) says what makes a sliding window fire; others fire by themselves";
                return Err(SqlError::new(&over.span, message));
            }
        }
        if let Some(filter) = &window.filter {
            self.refuse_aggregates(filter, "FILTER")?;
        }
        let filter = self.select.filter.as_ref();
        let Some(filter) = filter.filter(|_| self.filters_late(window)) else {
            return Ok(());
        };
        let mut shared = None;
        filter.walk(&mut |expr| {
            let Node::Column { stream: None, name } = &expr.node else {
                return;
            };
            let mut aliases = self.aliases.iter();
            let remembers = |node: &Node| calls::is_analytic(node);
            if aliases.any(|alias| alias.name == name && alias.expr.any(&remembers)) {
                shared = Some(expr.span.clone());
            }
        });
        match shared {
            None => Ok(()),
            Some(span) => {
                let message = "here WHERE comes after the window, and a function that remembers would see \
                               each row twice; write the condition as HAVING or without a window";
                Err(SqlError::new(&span, message))
            }
        }
    }

    /// Whether WHERE is for the rows of a window, not for events on their way into it: what it leaves out
    /// counts in a count window and makes a sliding one fire.
    fn filters_late(&self, window: &Window) -> bool {
        let by_events = !matches!(
            window.kind,
            WindowKind::Tumbling { .. } | WindowKind::Hopping { .. }
        );
        !self.select.joins.is_empty()
            || matches!(window.kind, WindowKind::Count { .. })
            || (self.event_time && by_events)
    }

    /// For each event: does it join the window, does it begin one, does it make it fire?
    fn row_handler(&mut self, window: &'a Window) -> Result<(), SqlError> {
        let mut scope = Scope::new(Level::Row, true);
        if let Some(filter) = &window.filter {
            self.condition(&mut scope, filter)?;
            leave_unless(&mut scope.body);
            scope.always = false;
        }
        let late = self.filters_late(window);
        if let Some(filter) = self.select.filter.as_ref().filter(|_| !late) {
            self.where_holds(&mut scope, filter)?;
            leave_unless(&mut scope.body);
        }
        scope.always = false;
        if let WindowKind::State { begin, emit } = &window.kind {
            self.says(&mut scope, begin, 1)?;
            self.keep_row(&mut scope.body);
            self.says(&mut scope, emit, 2)?;
        } else {
            self.keep_row(&mut scope.body);
            let when = window.over.as_ref().and_then(|over| over.when.as_ref());
            match (when, &window.kind) {
                (Some(when), _) => self.says(&mut scope, when, 2)?,
                (None, WindowKind::Sliding { .. }) => {
                    scope.body.i32(2);
                    self.win(&mut scope.body);
                }
                _ => {}
            }
        }
        scope.body.i32(0);
        let name = self.event_export();
        self.module.handler(name, scope.body);
        Ok(())
    }

    /// Tells the host what the event does to the window, if a condition holds.
    fn says(&mut self, scope: &mut Scope, when: &'a Expr, what: i32) -> Result<(), SqlError> {
        self.condition(scope, when)?;
        self.count_hits(scope, when, 0);
        scope.body.begin_if(None);
        scope.body.i32(what);
        self.win(&mut scope.body);
        scope.body.end();
        Ok(())
    }

    fn win(&mut self, body: &mut Body) {
        self.module.call(body, import::WIN);
        body.push(Instruction::Drop);
    }

    /// The row joins the window, once for each stream that the event belongs to.
    fn keep_row(&mut self, body: &mut Body) {
        if self.streams.len() == 1 {
            body.i32(0);
            self.module.call(body, import::V_KEEP);
            return;
        }
        for number in 0..self.streams.len() {
            const STREAMS: i32 = tidemill_abi::EvI64::Streams as i32;
            body.i32(STREAMS);
            self.module.call(body, import::EV_I64);
            body.push(Instruction::I64Const(1 << number));
            body.push(Instruction::I64And);
            body.push(Instruction::I64Const(0));
            body.push(Instruction::I64Ne);
            body.begin_if(None);
            body.i32(i32::try_from(number).unwrap_or(i32::MAX));
            self.module.call(body, import::V_KEEP);
            body.end();
        }
    }

    /// At a firing: joins, WHERE where it comes late, groups, HAVING, and the rows that go out.
    fn window_handler(&mut self, window: &'a Window) -> Result<(), SqlError> {
        let mut scope = Scope::new(Level::Row, false);
        self.module.call(&mut scope.body, import::V_LOAD);
        scope.body.push(Instruction::Drop);
        self.joins(&mut scope)?;
        if let Some(filter) = self
            .select
            .filter
            .as_ref()
            .filter(|_| self.filters_late(window))
        {
            open(&mut self.module, &mut scope.body, walk::FILTER);
            self.next(&mut scope.body);
            self.where_holds(&mut scope, filter)?;
            self.hit(&mut scope.body);
            scope.lets.clear();
            again(&mut scope.body);
        }
        self.groups(&mut scope)?;
        self.flush(&mut scope.body, self.select.limit);
        scope.body.i32(0);
        self.module.handler(export::ON_WINDOW, scope.body);
        Ok(())
    }

    /// Marks the row if the stack holds true.
    fn hit(&mut self, body: &mut Body) {
        body.begin_if(None);
        self.module.call(body, import::V_HIT);
        body.end();
    }

    fn joins(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        for (number, join) in (1..).zip(&self.select.joins) {
            let walk = match join.kind {
                JoinKind::Inner | JoinKind::Cross => walk::INNER,
                JoinKind::Left => walk::LEFT,
                JoinKind::Right => walk::RIGHT,
                JoinKind::Full => walk::FULL,
            };
            scope.body.i32(walk);
            scope.body.i32(number);
            self.module.call(&mut scope.body, import::V_OPEN);
            self.next(&mut scope.body);
            match &join.on {
                Some(on) => {
                    scope.plain = true;
                    self.condition(scope, on)?;
                    scope.plain = false;
                }
                None => scope.body.i32(1),
            }
            self.hit(&mut scope.body);
            again(&mut scope.body);
        }
        Ok(())
    }

    /// The rows that go out: one for each group, or one for each row where nothing is grouped.
    fn groups(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        let groups = self.select.group.iter();
        let groups: Vec<&'a Expr> = groups.collect();
        let having_alone = self.select.having.is_some();
        let aggregated = self.has_aggregates();
        if groups.is_empty() && !aggregated && !having_alone {
            open(&mut self.module, &mut scope.body, walk::ROWS);
            self.next(&mut scope.body);
            self.row_out(scope)?;
            again(&mut scope.body);
            return Ok(());
        }
        if !groups.is_empty() {
            open(&mut self.module, &mut scope.body, walk::ROWS);
            self.next(&mut scope.body);
            scope.plain = true;
            let by = groups.len();
            for group in groups {
                self.expression(scope, group)?;
                self.module.call(&mut scope.body, import::V_ARG);
            }
            scope.plain = false;
            scope.body.i32(i32::try_from(by).unwrap_or(i32::MAX));
            self.module.call(&mut scope.body, import::V_GROUP);
            again(&mut scope.body);
        }
        scope.level = Level::Group;
        open(&mut self.module, &mut scope.body, walk::GROUPS);
        self.next(&mut scope.body);
        if let Some(having) = &self.select.having {
            self.lets(scope, &[having])?;
            self.condition(scope, having)?;
            self.count_hits(scope, having, 1);
            scope.body.push(Instruction::I32Eqz);
            scope.body.push(Instruction::BrIf(0));
        }
        if self.select.group.is_empty() && !aggregated {
            // HAVING was about the window as a whole: it lets all rows pass, or none.
            scope.level = Level::Row;
            scope.lets.clear();
            open(&mut self.module, &mut scope.body, walk::ROWS);
            self.next(&mut scope.body);
            self.row_out(scope)?;
            again(&mut scope.body);
        } else {
            self.row_out(scope)?;
        }
        again(&mut scope.body);
        Ok(())
    }
}
