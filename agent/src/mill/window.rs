//! Windows as numbers: their kinds and lengths, the grid on which panes lie, where sessions are cut.
//! A pane takes its place on the Unix grid when it opens, and is driven by the time of its window:
//! monotonic time, so that a step of the wall clock neither cuts nor stretches it, or event time.
//! Calling functions is the mill's business.

mod calendar;

pub use calendar::Calendar;

use crate::commit::record::EVENT_TIME;
use crate::event::clock::{Now, STEP_MS, signed};
use crate::event::state::{KeyState, OpenPane, Pane};
use crate::rule::manifest::{CalendarUnit, WindowKind};

/// The bit of [`Window::code`] that says that rows are kept.
const ROWS: u8 = 0x40;
/// The bits of [`Window::code`] that say which kind it is.
const KINDS: u8 = 0x3f;
/// The kind of windows whose panes are the same for all keys.
const ON_GRID: u8 = 1;

/// A window, resolved from function and rule. Lengths are milliseconds, at least 1 where the kind
/// has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// When it begins and ends.
    pub kind: WindowKind,
    /// Length, in milliseconds.
    pub length_ms: i64,
    /// Distance between the ends of two panes on the grid, in milliseconds.
    pub hop_ms: i64,
    /// Units of the calendar that its panes last, where they lie on that grid: the lengths say how long they
    /// mostly are.
    pub calendar: Option<Calendar>,
    /// Delay between the trigger and the firing, in milliseconds.
    pub delay_ms: i64,
    /// Time without a row after which a session is over, in milliseconds.
    pub gap_ms: i64,
    /// Number of rows that the window holds.
    pub count: u64,
    /// After how many rows it fires.
    pub every: u64,
    /// Slots of a pane.
    pub slots: u8,
    /// Rows are kept, instead of slots.
    pub rows: bool,
    /// Event time drives it.
    pub event_time: bool,
    /// Time after the first firing in which the window may fire again, in milliseconds.
    pub allowed_late_ms: i64,
}

/// A moment in the time of a window, and by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// In the time of the window.
    pub at: i64,
    /// Wall time of that moment, in milliseconds since 1970.
    pub wall_ms: i64,
}

impl Moment {
    /// The present moment of a window that monotonic time drives.
    pub fn now(now: Now) -> Self {
        Self {
            at: signed(now.mono_ms),
            wall_ms: now.wall_ms,
        }
    }

    /// A moment of event time.
    pub fn of_event(event_ms: i64) -> Self {
        Self {
            at: event_ms,
            wall_ms: event_ms,
        }
    }

    /// The same or an earlier moment.
    pub fn earlier(self, at: i64) -> Self {
        Self {
            at: self.at.min(at),
            wall_ms: self.wall_ms.min(self.wall_at(at)),
        }
    }

    /// The wall time of another moment.
    pub fn wall_at(self, at: i64) -> i64 {
        self.wall_ms.saturating_add(at.saturating_sub(self.at))
    }

    /// The moment at which the wall clock shows this.
    fn at_wall(self, wall_ms: i64) -> i64 {
        self.at.saturating_add(wall_ms.saturating_sub(self.wall_ms))
    }
}

impl Window {
    /// The byte in which a rule's record tells its window: state of another kind is of no use to
    /// it.
    pub fn code(&self) -> u8 {
        let kind = match self.kind {
            WindowKind::Tumbling | WindowKind::Hopping => ON_GRID,
            WindowKind::Sliding => 2,
            WindowKind::Session => 3,
            WindowKind::Count => 4,
            WindowKind::State => 5,
        };
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        kind | bit(self.rows, ROWS) | bit(self.event_time, EVENT_TIME)
    }

    /// The window's identity in a record: a window of another kind, length or time is another one.
    pub fn identity(&self) -> String {
        let keeps = if self.rows { "rows" } else { "slots" };
        let time = if self.event_time { "event" } else { "clock" };
        let mut text = format!("{} {keeps} {time}", self.kind.name());
        for (name, value) in [
            ("length", self.length_ms),
            ("hop", self.hop_ms),
            ("delay", self.delay_ms),
            ("gap", self.gap_ms),
        ] {
            text.push_str(&format!(" {name} {value}"));
        }
        text.push_str(&format!(" count {} every {}", self.count, self.every));
        // A day of UTC is what a day was before there were others.
        let is_utc_day = |calendar: &Calendar| {
            calendar.zone.is_none() && calendar.span.unit == CalendarUnit::Day
        };
        if let Some(calendar) = self.calendar.filter(|calendar| !is_utc_day(calendar)) {
            text.push_str(&format!(" calendar {}", describe_calendar(calendar)));
        }
        text
    }

    /// A description for people.
    pub fn describe(&self) -> String {
        let (length, every) = (self.length_ms, self.every);
        let lengths = match self.kind {
            WindowKind::Tumbling | WindowKind::Hopping if self.calendar.is_some() => {
                self.calendar.map_or_else(String::new, describe_calendar)
            }
            WindowKind::Tumbling => format!("{length} ms"),
            WindowKind::Hopping => format!("{length} ms each {} ms", self.hop_ms),
            WindowKind::Sliding => format!("{length} ms, {} ms later", self.delay_ms),
            WindowKind::Session => format!("at most {length} ms, over after {} ms", self.gap_ms),
            WindowKind::Count => format!("{} rows, after each {every}", self.count),
            WindowKind::State => "from event to event".to_owned(),
        };
        let keeps = if self.rows {
            "rows".to_owned()
        } else {
            format!("{} slots", self.slots)
        };
        let time = if self.event_time {
            ", by event time"
        } else {
            ""
        };
        format!("{}, {lengths}, {keeps}{time}", self.kind.name())
    }

    /// Opens the panes that a moment belongs to and that are not there, but for those that are due
    /// until `gone_until`; calls `opened` for each.
    pub fn open(
        &self,
        panes: &mut Vec<OpenPane>,
        moment: Moment,
        gone_until: i64,
        mut opened: impl FnMut(&OpenPane),
    ) {
        if self.calendar.is_some() && self.hop_ms == self.length_ms {
            // To look into the calendar costs more than an event may.
            let is_held = |pane: &OpenPane| (pane.start_ms..pane.end_ms).contains(&moment.wall_ms);
            if panes.last().is_some_and(is_held) {
                return;
            }
        }
        let (length, hop) = self.spans();
        let at = self.number(moment.wall_ms);
        let newest = floor(at.saturating_add(length), hop);
        let newest_end = self.at_number(newest);
        if panes.last().is_some_and(|last| last.end_ms == newest_end) && !self.event_time {
            return;
        }
        // A step of the wall clock moves the grid: what is open stays, and the next pane opens when
        // the newest one is a hop old.
        let newest_pane = panes.last().copied();
        let newest_from = newest_pane.map(|last| last.from);
        let free_from = newest_pane.filter(|_| !self.event_time);
        let free_from = free_from.map_or(i64::MIN, |last| {
            last.from.saturating_add(self.hop_after(last.start_ms))
        });
        if moment.at < free_from {
            return;
        }
        let mut end = floor(at, hop).saturating_add(hop);
        while end <= newest {
            let start_ms = self.at_number(end.saturating_sub(length));
            let end_ms = self.at_number(end);
            let pane = OpenPane {
                start_ms,
                end_ms,
                from: moment.at_wall(start_ms),
                due: moment.at_wall(end_ms),
                fired: false,
            };
            let is_new = self.event_time || newest_from.is_none_or(|newest| pane.from > newest);
            let is_new = is_new && pane.due > gone_until;
            if is_new && !panes.iter().any(|other| other.end_ms == end_ms) {
                let behind = panes.partition_point(|other| other.due <= pane.due);
                panes.insert(behind, pane);
                opened(&pane);
            }
            let Some(next) = end.checked_add(hop) else {
                // Time ends here: the pane behind it would be the same one for ever.
                break;
            };
            end = next;
        }
    }

    /// The end of the last pane that a moment belongs to.
    pub fn last_end(&self, at: i64) -> i64 {
        let (length, hop) = self.spans();
        self.at_number(floor(self.number(at).saturating_add(length), hop))
    }

    /// Length and hop in steps of the grid: milliseconds, or units of the calendar.
    fn spans(&self) -> (i64, i64) {
        self.calendar
            .map_or((self.length_ms, self.hop_ms), |calendar| {
                (calendar.span.length.into(), calendar.span.hop.into())
            })
    }

    /// The step of the grid that a moment belongs to.
    fn number(&self, at_ms: i64) -> i64 {
        self.calendar
            .map_or(at_ms, |calendar| calendar.number(at_ms))
    }

    /// The moment at which a step of the grid begins.
    fn at_number(&self, number: i64) -> i64 {
        self.calendar
            .map_or(number, |calendar| calendar.start(number))
    }

    /// Distance in milliseconds from the start of a pane to that of the next one.
    fn hop_after(&self, start_ms: i64) -> i64 {
        let Some(calendar) = self.calendar else {
            return self.hop_ms;
        };
        let next = calendar
            .number(start_ms)
            .saturating_add(calendar.span.hop.into());
        calendar.start(next).saturating_sub(start_ms)
    }

    /// The wall time at which a session whose first row came at `first_ms` is cut: on the grid of
    /// its length, once it is that long.
    pub fn cut_ms(&self, first_ms: i64) -> i64 {
        let after = first_ms.saturating_add(self.length_ms);
        let on_grid = floor(after, self.length_ms);
        // By event time it has to be longer than that; by the clock it is cut when the grid says so.
        if on_grid < after || self.event_time {
            on_grid.saturating_add(self.length_ms)
        } else {
            on_grid
        }
    }
}

/// Lengths on the calendar in words, such as `1 day in Europe/Berlin`.
fn describe_calendar(calendar: Calendar) -> String {
    let unit = match calendar.span.unit {
        CalendarUnit::Day => "day",
        CalendarUnit::Week => "week",
        CalendarUnit::Month => "month",
    };
    let units = |count: u32| match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    let zone = calendar.zone.map_or("UTC", |zone| zone.name());
    let (length, hop) = (calendar.span.length, calendar.span.hop);
    if length == hop {
        format!("{} in {zone}", units(length))
    } else {
        format!("{} each {} in {zone}", units(length), units(hop))
    }
}

/// The last multiple of `step` that is not after `ms`.
fn floor(ms: i64, step: i64) -> i64 {
    ms.saturating_sub(ms.rem_euclid(step.max(1)))
}

/// Start and end of a pane with the labels that the clock gives it now that it closes at `due`: data
/// from before the clock was set is stamped right.
pub fn relabelled(start_ms: i64, end_ms: i64, due: i64, now: Now) -> (i64, i64) {
    let shift = Moment::now(now).wall_at(due).saturating_sub(end_ms);
    if shift.unsigned_abs() <= STEP_MS {
        return (start_ms, end_ms);
    }
    (start_ms.saturating_add(shift), end_ms.saturating_add(shift))
}

/// Number of a key's windows that have not fired, by the kind of window that a rule's record tells,
/// and the panes that are open for all keys.
pub fn open_windows(code: u8, panes: &[OpenPane], state: &KeyState) -> u64 {
    let has_rows = state.rows().next().is_some();
    let count = match (code & KINDS, code & ROWS != 0) {
        (0, _) => 0,
        (ON_GRID, false) => state.panes.iter().filter(|pane| pane.fired == 0).count(),
        (ON_GRID, true) => {
            let times: Vec<i64> = state.rows().map(|(_, at)| at).collect();
            let holds = |pane: &&OpenPane| !pane.fired && times.iter().any(|at| pane.holds(*at));
            panes.iter().filter(holds).count()
        }
        _ => state.panes.len().max(usize::from(has_rows)),
    };
    count as u64
}

/// The pane of a key that belongs to a pane of the rule.
pub fn pane_of(open: &OpenPane) -> Pane {
    Pane {
        start_ms: open.start_ms,
        end_ms: open.end_ms,
        from: open.from,
        due: Some(open.due),
        ..Pane::default()
    }
}

/// Returns `true` if a key's pane is the key's share of a pane of the rule.
pub fn is_part_of(pane: &Pane, open: &OpenPane) -> bool {
    (pane.start_ms, pane.from) == (open.start_ms, open.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 1_700_006_400_000;

    fn window(kind: WindowKind, length_ms: i64, hop_ms: i64) -> Window {
        Window {
            kind,
            length_ms,
            hop_ms,
            calendar: None,
            delay_ms: 0,
            gap_ms: 0,
            count: 0,
            every: 0,
            slots: 0,
            rows: false,
            event_time: false,
            allowed_late_ms: 0,
        }
    }

    /// The panes that are open after moments (monotonic, wall past [`DAY`]), as (from, due, start).
    fn open(window: Window, moments: &[(i64, i64)]) -> Vec<(i64, i64, i64)> {
        let mut panes = Vec::new();
        for (at, wall) in moments {
            panes.retain(|pane: &OpenPane| pane.due > *at);
            let moment = Moment {
                at: *at,
                wall_ms: DAY + wall,
            };
            window.open(&mut panes, moment, i64::MIN, |_| ());
        }
        let labels = |pane: &OpenPane| (pane.from, pane.due, pane.start_ms - DAY);
        panes.iter().map(labels).collect()
    }

    #[test]
    fn panes_lie_on_the_unix_grid() {
        let tumbling = window(WindowKind::Tumbling, 1_000, 1_000);
        assert_eq!(open(tumbling, &[(500, 250)]), [(250, 1_250, 0)]);
        assert_eq!(open(tumbling, &[(0, 1_000)]), [(0, 1_000, 1_000)]);
        assert_eq!(open(tumbling, &[(0, -1)]), [(-999, 1, -1_000)]);
        let hopping = window(WindowKind::Hopping, 2_000, 1_000);
        let both = [(-500, 1_500, -1_000), (500, 2_500, 0)];
        assert_eq!(open(hopping, &[(600, 100)]), both);
        let later = [(500, 2_500, 0), (1_500, 3_500, 1_000)];
        assert_eq!(open(hopping, &[(600, 100), (1_501, 1_001)]), later);
        // Shorter than its hop: it ends on the grid, and some moments belong to none.
        let gaps = window(WindowKind::Hopping, 300, 1_000);
        assert_eq!(open(gaps, &[(0, 699)]), []);
        assert_eq!(open(gaps, &[(0, 700)]), [(0, 300, 700)]);
    }

    #[test]
    fn the_end_of_time_has_as_many_panes_as_any_moment() {
        // 73 divides 2^63 - 1, so that the end is on the grid.
        for (length, hop) in [(73, 73), (146, 73), (i64::MAX, i64::MAX), (1_000, 7)] {
            for at in [i64::MAX, i64::MAX - 1, i64::MIN, i64::MIN + 1] {
                let hopping = window(WindowKind::Hopping, length, hop);
                let mut panes = Vec::new();
                hopping.open(&mut panes, Moment::of_event(at), i64::MIN, |_| ());
                assert!(panes.len() <= 1_000, "{length} {hop} {at}");
            }
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_cuts_nothing_and_moves_the_grid() {
        let tumbling = window(WindowKind::Tumbling, 1_000, 1_000);
        let stepped = [(0, 0), (900, 3_600_100)];
        assert_eq!(open(tumbling, &stepped), [(0, 1_000, 0)]);
        let after = [(0, 0), (900, 3_600_100), (1_000, 3_600_200)];
        assert_eq!(open(tumbling, &after), [(800, 1_800, 3_600_000)]);
        let hopping = window(WindowKind::Hopping, 2_000, 1_000);
        let stepped = [(0, 0), (900, 3_600_100)];
        assert_eq!(open(hopping, &stepped).len(), 2);
        let after = [(0, 0), (1_000, 3_600_200)];
        let expected = [(0, 2_000, 0), (800, 2_800, 3_600_000)];
        assert_eq!(open(hopping, &after), expected);
    }

    #[test]
    fn labels_follow_a_clock_that_was_set() {
        let now = |mono_ms, wall_ms| Now {
            mono_ms,
            wall_ms,
            ..Now::default()
        };
        let labels = |wall_ms| relabelled(60_000, 70_000, 10_000, now(10_000, wall_ms));
        assert_eq!(labels(70_000), (60_000, 70_000));
        assert_eq!(labels(70_400), (60_000, 70_000));
        let set = (1_700_000_060_000, 1_700_000_070_000);
        assert_eq!(labels(1_700_000_070_000), set);
    }

    #[test]
    fn sessions_are_cut_on_the_grid_of_their_length() {
        let mut session = window(WindowKind::Session, 2_000, 0);
        for (first, by_clock, by_event) in [
            (62, 4_000, 4_000),
            (1_932, 4_000, 4_000),
            (2_000, 4_000, 6_000),
        ] {
            session.event_time = false;
            assert_eq!(session.cut_ms(first), by_clock, "{first}");
            session.event_time = true;
            assert_eq!(session.cut_ms(first), by_event, "{first}");
        }
    }
}
