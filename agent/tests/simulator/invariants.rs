//! Invariants that hold whatever happens: the commits as they were handed to the journal, replayed
//! one by one, are the state that every recovery has to come to; and everything that was let out
//! has to be among them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tidemill_base::number::Lsn;

use tidemill::commit::image::Image;
use tidemill::commit::outbox::{Bounds, Lane, Outbox};
use tidemill::commit::record::{Commit, LaneRecord, Parts};
use tidemill::event::emission::{LaneId, Row};

use crate::local;

/// A second gateway, made of nothing but the commits of the first.
pub(crate) struct Shadow {
    image: Image,
    /// All records, as bytes and as they were read.
    commits: BTreeMap<u64, Record>,
    parts: Parts,
    /// First commit of each row, by lane.
    rows: HashMap<LaneId, BTreeMap<u64, u64>>,
    /// Commits of the rows that requests of the local source made, by key.
    requests: BTreeMap<u64, Vec<u64>>,
    /// First commit of each message's receipt.
    receipts: HashMap<u128, u64>,
    /// Hashes that the mill had right after a commit.
    hashes: VecDeque<(u64, [u8; 32], String)>,
    /// Last commit that was let out in some way: acknowledged, or sent.
    needed: u64,
    /// The last commit that the journal called durable.
    durable: u64,
    compared: u64,
    /// Receipts are told apart by topic and payload: the rest changes with the version of MQTT.
    pub(crate) by_content: bool,
}

/// A record, and the commit that is whole with it, with the first record of that.
type Record = (Vec<u8>, Option<(u64, Commit)>);

impl Shadow {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let mut image = Image::default();
        image.outbox.set_bounds(Bounds {
            // It has no journal to read rows back from.
            head_rows: usize::MAX,
            head_bytes: usize::MAX,
            ..bounds
        });
        Self {
            image,
            commits: BTreeMap::new(),
            parts: Parts::default(),
            rows: HashMap::new(),
            requests: BTreeMap::new(),
            receipts: HashMap::new(),
            hashes: VecDeque::new(),
            needed: 0,
            durable: 0,
            compared: 0,
            by_content: false,
        }
    }

    /// The mill handed a commit to the journal.
    pub(crate) fn appended(&mut self, lsn: u64, bytes: &[u8]) -> Result<(), String> {
        let read = self.parts.push(Lsn::new(lsn), bytes);
        let Some((first, commit)) = read.map_err(|error| format!("commit {lsn}: {error}"))? else {
            self.commits.insert(lsn, (bytes.to_vec(), None));
            return Ok(());
        };
        for receipt in &commit.receipts {
            let known_by = if self.by_content {
                receipt.content.into()
            } else {
                receipt.hash
            };
            self.receipts.entry(known_by).or_insert(lsn);
        }
        for delta in &commit.lanes {
            let Some(lane) = delta.lane.as_ref().filter(|_| !delta.rows.is_empty()) else {
                continue;
            };
            let rows = self.rows.entry(lane.clone()).or_default();
            for row in &delta.rows {
                rows.entry(row.seq).or_insert(lsn);
                if let Some(key) = local::key_of(row) {
                    self.requests.entry(key).or_default().push(lsn);
                }
            }
        }
        let commit = Some((first.get(), commit));
        self.commits.insert(lsn, (bytes.to_vec(), commit));
        Ok(())
    }

    /// The commit that the record `lsn` belongs to.
    fn commit_of(&self, lsn: u64) -> Option<&Commit> {
        let mut ends = self.commits.range(lsn..);
        let (first, commit) = ends.find_map(|(_, (_, commit))| commit.as_ref())?;
        (*first <= lsn).then_some(commit)
    }

    /// `true` if a row stands like this in the commit that begins in the record `lsn`.
    pub(crate) fn stands_in(&self, lsn: u64, lane: &LaneId, row: &Row) -> bool {
        let deltas = self.commit_of(lsn).into_iter().flat_map(|c| &c.lanes);
        let mut of_it = deltas.filter(|delta| delta.lane.as_ref() == Some(lane));
        of_it.any(|delta| delta.rows.contains(row) || delta.relocated.contains(row))
    }

    /// All rows of the commit that the record `lsn` belongs to.
    pub(crate) fn rows_of(&self, lsn: u64) -> Vec<((LaneId, u64), Row)> {
        let deltas = self.commit_of(lsn).into_iter().flat_map(|c| &c.lanes);
        let rows = deltas.filter_map(|delta| {
            let lane = delta.lane.as_ref()?;
            let rows = delta.rows.iter().chain(&delta.relocated);
            Some(rows.map(|row| ((lane.clone(), row.seq), row.clone())))
        });
        rows.flatten().collect()
    }

    /// A row as it was made.
    pub(crate) fn row(&self, lane: &LaneId, seq: u64) -> Option<Row> {
        let lsn = *self.rows.get(lane)?.get(&seq)?;
        let rows = self.rows_of(lsn).into_iter();
        let mut of_it = rows.filter(|((of, at), _)| of == lane && *at == seq);
        of_it.next().map(|(_, row)| row)
    }

    /// The mill stands like this right after commit `lsn`.
    pub(crate) fn stands(&mut self, lsn: u64, hash: [u8; 32], told: String) {
        if self.hashes.back().is_none_or(|(last, ..)| *last < lsn) {
            self.hashes.push_back((lsn, hash, told));
        }
    }

    /// The journal says that everything up to `lsn` is on the medium.
    pub(crate) fn durable(&mut self, lsn: u64) {
        self.durable = self.durable.max(lsn);
    }

    /// A row leaves.
    pub(crate) fn leaves(&mut self, lane: &LaneId, row: &Row) -> Result<(), String> {
        let lsn = self.rows.get(lane).and_then(|rows| rows.get(&row.seq));
        let seq = row.seq;
        match lsn {
            None => Err(format!(
                "row {seq} of {lane} leaves and stands in no commit"
            )),
            Some(lsn) if *lsn > self.durable => Err(format!(
                "row {seq} of {lane} leaves before its commit {lsn} is durable"
            )),
            Some(lsn) => {
                self.needed = self.needed.max(*lsn);
                Ok(())
            }
        }
    }

    /// A message is acknowledged that changed something.
    pub(crate) fn acknowledged(&mut self, hash: u128) -> Result<(), String> {
        match self.receipts.get(&hash) {
            None => Err("a message is acknowledged that stands in no commit".to_owned()),
            Some(lsn) if *lsn > self.durable => Err(format!(
                "a message is acknowledged before its commit {lsn} is durable"
            )),
            Some(lsn) => {
                self.needed = self.needed.max(*lsn);
                Ok(())
            }
        }
    }

    /// Number of rows that requests to a key made.
    pub(crate) fn requests_to(&self, key: u64) -> usize {
        self.requests.get(&key).map_or(0, Vec::len)
    }

    /// A request is answered whose call made a row of this key, behind so many others.
    pub(crate) fn answered(&mut self, key: u64, before: usize) -> Result<(), String> {
        let commits = self.requests.get(&key);
        match commits.and_then(|commits| commits.get(before)) {
            None => Err(format!(
                "the request to k{key} is answered and stands in no commit"
            )),
            Some(lsn) if *lsn > self.durable => Err(format!(
                "the request to k{key} is answered before its commit {lsn} is durable"
            )),
            Some(lsn) => {
                self.needed = self.needed.max(*lsn);
                Ok(())
            }
        }
    }

    /// A gateway started with everything up to the image's commit.
    pub(crate) fn recovered(&mut self, image: &Image) -> Result<(), String> {
        let lsn = image.lsn;
        // The durable part of a commit that is not whole counts for nothing, and is cut off.
        let mut durable = self.commits.range(..=self.durable).rev();
        let whole = durable.find(|(_, (_, commit))| commit.is_some());
        let durable = whole.map_or(0, |(lsn, _)| *lsn);
        if lsn < Lsn::new(self.needed.max(durable)) {
            return Err(format!(
                "recovered up to commit {lsn}, but {durable} was durable, and {} let out",
                self.needed
            ));
        }
        self.commits.split_off(&(image.last_lsn().get() + 1));
        self.parts = Parts::default();
        self.hashes.retain(|(at, ..)| *at <= lsn.get());
        self.receipts.retain(|_, at| *at <= lsn.get());
        for commits in self.requests.values_mut() {
            commits.retain(|at| *at <= lsn.get());
        }
        for rows in self.rows.values_mut() {
            rows.retain(|_, at| *at <= lsn.get());
        }
        self.take_up(lsn.get())?;
        if self.image.lsn != lsn {
            let there = self.image.lsn;
            return Err(format!(
                "recovered commit {lsn}, where {there} was the last"
            ));
        }
        if self.image.state_hash() != image.state_hash() {
            let differs = differs(&tell(&self.image), &tell(image));
            return Err(format!(
                "what was recovered at commit {lsn} is not what stood there\n{differs}"
            ));
        }
        self.durable = image.last_lsn().get();
        Ok(())
    }

    /// Takes up commits to `lsn`, and compares where the mill said how it stood.
    fn take_up(&mut self, lsn: u64) -> Result<(), String> {
        let next = self.image.lsn.get() + 1;
        for (at, (_, commit)) in self.commits.range(next..=lsn.max(next)) {
            if *at > lsn {
                break;
            }
            if let Some((first, commit)) = commit {
                self.image
                    .take_up((Lsn::new(*first), Lsn::new(*at)), commit.clone());
            }
            if let Some((_, hash, told)) = self.hashes.pop_front_if(|(stood, ..)| stood == at) {
                self.compared += 1;
                if hash != self.image.state_hash() {
                    let here = tell(&self.image).join("\n");
                    return Err(format!(
                        "the mill stood differently after commit {at}\nmill:  {told}\nthere: {here}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Compares a mill at rest, all of whose commits are durable.
    pub(crate) fn compare(&mut self, lsn: u64, hash: [u8; 32]) -> Result<(), String> {
        self.take_up(lsn)?;
        if self.image.lsn != Lsn::new(lsn) || self.image.state_hash() != hash {
            return Err(format!("the mill stands differently after commit {lsn}"));
        }
        Ok(())
    }
}

/// Lines of one text that the other lacks.
fn differs(there: &[String], here: &[String]) -> String {
    let lacks = |all: &[String], line: &&String| !all.contains(line);
    let more = there.iter().filter(|line| lacks(here, line));
    let less = here.iter().filter(|line| lacks(there, line));
    let more = more.map(|line| format!("should be {line}"));
    let lines: Vec<String> = more
        .chain(less.map(|line| format!("but it is {line}")))
        .collect();
    lines.join("\n")
}

/// The content of an image, for people.
fn tell(image: &Image) -> Vec<String> {
    let mut lines = vec![format!("{:?}", image.agent), image.subscriptions.clone()];
    lines.extend(image.receipts.iter().map(|receipt| format!("{receipt:?}")));
    let ids = image.event_ids.records(1).into_iter();
    lines.extend(ids.map(|record| format!("{record:?}")));
    for (name, rule) in &image.rules {
        lines.push(format!("{name} {:?} {:?}", rule.record, rule.counts));
        let keys = rule.keys.iter();
        lines.extend(keys.map(|(key, state)| format!("{name} {key} {state:?}")));
    }
    lines.extend(tell_lanes(&image.outbox));
    lines
}

/// The state of lanes, for people.
pub(crate) fn tell_lanes(outbox: &Outbox) -> Vec<String> {
    let lane = |lane: &Lane| {
        let record = LaneRecord {
            oldest_lsn: Lsn::new(0),
            ..lane.record()
        };
        format!("{} {record:?}", lane.id())
    };
    outbox.lanes().map(lane).collect()
}
