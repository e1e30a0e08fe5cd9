//! What guest RAM is made of on the host.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vm_memory::{FileOffset, MmapRegion};

use crate::dirty::DirtyLog;
use crate::layout::RamRange;
use crate::ram::RamError;

/// Where the pages of guest RAM come from.
#[derive(Debug, Clone, Default)]
pub enum Backing {
    /// Private anonymous memory: nobody else can see it. The fastest to set up.
    #[default]
    Anonymous,
    /// An anonymous file, which can be shared with other processes (vhost-user).
    Memfd,
    /// A file of the caller's, shared; it is extended to the size of RAM where it is shorter.
    File(Arc<File>),
}

/// Size of the pages of hugetlbfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HugePages {
    /// 2 MiB.
    Size2M,
    /// 1 GiB.
    Size1G,
}

impl HugePages {
    /// Bytes of a page.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Size2M => 2 << 20,
            Self::Size1G => 1 << 30,
        }
    }

    /// log2 of the size: what mmap and memfd_create encode in their flags, at bit 26.
    const fn mmap_flag(self) -> i32 {
        match self {
            Self::Size2M => libc::MAP_HUGETLB | libc::MAP_HUGE_2MB,
            Self::Size1G => libc::MAP_HUGETLB | libc::MAP_HUGE_1GB,
        }
    }

    const fn memfd_flag(self) -> MemfdFlags {
        match self {
            Self::Size2M => MemfdFlags::HUGETLB.union(MemfdFlags::HUGE_2MB),
            Self::Size1G => MemfdFlags::HUGETLB.union(MemfdFlags::HUGE_1GB),
        }
    }
}

/// The file behind all of RAM, extended to `size`; none for anonymous memory.
pub(crate) fn open(
    backing: &Backing,
    huge: Option<HugePages>,
    size: u64,
) -> Result<Option<Arc<File>>, RamError> {
    let file = match backing {
        Backing::Anonymous => return Ok(None),
        Backing::Memfd => {
            let flags =
                MemfdFlags::CLOEXEC | huge.map_or(MemfdFlags::empty(), HugePages::memfd_flag);
            let fd: OwnedFd = memfd_create(c"trivisor-ram", flags)
                .map_err(|error| RamError::Memfd(error.into()))?;
            Arc::new(File::from(fd))
        }
        Backing::File(file) => Arc::clone(file),
    };
    let found = file
        .metadata()
        .map_err(|source| RamError::Extend { size, source })?
        .len();
    if found < size {
        ftruncate(&*file, size).map_err(|error| RamError::Extend {
            size,
            source: error.into(),
        })?;
    }
    Ok(Some(file))
}

/// Maps one run of RAM; `offset` is its place in the file.
pub(crate) fn map(
    file: Option<&Arc<File>>,
    huge: Option<HugePages>,
    range: RamRange,
    offset: u64,
) -> Result<MmapRegion<DirtyLog>, RamError> {
    let size = usize::try_from(range.size).map_err(|_| RamError::TooLarge {
        size: range.size,
        host: usize::MAX as u64,
    })?;
    let share = if file.is_some() {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS
    };
    // Huge pages are set aside now: a host that has none left would end the process at their first use.
    let reserve = if huge.is_some() {
        0
    } else {
        libc::MAP_NORESERVE
    };
    let huge = if file.is_some() {
        0
    } else {
        huge.map_or(0, HugePages::mmap_flag)
    };
    let file_offset = file.map(|file| FileOffset::from_arc(Arc::clone(file), offset));
    MmapRegion::build(
        file_offset,
        size,
        libc::PROT_READ | libc::PROT_WRITE,
        share | huge | reserve,
    )
    .map_err(|source| RamError::Map { range, source })
}
