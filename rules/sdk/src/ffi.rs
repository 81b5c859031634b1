//! The imports of the ABI behind safe functions: the only unsafe code of the SDK. Slices become pointer and length here; what results mean is
//! left to the modules above.
#![allow(
    unsafe_code,
    reason = "imports are foreign functions; this module is the one that calls them"
)]

/// Declares imports for wasm32. Elsewhere there is no host, so that calling one panics: code that calls none can be tested there.
macro_rules! imports {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        #[cfg(target_arch = "wasm32")]
        mod import {
            #[link(wasm_import_module = "tidemill1")]
            unsafe extern "C" {
                $(pub(super) fn $name($($arg: $type),*) $(-> $result)?;)*
            }
        }
        #[cfg(not(target_arch = "wasm32"))]
        mod import {
            $(pub(super) unsafe fn $name($(_: $type),*) $(-> $result)? {
                panic!(concat!(stringify!($name), " exists only inside of a tidemill function"))
            })*
        }
    };
}

imports! {
    fn in_bytes(i: i32, ptr: *mut u8, cap: usize) -> i32;
    fn ev_bytes(what: i32, off: usize, ptr: *mut u8, cap: usize) -> i32;
    fn ev_i64(what: i32) -> i64;
    fn reg_get(slot: i32) -> f64;
    fn reg_set(slot: i32, v: f64);
    fn st_get(kp: *const u8, kl: usize, vp: *mut u8, vc: usize) -> i32;
    fn st_put(kp: *const u8, kl: usize, vp: *const u8, vl: usize) -> i32;
    fn st_del(kp: *const u8, kl: usize) -> i32;
    fn emit(port: i32, ptr: *const u8, len: usize) -> i32;
    fn emit_f64(port: i32, v: f64) -> i32;
    fn fmt_f64(v: f64, ptr: *mut u8, cap: usize) -> i32;
    fn timer(id: i32, delay_ms: i64) -> i32;
    fn cfg_f64(i: i32) -> f64;
    fn cfg_bytes(i: i32, ptr: *mut u8, cap: usize) -> i32;
    fn log(level: i32, ptr: *const u8, len: usize);
    fn rand() -> i64;
}

/// Wraps imports that take plain numbers.
macro_rules! numbers {
    ($(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(#[inline]
        pub(crate) fn $name($($arg: $type),*) $(-> $result)? {
            // SAFETY: the import takes and gives numbers only and touches no memory of ours.
            unsafe { import::$name($($arg),*) }
        })*
    };
}

numbers! {
    fn ev_i64(what: i32) -> i64;
    fn reg_get(slot: i32) -> f64;
    fn reg_set(slot: i32, v: f64);
    fn emit_f64(port: i32, v: f64) -> i32;
    fn timer(id: i32, delay_ms: i64) -> i32;
    fn cfg_f64(i: i32) -> f64;
    fn rand() -> i64;
}

#[inline]
pub(crate) fn in_bytes(i: i32, buf: &mut [u8]) -> i32 {
    // SAFETY: the host writes at most `buf.len()` bytes from the start of `buf`, which is ours alone for the call.
    unsafe { import::in_bytes(i, buf.as_mut_ptr(), buf.len()) }
}

#[inline]
pub(crate) fn ev_bytes(what: i32, off: usize, buf: &mut [u8]) -> i32 {
    // SAFETY: the host writes at most `buf.len()` bytes from the start of `buf`, which is ours alone for the call.
    unsafe { import::ev_bytes(what, off, buf.as_mut_ptr(), buf.len()) }
}

#[inline]
pub(crate) fn cfg_bytes(i: i32, buf: &mut [u8]) -> i32 {
    // SAFETY: the host writes at most `buf.len()` bytes from the start of `buf`, which is ours alone for the call.
    unsafe { import::cfg_bytes(i, buf.as_mut_ptr(), buf.len()) }
}

#[inline]
pub(crate) fn fmt_f64(v: f64, buf: &mut [u8]) -> i32 {
    // SAFETY: the host writes at most `buf.len()` bytes from the start of `buf`, which is ours alone for the call.
    unsafe { import::fmt_f64(v, buf.as_mut_ptr(), buf.len()) }
}

#[inline]
pub(crate) fn st_get(key: &[u8], buf: &mut [u8]) -> i32 {
    // SAFETY: the host reads `key` and writes at most `buf.len()` bytes into `buf`; both are valid for the call and do not overlap.
    unsafe { import::st_get(key.as_ptr(), key.len(), buf.as_mut_ptr(), buf.len()) }
}

#[inline]
pub(crate) fn st_put(key: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the host only reads the two slices, and only during the call.
    unsafe { import::st_put(key.as_ptr(), key.len(), value.as_ptr(), value.len()) }
}

#[inline]
pub(crate) fn st_del(key: &[u8]) -> i32 {
    // SAFETY: the host only reads the slice, and only during the call.
    unsafe { import::st_del(key.as_ptr(), key.len()) }
}

#[inline]
pub(crate) fn emit(port: i32, bytes: &[u8]) -> i32 {
    // SAFETY: the host only reads the slice, and only during the call.
    unsafe { import::emit(port, bytes.as_ptr(), bytes.len()) }
}

#[inline]
pub(crate) fn log(level: i32, line: &[u8]) {
    // SAFETY: the host only reads the slice, and only during the call.
    unsafe { import::log(level, line.as_ptr(), line.len()) }
}
