//! A disk that promises no more than POSIX does: what is in a file survives a power cut up to its last
//! sync, names up to that of their folder. What came later survives in any part: a file may be there
//! by name without its contents, and a rename undone although a later one of another name is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::files::{Change, FileCall};
use super::tree::{Loss, Tree};
use crate::Random;

/// Bytes that survive together.
const PAGE: usize = 4096;

/// A change that is not known to be on the medium, and the line at which its call returned.
struct Pending<T>(usize, T);

enum Node {
    File {
        synced: Vec<u8>,
        pending: Vec<Pending<Data>>,
        /// Length as the processes see it.
        length: u64,
    },
    Folder {
        synced: BTreeMap<String, usize>,
        pending: Vec<Pending<Names>>,
        /// Names as the processes see them.
        now: BTreeMap<String, usize>,
    },
}

#[derive(Clone)]
enum Data {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone)]
enum Names {
    Add(String, usize),
    Remove(String),
    Rename(String, String, usize),
}

/// The disk below one folder.
pub(super) struct Disk {
    root: String,
    nodes: Vec<Node>,
}

impl Disk {
    pub(super) fn new(root: &Path, begins: &Tree) -> Self {
        let mut disk = Self {
            root: root.display().to_string(),
            nodes: Vec::new(),
        };
        disk.plant(begins);
        disk
    }

    fn plant(&mut self, tree: &Tree) -> usize {
        let at = self.nodes.len();
        match tree {
            Tree::File(bytes) => self.nodes.push(Node::File {
                synced: bytes.clone(),
                pending: Vec::new(),
                length: bytes.len() as u64,
            }),
            Tree::Folder(names) => {
                self.nodes.push(folder(BTreeMap::new()));
                let planted = names
                    .iter()
                    .map(|(name, tree)| (name.clone(), self.plant(tree)));
                let names: BTreeMap<_, _> = planted.collect();
                self.nodes[at] = folder(names);
            }
        }
        at
    }

    /// The node of a path as the processes see it.
    fn find(&self, path: &str) -> Option<usize> {
        let below = path.strip_prefix(&self.root)?;
        let names = below.split('/').filter(|name| !name.is_empty());
        names
            .into_iter()
            .try_fold(0, |at, name| match &self.nodes[at] {
                Node::Folder { now, .. } => now.get(name).copied(),
                Node::File { .. } => None,
            })
    }

    fn parent(&self, path: &str) -> Option<(usize, String)> {
        let (parent, name) = path.rsplit_once('/')?;
        Some((self.find(parent)?, name.to_owned()))
    }

    /// Takes up the next call.
    pub(super) fn take_up(&mut self, call: &FileCall) {
        let FileCall {
            change,
            entered,
            returned,
        } = call;
        let at = *returned;
        match change {
            Change::Open { path, create, cut } => {
                if let Some(node) = self.find(path) {
                    if *cut {
                        self.data(node, at, Data::Length(0));
                    }
                } else if *create && let Some((parent, name)) = self.parent(path) {
                    self.nodes.push(Node::File {
                        synced: Vec::new(),
                        pending: Vec::new(),
                        length: 0,
                    });
                    self.add(parent, at, name);
                }
            }
            Change::Write {
                path,
                at: offset,
                bytes,
            } => {
                if let Some(node) = self.find(path) {
                    self.data(node, at, Data::Write(*offset, bytes.clone()));
                }
            }
            Change::Length { path, bytes, grow } => {
                let Some(node) = self.find(path) else {
                    return;
                };
                if matches!(&self.nodes[node], Node::File { length, .. } if !grow || length < bytes)
                {
                    self.data(node, at, Data::Length(*bytes));
                }
            }
            Change::Folder { path } => {
                if let Some((parent, name)) = self.parent(path) {
                    self.nodes.push(folder(BTreeMap::new()));
                    self.add(parent, at, name);
                }
            }
            Change::Rename { from, to } => self.rename(at, from, to),
            Change::Remove { path } => {
                if let Some((parent, name)) = self.parent(path) {
                    self.names(parent, at, Names::Remove(name));
                }
            }
            Change::Sync { path } => {
                if let Some(node) = self.find(path) {
                    self.sync(node, *entered);
                }
            }
        }
    }

    fn data(&mut self, node: usize, at: usize, data: Data) {
        if let Node::File {
            pending, length, ..
        } = &mut self.nodes[node]
        {
            *length = match &data {
                Data::Write(offset, bytes) => (*length).max(offset + bytes.len() as u64),
                Data::Length(bytes) => *bytes,
            };
            pending.push(Pending(at, data));
        }
    }

    /// Gives the node made last its name.
    fn add(&mut self, parent: usize, at: usize, name: String) {
        let made = self.nodes.len() - 1;
        self.names(parent, at, Names::Add(name, made));
    }

    fn names(&mut self, parent: usize, at: usize, change: Names) {
        if let Node::Folder { pending, now, .. } = &mut self.nodes[parent] {
            rename(now, &change);
            pending.push(Pending(at, change));
        }
    }

    fn rename(&mut self, at: usize, from: &str, to: &str) {
        let (Some(node), Some((from, old)), Some((to, new))) =
            (self.find(from), self.parent(from), self.parent(to))
        else {
            return;
        };
        if from == to {
            return self.names(from, at, Names::Rename(old, new, node));
        }
        self.names(from, at, Names::Remove(old));
        self.names(to, at, Names::Add(new, node));
    }

    /// Puts the writes that had returned when the sync began on the medium.
    fn sync(&mut self, node: usize, began: usize) {
        match &mut self.nodes[node] {
            Node::File {
                synced, pending, ..
            } => {
                for Pending(_, data) in pending.extract_if(.., |Pending(at, _)| *at < began) {
                    write(synced, &data);
                }
            }
            Node::Folder {
                synced, pending, ..
            } => {
                for Pending(_, change) in pending.extract_if(.., |Pending(at, _)| *at < began) {
                    rename(synced, &change);
                }
            }
        }
    }

    /// Paths below a folder whose contents or names are not all on the medium.
    pub(super) fn unsynced(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(node) = self.find(below) {
            self.find_unsynced(node, below, &mut found);
        }
        // Its own name.
        if let Some((parent, name)) = self.parent(below)
            && let Node::Folder { pending, .. } = &self.nodes[parent]
            && pending
                .iter()
                .any(|Pending(_, change)| touches(change).contains(&name.as_str()))
        {
            found.push(format!("the name of {below}"));
        }
        found
    }

    fn find_unsynced(&self, node: usize, path: &str, found: &mut Vec<String>) {
        match &self.nodes[node] {
            Node::File { pending, .. } if !pending.is_empty() => found.push(path.to_owned()),
            Node::File { .. } => {}
            Node::Folder { pending, now, .. } => {
                if !pending.is_empty() {
                    found.push(format!("names in {path}"));
                }
                for (name, node) in now {
                    self.find_unsynced(*node, &format!("{path}/{name}"), found);
                }
            }
        }
    }

    /// The content after a power cut.
    pub(super) fn after_power_cut(&self, loss: Loss, random: &mut Random) -> Tree {
        self.left_of(0, loss, random)
    }

    fn left_of(&self, node: usize, loss: Loss, random: &mut Random) -> Tree {
        match &self.nodes[node] {
            Node::File {
                synced, pending, ..
            } => {
                let mut bytes = synced.clone();
                for Pending(_, data) in pending {
                    survive(&mut bytes, data, loss, random);
                }
                Tree::File(bytes)
            }
            Node::Folder {
                synced, pending, ..
            } => {
                let mut names = synced.clone();
                // A change survives only with those before it of the same names.
                let mut lost = BTreeSet::new();
                for Pending(_, change) in pending {
                    let touched = touches(change);
                    let survives = match loss {
                        Loss::Everything | Loss::Names => false,
                        Loss::Contents => true,
                        Loss::Any => random.one_in(2),
                    };
                    if survives && touched.iter().all(|name| !lost.contains(name)) {
                        rename(&mut names, change);
                    } else {
                        lost.extend(touched);
                    }
                }
                let left = names
                    .into_iter()
                    .map(|(name, node)| (name, self.left_of(node, loss, random)));
                Tree::Folder(left.collect())
            }
        }
    }
}

fn folder(names: BTreeMap<String, usize>) -> Node {
    Node::Folder {
        synced: names.clone(),
        pending: Vec::new(),
        now: names,
    }
}

fn touches(change: &Names) -> Vec<&str> {
    match change {
        Names::Add(name, _) | Names::Remove(name) => vec![name],
        Names::Rename(from, to, _) => vec![from, to],
    }
}

fn rename(names: &mut BTreeMap<String, usize>, change: &Names) {
    match change {
        Names::Add(name, node) => {
            names.insert(name.clone(), *node);
        }
        Names::Remove(name) => {
            names.remove(name);
        }
        Names::Rename(from, to, node) => {
            names.remove(from);
            names.insert(to.clone(), *node);
        }
    }
}

fn write(file: &mut Vec<u8>, data: &Data) {
    match data {
        Data::Write(offset, bytes) => {
            let at = usize::try_from(*offset).unwrap();
            let end = at + bytes.len();
            file.resize(file.len().max(end), 0);
            file[at..end].copy_from_slice(bytes);
        }
        Data::Length(bytes) => file.resize(usize::try_from(*bytes).unwrap(), 0),
    }
}

/// Some of a change reaches the medium. A length is one of the file's names for that.
fn survive(file: &mut Vec<u8>, data: &Data, loss: Loss, random: &mut Random) {
    match (loss, data) {
        (Loss::Everything, _) => {}
        (Loss::Names, data) => write(file, data),
        (Loss::Contents, Data::Length(_)) => write(file, data),
        // The file is longer, with nothing in it.
        (Loss::Contents, Data::Write(offset, bytes)) => {
            let end = usize::try_from(*offset).unwrap() + bytes.len();
            file.resize(file.len().max(end), 0);
        }
        (Loss::Any, Data::Length(_)) => {
            if random.one_in(2) {
                write(file, data);
            }
        }
        (Loss::Any, Data::Write(offset, bytes)) => {
            for (number, page) in (0..).zip(bytes.chunks(PAGE)) {
                if random.one_in(2) {
                    let at = offset + number * PAGE as u64;
                    write(file, &Data::Write(at, page.to_vec()));
                }
            }
        }
    }
}
