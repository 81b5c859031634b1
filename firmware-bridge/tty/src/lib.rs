//! Errors that the kernel has counted on a serial line. This is a crate of its own because it takes a line of unsafe
//! code, which the bridge forbids.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Counts since the driver was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Characters without a stop bit.
    pub frame: u64,
    /// Characters that the hardware had no room for.
    pub overrun: u64,
    /// Characters with a wrong parity.
    pub parity: u64,
    /// Breaks.
    pub breaks: u64,
    /// Characters that the kernel had no room for.
    pub buffer_overrun: u64,
}

/// `TIOCGICOUNT` of `asm-generic/ioctls.h`, which holds for all machines that the bridge is built for.
const GET_COUNTERS: libc::Ioctl = 0x545D;

/// `struct serial_icounter_struct` of `linux/serial.h`.
#[repr(C)]
#[derive(Default)]
struct Raw {
    modem: [libc::c_int; 4],
    rx: libc::c_int,
    tx: libc::c_int,
    frame: libc::c_int,
    overrun: libc::c_int,
    parity: libc::c_int,
    brk: libc::c_int,
    buf_overrun: libc::c_int,
    reserved: [libc::c_int; 9],
}

/// Asks the kernel for the counts of a line.
///
/// # Errors
/// When its driver keeps none: a pseudo-terminal does not.
#[allow(
    unsafe_code,
    reason = "no safe wrapper of this request exists; nothing else in here is unsafe"
)]
pub fn counters(tty: impl AsFd) -> io::Result<Counters> {
    let mut raw = Raw::default();
    // SAFETY: the descriptor is open for as long as it is borrowed, and the pointer is that of a live structure of the
    // form and size that this request fills in.
    let answer = unsafe { libc::ioctl(tty.as_fd().as_raw_fd(), GET_COUNTERS, &raw mut raw) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let count = |count: libc::c_int| u64::from(count.cast_unsigned());
    Ok(Counters {
        frame: count(raw.frame),
        overrun: count(raw.overrun),
        parity: count(raw.parity),
        breaks: count(raw.brk),
        buffer_overrun: count(raw.buf_overrun),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_as_long_as_the_kernels() {
        assert_eq!(size_of::<Raw>(), 80);
    }

    #[test]
    fn what_is_no_serial_line_has_no_counts() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = counters(&file).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
    }
}
