//! Bytes that the balancer holds, counted by the allocator.
//!
//! Every block carries a header that says whether it was allocated on the
//! balancer's account. BoringSSL allocates by malloc, unless a program defines
//! these three functions of its own: so its connections count as well.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe by its nature; it forwards to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;

/// A global allocator that counts. A test binary that simulates installs it:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: spooky_tests::sim::Counting = spooky_tests::sim::Counting;
/// ```
pub struct Counting;

struct Account {
    open: Cell<bool>,
    live: Cell<i64>,
    most: Cell<i64>,
}

thread_local! {
    static ACCOUNT: Account = const {
        Account { open: Cell::new(false), live: Cell::new(0), most: Cell::new(0) }
    };
}

/// Runs `f` on the balancer's account.
pub(crate) fn charged<T>(f: impl FnOnce() -> T) -> T {
    let before = ACCOUNT.with(|a| a.open.replace(true));
    let out = f();
    ACCOUNT.with(|a| a.open.set(before));
    out
}

/// Bytes on this thread's account that were not given back.
pub(crate) fn live() -> i64 {
    ACCOUNT.with(|a| a.live.get())
}

/// The most there ever were.
pub(crate) fn most() -> i64 {
    ACCOUNT.with(|a| a.most.get())
}

/// Room before a block: its size if it is on the account, else 0.
const HEADER: usize = 16;

fn header(layout: Layout) -> usize {
    HEADER.max(layout.align())
}

fn padded(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(header(layout))?;
    Layout::from_size_align(size, layout.align().max(HEADER)).ok()
}

/// What to write into the header of a block of `size` bytes.
fn charge(size: usize) -> usize {
    ACCOUNT.with(|a| {
        if !a.open.get() {
            return 0;
        }
        a.live.set(a.live.get() + size as i64);
        a.most.set(a.most.get().max(a.live.get()));
        size
    })
}

fn refund(charged: usize) {
    if charged != 0 {
        ACCOUNT.with(|a| a.live.set(a.live.get() - charged as i64));
    }
}

// SAFETY: every block is the system allocator's, of a layout larger by a header
// that keeps the alignment; the same layout gives it back.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(padded) = padded(layout) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the layout is not of size 0, there is a header.
        let base = unsafe { System.alloc(padded) };
        if base.is_null() {
            return base;
        }
        // SAFETY: the header and the block lie within what was allocated, and the
        // word before the block is aligned, because both are multiples of 16.
        unsafe {
            let block = base.add(header(layout));
            block.cast::<usize>().sub(1).write(charge(layout.size()));
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let padded = padded(layout).expect("it was allocated with this layout");
        // SAFETY: the block came from `alloc` with this layout.
        unsafe {
            refund(block.cast::<usize>().sub(1).read());
            System.dealloc(block.sub(header(layout)), padded);
        }
    }
}

// BoringSSL (mem.cc) calls these three instead of malloc, free and a header of its
// own where a program defines them. They may be given null.

/// # Safety
/// None: it may be called with any size.
#[unsafe(no_mangle)]
unsafe extern "C" fn OPENSSL_memory_alloc(size: usize) -> *mut c_void {
    let Some(total) = size.checked_add(HEADER) else {
        return std::ptr::null_mut();
    };
    // SAFETY: malloc takes any size; the header lies within the block.
    unsafe {
        let base = libc::malloc(total).cast::<usize>();
        if base.is_null() {
            return base.cast();
        }
        base.write(size);
        base.add(1).write(charge(size));
        base.add(2).cast()
    }
}

/// # Safety
/// `block` is null or came from [`OPENSSL_memory_alloc`].
#[unsafe(no_mangle)]
unsafe extern "C" fn OPENSSL_memory_free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: two words of header stand before the block.
    unsafe {
        let base = block.cast::<usize>().sub(2);
        let size = base.read();
        refund(base.add(1).read());
        // BoringSSL leaves it to us to wipe what was secret.
        std::ptr::write_bytes(block.cast::<u8>(), 0, size);
        libc::free(base.cast());
    }
}

/// # Safety
/// `block` is null or came from [`OPENSSL_memory_alloc`].
#[unsafe(no_mangle)]
unsafe extern "C" fn OPENSSL_memory_get_size(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: two words of header stand before the block.
    unsafe { block.cast::<usize>().sub(2).read() }
}
