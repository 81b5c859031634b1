//! Asks the kernel whether a time server keeps the machine's clock. This is a crate of its own
//! because it takes a line of unsafe code, which the agent forbids.

/// `true` if a time server, or whoever else disciplines the kernel's clock, has set it and keeps
/// it.
#[allow(
    unsafe_code,
    reason = "no safe wrapper of this call tells the state; nothing else in here is unsafe"
)]
pub fn is_synced() -> bool {
    // SAFETY: the structure consists of integers only, for which zeros are valid.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is that of a live structure of the right type; with `modes` 0 the kernel only
    // fills it in.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    answer >= 0 && answer != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_answers() {
        // Either answer is right; asking must not fail.
        let _ = super::is_synced();
    }
}
