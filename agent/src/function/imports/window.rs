//! The imports that work on a window whose rows the host keeps. What a row means is the function's
//! business: here it is bytes. Host code that works on rows without a guest's memory uses the same
//! functions of [`Host`].

use tidemill_abi::{Code, Win, limit};
use wasmi::Error;

use super::{Call, copied};
use crate::function::Handler;
use crate::function::host::{Host, charge, claim, with_memory};
use crate::function::price::{BARE_FUEL, ROW_FUEL};

impl Host {
    /// Puts a row into the window of the key.
    pub(in crate::function) fn put_row(&mut self, row: &[u8]) -> Result<(), Code> {
        if !self.has_event() || !self.terms.rows {
            return Err(Code::WrongContext);
        }
        if row.len() > limit::STATE_VALUE_BYTES_MAX {
            return Err(Code::TooBig);
        }
        let effects = &mut self.frame.effects;
        if effects.rows.len() >= limit::ROWS_PER_CALL_MAX
            || effects.row_bytes + row.len() > limit::ROW_BYTES_PER_CALL_MAX
        {
            return Err(Code::Quota);
        }
        effects.row_bytes += row.len();
        effects.rows.push(row.into());
        Ok(())
    }

    /// Number of rows in the window that fires.
    pub(in crate::function) fn row_count(&self) -> Result<usize, Code> {
        match self.handler {
            Some(Handler::Window) if self.terms.rows => Ok(self.frame.rows.len()),
            _ => Err(Code::WrongContext),
        }
    }

    /// A row of the window that fires, in order of arrival or of event time.
    pub(in crate::function) fn row(&self, index: usize) -> Result<&[u8], Code> {
        self.row_count()?;
        let name = self.frame.rows.get(index);
        name.and_then(|name| self.frame.state.row(*name))
            .ok_or(Code::NotFound)
    }

    /// Says what the event is to the window of the key.
    pub(in crate::function) fn mark_window(&mut self, what: Win) -> Result<(), Code> {
        if !self.has_event() || !self.terms.rows {
            return Err(Code::WrongContext);
        }
        match what {
            Win::Begin => self.frame.effects.begins = true,
            Win::Fire => self.frame.effects.fires = true,
            Win::Next => self.frame.effects.cuts = true,
        }
        Ok(())
    }
}

pub(super) fn row_put(mut caller: Call<'_>, ptr: i32, len: i32) -> Result<i32, Error> {
    with_memory(&mut caller, ROW_FUEL, |memory, host, fuel| {
        let row = match claim(ptr, len) {
            Ok(claim) => claim.read(memory)?,
            Err(refusal) => return Ok(refusal),
        };
        host.pay_copy(row.len().min(limit::STATE_VALUE_BYTES_MAX), fuel)?;
        Ok(match host.put_row(row) {
            Err(code) => code.value(),
            Ok(()) => 0,
        })
    })
}

pub(super) fn rows(mut caller: Call<'_>) -> Result<i32, Error> {
    charge(&mut caller, BARE_FUEL)?;
    Ok(match caller.data().row_count() {
        Ok(count) => i32::try_from(count).unwrap_or(i32::MAX),
        Err(code) => code.value(),
    })
}

pub(super) fn row_get(mut caller: Call<'_>, index: i32, ptr: i32, cap: i32) -> Result<i32, Error> {
    with_memory(&mut caller, ROW_FUEL, |memory, host, fuel| {
        let (Ok(target), Ok(index)) = (claim(ptr, cap), usize::try_from(index)) else {
            return Ok(Code::BadArgument.value());
        };
        let len = match host.row(index) {
            Err(code) => return Ok(code.value()),
            Ok(row) => copied(row, cap),
        };
        host.pay_copy(len, fuel)?;
        target.fill(memory, host.row(index).unwrap_or_default())
    })
}

pub(super) fn win(mut caller: Call<'_>, what: i32) -> Result<i32, Error> {
    charge(&mut caller, BARE_FUEL)?;
    let Some(what) = Win::from_value(what) else {
        return Ok(Code::BadArgument.value());
    };
    Ok(match caller.data_mut().mark_window(what) {
        Ok(()) => 0,
        Err(code) => code.value(),
    })
}
