//! Pages that the VMM itself wrote. KVM's log does not see those; a snapshot merges both.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use vm_memory::bitmap::{AtomicBitmap, Bitmap, NewBitmap, RefSlice, WithBitmapSlice};

const PAGE: NonZeroUsize = NonZeroUsize::new(4096).expect("a page is not empty");

/// The dirty pages of one run of RAM, by writes through vm-memory.
///
/// The bitmap exists only while logging; otherwise a write costs the look at one pointer.
#[derive(Debug, Clone, Default)]
pub struct DirtyLog {
    size: usize,
    pages: Arc<ArcSwapOption<AtomicBitmap>>,
}

impl DirtyLog {
    /// Begins logging, with all pages clean.
    pub fn start(&self) {
        self.pages
            .store(Some(Arc::new(AtomicBitmap::new(self.size, PAGE))));
    }

    /// Ends logging and frees the bitmap.
    pub fn stop(&self) {
        self.pages.store(None);
    }

    /// The pages written since the last call or the start, a bit a page, lowest first; all are clean
    /// again. Empty when nothing is logged.
    #[must_use]
    pub fn take(&self) -> Vec<u64> {
        self.pages
            .load()
            .as_ref()
            .map_or_else(Vec::new, |pages| pages.get_and_reset())
    }
}

impl<'a> WithBitmapSlice<'a> for DirtyLog {
    type S = RefSlice<'a, Self>;
}

impl Bitmap for DirtyLog {
    fn mark_dirty(&self, offset: usize, len: usize) {
        if let Some(pages) = &*self.pages.load() {
            pages.set_addr_range(offset, len);
        }
    }

    fn dirty_at(&self, offset: usize) -> bool {
        self.pages
            .load()
            .as_ref()
            .is_some_and(|pages| pages.is_addr_set(offset))
    }

    fn slice_at(&self, offset: usize) -> RefSlice<'_, Self> {
        RefSlice::new(self, offset)
    }
}

impl NewBitmap for DirtyLog {
    fn with_len(len: usize) -> Self {
        Self {
            size: len,
            pages: Arc::default(),
        }
    }
}
