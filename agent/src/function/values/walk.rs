//! Iteration over rows: those of a group, the groups themselves, the elements of a list, and the
//! pairs of a join. Walks can be nested; each restores the current row of the one around it.

use std::sync::Arc;

use tidemill_abi::value::walk;
use tidemill_values::{Budget, SLOT_BYTES, Value};

use super::join::{Join, is_join};
use super::tuple::TUPLE_BYTES;
use super::{GroupKey, ROWS_MAX, Tuple, Values, data, too_much};
use crate::function::guest::GuestFault;
use crate::function::price::STEP_FUEL;

/// Stands for what is not a single row.
pub(super) const SEVERAL: u32 = u32::MAX;

/// Fuel of a list that was gathered.
const LIST_FUEL: u64 = 80;
/// Fuel of a value in it.
const GATHERED_FUEL: u64 = 3;
/// Bytes of such a list beside its values.
const LIST_BYTES: usize = 160;
/// Fuel of a byte of the values that a row is grouped by.
const KEY_FUEL: u64 = 6;
/// Fuel of a level on the way to a group.
const LEVEL_FUEL: u64 = 25;
/// Fuel of a group that was not there.
const GROUP_FUEL: u64 = 600;
/// Bytes of a group beside its key.
const GROUP_BYTES: usize = 160;

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
    gathered_of: Vec<u32>,
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
    /// The elements of a list, or of nothing.
    List(Value),
    Join(Join),
}

impl Values {
    /// Begins a walk.
    pub(in crate::function) fn open(
        &mut self,
        what: i32,
        arg: i32,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let steps = match what {
            walk::GROUPS => self.groups.len(),
            // Both sides of a join are gone through once beside its pairs.
            _ if is_join(what) => self.rows.len() + self.set.len(),
            _ => 0,
        };
        budget.spend(steps as u64 * STEP_FUEL)?;
        if self.walks.len() >= WALKS_MAX {
            return Err(data("walks are nested too deep"));
        }
        let way = match what {
            walk::ROWS => Way::Rows(match self.group.and_then(|group| self.listed.get(group)) {
                Some((_, group)) => Arc::clone(group),
                None => Arc::clone(&self.set),
            }),
            walk::GROUPS => {
                let groups = std::mem::take(&mut self.groups).into_iter();
                self.listed = groups.map(|(key, rows)| (key, Arc::new(rows))).collect();
                if self.listed.is_empty() && !self.set.is_empty() {
                    self.listed.push((Vec::new(), Arc::clone(&self.set)));
                }
                Way::Groups
            }
            walk::FILTER => Way::Filter {
                from: std::mem::take(&mut self.set),
                kept: Vec::new(),
            },
            walk::LIST => Way::List(match self.get(arg)? {
                list @ (Value::List(_) | Value::Null) => list.clone(),
                other => {
                    let found = other.type_name();
                    return Err(data(format!("unnest takes a list, not a {found}")));
                }
            }),
            _ if is_join(what) => Way::Join(self.join(what, arg, budget)?),
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

    /// `true` if the next one is a pair of a join.
    pub(in crate::function) fn is_joining(&self) -> bool {
        let walk = self.walks.last();
        walk.is_some_and(|walk| matches!(walk.way, Way::Join(_)))
    }

    /// Goes on to the next one; `false` ends the walk.
    pub(in crate::function) fn next(&mut self) -> Result<bool, GuestFault> {
        let Some(mut walk) = self.walks.pop() else {
            return Ok(false);
        };
        if self.walks.iter().any(|around| around.spoiled) {
            // Nothing of what it is part of counts any more.
            self.leave(walk);
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
            Way::List(list) => {
                let len = list.as_list().map_or(0, <[Value]>::len);
                (at < len).then(|| self.current.clone())
            }
            Way::Join(join) => {
                // What was made of the pair before is gone with it.
                self.made.truncate(join.made);
                self.held = join.held;
                join.pair()
            }
        };
        match next {
            Some(tuple) => {
                self.current = tuple;
                self.walks.push(walk);
                Ok(true)
            }
            None => {
                self.leave(walk);
                Ok(false)
            }
        }
    }

    fn leave(&mut self, walk: Walk) {
        self.current = walk.before;
        self.group = walk.group_before;
        if walk.spoiled {
            self.out.forget_row();
        }
        self.release_gathered();
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
        let rows = match &mut walk.way {
            Way::Filter { kept, .. } => kept,
            Way::Join(join) => {
                join.met();
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
            Way::List(list) => list.as_list()?.get(walk.at.checked_sub(1)?),
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
        let count = args.len();
        for (list, value) in walk.gathered.iter_mut().zip(args) {
            list.push(value);
        }
        let row = self.current.only().and_then(|row| u32::try_from(row).ok());
        walk.gathered_of.push(row.unwrap_or(SEVERAL));
        self.hold(count * SLOT_BYTES + size_of::<u32>())
    }

    /// The lists that were gathered, as arguments of an aggregate.
    pub(in crate::function) fn gathered(
        &mut self,
        count: i32,
        budget: &mut Budget,
    ) -> Result<Vec<Value>, GuestFault> {
        let count = usize::try_from(count).unwrap_or(0).min(ROWS_MAX);
        let rows = self.gathered_of.len().saturating_mul(self.gathered.len());
        budget.spend(count as u64 * LIST_FUEL + rows as u64 * GATHERED_FUEL)?;
        budget.hold(count * LIST_BYTES)?;
        self.release_gathered();
        self.gathered_of.clear();
        let mut lists = std::mem::take(&mut self.gathered);
        lists.resize(count, Vec::new());
        Ok(lists.into_iter().map(Value::list).collect())
    }

    /// Gives back the room of what was gathered, which is about to go.
    fn release_gathered(&mut self) {
        let values: usize = self.gathered.iter().map(Vec::len).sum();
        let bytes = values * SLOT_BYTES + self.gathered_of.len() * size_of::<u32>();
        self.release(bytes);
    }

    /// The row at hand belongs to the group of the last arguments: of values that are the same, so that
    /// 3 and 3.0 are one group, and so are objects with the same names in another order.
    pub(in crate::function) fn group(
        &mut self,
        count: i32,
        budget: &mut Budget,
    ) -> Result<(), GuestFault> {
        let key = self.take_args(count)?;
        if self.is_spoiled() {
            return Ok(());
        }
        let weight: usize = key.iter().map(Value::weight).sum();
        budget.spend(weight as u64 * KEY_FUEL)?;
        budget.hold(weight * 2)?;
        let key: GroupKey = key.iter().map(Value::key_text).collect();
        // The way down to the group's place compares the key with others.
        let bytes: usize = key.iter().map(|text| text.len()).sum();
        let levels = u64::from(self.groups.len().max(1).ilog2()) + 1;
        budget.spend(levels * (LEVEL_FUEL + bytes as u64 / 8))?;
        let is_new = !self.groups.contains_key(&key);
        if is_new {
            budget.spend(GROUP_FUEL)?;
            self.hold(bytes + key.len() * (SLOT_BYTES + 16) + GROUP_BYTES)?;
        }
        self.groups
            .entry(key)
            .or_default()
            .push(self.current.clone());
        self.hold(TUPLE_BYTES)
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
