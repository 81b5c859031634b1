//! Iteration over rows: those of a group, the groups themselves, the elements of a list, and the
//! pairs of a join. Walks can be nested; each restores the current row of the one around it.

use std::sync::Arc;

use tidemill_abi::value::walk;
use tidemill_values::Value;

use super::{GroupKey, ROWS_MAX, Tuple, Values, data, too_much};
use crate::function::guest::GuestFault;

/// Walks inside of each other.
const WALKS_MAX: usize = 16;

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) way: Way,
    at: usize,
    before: Tuple,
    group_before: Option<usize>,
    gathered: Vec<Vec<Value>>,
    gathered_of: Vec<Tuple>,
    /// `true` if the current element has failed.
    pub(super) spoiled: bool,
}

#[derive(Debug)]
pub(super) enum Way {
    Rows(Arc<Vec<Tuple>>),
    Groups,
    Filter {
        from: Arc<Vec<Tuple>>,
        kept: Vec<Tuple>,
    },
    List(Vec<Value>),
    Join(Join),
}

#[derive(Debug)]
pub(super) struct Join {
    kind: i32,
    left: Arc<Vec<Tuple>>,
    right: Vec<u32>,
    /// `true` if the current tuple of the outer side has a partner.
    met: bool,
    right_met: Vec<bool>,
    joined: Vec<Tuple>,
}

impl Values {
    /// Begins a walk.
    pub(in crate::function) fn open(&mut self, what: i32, arg: i32) -> Result<(), GuestFault> {
        if self.walks.len() >= WALKS_MAX {
            return Err(data("walks are nested too deep"));
        }
        let way = match what {
            walk::ROWS => Way::Rows(match self.group.and_then(|group| self.listed.get(group)) {
                Some((_, group)) => Arc::clone(group),
                None => Arc::clone(&self.set),
            }),
            walk::GROUPS => {
                self.listed = match self.groups.is_empty() {
                    true if self.set.is_empty() => Vec::new(),
                    true => vec![(Vec::new(), Arc::clone(&self.set))],
                    false => std::mem::take(&mut self.groups).into_iter().collect(),
                };
                Way::Groups
            }
            walk::FILTER => Way::Filter {
                from: std::mem::take(&mut self.set),
                kept: Vec::new(),
            },
            walk::LIST => Way::List(match self.get(arg)? {
                Value::List(values) => values.to_vec(),
                Value::Null => Vec::new(),
                other => {
                    let found = other.type_name();
                    return Err(data(format!("unnest takes a list, not a {found}")));
                }
            }),
            walk::INNER..=walk::FULL => {
                let stream = usize::try_from(arg).unwrap_or(usize::MAX);
                let right = self.rows_of(stream);
                Way::Join(Join {
                    kind: what,
                    left: std::mem::take(&mut self.set),
                    right_met: vec![false; right.len()],
                    right,
                    met: false,
                    joined: Vec::new(),
                })
            }
            _ => {
                let index = what;
                return Err(GuestFault::NoSuch {
                    what: "walk",
                    index,
                });
            }
        };
        self.walks.push(Walk {
            way,
            at: 0,
            before: self.current.clone(),
            group_before: self.group,
            gathered: Vec::new(),
            gathered_of: Vec::new(),
            spoiled: false,
        });
        Ok(())
    }

    /// Goes on to the next one; `false` ends the walk.
    pub(in crate::function) fn next(&mut self) -> Result<bool, GuestFault> {
        let Some(mut walk) = self.walks.pop() else {
            return Ok(false);
        };
        if self.walks.iter().any(|around| around.spoiled) {
            // Nothing of what it is part of counts any more.
            self.end(walk);
            return Ok(false);
        }
        let at = walk.at;
        walk.at += 1;
        if std::mem::take(&mut walk.spoiled) {
            self.out.forget_row();
        }
        let next = match &mut walk.way {
            Way::Rows(rows) => rows.get(at).cloned(),
            Way::Filter { from, .. } => from.get(at).cloned(),
            Way::Groups => {
                self.group = (at < self.listed.len()).then_some(at);
                let group = self.group.and_then(|group| self.listed.get(group));
                group.and_then(|(_, rows)| rows.first()).cloned()
            }
            Way::List(values) => (at < values.len()).then(|| self.current.clone()),
            Way::Join(join) => join.pair(at),
        };
        match next {
            Some(tuple) => {
                self.current = tuple;
                self.walks.push(walk);
                Ok(true)
            }
            None => {
                self.end(walk);
                Ok(false)
            }
        }
    }

    fn end(&mut self, walk: Walk) {
        self.current = walk.before;
        self.group = walk.group_before;
        if walk.spoiled {
            self.out.forget_row();
        }
        self.gathered = walk.gathered;
        self.gathered_of = walk.gathered_of;
        match walk.way {
            Way::Filter { kept, .. } => self.set = Arc::new(kept),
            Way::Join(join) => self.set = Arc::new(join.joined),
            Way::Rows(_) | Way::Groups | Way::List(_) => {}
        }
    }

    /// The row stays, or the pair belongs together.
    pub(in crate::function) fn hit(&mut self) -> Result<(), GuestFault> {
        let current = self.current.clone();
        let Some(walk) = self.walks.last_mut().filter(|walk| !walk.spoiled) else {
            return Ok(());
        };
        let at = walk.at.saturating_sub(1);
        let rows = match &mut walk.way {
            Way::Filter { kept, .. } => kept,
            Way::Join(join) => {
                join.met(at);
                &mut join.joined
            }
            Way::Rows(_) | Way::Groups | Way::List(_) => return Ok(()),
        };
        if rows.len() >= ROWS_MAX {
            return Err(too_much(format!("a join makes more than {ROWS_MAX} rows")));
        }
        rows.push(current);
        Ok(())
    }

    /// The element of the list that is gone through.
    pub(in crate::function) fn element(&self) -> Value {
        let lists = self.walks.iter().rev();
        let mut lists = lists.filter_map(|walk| match &walk.way {
            Way::List(values) => values.get(walk.at.checked_sub(1)?),
            _ => None,
        });
        lists.next().cloned().unwrap_or(Value::Null)
    }

    /// The last arguments are part of what the next fold sees.
    pub(in crate::function) fn gather(&mut self, count: i32) -> Result<(), GuestFault> {
        let args = self.take_args(count)?;
        let Some(walk) = self.walks.last_mut() else {
            return Ok(());
        };
        walk.gathered
            .resize(walk.gathered.len().max(args.len()), Vec::new());
        for (list, value) in walk.gathered.iter_mut().zip(args) {
            list.push(value);
        }
        walk.gathered_of.push(self.current.clone());
        Ok(())
    }

    /// The lists that were gathered, as arguments of an aggregate.
    pub(in crate::function) fn gathered(&mut self, count: i32) -> Vec<Value> {
        let mut lists = std::mem::take(&mut self.gathered);
        lists.resize(
            usize::try_from(count).unwrap_or(0).min(ROWS_MAX),
            Vec::new(),
        );
        lists.into_iter().map(Value::list).collect()
    }

    /// The row at hand belongs to the group of the last arguments: of values that are the same, so that
    /// 3 and 3.0 are one group, and so are objects with the same names in another order.
    pub(in crate::function) fn group(&mut self, count: i32) -> Result<(), GuestFault> {
        let key = self.take_args(count)?;
        if self.is_spoiled() {
            return Ok(());
        }
        let key: GroupKey = key.iter().map(Value::key_text).collect();
        let group = self.groups.entry(key).or_default();
        Arc::make_mut(group).push(self.current.clone());
        Ok(())
    }

    /// The text of the group at hand, if it is known by one.
    pub(in crate::function) fn group_key(&self) -> Option<Arc<str>> {
        let (key, _) = self.listed.get(self.group?)?;
        match &**key {
            [only] if self.spec.group_keys => Some(Arc::clone(only)),
            _ => None,
        }
    }
}

impl Join {
    /// The pair at a place; what has no partner is dealt with on the way. A right join goes through the
    /// right side and looks for partners on the left, all others the other way round.
    fn pair(&mut self, at: usize) -> Option<Tuple> {
        let from_right = self.kind == walk::RIGHT;
        let keeps = matches!(self.kind, walk::LEFT | walk::RIGHT | walk::FULL);
        let partners = if from_right {
            self.left.len()
        } else {
            self.right.len()
        };
        if partners == 0 {
            if keeps {
                let mut alone = (0..).map_while(|place| self.alone(place)).collect();
                self.joined.append(&mut alone);
            }
            return None;
        }
        let (outer, inner) = (at / partners, at % partners);
        if inner == 0 {
            let before = outer.checked_sub(1).filter(|_| keeps && !self.met);
            self.joined
                .extend(before.and_then(|place| self.alone(place)));
            self.met = false;
        }
        let (left, right) = if from_right {
            (inner, outer)
        } else {
            (outer, inner)
        };
        match (self.left.get(left), self.right.get(right)) {
            (Some(left), Some(right)) if from_right => Some(left.behind(*right)),
            (Some(left), Some(right)) => Some(left.and(*right)),
            _ => {
                if self.kind == walk::FULL {
                    let alone = self.right.iter().zip(&self.right_met);
                    let alone = alone.filter(|(_, met)| !**met);
                    self.joined
                        .extend(alone.map(|(row, _)| Tuple::single(*row)));
                }
                None
            }
        }
    }

    /// The tuple at `place` of the outer side, without a partner.
    fn alone(&self, place: usize) -> Option<Tuple> {
        match self.kind {
            walk::RIGHT => self.right.get(place).copied().map(Tuple::single),
            _ => self.left.get(place).cloned(),
        }
    }

    fn met(&mut self, at: usize) {
        self.met = true;
        // Only a full join, which goes through the left side, asks for these.
        let width = self.right.len().max(1);
        if let Some(met) = self.right_met.get_mut(at % width) {
            *met = true;
        }
    }
}
