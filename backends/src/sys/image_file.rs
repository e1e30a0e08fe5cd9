//! A file as the crate imago uses it, which knows when it has become shorter.

#![expect(
    unsafe_code,
    reason = "imago's trait has unsafe methods, which are handed on"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use imago::Storage;
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use rustix::fs::{fdatasync, fstat};

/// imago's own file reads zeros where there is nothing, as formats want beyond the end; but a file that was cut
/// off while it was used has lost data, and that has to be an error.
#[derive(Debug)]
pub(crate) struct ImageFile {
    inner: imago::file::File,
    file: File,
    /// It has a length that can be asked for.
    regular: bool,
}

impl ImageFile {
    /// Takes an open file; it never opens another one.
    ///
    /// # Errors
    /// When the host does not say what it is.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            regular: file.metadata()?.is_file(),
            inner: imago::file::File::try_from(file.try_clone()?)?,
            file,
        })
    }

    /// Whether the file still has the first `end` bytes that it had.
    fn check(&self, end: u64) -> io::Result<()> {
        if self.regular {
            let known = self.inner.size()?;
            let found = fstat(&self.file)?.st_size.cast_unsigned();
            if found < end.min(known) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for ImageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Storage for ImageFile {
    fn mem_align(&self) -> usize {
        self.inner.mem_align()
    }

    fn req_align(&self) -> usize {
        self.inner.req_align()
    }

    fn zero_align(&self) -> usize {
        self.inner.zero_align()
    }

    fn discard_align(&self) -> usize {
        self.inner.discard_align()
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    /// Left to who opens it.
    fn resolve_relative_path<P: AsRef<Path>>(&self, relative: P) -> io::Result<PathBuf> {
        Ok(relative.as_ref().to_owned())
    }

    unsafe fn pure_readv(&self, bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(bufv.len());
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_readv(bufv, offset) }?;
        self.check(end)
    }

    unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_writev(bufv, offset) }
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_write_zeroes(offset, length) }
    }

    unsafe fn pure_write_allocated_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_write_allocated_zeroes(offset, length) }
    }

    unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_discard(offset, length) }
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    /// Without the file's times, and while others go on reading and writing.
    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    fn settle_writes(&self) -> io::Result<()> {
        self.inner.settle_writes()
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe { self.inner.invalidate_cache() }
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        self.inner.get_storage_helper()
    }

    fn resize(&self, new_size: u64, prealloc_mode: PreallocateMode) -> io::Result<()> {
        self.inner.resize(new_size, prealloc_mode)
    }
}
