//! A file as the crate imago uses it, which knows when it has become shorter, and how a qcow2 is written.

#![expect(
    unsafe_code,
    reason = "imago's trait has unsafe methods, which are handed on"
)]

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imago::Storage;
use imago::io_buffers::{IoBuffer, IoVector, IoVectorMut};
use imago::storage::PreallocateMode;
use imago::storage::drivers::CommonStorageHelper;
use rustix::fs::{fdatasync, fstat};

use crate::disk::{Blocks, Order};

/// imago's own file reads zeros where there is nothing, as formats want beyond the end; but a file that was cut
/// off while it was used has lost data, and that has to be an error.
#[derive(Debug)]
pub(crate) struct ImageFile {
    inner: imago::file::File,
    file: File,
    /// It has a length that can be asked for.
    regular: bool,
    /// Of a qcow2 that is written.
    order: Option<Arc<Order>>,
    #[cfg(test)]
    pub(crate) log: Log,
}

/// Writes that have reached the file, in their order.
#[cfg(test)]
pub(crate) type Log = Arc<std::sync::Mutex<Vec<(u64, Vec<u8>)>>>;

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
            order: None,
            #[cfg(test)]
            log: Log::default(),
        })
    }

    /// Takes the open file of a qcow2 that will be written, and only through this.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`Order::load`].
    pub(crate) fn ordered(file: File) -> io::Result<Self> {
        let mut image = Self::new(file)?;
        let order = Order::load(&image, image.inner.req_align())?;
        image.order = Some(Arc::new(order));
        Ok(image)
    }

    /// The order in which it is written.
    pub(crate) fn order(&self) -> Option<Arc<Order>> {
        self.order.clone()
    }

    #[cfg(test)]
    fn note(&self, data: Vec<u8>, offset: u64) {
        self.log.lock().unwrap().push((offset, data));
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

/// Only [`Order`] uses this, with the blocks of the host whole: it has seen to it that a cluster has no part of one.
impl Blocks for ImageFile {
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let align = self.inner.mem_align().max(self.inner.req_align());
        let mut buffer = IoBuffer::new(len.next_multiple_of(align), align)?;
        // SAFETY: the buffer is aligned and so is its length; the offset is that of a cluster or of an aligned write.
        unsafe { self.inner.pure_readv((&mut buffer).into(), offset) }?;
        let data = buffer.as_ref().into_slice();
        Ok(data.get(..len).unwrap_or_default().to_vec())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let align = self.inner.mem_align().max(self.inner.req_align());
        let mut buffer = IoBuffer::new(data.len(), align)?;
        buffer.as_mut().into_slice().copy_from_slice(data);
        #[cfg(test)]
        self.note(data.to_vec(), offset);
        // SAFETY: the buffer is aligned, and what is written are whole clusters or what was an aligned write before.
        // Others that write the same blocks wait: for a refcount block in `Order`, else as the caller of that write
        // has promised.
        unsafe { self.inner.pure_writev((&buffer).into(), offset) }
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
        let order = self.order.as_ref().filter(|order| order.concerns(offset));
        if order.is_some() || cfg!(test) {
            let mut data = vec![0; usize::try_from(bufv.len()).map_err(io::Error::other)?];
            bufv.copy_into_slice(&mut data);
            return match order {
                Some(order) => order.write(self, offset, &mut data),
                None => self.write(offset, &data),
            };
        }
        // SAFETY: as the caller promises.
        unsafe { self.inner.pure_writev(bufv, offset) }
    }

    unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        #[cfg(test)]
        self.note(vec![0; usize::try_from(length).unwrap()], offset);
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
