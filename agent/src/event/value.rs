//! The values that travel between payload and function: what JSON held at a place, and what a
//! function's input became. Text lies in an arena beside them, so that both are plain copies.

/// A scalar read from a payload at a place that a rule reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// No value.
    Missing,
    /// A JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number written without fraction or exponent that fits 64 bits.
    Int(i64),
    /// A whole number beyond that, of 64 bits without a sign.
    Wide(u64),
    /// Any other number.
    Float(f64),
    /// A string: its content is in the arena.
    Text(Span),
    /// An array or an object.
    Other,
}

/// A place in the arena of [`Decoded`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// The scalars of one decoding plan, in the plan's order.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// One scalar for each place.
    pub scalars: Vec<Scalar>,
    /// The bytes that [`Span`]s refer to.
    pub text: Vec<u8>,
}

impl Decoded {
    /// The bytes of a span.
    pub fn bytes(&self, span: Span) -> &[u8] {
        let behind = self.text.get(span.start as usize..);
        let bytes = behind.and_then(|behind| behind.get(..span.len as usize));
        bytes.unwrap_or_default()
    }
}

/// One input of a function, typed as its manifest asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// NaN when missing.
    F64(f64),
    /// Never missing: that is a dead letter.
    I64(i64),
    /// Never missing: that is a dead letter.
    I32(i32),
    /// A string's content in the arena of [`Decoded`]; `None` when missing.
    Bytes(Option<Span>),
}
