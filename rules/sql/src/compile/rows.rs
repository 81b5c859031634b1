//! Windows that keep rows: what a row has to be to join one, and what becomes of the rows when it fires.

use serde_json::Value as Json;
use tidemill_abi::{export, import, value::walk};
use tidemill_values::FieldType;
use wasm_encoder::{Instruction, ValType};

use super::calls::{again, is_aggregate, open, remembers};
use super::condition::GROUPS;
use super::{Compiler, Level, Plan, Scope, leave_unless, pointer, window_json};
use crate::ast::{Expr, JoinKind, Node, Op, Window, WindowKind};
use crate::error::SqlError;
use crate::module::Body;

impl<'a> Compiler<'a> {
    /// Compiles both handlers of a window that keeps rows. Returns the manifest's part on the
    /// window, and the key.
    pub(super) fn windowed(
        &mut self,
        window: &'a Window,
    ) -> Result<(Json, Option<String>), SqlError> {
        self.check_window(window)?;
        // The inputs are those of the handler of events; what runs at a firing has none.
        self.row_handler(window)?;
        self.window_handler(window)?;
        let mut json = window_json(window);
        json.insert("rows".to_owned(), true.into());
        let key = self.partition(window).or(self.own_key(window));
        Ok((json.into(), key.map(pointer)))
    }

    /// The column that the statement groups by, if that is one of the payload and nothing else is.
    pub(super) fn group_column(&self) -> Option<&'a str> {
        let ([only], 1) = (&*self.select.group, self.streams.len()) else {
            return None;
        };
        match &only.node {
            Node::Column { stream, name } if self.is_column(stream.as_deref(), name) => Some(name),
            _ => None,
        }
    }

    /// The column of GROUP BY, if the rows of each group are kept for themselves.
    fn own_key(&self, window: &Window) -> Option<&'a str> {
        let kept_apart = self.options.plan == Plan::Auto;
        self.group_apart(window).filter(|_| kept_apart)
    }

    /// The column of GROUP BY, where each group can be worked out for itself: nothing looks at several
    /// groups at once or goes from one to the next.
    pub(super) fn group_apart(&self, window: &Window) -> Option<&'a str> {
        let select = self.select;
        let on_grid = matches!(
            window.kind,
            WindowKind::Tumbling { .. } | WindowKind::Hopping { .. }
        );
        let together = |node: &Node| {
            remembers(node) || matches!(node, Node::Call(call) if call.name == "row_number")
        };
        let filters = select.filter.iter().chain(&window.filter);
        let apart = on_grid
            && !self.options.keyed
            && self.partition(window).is_none()
            && select.order.is_empty()
            && select.limit.is_none()
            && select.distinct.is_none()
            && !self.filters_by_aggregates()
            && !self
                .outputs()
                .chain(filters)
                .any(|expr| expr.any(&together));
        let column = self.group_column().filter(|_| apart)?;
        // Values of another type may make another group than their text says.
        let declared = self.declared(column);
        declared
            .is_none_or(|ty| ty == FieldType::String)
            .then_some(column)
    }

    /// The column whose values have windows of their own.
    pub(super) fn partition<'w>(&self, window: &'w Window) -> Option<&'w str> {
        let over = window.over.as_ref()?;
        match over.partition.first().map(|by| &by.node) {
            Some(Node::Column { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Checks that PARTITION BY of a window is one that the key of the rule can stand for.
    pub(super) fn check_partition(&self, window: &Window) -> Result<(), SqlError> {
        let over = window.over.iter();
        let mut by = over.flat_map(|over| &over.partition);
        let Some(first) = by.next() else {
            return Ok(());
        };
        let column = match &first.node {
            Node::Column {
                stream: Some(_), ..
            } if self.streams.len() > 1 => {
                let message = "PARTITION BY of a joined window goes by a column that each stream has; \
                               write its name without the stream";
                return Err(SqlError::new(&first.span, message));
            }
            Node::Column { stream, name } => self.is_column(stream.as_deref(), name),
            _ => false,
        };
        let message = match by.next() {
            _ if !column => {
                "PARTITION BY of a window takes a column of the payload; what is worked out is written GROUP BY"
            }
            Some(second) => {
                let message =
                    "PARTITION BY of a window takes one column; others are written GROUP BY";
                return Err(SqlError::new(&second.span, message));
            }
            None if self.options.keyed => {
                "the rule's key keeps its windows apart already; leave out one of the two"
            }
            None => return Ok(()),
        };
        Err(SqlError::new(&first.span, message))
    }

    fn check_window(&self, window: &Window) -> Result<(), SqlError> {
        if let Some(over) = &window.over {
            self.refuse_order(over)?;
            let slides = matches!(window.kind, WindowKind::Sliding { .. });
            if over.when.is_some() && !slides {
                let message = "OVER (WHEN …) says what makes a sliding window fire; others fire by themselves";
                return Err(SqlError::new(&over.span, message));
            }
        }
        if let Some(filter) = &window.filter {
            self.refuse_aggregates(filter, "FILTER")?;
        }
        Ok(())
    }

    /// Returns `true` if WHERE is for the rows of a window, not for events on their way into it: in
    /// a count window, events that it leaves out count.
    pub(super) fn filters_late(&self, window: &Window) -> bool {
        let late = match window.kind {
            WindowKind::Count { .. } => true,
            WindowKind::Session { .. } | WindowKind::State { .. } => self.event_time,
            // A sliding one fires at what WHERE leaves out, but need not keep it.
            WindowKind::Sliding { .. } => false,
            WindowKind::Tumbling { .. } | WindowKind::Hopping { .. } => false,
        };
        late || !self.select.joins.is_empty() || self.filters_by_aggregates()
    }

    /// For each event: does it join the window, does it begin one, does it make it fire?
    fn row_handler(&mut self, window: &'a Window) -> Result<(), SqlError> {
        let mut scope = Scope::new(Level::Row, true);
        self.read_strictly(&mut scope);
        self.steps_of_rows(&mut scope, window)?;
        if let Some(filter) = &window.filter {
            self.condition(&mut scope, filter)?;
            leave_unless(&mut scope.body);
            scope.always = false;
        }
        let late = self.filters_late(window);
        let mut kept = None;
        if let Some(filter) = self.select.filter.as_ref().filter(|_| !late) {
            self.where_holds(&mut scope, filter)?;
            match window.kind {
                WindowKind::Sliding { .. } => kept = Some(self.keep(&mut scope)),
                _ => leave_unless(&mut scope.body),
            }
        }
        scope.always = false;
        match (&self.select.filter, kept) {
            (Some(filter), None) if late => self.judge_late(&mut scope, filter)?,
            (_, None) => self.judge(&mut scope)?,
            (_, Some(kept)) => {
                scope.body.get(kept);
                scope.body.begin_if(None);
                self.judge(&mut scope)?;
                scope.body.end();
            }
        }
        if let WindowKind::State { begin, emit } = &window.kind {
            let what = if emit.is_some() { 1 } else { 3 };
            self.says(&mut scope, begin, what)?;
            self.keep_row(&mut scope.body);
            if let Some(emit) = emit {
                self.says(&mut scope, emit, 2)?;
            }
        } else {
            if let Some(kept) = kept {
                scope.body.get(kept);
                scope.body.begin_if(None);
            }
            self.keep_row(&mut scope.body);
            if kept.is_some() {
                scope.body.end();
            }
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

    /// Works out the functions that remember. Those that are asked for at a firing are noted with the row.
    fn steps_of_rows(&mut self, scope: &mut Scope, window: &'a Window) -> Result<(), SqlError> {
        let late = self.filters_late(window);
        let (early, late) = match (&self.select.filter, late) {
            (Some(filter), true) => (None, Some(filter)),
            (filter, _) => (filter.as_ref(), None),
        };
        self.step_for_output(scope)?;
        let on = self.select.joins.iter().filter_map(|join| join.on.as_ref());
        for expr in on.chain(late) {
            self.step_plainly(scope, expr)?;
        }
        self.note_steps(scope)?;
        let conditions: [Option<&Expr>; 2] = match &window.kind {
            WindowKind::State { begin, emit } => [Some(&**begin), emit.as_deref()],
            _ => [
                window.over.as_ref().and_then(|over| over.when.as_ref()),
                None,
            ],
        };
        let conditions = conditions.into_iter().flatten();
        for expr in conditions.chain(&window.filter) {
            self.step(scope, expr)?;
        }
        if let Some(filter) = early {
            self.step_plainly(scope, filter)?;
        }
        Ok(())
    }

    /// Tells the host what the event does to the window, if a condition holds.
    fn says(&mut self, scope: &mut Scope, when: &'a Expr, what: i32) -> Result<(), SqlError> {
        self.condition(scope, when)?;
        self.count_hits(scope, when);
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
            self.totals(&mut scope, filter)?;
            open(&mut self.module, &mut scope.body, walk::FILTER);
            self.next(&mut scope.body);
            self.where_holds(&mut scope, filter)?;
            self.hit(&mut scope.body);
            scope.lets.clear();
            again(&mut scope.body);
        }
        self.groups(&mut scope)?;
        self.distinct(&mut scope);
        self.flush(&mut scope.body, self.select.limit);
        scope.body.i32(0);
        // State remembered from one group to the next has seen a group that fails later.
        let remembers = [import::V_STEP, import::V_HITS];
        self.apart = !remembers
            .iter()
            .any(|import| self.module.calls(&scope.body, import));
        self.module.handler(export::ON_WINDOW, scope.body);
        Ok(())
    }

    /// Works out the aggregates in WHERE, over all rows of the window.
    fn totals(&mut self, scope: &mut Scope, filter: &'a Expr) -> Result<(), SqlError> {
        let mut aggregates = Vec::new();
        filter.walk(&mut |expr| aggregates.extend(is_aggregate(&expr.node).then_some(expr)));
        let level = std::mem::replace(&mut scope.level, Level::Group);
        for expr in aggregates {
            self.expression(scope, expr)?;
            let local = self.keep(scope);
            scope.totals.insert(expr.span.start, local);
        }
        scope.level = level;
        Ok(())
    }

    /// Marks the row if the stack holds true.
    fn hit(&mut self, body: &mut Body) {
        body.begin_if(None);
        self.module.call(body, import::V_HIT);
        body.end();
    }

    /// The columns of the equality that a condition of a join begins with: the stream and the name of the one on the left side, and the name of
    /// the one of the stream that joins. Without it no pair can meet the condition, and nothing else of the condition is looked at.
    fn equal_columns(&self, on: &'a Expr, number: i32) -> Option<(i32, &'a str, &'a str)> {
        let side = |expr: &'a Expr| match &expr.node {
            Node::Column {
                stream: Some(stream),
                name,
            } => {
                let stream = i32::try_from(self.stream(stream)?).ok()?;
                Some((stream, name.as_str()))
            }
            _ => None,
        };
        match &on.node {
            Node::Binary(Op::And, first, _) => self.equal_columns(first, number),
            Node::Binary(Op::Eq, a, b) => match (side(a)?, side(b)?) {
                ((left, name), (right, other)) if right == number && left < number => {
                    Some((left, name, other))
                }
                ((right, other), (left, name)) if right == number && left < number => {
                    Some((left, name, other))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn joins(&mut self, scope: &mut Scope) -> Result<(), SqlError> {
        for (number, join) in (1..).zip(&self.select.joins) {
            let kind = match join.kind {
                JoinKind::Inner | JoinKind::Cross => walk::INNER,
                JoinKind::Left => walk::LEFT,
                JoinKind::Right => walk::RIGHT,
                JoinKind::Full => walk::FULL,
            };
            let equal = join
                .on
                .as_ref()
                .and_then(|on| self.equal_columns(on, number));
            match equal {
                None => {
                    scope.body.i32(kind);
                    scope.body.i32(number);
                }
                Some((stream, left, right)) => {
                    for name in [left, right] {
                        self.text(scope, name);
                        self.module.call(&mut scope.body, import::V_ARG);
                    }
                    scope.body.i32(kind | walk::BY_COLUMN);
                    scope.body.i32(number | stream << 8);
                }
            }
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
        let aggregated = self.sends_aggregates();
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
        let asks = self.asks_for_hits(None, GROUPS);
        let hit = asks.then(|| scope.body.local(ValType::I32));
        open(&mut self.module, &mut scope.body, walk::GROUPS);
        self.next(&mut scope.body);
        let of_rows = self.select.group.is_empty() && !aggregated;
        match &self.select.having {
            Some(having) if of_rows => self.step(scope, having)?,
            _ => self.step_for_output(scope)?,
        }
        if let Some(having) = &self.select.having {
            self.lets(scope, &[having])?;
            self.condition(scope, having)?;
            scope.body.push(Instruction::I32Eqz);
            scope.body.push(Instruction::BrIf(0));
        }
        if let Some(hit) = hit {
            scope.body.i32(1);
            scope.body.set(hit);
        }
        if of_rows {
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
        if let Some(hit) = hit {
            // A firing counts once, however many groups met the condition.
            scope.body.get(hit);
            scope.body.begin_if(None);
            self.count_hit(&mut scope.body, GROUPS);
            scope.body.end();
        }
        Ok(())
    }
}
