//! Guest RAM as the kernel takes it.

use std::io;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;
use trivisor_memory::vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::segments::not_ram;

/// The runs of host memory behind `segment`, which is made of several where guest RAM is. They are mapped as long as
/// `ram` is.
///
/// # Errors
/// `InvalidInput`, at the place where it is not RAM.
pub(crate) fn runs(
    ram: &GuestRam,
    segment: Segment,
) -> io::Result<impl Iterator<Item = io::Result<libc::iovec>>> {
    let bytes = usize::try_from(segment.len).map_err(io::Error::other)?;
    let slices = ram
        .memory()
        .get_slices(GuestAddress(segment.address), bytes);
    let run = |slice: Result<trivisor_memory::vm_memory::VolatileSlice<'_, _>, _>| match slice {
        Ok(slice) if slice.is_empty() => None,
        Ok(slice) => Some(Ok(libc::iovec {
            iov_base: slice.ptr_guard_mut().as_ptr().cast(),
            iov_len: slice.len(),
        })),
        Err(_) => Some(Err(not_ram())),
    };
    Ok(slices.filter_map(run))
}
