//! Network card: virtio 1.3, 5.1.
