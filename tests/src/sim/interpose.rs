//! Functions of libc and BoringSSL, defined anew: the clock, randomness, and
//! what would leave the simulated world.
//!
//! ELF resolves every reference from statically linked code (std, BoringSSL,
//! ring, getrandom) to these definitions. Threads outside a simulation fall
//! through to the real function. Linux with glibc; one of the two files of this
//! repository with unsafe code, the other is [`super::memory`].
#![allow(
    unsafe_code,
    reason = "symbols of libc can only be taken over by unsafe definitions"
)]

use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::time::Instant;

use libc::{c_int, c_long, c_uint, c_void, size_t, ssize_t, time_t, timespec, timeval};

use super::world;

/// The next definition of a symbol, which is libc's.
struct Real(AtomicPtr<c_void>, &'static CStr);

impl Real {
    const fn new(name: &'static CStr) -> Self {
        Real(AtomicPtr::new(std::ptr::null_mut()), name)
    }

    fn get(&self) -> *mut c_void {
        let known = self.0.load(Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: the name is a C string; RTLD_NEXT asks for the definition after ours.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.1.as_ptr()) };
        if found.is_null() {
            // SAFETY: abort is always allowed.
            unsafe { libc::abort() }
        }
        self.0.store(found, Relaxed);
        found
    }
}

/// libc's own function of a name, as the given type. To be called in `unsafe`.
macro_rules! real {
    ($name:literal as $type:ty) => {{
        static REAL: Real = Real::new($name);
        // The type is that of the function of this name in libc's headers.
        std::mem::transmute::<*mut c_void, $type>(REAL.get())
    }};
}

// ---- time -------------------------------------------------------------------

/// # Safety
/// As libc's: `out` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(id: libc::clockid_t, out: *mut timespec) -> c_int {
    let virtual_time = match id {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => world::clock(false),
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => world::clock(true),
        _ => None, // clocks of processor time stay real
    };
    if let Some((seconds, nanoseconds)) = virtual_time {
        // SAFETY: the caller gives a timespec to write.
        unsafe {
            (*out).tv_sec = seconds as _;
            (*out).tv_nsec = nanoseconds as _;
        }
        return 0;
    }
    type F = unsafe extern "C" fn(libc::clockid_t, *mut timespec) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"clock_gettime" as F)(id, out) }
}

/// # Safety
/// As libc's: `out` is null or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(out: *mut timeval, zone: *mut c_void) -> c_int {
    if let Some((seconds, nanoseconds)) = world::clock(true) {
        if !out.is_null() {
            // SAFETY: the caller gives a timeval to write.
            unsafe {
                (*out).tv_sec = seconds as _;
                (*out).tv_usec = (nanoseconds / 1000) as _;
            }
        }
        return 0;
    }
    type F = unsafe extern "C" fn(*mut timeval, *mut c_void) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"gettimeofday" as F)(out, zone) }
}

/// # Safety
/// As libc's: `out` is null or can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn time(out: *mut time_t) -> time_t {
    if let Some((seconds, _)) = world::clock(true) {
        if !out.is_null() {
            // SAFETY: the caller gives a time_t to write.
            unsafe { *out = seconds as time_t };
        }
        return seconds as time_t;
    }
    // SAFETY: the caller's argument, passed on.
    unsafe { real!(c"time" as unsafe extern "C" fn(*mut time_t) -> time_t)(out) }
}

// ---- randomness ---------------------------------------------------------------

/// Fills `len` bytes at `buf` if this thread is simulated.
///
/// # Safety
/// `len` bytes at `buf` can be written.
unsafe fn fill(buf: *mut c_void, len: size_t) -> bool {
    if !world::active() {
        return false;
    }
    // SAFETY: the caller gives `len` bytes to write.
    world::entropy(unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), len) })
}

/// # Safety
/// As libc's: `len` bytes at `buf` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buf: *mut c_void, len: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: the caller gives `len` bytes to write.
    if unsafe { fill(buf, len) } {
        return len as ssize_t;
    }
    type F = unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"getrandom" as F)(buf, len, flags) }
}

/// # Safety
/// As libc's: `len` bytes at `buf` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buf: *mut c_void, len: size_t) -> c_int {
    // SAFETY: the caller gives `len` bytes to write.
    if unsafe { fill(buf, len) } {
        return 0;
    }
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"getentropy" as unsafe extern "C" fn(*mut c_void, size_t) -> c_int)(buf, len) }
}

/// BoringSSL seeds its generator by `syscall(SYS_getrandom, …)`; std waits by
/// `syscall(SYS_futex, …)`. For integer arguments the variadic convention is the
/// plain one on x86-64 and aarch64; arguments that nobody passed are never read.
///
/// # Safety
/// As libc's: what the system call of this number asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if number == libc::SYS_getrandom {
        // SAFETY: these are getrandom's arguments.
        return unsafe { getrandom(a as *mut c_void, b, c as c_uint) as c_long };
    }
    // FUTEX_WAIT and FUTEX_WAIT_BITSET with a time: a wait in real time.
    if world::active() && number == libc::SYS_futex && d != 0 && matches!(b & 0x7f, 0 | 9) {
        forbidden(b"waiting with a timeout");
    }
    type F = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"syscall" as F)(number, a, b, c, d, e, f) }
}

/// BoringSSL on x86-64 stirs RDRAND, an instruction, into every draw. Its own
/// switch for processor features masks it (bit 62); it is read once, when first
/// used, so it must be set before main.
#[used]
#[unsafe(link_section = ".init_array")]
static MASK_RDRAND: extern "C" fn() = {
    extern "C" fn mask() {
        let (name, value) = (c"OPENSSL_ia32cap", c"~0x4000000000000000");
        // SAFETY: before main there is one thread, and both are C strings.
        unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 0) };
    }
    mask
};

// ---- what would leave the world -------------------------------------------------

/// Ends the process: unwinding through C is not allowed.
pub(crate) fn forbidden(what: &[u8]) -> ! {
    // By hand: an allocator or a lock may be what called.
    let (mut seed, mut digits, mut at) = (world::seed(), [b'0'; 20], 20);
    while at == 20 || seed > 0 {
        at -= 1;
        digits[at] = b'0' + (seed % 10) as u8;
        seed /= 10;
    }
    let parts = [
        &b"\nforbidden in the simulation of seed "[..],
        &digits[at..],
        b": ",
        what,
        b"\n",
    ];
    for part in parts {
        // SAFETY: the slice is readable for its length.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: abort is always allowed.
    unsafe { libc::abort() }
}

type ThreadMain = extern "C" fn(*mut c_void) -> *mut c_void;

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    main: ThreadMain,
    argument: *mut c_void,
) -> c_int {
    if world::active() {
        forbidden(b"spawning a thread");
    }
    type F = unsafe extern "C" fn(
        *mut libc::pthread_t,
        *const libc::pthread_attr_t,
        ThreadMain,
        *mut c_void,
    ) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"pthread_create" as F)(thread, attributes, main, argument) }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    id: libc::clockid_t,
    flags: c_int,
    wanted: *const timespec,
    left: *mut timespec,
) -> c_int {
    if world::active() {
        forbidden(b"sleeping");
    }
    type F = unsafe extern "C" fn(libc::clockid_t, c_int, *const timespec, *mut timespec) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"clock_nanosleep" as F)(id, flags, wanted, left) }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(wanted: *const timespec, left: *mut timespec) -> c_int {
    if world::active() {
        forbidden(b"sleeping");
    }
    type F = unsafe extern "C" fn(*const timespec, *mut timespec) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"nanosleep" as F)(wanted, left) }
}

/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if world::active() {
        forbidden(b"opening a socket");
    }
    type F = unsafe extern "C" fn(c_int, c_int, c_int) -> c_int;
    // SAFETY: the caller's arguments, passed on.
    unsafe { real!(c"socket" as F)(domain, kind, protocol) }
}

/// Once a process, on a thread outside any simulation: runs BoringSSL's one-time
/// initialisers, so that the first simulation does not differ from the second,
/// and proves that all of the above is linked in and holds.
pub(crate) fn warm_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: BoringSSL allows it at any time before a sandbox is entered.
        unsafe { boring_sys::CRYPTO_pre_sandbox_init() };
        let probe = |seed| {
            world::enter(seed, || {
                let mut bytes = [0; 8];
                boring::rand::rand_bytes(&mut bytes).expect("BoringSSL has a generator");
                (Instant::now(), RandomState::new().hash_one(7_u8), bytes)
            })
        };
        let (first, again, other) = (probe(1), probe(1), probe(2));
        assert_eq!(first.0, again.0, "clock_gettime is not taken over");
        assert_eq!(first.1, again.1, "getrandom is not taken over");
        assert_eq!(first.2, again.2, "BoringSSL's randomness is not taken over");
        assert_ne!(first.1, other.1, "another seed, another world");
        assert_ne!(first.2, other.2, "another seed, another world");
    });
}
