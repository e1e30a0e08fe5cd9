//! Requests on images that are not raw, by the crate imago. It waits for the host, so it works in threads.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use imago::FormatAccess;

use super::pool::Execute;
use super::qcow2_order::Order;
use super::task::{Task, Work};
use crate::sys::buffers::Buffers;
use crate::sys::image_file::ImageFile;

/// Carries requests out in a thread.
///
/// Data goes through a copy, for imago takes slices, and guest RAM is none. A lock keeps what gives storage back apart
/// from what uses it, and keeps everything else apart from the making of a table.
#[derive(Debug)]
pub(crate) struct ImageExecutor {
    image: RwLock<FormatAccess<ImageFile>>,
    order: Option<Arc<Order>>,
}

impl Execute for ImageExecutor {
    fn execute(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()> {
        let Task { offset, len, .. } = *task;
        if matches!(task.work, Work::Discard | Work::WriteZeroes { .. }) {
            self.make_tables(offset, len)?;
        }
        match task.work {
            Work::Read | Work::Write => self.transfer(task, buffers),
            Work::Flush => {
                let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
                image.flush()?;
                image.sync()
            }
            Work::Discard => {
                let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
                match image.discard_to_any(offset, len) {
                    // A discard is advice.
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
                    result => result,
                }
            }
            Work::WriteZeroes { unmap } => {
                if unmap {
                    let mut image = self.image.write().unwrap_or_else(PoisonError::into_inner);
                    match image.discard_to_zero(offset, len) {
                        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
                        result => return result,
                    }
                }
                let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
                image.write_zeroes(offset, len)
            }
        }
    }
}

impl ImageExecutor {
    /// `order` is that of the image, if it is a qcow2 that is written.
    pub(crate) const fn new(image: FormatAccess<ImageFile>, order: Option<Arc<Order>>) -> Self {
        Self {
            image: RwLock::new(image),
            order,
        }
    }

    /// Makes the tables of a qcow2 that a write needs and that are not there.
    ///
    /// imago may take a cluster for a table that it has just counted as free while the file refers to it yet. So it
    /// first writes all that it holds back, and nothing is freed meanwhile.
    fn make_tables(&self, offset: u64, len: u64) -> io::Result<()> {
        let Some(order) = &self.order else {
            return Ok(());
        };
        let end = offset.saturating_add(len);
        let mut offset = offset;
        while offset < end {
            let (missing, next) = order.missing(offset);
            if missing {
                let image = self.image.write().unwrap_or_else(PoisonError::into_inner);
                // Another thread may have been faster.
                if order.missing(offset).0 {
                    image.flush()?;
                    // Makes the table, and a mapping into it that is given up.
                    drop(image.prepare_data_mapping(offset, 1, true)?);
                }
            }
            offset = next;
        }
        Ok(())
    }

    fn transfer(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            let data = buffers.copied(task.step())?;
            let len = data.len();
            if task.work == Work::Write {
                self.make_tables(task.offset, len as u64)?;
            }
            let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
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
