//! Time and randomness of the simulation, put under everything that asks the operating system for them: `std`, tokio, hash
//! maps, election timeouts, UUIDs. The linker prefers these functions to those of the C library.
//!
//! Only the thread that simulates is fooled; every other thread gets the real thing.

#![allow(unsafe_code, reason = "functions of the C library are unsafe to define and to call")]

use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_long, c_uint, c_void},
    time::Duration,
};

use crate::random::Random;

thread_local! {
    static CLOCK: Cell<Option<Clock>> = const { Cell::new(None) };
    static RANDOM: Cell<Option<Random>> = const { Cell::new(None) };
}

/// What the clocks of the host show whose tasks run now.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub monotonic: Duration,
    pub since_1970: Duration,
}

/// Sets the clocks that this thread reads.
pub fn set_clock(clock: Clock) {
    CLOCK.set(Some(clock));
}

/// Makes all that this thread draws from the operating system follow from the seed.
pub fn seed(seed: u64) {
    RANDOM.set(Some(Random::new(seed)));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(id: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let Some(clock) = CLOCK.get() else {
        type Real = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;
        // SAFETY: the C library's function of that name has that type.
        return unsafe { std::mem::transmute::<*mut c_void, Real>(real(c"clock_gettime"))(id, time) };
    };
    let shown = match id {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => clock.since_1970,
        _ => clock.monotonic,
    };
    let shown = libc::timespec { tv_sec: shown.as_secs() as i64, tv_nsec: i64::from(shown.subsec_nanos()) };
    // SAFETY: the caller hands in a place for the time.
    unsafe { time.write(shown) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let Some(mut random) = RANDOM.get() else {
        type Real = unsafe extern "C" fn(*mut c_void, usize, c_uint) -> isize;
        // SAFETY: the C library's function of that name has that type.
        return unsafe { std::mem::transmute::<*mut c_void, Real>(real(c"getrandom"))(buffer, length, flags) };
    };
    for position in 0..length {
        // SAFETY: the caller hands in room for so many bytes.
        unsafe { buffer.cast::<u8>().add(position).write(random.draw() as u8) };
    }
    RANDOM.set(Some(random));
    length as isize
}

/// Some draw randomness by this door. No system call takes more than six arguments, and it does no harm to pass all.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_getrandom && RANDOM.get().is_some() {
        // SAFETY: those are the arguments of that call.
        return unsafe { getrandom(a as *mut c_void, b as usize, c as c_uint) } as c_long;
    }
    type Real = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    // SAFETY: arguments of integer size are passed alike to a variadic function on the platforms that we test on.
    unsafe { std::mem::transmute::<*mut c_void, Real>(real(c"syscall"))(number, a, b, c, d, e, f) }
}

/// The C library's own function of that name.
fn real(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a zero.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!found.is_null(), "the C library has no {name:?}");
    found
}
