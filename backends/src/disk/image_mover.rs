//! Requests on images that are not raw, by the crate imago. It waits for the host, so it works in threads.

use std::io;
use std::sync::{PoisonError, RwLock};

use imago::FormatAccess;

use super::pool::Execute;
use super::task::{Task, Work};
use crate::sys::buffers::Buffers;
use crate::sys::image_file::ImageFile;

/// Carries requests out in a thread.
///
/// Data goes through a copy, for imago takes slices, and guest RAM is none. A lock keeps what gives storage back apart
/// from what uses it.
#[derive(Debug)]
pub(crate) struct ImageExecutor(pub(crate) RwLock<FormatAccess<ImageFile>>);

impl Execute for ImageExecutor {
    fn execute(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()> {
        let Task { offset, len, .. } = *task;
        match task.work {
            Work::Read | Work::Write => self.transfer(task, buffers),
            Work::Flush => {
                let image = self.0.read().unwrap_or_else(PoisonError::into_inner);
                image.flush()?;
                image.sync()
            }
            Work::Discard => {
                let mut image = self.0.write().unwrap_or_else(PoisonError::into_inner);
                match image.discard_to_any(offset, len) {
                    // A discard is advice.
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                    result => result,
                }
            }
            Work::WriteZeroes { unmap } => {
                if unmap {
                    let mut image = self.0.write().unwrap_or_else(PoisonError::into_inner);
                    match image.discard_to_zero(offset, len) {
                        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                        result => return result,
                    }
                }
                let image = self.0.read().unwrap_or_else(PoisonError::into_inner);
                image.write_zeroes(offset, len)
            }
        }
    }
}

impl ImageExecutor {
    fn transfer(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            let data = buffers.copied(task.step())?;
            let len = data.len();
            let image = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let moved = if task.work == Work::Read {
                image.read(data, task.offset)
            } else {
                image.write(&*data, task.offset)
            };
            drop(image);
            if let Some(end) = task.advance(buffers, moved.map(|()| len)) {
                return end;
            }
        }
    }
}
