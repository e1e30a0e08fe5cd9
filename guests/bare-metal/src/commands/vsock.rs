//! Virtio sockets: one stream at a time.

use virtio_drivers::device::socket::{
    VMADDR_CID_HOST, VirtIOSocket, VsockAddr, VsockConnectionManager, VsockEvent, VsockEventType,
};
use virtio_drivers::transport::DeviceType;

use super::Command;
use crate::say;
use crate::script::{self, Failure, Words};
use crate::virtio::{self, Bus, Identity};

pub const COMMANDS: &[Command] = &[Command {
    name: "vsock",
    usage: "connect PORT TEXT | listen PORT",
    run: vsock,
}];

/// The guest's end of a stream that it opens.
const OWN_PORT: u32 = 1234;
const BUFFER: usize = 1024;

type Manager = VsockConnectionManager<Identity, Bus>;

fn vsock(mut words: Words<'_>) -> Result<(), Failure> {
    // There is one at most.
    let device = virtio::device(DeviceType::Socket, &mut Words::of("0"))?;
    let mut manager = Manager::new(VirtIOSocket::new(device.open()?)?);
    say!("vsock cid={}", manager.guest_cid());
    let what = words.word().ok_or(Failure::Usage)?;
    let port = words.number()?;
    match what {
        "connect" => connect(&mut manager, port, words.rest()),
        "listen" => listen(&mut manager, port),
        _ => Err(Failure::Usage),
    }
}

fn event(manager: &mut Manager) -> Result<VsockEvent, Failure> {
    virtio::poll("event", || Ok(manager.poll()?))
}

/// Says a line to a program of the host and prints its answer, up to the end of the stream.
fn connect(manager: &mut Manager, port: u32, text: &str) -> Result<(), Failure> {
    let host = VsockAddr {
        cid: VMADDR_CID_HOST,
        port,
    };
    manager.connect(host, OWN_PORT)?;
    let mut received = 0;
    loop {
        match event(manager)?.event_type {
            VsockEventType::Connected => {
                manager.send(host, OWN_PORT, text.as_bytes())?;
                manager.send(host, OWN_PORT, b"\n")?;
            }
            VsockEventType::Received { .. } => {
                let mut buffer = [0; BUFFER];
                let length = manager.recv(host, OWN_PORT, &mut buffer)?;
                let text = script::text(buffer.get(..length).unwrap_or_default());
                received += length;
                say!("vsock received={}", text.trim_end());
                manager.shutdown(host, OWN_PORT)?;
            }
            VsockEventType::Disconnected { reason } => {
                say!("ok vsock received={received} end={reason:?}");
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Takes one stream and sends back what comes, until the other side ends it.
fn listen(manager: &mut Manager, port: u32) -> Result<(), Failure> {
    manager.listen(port);
    say!("vsock listening={port}");
    let mut echoed = 0;
    loop {
        let VsockEvent {
            source, event_type, ..
        } = event(manager)?;
        match event_type {
            VsockEventType::Received { .. } => {
                let mut buffer = [0; BUFFER];
                loop {
                    let length = manager.recv(source, port, &mut buffer)?;
                    let part = buffer.get(..length).unwrap_or_default();
                    if part.is_empty() {
                        break;
                    }
                    manager.send(source, port, part)?;
                    echoed += length;
                }
                manager.update_credit(source, port)?;
            }
            VsockEventType::Disconnected { reason } => {
                say!("ok vsock echoed={echoed} end={reason:?}");
                return Ok(());
            }
            _ => {}
        }
    }
}
