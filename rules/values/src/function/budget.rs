//! Price of a call and what there is to pay it with. Everything is paid before it is done, so that work which is not granted is
//! not begun.

use super::FnError;
use crate::Value;

/// Fuel and bytes of memory that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Fuel for time.
    pub fuel: u64,
    /// Bytes that may be held at once beside what is there already.
    pub bytes: usize,
}

impl Budget {
    /// More than anything costs: for callers whose arguments are their own.
    pub const PLENTY: Self = Self {
        fuel: u64::MAX,
        bytes: usize::MAX,
    };

    /// Pays for work.
    ///
    /// # Errors
    ///
    /// If there is less fuel; all of it is gone then.
    pub fn spend(&mut self, fuel: u64) -> Result<(), FnError> {
        let left = self.fuel.checked_sub(fuel);
        self.fuel = left.unwrap_or(0);
        left.map(drop).ok_or(FnError::OutOfFuel)
    }

    /// Takes room for bytes, which the caller gives back by making the budget anew.
    ///
    /// # Errors
    ///
    /// If there is less room.
    pub fn hold(&mut self, bytes: usize) -> Result<(), FnError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(FnError::NoRoom)?;
        Ok(())
    }
}

/// Price of a call by its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Fuel, whatever the arguments are.
    pub flat: u32,
    /// Fuel of each element of an array and each name of an object, not of what is in these.
    pub element: u32,
    /// Fuel of each 16 bytes that arguments which are texts, bytes or numbers take in memory.
    pub weight: u32,
    /// Fuel of each 16 bytes that arrays and objects take in memory, with all that is in them.
    pub deep: u32,
    /// Sixteenths of the arguments' memory that the call may take beside it.
    pub room: u32,
    /// Bytes that it may take for each element or name.
    pub makes: u32,
}

impl Price {
    /// A price that does not depend on the arguments.
    pub const fn flat(flat: u32) -> Self {
        Self {
            flat,
            element: 0,
            weight: 0,
            deep: 0,
            room: 0,
            makes: 0,
        }
    }

    /// The same and so much for each element or name.
    pub const fn element(mut self, fuel: u32) -> Self {
        self.element = fuel;
        self
    }

    /// The same and so much for each 16 bytes of the arguments.
    pub const fn weight(mut self, fuel: u32) -> Self {
        self.weight = fuel;
        self.deep = fuel;
        self.room = 16;
        self
    }

    /// The same with another price for what is in arrays and objects.
    pub const fn deep(mut self, fuel: u32) -> Self {
        self.deep = fuel;
        self.room = 16;
        self
    }

    /// The same, taking so many bytes for each element or name.
    pub const fn makes(mut self, bytes: u32) -> Self {
        self.makes = bytes;
        self
    }

    /// The same, taking so many sixteenths of the memory of its arguments.
    pub const fn room(mut self, sixteenths: u32) -> Self {
        self.room = sixteenths;
        self
    }

    /// Fuel of a call with these arguments.
    pub fn fuel(&self, args: &[Value]) -> u64 {
        let mut fuel = u64::from(self.flat) + args.len() as u64;
        if self.element > 0 {
            let elements: usize = args.iter().map(Value::elements).sum();
            fuel = fuel.saturating_add(elements as u64 * u64::from(self.element));
        }
        if self.weight > 0 || self.deep > 0 {
            for arg in args {
                let each = match arg {
                    Value::List(_) | Value::Map(_) => self.deep,
                    _ => self.weight,
                };
                fuel = fuel.saturating_add(arg.weight() as u64 / 16 * u64::from(each));
            }
        }
        fuel
    }

    /// Bytes that a call with these arguments may take beside them.
    pub fn bytes(&self, args: &[Value]) -> usize {
        let mut bytes = 0_usize;
        if self.makes > 0 {
            let elements: usize = args.iter().map(Value::elements).sum();
            bytes = elements.saturating_mul(self.makes as usize);
        }
        if self.room > 0 {
            let share = weight(args) / 16;
            bytes = bytes.saturating_add(share.saturating_mul(self.room as usize));
        }
        bytes
    }
}

fn weight(args: &[Value]) -> usize {
    let weights = args.iter().map(Value::weight);
    weights.fold(0, usize::saturating_add)
}
