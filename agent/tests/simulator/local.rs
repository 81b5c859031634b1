//! A local source: requests with tickets, whose answers have to be as durable as what they tell.

use std::collections::BTreeMap;

use tidemill::event::emission::Row;
use tidemill::event::{Event, Origin, Ticket};
use tidemill::mill::Input;
use tidemill_transport::topic::Topic;

use crate::coverage::Sight;
use crate::run::{Happening, Sim};
use crate::world::Random;

/// One seed in so many has a local source.
const ONE_IN: u64 = 5;

/// The rule that counts requests; sensors publish nothing to its filter.
const RULE: &str = "zero";

/// Keys of the requests, in turn: so many that none is open twice.
const KEYS: u64 = 200;

/// Longest time between two requests.
const EVERY_US_MAX: u64 = 120_000;

/// The source, with the requests that it waits for.
pub(crate) struct Local {
    random: Random,
    asked: u64,
    /// Key of each open request, and how many rows that key had before.
    open: BTreeMap<Ticket, (u64, usize)>,
}

/// The key of a row that a request made.
pub(crate) fn key_of(row: &Row) -> Option<u64> {
    let key = (&*row.rule == RULE).then(|| row.topic.as_str().rsplit_once("/k"))?;
    key?.1.parse().ok()
}

impl Local {
    /// The source of a seed that has one, with a chance of its own: the other seeds go on to mean what
    /// they did.
    pub(crate) fn of(seed: u64) -> Option<Self> {
        (seed % ONE_IN == ONE_IN - 1).then(|| Self {
            random: Random::new(seed ^ 0x10ca_1000),
            asked: 0,
            open: BTreeMap::new(),
        })
    }

    /// Time until the next request.
    pub(crate) fn rest_us(&mut self) -> u64 {
        self.random.between(100, EVERY_US_MAX)
    }

    /// The process is gone, and with it whoever waited.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }
}

impl Sim<'_> {
    /// A client asks, where the gateway takes something in.
    pub(crate) fn asks(&mut self) {
        let Some(local) = &mut self.local else { return };
        if self.healed_us.is_some() {
            return;
        }
        let rest = local.rest_us();
        self.agenda.after(rest, Happening::Asks);
        let may = self.process.as_ref().is_some_and(|process| {
            !process.stopping
                && !process.mill.is_full()
                && process.journal.room() >= process.journal.reserve_bytes()
        });
        if !may {
            return;
        }
        let (ticket, key) = (Ticket::new(local.asked), local.asked % KEYS);
        local.asked += 1;
        let rows = self.shadow.requests_to(key);
        local.open.insert(ticket, (key, rows));
        let mut event = Event::new(Topic::new(&format!("z/k{key}")).unwrap(), "", 0);
        event.origin = Origin::Local(ticket);
        self.say(format_args!("{ticket} to k{key}"));
        self.turn_mill(Input::Events(vec![event]));
    }

    /// An answer leaves.
    pub(crate) fn answered(&mut self, ticket: Ticket, wanted: bool) {
        self.say(format_args!("{ticket} is answered, wanted: {wanted}"));
        let open = self.local.as_mut().and_then(|l| l.open.remove(&ticket));
        let Some((key, before)) = open else {
            let what = format!("{ticket} is answered and not open");
            return self.fail("9: each request is answered once", what);
        };
        if wanted {
            self.coverage.see(Sight::Answered);
            if let Err(what) = self.shadow.answered(key, before) {
                self.fail("2: what is answered is durable", what);
            }
        }
    }
}
