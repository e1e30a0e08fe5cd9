//! Structures and constants of the memory balloon: virtio 1.3, 5.5, by their names there.

use bitfield_struct::bitfield;

/// Bytes of a page of the protocol, whatever the guest's are.
pub const PAGE: u32 = 4096;

/// Feature bits (5.5.3): those that this device can offer.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    /// VIRTIO_BALLOON_F_MUST_TELL_HOST: the driver uses no page before its deflation was acknowledged.
    pub must_tell_host: bool,
    /// VIRTIO_BALLOON_F_STATS_VQ: there is a queue for statistics.
    pub stats_vq: bool,
    /// VIRTIO_BALLOON_F_DEFLATE_ON_OOM: the driver may take pages back when the guest has no others.
    pub deflate_on_oom: bool,
    __: bool,
    /// VIRTIO_BALLOON_F_PAGE_POISON: free pages hold the driver's `poison_val`.
    pub page_poison: bool,
    /// VIRTIO_BALLOON_F_PAGE_REPORTING: there is a queue for free pages.
    pub page_reporting: bool,
    #[bits(58)]
    __: u64,
}

/// Where the fields of `virtio_balloon_config` stand (5.5.4), each of 4 bytes.
pub mod config {
    /// `num_pages`: what the host wants to be in the balloon.
    pub const NUM_PAGES: usize = 0;
    /// `actual`: what is in it, as the driver says.
    pub const ACTUAL: usize = 4;
    /// `free_page_hint_cmd_id`; 0 here.
    pub const FREE_PAGE_HINT_CMD_ID: usize = 8;
    /// `poison_val`, as the driver says.
    pub const POISON_VAL: usize = 12;
    /// Bytes of all.
    pub const LEN: usize = 16;
}

/// `inflateq`.
pub const INFLATE_QUEUE: u16 = 0;
/// `deflateq`.
pub const DEFLATE_QUEUE: u16 = 1;
/// `statsq`.
pub const STATS_QUEUE: u16 = 2;
/// `reporting_vq`.
pub const REPORTING_QUEUE: u16 = 4;

/// Bytes of `virtio_balloon_stat` (5.5.6.3): a tag of 2, a value of 8.
pub const STAT_LEN: usize = 10;

/// What the driver tells of the guest's memory (5.5.6.4). All of it is optional.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// VIRTIO_BALLOON_S_SWAP_IN: bytes swapped in.
    pub swap_in: Option<u64>,
    /// VIRTIO_BALLOON_S_SWAP_OUT: bytes swapped out.
    pub swap_out: Option<u64>,
    /// VIRTIO_BALLOON_S_MAJFLT: page faults that waited for a disk.
    pub major_faults: Option<u64>,
    /// VIRTIO_BALLOON_S_MINFLT: page faults that did not.
    pub minor_faults: Option<u64>,
    /// VIRTIO_BALLOON_S_MEMFREE: bytes not used for any purpose.
    pub free: Option<u64>,
    /// VIRTIO_BALLOON_S_MEMTOT: bytes in all.
    pub total: Option<u64>,
    /// VIRTIO_BALLOON_S_AVAIL: bytes that new applications can have without swapping, as the guest reckons.
    pub available: Option<u64>,
    /// VIRTIO_BALLOON_S_CACHES: bytes that can be had back without I/O.
    pub caches: Option<u64>,
    /// VIRTIO_BALLOON_S_HTLB_PGALLOC: huge pages that were allocated.
    pub huge_allocations: Option<u64>,
    /// VIRTIO_BALLOON_S_HTLB_PGFAIL: huge pages that could not be.
    pub huge_failures: Option<u64>,
}

impl Statistics {
    /// Takes one in; what is not known is left out.
    pub(super) const fn take(&mut self, stat: [u8; STAT_LEN]) {
        let [t0, t1, value @ ..] = stat;
        let field = match u16::from_le_bytes([t0, t1]) {
            0 => &mut self.swap_in,
            1 => &mut self.swap_out,
            2 => &mut self.major_faults,
            3 => &mut self.minor_faults,
            4 => &mut self.free,
            5 => &mut self.total,
            6 => &mut self.available,
            7 => &mut self.caches,
            8 => &mut self.huge_allocations,
            9 => &mut self.huge_failures,
            _ => return,
        };
        *field = Some(u64::from_le_bytes(value));
    }
}
