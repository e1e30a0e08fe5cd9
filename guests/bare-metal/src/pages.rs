//! Pages of RAM behind the image, for what drivers and devices share and for the collections of drivers.
//!
//! A request takes whole pages, however small it is: the guest makes few, and none while it measures.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::memory;

/// Bytes of a page.
pub const SIZE: usize = 4096;
/// The first: 16 MiB, in the GiB that ring 0 maps. No loader puts anything there.
const START: u64 = 16 << 20;
const PAGES: usize = 2048;

/// A bit a page.
static USED: [AtomicU64; PAGES / 64] = [const { AtomicU64::new(0) }; PAGES / 64];

fn is_used(page: usize) -> bool {
    USED[page / 64].load(Ordering::Relaxed) & 1 << (page % 64) != 0
}

fn mark(first: usize, count: usize, used: bool) {
    for page in first..first + count {
        let bit = 1 << (page % 64);
        let word = &USED[page / 64];
        if used {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

/// Takes `count` pages in a row, filled with zeroes; `None` when there are not as many.
pub fn take(count: usize) -> Option<NonNull<u8>> {
    let mut first = 0;
    while first + count <= PAGES {
        match (first..first + count).rev().find(|page| is_used(*page)) {
            Some(used) => first = used + 1,
            None => {
                mark(first, count, true);
                let address = START + (first * SIZE) as u64;
                memory::fill(address, 0, (count * SIZE) as u64);
                let address = usize::try_from(address).ok()?;
                return NonNull::new(core::ptr::with_exposed_provenance_mut(address));
            }
        }
    }
    None
}

/// Gives back what [`take`] gave.
pub fn give_back(pages: NonNull<u8>, count: usize) {
    let offset = pages.as_ptr().addr() as u64 - START;
    mark(
        usize::try_from(offset).unwrap_or(PAGES) / SIZE,
        count,
        false,
    );
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: the pages are in no use by anything else, whole pages satisfy any size, and no alignment above theirs is
// granted. Only the first processor runs code that allocates.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > SIZE {
            return core::ptr::null_mut();
        }
        take(layout.size().div_ceil(SIZE)).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pages: *mut u8, layout: Layout) {
        if let Some(pages) = NonNull::new(pages) {
            give_back(pages, layout.size().div_ceil(SIZE));
        }
    }
}
