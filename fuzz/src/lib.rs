#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bus;
pub mod corpus;
pub mod devices;
pub mod drives;
pub mod emulator;
pub mod engine;
pub mod features;
pub mod floppy;
pub mod hvm;
pub mod loader;
mod mutate;
pub mod pci;
pub mod queues;
pub mod screen;
pub mod sockets;
pub mod virtio;

#[cfg(test)]
mod tests;

/// An entry point.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called on the command line, and the folder of its corpus.
    pub name: &'static str,
    /// Takes an input; panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs that get far, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Parts of inputs that mean something to it, such as commands, which mutations put anywhere. None is longer than
    /// [`MAX_WORD`].
    pub dictionary: fn() -> Vec<Vec<u8>>,
}

/// The longest word of a dictionary, in bytes: libFuzzer leaves out longer ones.
pub const MAX_WORD: usize = 64;

/// Those without a dictionary; then those with one.
macro_rules! targets {
    ($($module:ident::{$($name:ident)*})*; $($worded:ident::{$($with:ident)*})*) => {
        &[
            $($(targets!(@ $module $name Vec::new),)*)*
            $($(targets!(@ $worded $with $worded::$with::dictionary),)*)*
        ]
    };
    (@ $module:ident $name:ident $dictionary:path) => {
        Target {
            name: stringify!($name),
            run: $module::$name::target,
            seeds: $module::$name::seeds,
            dictionary: $dictionary,
        }
    };
}

/// All of them.
pub static TARGETS: &[Target] = targets! {
    loader::{elf pvh multiboot1 multiboot2 bzimage gzip bzip2 lzma xz lz4 zstd}
    emulator::{step}
    queues::{split_queue packed_queue}
    sockets::{vhost_user_answers}
    virtio::{balloon block console input net rng vhost_user virtio_pmem vsock};
    devices::{debug_exit i8042 ioapic pmem power pvpanic rtc rtc_irq uart vmgenid}
    hvm::{debugcon fw_cfg i440fx i8042_keyboard piix3 piix4_pm}
    drives::{ide}
    floppy::{i8237 i82077}
    screen::{vga}
    pci::{pci_memory pci_ports virtio_legacy}
};
