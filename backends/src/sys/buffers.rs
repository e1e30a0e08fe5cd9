//! Memory that a transfer of a disk reads or writes: guest RAM, a copy of it, or zeros.

#![expect(
    unsafe_code,
    reason = "guest RAM is no slice, so no safe wrapper takes it"
)]

use std::io;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;
use trivisor_memory::vm_memory::VolatileSlice;

use super::runs::runs as guest_runs;
use super::step::Step;
use crate::segments::written;

/// Runs of one call at most: `UIO_MAXIOV`.
const MAX_RUNS: usize = 1024;

/// Bytes that go through a copy at a time, however long a guest's request is.
const BOUNCE: usize = 256 << 10;

/// Memory as direct I/O wants it.
#[repr(align(4096))]
struct Page {
    _bytes: [u8; PAGE],
}

const PAGE: usize = 4096;

impl Page {
    const ZERO: Self = Self { _bytes: [0; PAGE] };
}

/// What zeros are written from. Never written.
static ZEROS: [Page; 16] = [Page::ZERO; 16];
const ZEROS_LEN: usize = 16 * PAGE;

/// How memory has to lie so that the kernel takes it for direct I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// Of each run's address: a power of two, a page at most.
    pub memory: usize,
    /// Of each run's length, and of the place on the disk: a power of two.
    pub block: usize,
}

impl Alignment {
    fn fits(self, run: &libc::iovec) -> bool {
        (run.iov_base as usize).is_multiple_of(self.memory)
            && run.iov_len.is_multiple_of(self.block)
    }
}

/// How the memory of a request is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// However it lies.
    Any,
    /// As direct I/O wants it; copied where it lies otherwise.
    Aligned(Alignment),
    /// Always through a copy.
    Copied,
}

/// What lies behind the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Guest,
    /// A buffer of the device.
    Own,
    /// Only to be read.
    Zeros,
}

/// The memory of one transfer and how much of it is done. It is used again for the next one, so that nothing
/// is allocated after some time.
///
/// Every run points into RAM that `ram` keeps mapped, into `own`, or into [`ZEROS`]; so a kernel may use them as long
/// as this value lives, wherever it is moved.
pub(crate) struct Buffers {
    ram: GuestRam,
    segments: Vec<Segment>,
    kind: Kind,
    /// The device's buffer, of [`Kind::Own`]. Not touched between [`set_own`](Self::set_own) and
    /// [`take_own`](Self::take_own), but through the runs.
    own: Vec<u8>,
    /// The runs; those before `first` are done.
    runs: Vec<libc::iovec>,
    first: usize,
    /// Bytes of the other runs.
    left: u64,
    /// In place of the runs, when they do not lie as they should.
    bounce: Option<Box<Bounce>>,
    bounces: bool,
}

// SAFETY: the pointers lead to guest RAM, which any thread may use, to a static and to memory of this value.
unsafe impl Send for Buffers {}

/// Boxed, so that the run stays where a kernel saw it.
struct Bounce {
    pages: Vec<Page>,
    run: libc::iovec,
}

impl Buffers {
    /// No memory at first.
    pub(crate) const fn new(ram: GuestRam) -> Self {
        Self {
            ram,
            segments: Vec::new(),
            kind: Kind::Guest,
            own: Vec::new(),
            runs: Vec::new(),
            first: 0,
            left: 0,
            bounce: None,
            bounces: false,
        }
    }

    fn clear(&mut self, kind: Kind) {
        self.segments.clear();
        self.runs.clear();
        self.kind = kind;
        self.first = 0;
        self.left = 0;
        self.bounces = false;
    }

    /// No memory, for what needs none.
    pub(crate) fn set_none(&mut self) {
        self.clear(Kind::Guest);
    }

    /// The segments, to be used as `fit` says.
    ///
    /// # Errors
    /// `InvalidInput`: a segment is not RAM.
    pub(crate) fn set_guest(&mut self, segments: &[Segment], fit: Fit) -> io::Result<()> {
        self.clear(Kind::Guest);
        let Self { ram, runs, .. } = self;
        for segment in segments {
            for run in guest_runs(ram, *segment)? {
                runs.push(run?);
            }
        }
        self.segments.extend_from_slice(segments);
        self.left = Segment::total(segments);
        self.fit_runs(fit);
        Ok(())
    }

    /// A buffer of the device, to be used as `fit` says.
    pub(crate) fn set_own(&mut self, buffer: Vec<u8>, fit: Fit) {
        self.clear(Kind::Own);
        self.own = buffer;
        self.runs.push(libc::iovec {
            iov_base: self.own.as_mut_ptr().cast(),
            iov_len: self.own.len(),
        });
        self.left = self.own.len() as u64;
        self.fit_runs(fit);
    }

    /// The device's buffer; there is none any more.
    pub(crate) fn take_own(&mut self) -> Vec<u8> {
        if self.kind == Kind::Own {
            self.clear(Kind::Guest);
        }
        std::mem::take(&mut self.own)
    }

    fn fit_runs(&mut self, fit: Fit) {
        self.bounces = match fit {
            Fit::Any => false,
            Fit::Aligned(wanted) => !self.runs.iter().all(|run| wanted.fits(run)),
            Fit::Copied => true,
        };
    }

    /// `bytes` zeros, to be written; fewer where they take more than one call.
    pub(crate) fn set_zeros(&mut self, bytes: u64) {
        self.clear(Kind::Zeros);
        self.left = bytes;
        let mut rest = bytes;
        while rest > 0 && self.runs.len() < MAX_RUNS {
            let len = usize::try_from(rest).map_or(ZEROS_LEN, |rest| rest.min(ZEROS_LEN));
            self.runs.push(libc::iovec {
                iov_base: ZEROS.as_ptr().cast_mut().cast(),
                iov_len: len,
            });
            rest -= len as u64;
        }
    }

    /// Bytes that were not moved yet.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// A part of guest RAM may have been written from outside.
    pub(crate) fn mark_dirty(&self) {
        let bytes = usize::try_from(Segment::total(&self.segments)).unwrap_or(usize::MAX);
        written(&self.ram, &self.segments, bytes);
    }

    /// Makes ready for a step.
    ///
    /// # Errors
    /// `InvalidInput`: it would write what must not be written.
    pub(super) fn prepare(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Read { .. } if self.kind == Kind::Zeros => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            Step::Read { .. } if self.bounces => {
                let _sized = self.bounce(self.bounce_len());
            }
            Step::Write { .. } if self.bounces => self.fill_bounce(),
            _ => {}
        }
        Ok(())
    }

    /// The next bytes of what goes through a copy: of the guest for a write, for the guest for a read.
    ///
    /// # Errors
    /// `InvalidInput`: it does not go through a copy.
    pub(crate) fn copied(&mut self, step: Step) -> io::Result<&mut [u8]> {
        if !self.bounces {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.prepare(step)?;
        Ok(self.bounce(self.bounce_len()).1)
    }

    fn fill_bounce(&mut self) {
        let (runs, mut rest) = self.bounce(self.bounce_len());
        for run in runs {
            // SAFETY: the run lies in RAM that stays mapped, or in `own`, while `self` is borrowed; no reference of
            // this process points into it.
            let guest: VolatileSlice<'_, ()> =
                unsafe { VolatileSlice::new(run.iov_base.cast(), run.iov_len) };
            let copied = guest.copy_to(rest);
            rest = rest.get_mut(copied..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
    }

    /// To be called when the kernel has written the first `bytes` of the rest.
    pub(crate) fn finish_read(&mut self, bytes: usize) {
        if !self.bounces {
            return;
        }
        let (runs, copy) = self.bounce(bytes);
        let mut rest: &[u8] = copy;
        for run in runs {
            // SAFETY: as in `fill_bounce`.
            let guest: VolatileSlice<'_, ()> =
                unsafe { VolatileSlice::new(run.iov_base.cast(), run.iov_len) };
            guest.copy_from(rest);
            rest = rest.get(run.iov_len..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
    }

    /// The first `bytes` of the rest are done.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        if self.kind == Kind::Zeros {
            self.set_zeros(self.left);
            return;
        }
        while let Some(run) = self.runs.get_mut(self.first).filter(|_| bytes > 0) {
            let step = bytes.min(run.iov_len);
            run.iov_base = run.iov_base.wrapping_byte_add(step);
            run.iov_len -= step;
            bytes -= step;
            if run.iov_len == 0 {
                self.first += 1;
            }
        }
    }

    /// What the kernel gets: the rest, or as much of it as one call takes. The runs stay where they are until
    /// this value is changed.
    pub(super) fn window(&self) -> &[libc::iovec] {
        if let Some(bounce) = self.bounce.as_deref().filter(|_| self.bounces) {
            return std::slice::from_ref(&bounce.run);
        }
        let rest = self.runs.get(self.first..).unwrap_or_default();
        rest.get(..MAX_RUNS).unwrap_or(rest)
    }

    /// Bytes that go through the copy next.
    fn bounce_len(&self) -> usize {
        usize::try_from(self.left).map_or(BOUNCE, |left| left.min(BOUNCE))
    }

    /// The runs that are left, and `len` bytes of the copy, which the next call to the kernel uses.
    fn bounce(&mut self, len: usize) -> (&[libc::iovec], &mut [u8]) {
        let len = len.min(BOUNCE);
        let bounce = self.bounce.get_or_insert_with(|| {
            Box::new(Bounce {
                pages: Vec::new(),
                run: libc::iovec {
                    iov_base: std::ptr::null_mut(),
                    iov_len: 0,
                },
            })
        });
        let pages = len.div_ceil(PAGE);
        if bounce.pages.len() < pages {
            bounce.pages.resize_with(pages, || Page::ZERO);
        }
        let start: *mut u8 = bounce.pages.as_mut_ptr().cast();
        bounce.run = libc::iovec {
            iov_base: start.cast(),
            iov_len: len,
        };
        // SAFETY: the pages are `len` bytes or more, and borrowed as long as the slice.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start, len) };
        (self.runs.get(self.first..).unwrap_or_default(), bytes)
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers")
            .field("segments", &self.segments)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
