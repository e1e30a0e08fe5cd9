//! Virtio devices in general, and those that need few words: entropy, console, input.

use alloc::vec;

use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::device::input::VirtIOInput;
use virtio_drivers::device::rng::VirtIORng;
use virtio_drivers::transport::{DeviceType, Transport};

use super::Command;
use crate::say;
use crate::script::{self, Failure, Words};
use crate::virtio::{self, Bus, Identity};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "virtio",
        usage: "",
        run: list,
    },
    Command {
        name: "rng",
        usage: "LENGTH",
        run: rng,
    },
    Command {
        name: "console",
        usage: "DEVICE size | write TEXT | read",
        run: console,
    },
    Command {
        name: "input",
        usage: "DEVICE info | events COUNT",
        run: input,
    },
];

/// Most that one request for entropy takes.
const ENTROPY: usize = 1 << 20;
const LINE: usize = 256;

fn list(_: Words<'_>) -> Result<(), Failure> {
    let (by, devices) = virtio::find();
    for (index, device) in devices.iter().enumerate() {
        let features = device.open()?.read_device_features();
        say!(
            "virtio {index} type={} {} pin={} features={features:#x}",
            device.kind,
            device.place,
            device.pin
        );
    }
    say!("ok virtio devices={} by={by}", devices.len());
    Ok(())
}

/// Asks until all of it is there, and counts the bytes that differ from their neighbour.
fn rng(mut words: Words<'_>) -> Result<(), Failure> {
    let length: usize = words.number()?;
    if !(1..=ENTROPY).contains(&length) {
        return Err(Failure::Usage);
    }
    let device = virtio::device(DeviceType::EntropySource, &mut Words::of("0"))?;
    let mut rng = VirtIORng::<Identity, Bus>::new(device.open()?)?;
    let mut bytes = vec![0; length];
    let (mut had, mut requests) = (0, 0_u64);
    while let Some(rest) = bytes.get_mut(had..).filter(|rest| !rest.is_empty()) {
        had += rng.request_entropy(rest)?;
        requests += 1;
    }
    let differ = bytes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    say!("ok rng bytes={length} requests={requests} differ={differ}");
    Ok(())
}

fn console(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device(DeviceType::Console, &mut words)?;
    let mut console = VirtIOConsole::<Identity, Bus>::new(device.open()?)?;
    match words.word().ok_or(Failure::Usage)? {
        "size" => match console.size()? {
            Some(size) => say!("ok console size={size:?}"),
            None => say!("ok console size=none"),
        },
        "write" => {
            let text = words.rest();
            console.send_bytes(text.as_bytes())?;
            console.send(b'\n')?;
            say!("ok console written={}", text.len() + 1);
        }
        "read" => {
            say!("console ready");
            let mut line = [0; LINE];
            let mut used = 0;
            while let Some(slot) = line.get_mut(used) {
                match virtio::poll("byte", || Ok(console.recv(true)?))? {
                    b'\r' | b'\n' => break,
                    byte => *slot = byte,
                }
                used += 1;
            }
            let text = script::text(line.get(..used).unwrap_or_default());
            say!("ok console read={used} text={text}");
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

fn input(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device(DeviceType::Input, &mut words)?;
    let mut input = VirtIOInput::<Identity, Bus>::new(device.open()?)?;
    match words.word().ok_or(Failure::Usage)? {
        "info" => {
            let (name, ids) = (input.name()?, input.ids()?);
            say!("input ids={ids:?}");
            for kind in 0..=0x15 {
                let bits = input.ev_bits(kind)?;
                let codes: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
                if codes > 0 {
                    say!("input type={kind:#x} codes={codes}");
                }
            }
            say!("ok input name={name}");
        }
        "events" => {
            let count: u64 = words.number()?;
            say!("input ready");
            for _ in 0..count {
                let event = virtio::poll("event", || Ok(input.pop_pending_event()))?;
                let (kind, code, value) = (event.event_type, event.code, event.value);
                say!("input event type={kind:#x} code={code:#x} value={value:#x}");
            }
            say!("ok input events={count}");
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}
