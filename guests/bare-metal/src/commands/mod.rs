//! The commands, one module a subject. Each prints its own lines, the last of which begins with `ok` and its name.

mod block;
mod block_load;
mod console;
mod firmware;
mod ide;
mod interrupts;
mod journal;
mod load;
mod machine;
mod memory;
mod net;
mod net_load;
mod pci;
mod pci_interrupts;
mod power;
mod processor;
mod uart;
mod virtio;
mod virtio_pmem;
mod vsock;

use crate::say;
use crate::script::{Failure, Words};

/// A word of the script language.
#[derive(Debug)]
pub struct Command {
    /// The word.
    pub name: &'static str,
    /// What follows it.
    pub usage: &'static str,
    /// Runs it.
    pub run: fn(Words<'_>) -> Result<(), Failure>,
}

const TABLES: [&[Command]; 17] = [
    &[Command {
        name: "help",
        usage: "",
        run: help,
    }],
    block::COMMANDS,
    console::COMMANDS,
    firmware::COMMANDS,
    ide::COMMANDS,
    interrupts::COMMANDS,
    machine::COMMANDS,
    memory::COMMANDS,
    net::COMMANDS,
    pci::COMMANDS,
    pci_interrupts::COMMANDS,
    power::COMMANDS,
    processor::COMMANDS,
    uart::COMMANDS,
    virtio::COMMANDS,
    virtio_pmem::COMMANDS,
    vsock::COMMANDS,
];

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Command> {
    TABLES
        .iter()
        .copied()
        .flatten()
        .find(|command| command.name == name)
}

fn help(_: Words<'_>) -> Result<(), Failure> {
    for Command { name, usage, .. } in TABLES.iter().copied().flatten() {
        say!("help {name} {usage}");
    }
    say!("ok help");
    Ok(())
}
