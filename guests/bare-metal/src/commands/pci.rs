//! PCI functions: what is there, and what happens when one is moved or switched off.

use virtio_drivers::transport::pci::bus::{BarInfo, PciRoot};

use super::Command;
use crate::pci::{self, Access, COMMAND_MEMORY, COMMON, Common, Function};
use crate::say;
use crate::script::{Failure, Words, expect};
use crate::virtio;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "pci",
        usage: "",
        run: list,
    },
    Command {
        name: "bar",
        usage: "DEVICE ADDRESS",
        run: move_bar,
    },
    Command {
        name: "decode",
        usage: "DEVICE",
        run: decode,
    },
];

const NOTHING: u64 = 0xffff;

/// Lists the functions; both ways to configuration space must show the same.
fn list(_: Words<'_>) -> Result<(), Failure> {
    let mut count = 0_u64;
    for function in pci::functions(Access::Ports) {
        count += 1;
        let (vendor, device) = function.identity();
        let (at, line, command) = (function.at, function.line(), function.command());
        let class = function.read(8) >> 8;
        say!(
            "pci {at} vendor={vendor:#x} device={device:#x} class={class:#x} line={line} command={command:#x}"
        );
        for (offset, id) in function.capabilities() {
            say!("pci {at} capability={id:#x} offset={offset:#x}");
        }
        let bars = PciRoot::new(Access::Ports).bars(at);
        let bars = bars.map_err(|_| Failure::Absent("base address registers"))?;
        for (index, bar) in bars.into_iter().enumerate() {
            match bar {
                Some(BarInfo::Memory { address, size, .. }) => {
                    say!("pci {at} bar={index} memory={address:#x} size={size:#x}");
                }
                Some(BarInfo::IO { address, size }) => {
                    say!("pci {at} bar={index} ports={address:#x} size={size:#x}");
                }
                None => {}
            }
        }
    }
    let Some(ecam) = Access::ecam() else {
        say!("ok pci functions={count} ecam=none");
        return Ok(());
    };
    let mut by_memory = 0_u64;
    for (one, other) in pci::functions(Access::Ports).zip(pci::functions(ecam)) {
        by_memory += 1;
        for register in (0..=0xfc).step_by(4) {
            expect(
                "configuration space",
                one.read(register),
                other.read(register),
            )?;
        }
    }
    expect("functions", count, by_memory)?;
    say!("ok pci functions={count} ecam=same");
    Ok(())
}

/// The function that a word numbers in the order of `virtio`, switched on.
fn function(words: &mut Words<'_>) -> Result<Function, Failure> {
    let index: usize = words.number()?;
    let devices = virtio::devices();
    let device = devices.get(index).ok_or(Failure::Absent("device"))?;
    let function = device.function()?;
    function.enable();
    Ok(function)
}

/// Moves the registers of a device away and back, once with its decoder off and once with it on.
fn move_bar(mut words: Words<'_>) -> Result<(), Failure> {
    let function = function(&mut words)?;
    let there: u64 = words.number()?;
    let (bar, offset) = function.structure(COMMON)?;
    let here = function.bar(bar);
    let (old, new) = (Common::at(here + offset)?, Common::at(there + offset)?);
    let queues = old.queues();
    expect("before", NOTHING, new.queues())?;
    let command = function.command();

    function.set_command(command & !COMMAND_MEMORY);
    function.set_bar(bar, there);
    expect("register", there, function.bar(bar))?;
    expect("off", NOTHING, old.queues() & new.queues())?;
    function.set_command(command);
    expect("moved", queues, new.queues())?;
    expect("left", NOTHING, old.queues())?;

    function.set_bar(bar, here);
    expect("moved back", queues, old.queues())?;
    expect("left again", NOTHING, new.queues())?;
    // Asking for the size moves the registers as well, for as long as it takes.
    let sizes = PciRoot::new(Access::Ports).bars(function.at);
    sizes.map_err(|_| Failure::Absent("base address registers"))?;
    expect("sized", queues, old.queues())?;
    say!("ok bar from={here:#x} to={there:#x} queues={queues}");
    Ok(())
}

/// Switches the decoder of a device off and on; its registers keep what they had.
fn decode(mut words: Words<'_>) -> Result<(), Failure> {
    let function = function(&mut words)?;
    let common = Common::of(function)?;
    let command = function.command();
    let queues = common.queues();
    // The register that no driver uses before it has asked for the queue.
    let vector = common.set_vector(0, 1);
    function.set_command(command & !COMMAND_MEMORY);
    expect("off", NOTHING, common.queues())?;
    expect("write", NOTHING, common.set_vector(0, 0xffff))?;
    function.set_command(command);
    expect("on", queues, common.queues())?;
    expect("vector", vector, common.vector(0))?;
    expect("no vector", NOTHING, common.set_vector(0, 0xffff))?;
    say!("ok decode queues={queues}");
    Ok(())
}
