//! Raw images and block devices: the bytes of the disk are the bytes of the file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, OFlags, StatxFlags, fcntl_getfl, fstat, ioctl_blkpbszget, ioctl_blksszget, statx,
};
use trivisor_buses::Geometry;

use super::DiskError;
use super::pool::Execute;
use super::task::Task;
use crate::sys::buffers::{Alignment, Buffers, Fit};
use crate::sys::step::run;

/// What a file is as a disk.
pub(crate) fn geometry(file: &File, read_only: bool) -> Result<Geometry, DiskError> {
    // The end is found by going there, for a block device's metadata has no size.
    let capacity = (&mut &*file)
        .seek(SeekFrom::End(0))
        .map_err(DiskError::Metadata)?;
    Ok(Geometry {
        capacity: checked_size(capacity)?,
        read_only,
        physical_block: physical_block(file),
        can_discard: !read_only,
    })
}

/// A whole number of sectors, or an error.
pub(crate) const fn checked_size(size: u64) -> Result<u64, DiskError> {
    if size == 0 || !size.is_multiple_of(512) {
        return Err(DiskError::Size { size });
    }
    Ok(size)
}

/// A block device's own, or the file system's.
fn physical_block(file: &File) -> u32 {
    let block = ioctl_blkpbszget(file).ok().or_else(|| {
        let block = fstat(file).ok()?.st_blksize;
        u32::try_from(block).ok()
    });
    // Network file systems tell of a megabyte and mean the network.
    block
        .filter(|block| block.is_power_of_two() && (512..=65536).contains(block))
        .unwrap_or(512)
}

/// What direct I/O asks of memory; nothing when the file was opened without `O_DIRECT`.
pub(crate) fn fit(file: &File) -> Result<Fit, DiskError> {
    let flags = fcntl_getfl(file).map_err(|error| DiskError::Metadata(error.into()))?;
    if !flags.contains(OFlags::DIRECT) {
        return Ok(Fit::Any);
    }
    let (memory, block) = told_alignment(file.as_fd())
        .or_else(|| Some((4096, ioctl_blksszget(file).ok()?)))
        // File systems pass on what their device wants, which is a sector; a page suits all.
        .unwrap_or((4096, 512));
    if block == 0 || block > 512 {
        return Err(DiskError::Direct { block });
    }
    let unfit = |error| DiskError::Metadata(io::Error::other(error));
    Ok(Fit::Aligned(Alignment {
        memory: usize::try_from(memory.clamp(1, 4096)).map_err(unfit)?,
        block: usize::try_from(block).map_err(unfit)?,
    }))
}

/// As the file system says since Linux 6.1.
fn told_alignment(file: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    StatxFlags::from_bits_retain(found.stx_mask)
        .contains(StatxFlags::DIOALIGN)
        .then_some((found.stx_dio_mem_align, found.stx_dio_offset_align))
}

/// Carries requests out in a thread.
#[derive(Debug)]
pub(crate) struct RawExecutor(pub(crate) File);

impl Execute for RawExecutor {
    fn execute(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            let moved = run(&self.0, task.step(), buffers);
            if let Some(end) = task.advance(buffers, moved) {
                return end;
            }
        }
    }
}
