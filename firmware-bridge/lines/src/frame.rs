//! A line on its way to the UART, as pieces: the text stays where it lies in the ring, so that no second
//! buffer of a line's length is needed.

use crate::crc::Crc;
use crate::message::Boot;
use crate::text::Text;

/// One line for the wire, to be written piece by piece before the device's end is asked for anything else.
#[derive(Debug)]
pub struct Frame<'d> {
    /// LF, mark and all that is made up for this line: at most a hello with all numbers at their longest.
    head: Text<108>,
    body: [&'d [u8]; 2],
    /// ` max=65535`, checksum and LF.
    tail: Text<20>,
}

impl<'d> Frame<'d> {
    pub(crate) fn new(mark: u8) -> Self {
        let mut head = Text::new();
        head.byte(b'\n');
        head.byte(mark);
        Self {
            head,
            body: [&[], &[]],
            tail: Text::new(),
        }
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.head.bytes(bytes);
        self
    }

    pub(crate) fn number(mut self, number: u32) -> Self {
        self.head.number(number);
        self
    }

    pub(crate) fn body(mut self, body: [&'d [u8]; 2]) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn max(mut self, max: u32) -> Self {
        self.tail.bytes(b" max=");
        self.tail.number(max);
        self
    }

    /// Adds checksum and LF.
    pub(crate) fn seal(mut self, boot: Option<&Boot>) -> Self {
        let mut crc = Crc::new();
        if let Some(boot) = boot {
            crc.update(boot.digits());
        }
        crc.update(self.head.as_bytes().get(1..).unwrap_or_default());
        for piece in self.body {
            crc.update(piece);
        }
        crc.update(self.tail.as_bytes());
        self.tail.byte(b'*');
        self.tail.hex(crc.value());
        self.tail.byte(b'\n');
        self
    }

    /// The bytes to write, in this order.
    pub fn pieces(&self) -> [&[u8]; 4] {
        let [first, second] = self.body;
        [self.head.as_bytes(), first, second, self.tail.as_bytes()]
    }
}
