//! Virtio network cards.

use virtio_drivers::device::net::{TxBuffer, VirtIONet};
use virtio_drivers::transport::DeviceType;

use super::{Command, net_load};
use crate::pin::Pin;
use crate::say;
use crate::script::{self, Failure, Words, expect};
use crate::virtio::{self, Bus, Identity};

pub const COMMANDS: &[Command] = &[Command {
    name: "net",
    usage: "CARD mac | send TEXT | receive | echo COUNT | interrupt | load send BYTES ops|ms NUMBER | \
        load receive BYTES COUNT TIMES MS",
    run: net,
}];

const QUEUE: usize = 16;
/// A frame's most and virtio's header.
const BUFFER: usize = 2048;
/// Destination, source, type.
const HEADER: usize = 14;
/// "Local experimental" (IEEE 802).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const EVERYBODY: [u8; 6] = [0xff; 6];
/// A frame's least.
const SMALLEST: usize = 60;

type Card = VirtIONet<Identity, Bus, QUEUE>;

fn net(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device(DeviceType::Network, &mut words)?;
    let mut next = words;
    if next.word() == Some("load") {
        return net_load::run(&device, next);
    }
    let mut card = Card::new(device.open()?, BUFFER)?;
    let mac = card.mac_address();
    match words.word().ok_or(Failure::Usage)? {
        "mac" => {
            let [a, b, c, d, e, f] = mac;
            say!("ok net mac={a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        }
        "send" => {
            let text = words.rest().as_bytes();
            let mut frame = card.new_tx_buffer((HEADER + text.len()).max(SMALLEST));
            let header = EVERYBODY.iter().chain(&mac).chain(&ETHERTYPE);
            frame
                .packet_mut()
                .iter_mut()
                .zip(header.chain(text))
                .for_each(|(to, from)| *to = *from);
            let length = frame.packet_len();
            card.send(frame)?;
            say!("ok net sent={length}");
        }
        "receive" => {
            say!("net ready");
            receive(&mut card, print)?;
        }
        "interrupt" => {
            let mut pin = Pin::route(device.pin)?;
            say!("net ready");
            pin.wait()?;
            expect("isr", 1_u8, card.ack_interrupt().bits())?;
            pin.end();
            receive(&mut card, print)?;
        }
        "echo" => {
            let count: u64 = words.number()?;
            say!("net ready");
            for _ in 0..count {
                let frame = receive(&mut card, |frame| {
                    let mut answer = TxBuffer::from(frame);
                    if let Some([destination, source]) =
                        answer.packet_mut().get_mut(..12).map(halves)
                    {
                        destination.copy_from_slice(source);
                        source.copy_from_slice(&mac);
                    }
                    answer
                })?;
                card.send(frame)?;
            }
            say!("ok net echoed={count}");
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

fn halves(addresses: &mut [u8]) -> [&mut [u8]; 2] {
    let (destination, source) = addresses.split_at_mut(6);
    [destination, source]
}

fn print(frame: &[u8]) {
    let text = frame.get(HEADER..).unwrap_or_default();
    let end = text.iter().position(|byte| *byte == 0);
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    say!(
        "ok net received={} text={}",
        frame.len(),
        script::text(text)
    );
}

/// Waits for a frame and gives its buffer back.
fn receive<T>(card: &mut Card, take: impl FnOnce(&[u8]) -> T) -> Result<T, Failure> {
    virtio::poll("frame", || Ok(card.can_recv().then_some(())))?;
    let buffer = card.receive()?;
    let taken = take(buffer.packet());
    card.recycle_rx_buffer(buffer)?;
    Ok(taken)
}
