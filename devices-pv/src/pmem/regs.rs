//! Structures and constants of the persistent memory device: virtio 1.3, 5.19, by their names there.

/// `virtio_pmem_config`: where the memory is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Guest-physical address of the first byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Config {
    /// As the driver reads it.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        let bytes = u128::from(self.start) | u128::from(self.size) << 64;
        bytes.to_le_bytes()
    }
}

/// `type` of `virtio_pmem_req`: what the driver wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestType(pub u32);

impl RequestType {
    /// Bytes of `virtio_pmem_req`.
    pub const LEN: usize = 4;

    /// VIRTIO_PMEM_REQ_TYPE_FLUSH.
    pub const FLUSH: Self = Self(0);
}

/// `ret` of `virtio_pmem_resp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Ret {
    /// Success.
    Success = 0,
    /// Failure.
    Failure = -1,
}

impl Ret {
    /// Bytes of `virtio_pmem_resp`.
    pub const LEN: usize = 4;

    /// As the driver reads it.
    #[must_use]
    pub const fn bytes(self) -> [u8; Self::LEN] {
        (self as i32).to_le_bytes()
    }
}
