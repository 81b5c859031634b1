//! Functions that cross the border between module and host, each with its type. Their effects are
//! left to `host`, and comparing them with a module to `scan`.

use std::fmt;

use tidemill_abi::{export, import};
use wasmparser::{FuncType, ValType};

use ValType::{F64, I32, I64};

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub(super) params: Box<[ValType]>,
    pub(super) results: Box<[ValType]>,
}

/// A function that the host offers.
pub(super) struct Import {
    pub(super) module: &'static str,
    pub(super) name: &'static str,
    params: &'static [ValType],
    result: Option<ValType>,
    /// `true` if it reads or writes the guest's memory.
    pub(super) uses_memory: bool,
}

/// All that the host offers to guests.
pub(super) const IMPORTS: [Import; 50] = [
    plain(import::IN_F64, &[I32], Some(F64)),
    plain(import::IN_I64, &[I32], Some(I64)),
    bytes(import::IN_BYTES, &[I32, I32, I32], Some(I32)),
    bytes(import::EV_BYTES, &[I32, I32, I32, I32], Some(I32)),
    plain(import::EV_I64, &[I32], Some(I64)),
    plain(import::REG_GET, &[I32], Some(F64)),
    plain(import::REG_SET, &[I32, F64], None),
    bytes(import::ST_GET, &[I32, I32, I32, I32], Some(I32)),
    bytes(import::ST_PUT, &[I32, I32, I32, I32], Some(I32)),
    bytes(import::ST_DEL, &[I32, I32], Some(I32)),
    bytes(import::EMIT, &[I32, I32, I32], Some(I32)),
    plain(import::EMIT_F64, &[I32, F64], Some(I32)),
    bytes(import::FMT_F64, &[F64, I32, I32], Some(I32)),
    plain(import::TIMER, &[I32, I64], Some(I32)),
    plain(import::CFG_F64, &[I32], Some(F64)),
    bytes(import::CFG_BYTES, &[I32, I32, I32], Some(I32)),
    bytes(import::LOG, &[I32, I32, I32], None),
    plain(import::RAND, &[], Some(I64)),
    bytes(import::ROW_PUT, &[I32, I32], Some(I32)),
    plain(import::ROWS, &[], Some(I32)),
    bytes(import::ROW_GET, &[I32, I32, I32], Some(I32)),
    plain(import::WIN, &[I32], Some(I32)),
    plain(import::V_COL, &[I32, I32], Some(I32)),
    plain(import::V_ROW, &[I32], Some(I32)),
    plain(import::V_META, &[I32, I32], Some(I32)),
    plain(import::V_OP, &[I32, I32, I32, I32], Some(I32)),
    plain(import::V_ARG, &[I32], None),
    plain(import::V_CALL, &[I32, I32], Some(I32)),
    plain(import::V_STEP, &[I32, I32, I32, I32, I32], Some(I32)),
    plain(import::V_TRUE, &[I32], Some(I32)),
    plain(import::V_F64, &[F64], Some(I32)),
    plain(import::V_I64, &[I64], Some(I32)),
    plain(import::V_SET, &[I32, I32], None),
    plain(import::V_STAR, &[I32, I32], None),
    plain(import::V_MERGE, &[I32, I32], None),
    plain(import::V_ORDER, &[I32, I32], None),
    plain(import::V_EMIT, &[], None),
    plain(import::V_FLUSH, &[I32, I32], None),
    plain(import::V_KEEP, &[I32], None),
    plain(import::V_LOAD, &[], Some(I32)),
    plain(import::V_OPEN, &[I32, I32], None),
    plain(import::V_NEXT, &[], Some(I32)),
    plain(import::V_HIT, &[], None),
    plain(import::V_GROUP, &[I32], None),
    plain(import::V_GATHER, &[I32], None),
    plain(import::V_FOLD, &[I32, I32], Some(I32)),
    plain(import::V_HITS, &[I32], None),
    plain(import::V_FITS, &[I32, I32], None),
    plain(import::V_TOTAL, &[I32, I32, I32], None),
    Import {
        module: import::ABORT_MODULE,
        name: import::ABORT,
        params: &[I32, I32, I32, I32],
        result: None,
        uses_memory: false,
    },
];

const fn plain(name: &'static str, params: &'static [ValType], result: Option<ValType>) -> Import {
    Import {
        module: import::MODULE,
        name,
        params,
        result,
        uses_memory: false,
    }
}

const fn bytes(name: &'static str, params: &'static [ValType], result: Option<ValType>) -> Import {
    Import {
        uses_memory: true,
        ..plain(name, params, result)
    }
}

impl Import {
    /// The type that a module must import it with.
    pub(super) fn signature(&self) -> Signature {
        Signature {
            params: self.params.into(),
            results: self.result.into_iter().collect(),
        }
    }
}

/// The type of every export that the host calls; the typed handler's depends on the manifest.
pub(super) fn of_export(name: &str) -> Option<Signature> {
    let (params, results): (&[ValType], &[ValType]) = match name {
        export::ON_EVENT | export::ON_WINDOW => (&[], &[I32]),
        export::ON_TIMER | export::MIGRATE => (&[I32], &[I32]),
        export::INITIALIZE | export::INIT => (&[], &[]),
        _ => return None,
    };
    Some(Signature {
        params: params.into(),
        results: results.into(),
    })
}

/// The known import that `name` is most like, if it is like any.
pub(super) fn nearest(module: &str, name: &str) -> Option<Box<str>> {
    let full = format!("{module}.{name}");
    IMPORTS
        .iter()
        .map(|known| format!("{}.{}", known.module, known.name))
        .map(|known| (distance(&full, &known), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .map(|(_, known)| known.into())
}

/// Edit distance: the letters to insert, remove or change to turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    // A name of a kilobyte is like none of ours, and not worth the work.
    if one.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in other.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(a != b);
            diagonal = *above;
            left = changed.min(diagonal + 1).min(left + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

impl From<&FuncType> for Signature {
    fn from(ty: &FuncType) -> Self {
        Self {
            params: ty.params().into(),
            results: ty.results().into(),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |types: &[ValType]| -> Vec<String> { types.iter().map(ToString::to_string).collect() };
        write!(f, "({})", list(&self.params).join(", "))?;
        match &*self.results {
            [] => Ok(()),
            [one] => write!(f, " -> {one}"),
            many => write!(f, " -> ({})", list(many).join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_of_the_contract_has_a_type() {
        let ours: Vec<&str> = IMPORTS
            .iter()
            .filter(|import| import.module == import::MODULE)
            .map(|import| import.name)
            .collect();
        assert_eq!(ours, [&import::ALL[..], &import::VALUES].concat());
    }

    #[test]
    fn a_name_with_a_slip_finds_the_one_that_was_meant() {
        for (module, name, expected) in [
            ("tidemill1", "in_f46", Some("tidemill1.in_f64")),
            ("tidemill", "emit", Some("tidemill1.emit")),
            ("env", "emit_f64", Some("tidemill1.emit_f64")),
            ("env", "abrt", Some("env.abort")),
            ("wasi_snapshot_preview1", "fd_write", None),
            ("tidemill1", &"x".repeat(1_000), None),
        ] {
            assert_eq!(nearest(module, name).as_deref(), expected, "{name}");
        }
    }
}
