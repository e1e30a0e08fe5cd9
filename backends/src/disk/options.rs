//! How a disk is used.

/// When data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    /// At the guest's flush at the latest. With a file opened with `O_DIRECT` the host keeps no copy before that.
    #[default]
    Flush,
    /// When the host likes: the guest's flushes are ignored. For what may be lost with the host.
    Unsafe,
}

/// Who moves a raw image's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// io_uring, or threads where the host forbids it.
    #[default]
    Auto,
    /// Threads.
    Threads,
}

/// Options of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// Writes are refused.
    pub read_only: bool,
    /// What a flush does.
    pub cache: Cache,
    /// Requests under way at most: 1 to 4096.
    pub depth: u32,
    /// Who moves the data.
    pub engine: Engine,
    /// Threads, where there have to be any: 1 or more.
    pub workers: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            cache: Cache::Flush,
            depth: 256,
            engine: Engine::Auto,
            workers: 4,
        }
    }
}

impl DiskOptions {
    /// Inside its limits.
    pub(crate) fn depth(&self) -> u32 {
        self.depth.clamp(1, 4096)
    }
}
