//! The types of values.

use tidemill_values::Value;

use crate::event::payload::input::whole;

/// The type that a metric says its value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataType(u32);

impl DataType {
    /// The type of a value that has none.
    pub const UNKNOWN: Self = Self(0);

    const NAMES: [&'static str; 35] = [
        "Unknown",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float",
        "Double",
        "Boolean",
        "String",
        "DateTime",
        "Text",
        "UUID",
        "DataSet",
        "Bytes",
        "File",
        "Template",
        "PropertySet",
        "PropertySetList",
        "Int8Array",
        "Int16Array",
        "Int32Array",
        "Int64Array",
        "UInt8Array",
        "UInt16Array",
        "UInt32Array",
        "UInt64Array",
        "FloatArray",
        "DoubleArray",
        "BooleanArray",
        "StringArray",
        "DateTimeArray",
    ];

    /// The type of a number; one that is not known says nothing.
    pub fn numbered(number: u64) -> Self {
        let known = u32::try_from(number).ok();
        let known = known.filter(|number| (*number as usize) < Self::NAMES.len());
        Self(known.unwrap_or(0))
    }

    /// Number of the type.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Name of the type in the specification.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .get(self.0 as usize)
            .copied()
            .unwrap_or("Unknown")
    }

    /// Number of the type in a byte, in which all known ones fit.
    pub fn code(self) -> u8 {
        u8::try_from(self.0).unwrap_or_default()
    }

    /// `true` if a value reads differently without it: one that may be below 0, a moment, or a list.
    pub fn matters(self) -> bool {
        self.bits().is_some() || self.0 == DATE_TIME || self.0 >= INT8_ARRAY
    }

    /// Bits of a whole number with a sign.
    fn bits(self) -> Option<u32> {
        match self.0 {
            1 => Some(8),
            2 => Some(16),
            3 => Some(32),
            4 => Some(64),
            _ => None,
        }
    }

    /// The value of a whole number of this type.
    pub(super) fn whole(self, number: u64) -> Value {
        match (self.bits(), self.0) {
            (Some(bits), _) => {
                let above = 64 - bits;
                Value::Int((number << above).cast_signed() >> above)
            }
            (_, BOOLEAN) => Value::Bool(number != 0),
            (_, DATE_TIME) => super::time(number),
            _ => whole(number),
        }
    }
}

const BOOLEAN: u32 = 11;
const DATE_TIME: u32 = 13;
pub(super) const INT8_ARRAY: u32 = 22;
