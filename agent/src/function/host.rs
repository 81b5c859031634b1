//! State of one instance between host and guest: the frame lent to it, its settings, and the
//! resources a call has used so far. The imports themselves are left to `imports`.

use std::ops::Deref;
use std::sync::Arc;

use tidemill_abi::{Code, limit};
use tidemill_values::Budget;
use wasmi::{Caller, Error, Memory, StoreLimits, StoreLimitsBuilder};

use super::guest::{GuestFault, GuestSlice};
use super::price::COPY_BYTES_PER_FUEL;
use super::values::Values;
use super::{Handler, Settings};
use crate::config::limits::FunctionLimits;
use crate::event::state::entry_bytes;
use crate::function::frame::Frame;
use crate::rule::manifest::ConfigValue;

/// The data of a wasmi store.
pub(super) struct Host {
    /// The frame of the call; a stand-in between calls.
    pub(super) frame: Box<Frame>,
    /// The guest's memory, if it exports one.
    pub(super) memory: Option<Memory>,
    /// Asked by wasmi before memory or table grow.
    pub(super) limits: StoreLimits,
    /// Settings of the rule that calls.
    pub(super) terms: Arc<Terms>,
    /// The running handler; `None` while the instance starts.
    pub(super) handler: Option<Handler>,
    /// Number of ports in the manifest.
    pub(super) ports: usize,
    /// Random numbers drawn in this call.
    pub(super) draws: u64,
    /// The values of a call.
    pub(super) values: Values,
    /// Pairs of rows that joins have looked at in this call.
    pub(super) pairs: u64,
    /// Fuel that the call was granted on its way: for reading what it is about, and for the pairs of joins.
    pub(super) more: u64,
    /// Fuel of small things that the call has not paid yet: see [`charge`].
    pub(super) owed: u64,
    /// By how many bytes the entries grow if this call ends well; below 0 if they shrink.
    pub(super) growth: i64,
}

/// A rule's settings, and what follows from them.
pub(super) struct Terms {
    settings: Settings,
    /// Hash of the rule's name, which seeds `rand`.
    pub(super) seed: u64,
    /// The first numbers of the configuration, beside the rest of what a call needs.
    numbers: [Option<f64>; 4],
}

impl Terms {
    pub(super) fn new(settings: Settings) -> Self {
        let seed = hash(settings.rule.as_bytes());
        let mut numbers = [None; 4];
        for (number, value) in numbers.iter_mut().zip(&settings.config) {
            if let ConfigValue::F64(value) = value {
                *number = Some(*value);
            }
        }
        Self {
            settings,
            seed,
            numbers,
        }
    }

    /// A number of the configuration, if it is one of the first.
    #[inline]
    pub(super) fn number(&self, index: i32) -> Option<f64> {
        let place = usize::try_from(index).ok()?;
        self.numbers.get(place).copied().flatten()
    }
}

impl Deref for Terms {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Host {
    pub(super) fn new(terms: &Arc<Terms>, ports: usize, limits: &FunctionLimits) -> Self {
        let pages = terms.memory_pages.min(limits.memory_pages);
        Self {
            frame: Box::default(),
            memory: None,
            limits: StoreLimitsBuilder::new()
                .memory_size(pages as usize * limit::MEMORY_PAGE_BYTES)
                .table_elements(limits.table_elements as usize)
                .instances(1)
                .build(),
            terms: Arc::clone(terms),
            handler: None,
            ports,
            draws: 0,
            values: Values::default(),
            pairs: 0,
            more: 0,
            owed: 0,
            growth: 0,
        }
    }

    /// Makes ready for a call.
    #[inline]
    pub(super) fn begin(&mut self, handler: Handler, terms: &Arc<Terms>) {
        if !Arc::ptr_eq(&self.terms, terms) {
            self.terms = Arc::clone(terms);
        }
        self.handler = Some(handler);
        self.draws = 0;
        self.growth = 0;
        self.owed = 0;
        self.pairs = 0;
        self.more = 0;
        let rows = match handler {
            Handler::Window => {
                self.frame.rows.len() * limit::VALUE_BYTES_PER_ROW + self.frame.row_bytes() * 4
            }
            Handler::Event | Handler::Timer(_) | Handler::Migrate(_) => 0,
        };
        self.values.begin(terms.value_bytes.saturating_add(rows));
    }

    /// Pays for bytes before they are copied, of the fuel that is left.
    pub(super) fn pay_copy(&mut self, bytes: usize, fuel: u64) -> Result<(), GuestFault> {
        self.owed += bytes as u64 / COPY_BYTES_PER_FUEL;
        if self.owed > fuel {
            return Err(GuestFault::OutOfFuel);
        }
        Ok(())
    }

    /// `true` if an event caused the call, so that there are inputs and a payload.
    pub(super) fn has_event(&self) -> bool {
        matches!(self.handler, Some(Handler::Event))
    }

    /// Fails while the instance starts: there is no key then whose state could be meant.
    pub(super) fn with_key(&self, import: &'static str) -> Result<(), GuestFault> {
        match self.handler {
            Some(_) => Ok(()),
            None => Err(GuestFault::WrongContext { import }),
        }
    }

    /// `true` if a slot belongs to the open pane.
    pub(super) fn is_pane_slot(&self, slot: u8) -> bool {
        slot < self.terms.window_slots && self.frame.pane.is_some()
    }

    /// The value of a slot as this call sees it, its own writes included.
    pub(super) fn slot(&self, slot: u8) -> f64 {
        let frame = &self.frame;
        if let Some(written) = frame.effects.slots.get(slot) {
            return written;
        }
        match &frame.pane {
            Some(pane) if self.is_pane_slot(slot) => pane.slot(slot),
            _ => frame.state.slot(slot),
        }
    }

    /// The value of a state entry as this call sees it, its own writes included.
    pub(super) fn entry(&self, key: &[u8]) -> Option<&[u8]> {
        match self.frame.effects.entries.get(key) {
            Some(written) => written.as_deref(),
            None => self.frame.state.entries.get(key).map(|value| &**value),
        }
    }

    /// Writes a state entry, if there is room for it.
    pub(super) fn write_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Code> {
        self.write_within(key, value, self.frame.state_bytes_free)
    }

    /// The same for one that the host keeps for a statement: there other keys may have to make room.
    pub(super) fn write_own_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Code> {
        self.write_within(key, value, self.room())
    }

    /// `true` if [`Host::write_own_entry`] has room for an entry.
    pub(super) fn has_room_for(&self, key: &[u8], value: &[u8]) -> bool {
        let (before, growth) = self.grown(key, value);
        growth <= before || growth <= i64::try_from(self.room()).unwrap_or(i64::MAX)
    }

    /// Bytes by which the state of the key may grow if other keys go.
    fn room(&self) -> usize {
        let frame = &self.frame;
        frame.state_bytes_free.saturating_add(frame.evictable_bytes)
    }

    /// By how many bytes the entries have grown, and will have with this one.
    fn grown(&self, key: &[u8], value: &[u8]) -> (i64, i64) {
        let before = self.entry(key).map_or(0, |old| entry_bytes(key, old));
        let after = entry_bytes(key, value);
        (self.growth, self.growth + after as i64 - before as i64)
    }

    fn write_within(&mut self, key: &[u8], value: &[u8], free: usize) -> Result<(), Code> {
        if key.is_empty() {
            return Err(Code::BadArgument);
        }
        if key.len() > limit::STATE_KEY_BYTES_MAX || value.len() > limit::STATE_VALUE_BYTES_MAX {
            return Err(Code::TooBig);
        }
        let (before, growth) = self.grown(key, value);
        if growth > before && growth > i64::try_from(free).unwrap_or(i64::MAX) {
            return Err(Code::Quota);
        }
        self.growth = growth;
        let entries = &mut self.frame.effects.entries;
        entries.insert(key.into(), Some(value.into()));
        Ok(())
    }

    /// Removes a state entry. Only what is there leaves a mark, so that nobody can fill the host with
    /// marks.
    pub(super) fn remove_entry(&mut self, key: &[u8]) -> bool {
        let Some(old) = self.entry(key) else {
            return false;
        };
        self.growth -= entry_bytes(key, old) as i64;
        let effects = &mut self.frame.effects.entries;
        if self.frame.state.entries.contains_key(key) {
            effects.insert(key.into(), None);
        } else {
            effects.remove(key);
        }
        true
    }

    /// Checks that a message may leave through `port`.
    pub(super) fn check_port(&self, port: i32, bytes: usize) -> Result<u8, Code> {
        if self.frame.effects.emissions.len() >= self.terms.emissions {
            self.check_row_port(port, 0)?;
            return Err(Code::Quota);
        }
        self.check_row_port(port, bytes)
    }

    /// The same for a row of several that go out together: they count by their bytes alone.
    pub(super) fn check_row_port(&self, port: i32, bytes: usize) -> Result<u8, Code> {
        let port = u8::try_from(port).map_err(|_| Code::BadArgument)?;
        if usize::from(port) >= self.ports {
            return Err(Code::BadArgument);
        }
        if self.handler.is_none() {
            return Err(Code::WrongContext);
        }
        let bit = 1_u64.checked_shl(port.into()).unwrap_or(0);
        if self.terms.bound_ports & bit == 0 {
            return Err(Code::Denied);
        }
        if bytes > self.terms.emission_bytes {
            return Err(Code::TooBig);
        }
        let effects = &self.frame.effects;
        if effects.emitted_bytes + bytes > self.terms.emission_bytes {
            return Err(Code::Quota);
        }
        Ok(port)
    }
}

/// Opens the guest's memory beside the host and lets `work` use both. It is told the fuel that is left, which pays what it copies:
/// see [`Host::pay_copy`].
#[inline]
pub(super) fn with_memory(
    caller: &mut Caller<'_, Host>,
    cost: u64,
    work: impl FnOnce(&mut [u8], &mut Host, u64) -> Result<i32, GuestFault>,
) -> Result<i32, Error> {
    charge(caller, cost)?;
    let fuel = caller.get_fuel()?;
    let memory = caller.data().memory;
    let (memory, host) = match &memory {
        Some(memory) => memory.data_and_store_mut(&mut *caller),
        // While wasmi makes the instance: nothing of the guest can run then.
        None => (&mut [][..], caller.data_mut()),
    };
    work(memory, host, fuel).map_err(Error::host)
}

/// The tab that is paid at once.
const TAB_MAX: u64 = 1_000;

/// Takes fuel for work of the host. What is small is put on a tab, which is paid once it has grown, so that a bare look at a slot costs no more
/// than an addition.
#[inline]
pub(super) fn charge(caller: &mut Caller<'_, Host>, cost: u64) -> Result<(), Error> {
    let host = caller.data_mut();
    host.owed = host.owed.saturating_add(cost);
    if host.owed < TAB_MAX {
        return Ok(());
    }
    let owed = std::mem::take(&mut host.owed);
    match caller.get_fuel()?.checked_sub(owed) {
        Some(left) => caller.set_fuel(left),
        None => {
            caller.set_fuel(0)?;
            Err(Error::host(GuestFault::OutOfFuel))
        }
    }
}

/// Grants a call more fuel.
pub(super) fn grant(caller: &mut Caller<'_, Host>, fuel: u64) -> Result<(), Error> {
    let host = caller.data_mut();
    host.more = host.more.saturating_add(fuel);
    let fuel = caller.get_fuel()?.saturating_add(fuel);
    caller.set_fuel(fuel)
}

/// Takes back what was granted and not needed.
pub(super) fn take_back(caller: &mut Caller<'_, Host>, fuel: u64) -> Result<(), Error> {
    let host = caller.data_mut();
    host.more = host.more.saturating_sub(fuel);
    let fuel = caller.get_fuel()?.saturating_sub(fuel);
    caller.set_fuel(fuel)
}

/// Does some work on the host that pays as it goes along.
pub(super) fn paying<T>(
    caller: &mut Caller<'_, Host>,
    work: impl FnOnce(&mut Host, &mut Budget) -> Result<T, GuestFault>,
) -> Result<Result<T, GuestFault>, Error> {
    let fuel = caller.get_fuel()?;
    let host = caller.data_mut();
    let owed = std::mem::take(&mut host.owed);
    let Some(left) = fuel.checked_sub(owed) else {
        caller.set_fuel(0)?;
        return Err(Error::host(GuestFault::OutOfFuel));
    };
    let mut budget = Budget {
        fuel: left,
        bytes: host.values.room(),
    };
    let done = work(host, &mut budget);
    if budget.fuel < left || owed > 0 {
        caller.set_fuel(budget.fuel)?;
    }
    Ok(done)
}

/// A claim, or the code for a length below 0.
pub(super) fn claim(offset: i32, len: i32) -> Result<GuestSlice, i32> {
    GuestSlice::new(offset, len).ok_or(Code::BadArgument.value())
}

/// FNV-1a: short, well known, and the same everywhere.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// One round of SplitMix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
