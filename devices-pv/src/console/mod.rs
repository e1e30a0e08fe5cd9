//! Console: virtio 1.3, 5.3.
