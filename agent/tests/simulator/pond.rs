//! The two ponds: maps with a mark that says that they are complete, and up to which commit. While one
//! is written it has no mark; a crash leaves it like that.

use std::collections::BTreeMap;

use tidemill::mill::{Checkpoint, Input};

use crate::plan::Moment;
use crate::run::{Happening, Sim};

/// Content of a state database.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(crate) struct Ponds {
    ponds: [Pond; 2],
    /// The next checkpoint cannot be written.
    pub(crate) fails: bool,
}

#[derive(Debug, Default)]
struct Pond {
    /// The commit, where it is complete.
    mark: Option<u64>,
    entries: Entries,
}

impl Ponds {
    /// The newest complete pond: number, commit, entries.
    pub(crate) fn newest(&self) -> Option<(usize, u64, &Entries)> {
        let complete = |(at, pond): (usize, &'_ Pond)| pond.mark.map(|lsn| (at, lsn));
        let newest = self.ponds.iter().enumerate().filter_map(complete);
        let (at, lsn) = newest.max_by_key(|(_, lsn)| *lsn)?;
        Some((at, lsn, &self.ponds[at].entries))
    }

    /// Last commit that both databases hold.
    pub(crate) fn both_hold(&self) -> Option<u64> {
        let [one, other] = &self.ponds;
        Some(one.mark?.min(other.mark?))
    }

    /// The pond written last cannot be read any more, as long as there is another one.
    pub(crate) fn damage(&mut self) -> bool {
        if self.ponds.iter().any(|pond| pond.mark.is_none()) {
            return false;
        }
        if let Some((at, ..)) = self.newest() {
            self.ponds[at] = Pond::default();
        }
        true
    }
}

impl Sim<'_> {
    /// The pond thread begins.
    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let span = self.setup.pond_us;
        let us = self.random.between(span.0, span.1);
        let Some(process) = &mut self.process else {
            return;
        };
        let Checkpoint {
            pond, lsn, full, ..
        } = &checkpoint;
        self.trace.say(
            self.agenda.now_us,
            format_args!("checkpoint of {lsn} into pond {pond}, full {full}"),
        );
        if process.pond_job.is_some() {
            return self.fail("5: limits", "a second checkpoint at once".to_owned());
        }
        let place = &mut self.ponds.ponds[checkpoint.pond];
        if checkpoint.full {
            place.entries.clear();
        } else if place.mark.is_none() {
            let what = "a pond without mark is changed by a part".to_owned();
            return self.fail("6: ponds", what);
        }
        place.mark = None;
        // Part of it is there at once, part of it at the end.
        let half = checkpoint.puts.len() / 2;
        place
            .entries
            .extend(checkpoint.puts[..half].iter().cloned());
        let id = process.id;
        process.pond_job = Some(checkpoint);
        self.agenda.after(us, Happening::PondWritten(id));
        self.moment(Moment::Checkpoint);
    }

    pub(crate) fn pond_written(&mut self, process: u64) {
        let fails = std::mem::take(&mut self.ponds.fails);
        let Some(process) = self.process.as_mut().filter(|p| p.id == process) else {
            return;
        };
        let Some(checkpoint) = process.pond_job.take() else {
            return;
        };
        let Checkpoint {
            pond,
            lsn,
            puts,
            removes,
            ..
        } = checkpoint;
        if fails {
            return self.turn_mill(Input::PondFailed);
        }
        let place = &mut self.ponds.ponds[pond];
        place.entries.extend(puts);
        for key in removes {
            place.entries.remove(&key);
        }
        place.mark = Some(lsn.get());
        self.turn_mill(Input::PondWritten { pond });
    }
}
