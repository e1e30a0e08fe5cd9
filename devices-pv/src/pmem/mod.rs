//! Persistent memory: virtio 1.3, 5.19.
