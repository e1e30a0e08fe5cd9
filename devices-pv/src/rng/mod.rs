//! Entropy source: virtio 1.3, 5.4.
