//! The library's client, over a stream that lies in memory: it writes requests and reads answers that have passed the
//! gate. Its own stream would be the tty; but it compares lengths in debug builds only, takes an answer that comes late
//! for that of the next request, and waits by a clock that the state machines do not have.

use super::{Area, Read, Span, UnitId};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_modbus::client::{Client as _, Context as LibraryClient, rtu};
use tokio_modbus::slave::{Slave, SlaveContext as _};
use tokio_modbus::{Request, Response};

/// Bytes that wait to be read, and bytes that were written. It never waits.
#[derive(Debug, Default)]
struct Memory {
    to_read: Vec<u8>,
    written: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Stream(Arc<Mutex<Memory>>);

impl Stream {
    fn with<T>(&self, use_it: impl FnOnce(&mut Memory) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|memory| {
            if memory.to_read.is_empty() {
                return Poll::Pending; // Nobody will wake it: whoever asked asks again.
            }
            let count = buffer.remaining().min(memory.to_read.len());
            let bytes: Vec<u8> = memory.to_read.drain(..count).collect();
            buffer.put_slice(&bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|memory| memory.written.extend(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The library's client.
pub(super) struct Library {
    client: LibraryClient,
    stream: Stream,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

impl Default for Library {
    fn default() -> Self {
        let stream = Stream::default();
        Self {
            client: rtu::attach(stream.clone()),
            stream,
        }
    }
}

impl Library {
    /// The request as it is written to the line.
    pub(super) fn request(&mut self, unit: UnitId, span: Span) -> Vec<u8> {
        let _unanswered = self.call(unit, span, Vec::new());
        self.stream
            .with(|memory| std::mem::take(&mut memory.written))
    }

    /// The content of an answer that has passed the gate; `None` if the library sees something else in it.
    pub(super) fn answer(&mut self, unit: UnitId, span: Span, frame: &[u8]) -> Option<Read> {
        let response = self.call(unit, span, frame.to_vec());
        self.stream.with(|memory| *memory = Memory::default());
        let read = match response? {
            Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => Read::Bits(bits),
            Response::ReadHoldingRegisters(registers) | Response::ReadInputRegisters(registers) => {
                Read::Registers(registers)
            }
            _ => return None,
        };
        let count = match &read {
            Read::Bits(bits) => bits.len(),
            Read::Registers(registers) => registers.len(),
        };
        (count >= usize::from(span.count)).then_some(read)
    }

    /// One turn of the library, in which it comes as far as the bytes to read allow.
    fn call(&mut self, unit: UnitId, span: Span, to_read: Vec<u8>) -> Option<Response> {
        self.stream.with(|memory| memory.to_read = to_read);
        self.client.set_slave(Slave(unit.0));
        let (at, count) = (span.at.0, span.count);
        let request = match span.area {
            Area::Coil => Request::ReadCoils(at, count),
            Area::Discrete => Request::ReadDiscreteInputs(at, count),
            Area::Holding => Request::ReadHoldingRegisters(at, count),
            Area::Input => Request::ReadInputRegisters(at, count),
        };
        let call = pin!(self.client.call(request));
        match call.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Ok(response))) => Some(response),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Address;
    use super::super::gate::checksum;
    use super::*;

    fn span(area: Area, at: u16, count: u16) -> Span {
        let at = Address(at);
        Span { area, at, count }
    }

    #[test]
    fn requests_are_those_of_the_standard() {
        let mut library = Library::default();
        // The example of the Modbus application protocol, with an address in front and a checksum behind.
        let request = library.request(UnitId(0x11), span(Area::Holding, 0x6B, 3));
        assert_eq!(request, [0x11, 3, 0, 0x6B, 0, 3, 0x76, 0x87]);
        for (area, function) in [
            (Area::Coil, 1),
            (Area::Discrete, 2),
            (Area::Holding, 3),
            (Area::Input, 4),
        ] {
            let request = library.request(UnitId(7), span(area, 0x1234, 9));
            let body = [7, function, 0x12, 0x34, 0, 9];
            assert_eq!(request, [&body[..], &checksum(&body)].concat());
        }
    }

    #[test]
    fn answers_are_read_and_one_leaves_nothing_for_the_next() {
        let mut library = Library::default();
        let sealed = |body: &[u8]| [body, &checksum(body)].concat();
        let two = span(Area::Input, 0, 2);
        let one = sealed(&[7, 4, 4, 0, 1, 0xFF, 0xFE]);
        let registers = Read::Registers(vec![1, 0xFFFE]);
        for _ in 0..3 {
            assert_eq!(
                library.answer(UnitId(7), two, &one).as_ref(),
                Some(&registers)
            );
            assert_eq!(library.answer(UnitId(8), two, &one), None);
            assert_eq!(library.answer(UnitId(7), two, &one[..5]), None);
            assert_eq!(
                library.answer(UnitId(7), span(Area::Input, 0, 3), &one),
                None
            );
            assert_eq!(library.request(UnitId(7), two).len(), 8);
        }
        let bits = library.answer(
            UnitId(7),
            span(Area::Coil, 0, 3),
            &sealed(&[7, 1, 1, 0b101]),
        );
        let Some(Read::Bits(bits)) = bits else {
            panic!("{bits:?}");
        };
        assert_eq!(bits[..3], [true, false, true]);
    }
}
