//! Commands of the control queue: virtio 1.3, 5.1.6.5. They are read whole before one has an effect.

use trivisor_buses::Offloads;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, Io};

use super::regs::{Ack, Features, command};
use super::{CONTROL_SIZE, Net, config};

/// Bytes of class and command.
const HEAD: u64 = 2;

/// A command that the driver may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// A receive filter, which is best-effort: every frame is received whatever it says.
    Filter,
    /// VIRTIO_NET_CTRL_MAC_ADDR_SET.
    SetMac([u8; 6]),
    /// VIRTIO_NET_CTRL_ANNOUNCE_ACK.
    Announced,
    /// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
    SetPairs(u16),
    /// VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET.
    SetOffloads(u64),
}

impl Command {
    /// Reads the command in `chain`. `None`: it has another length than its class says, is not known, or belongs to a
    /// feature that was not negotiated.
    pub(super) fn read(ram: &GuestRam, chain: &Chain, features: Features) -> Option<Self> {
        let Head { class, command } = Head::read(ram, chain)?;
        match (class, command) {
            command::RX_PROMISC | command::RX_ALLMULTI if features.ctrl_rx() => {
                let [on] = data(ram, chain)?;
                (on <= 1).then_some(Self::Filter)
            }
            command::MAC_TABLE_SET if features.ctrl_rx() => {
                check_tables(ram, chain)?;
                Some(Self::Filter)
            }
            command::MAC_ADDR_SET if features.ctrl_mac_addr() => {
                Some(Self::SetMac(data(ram, chain)?))
            }
            command::ANNOUNCE_ACK if features.guest_announce() => {
                let [] = data(ram, chain)?;
                Some(Self::Announced)
            }
            command::MQ_VQ_PAIRS_SET if features.mq() => {
                Some(Self::SetPairs(u16::from_le_bytes(data(ram, chain)?)))
            }
            command::GUEST_OFFLOADS_SET if features.ctrl_guest_offloads() => {
                Some(Self::SetOffloads(u64::from_le_bytes(data(ram, chain)?)))
            }
            _ => None,
        }
    }
}

struct Head {
    class: u8,
    command: u8,
}

impl Head {
    fn read(ram: &GuestRam, chain: &Chain) -> Option<Self> {
        let mut head = [0; 2];
        chain.read(ram, 0, &mut head).ok()?;
        let [class, command] = head;
        Some(Self { class, command })
    }
}

/// The command's own data, which has to be all that there is.
fn data<const N: usize>(ram: &GuestRam, chain: &Chain) -> Option<[u8; N]> {
    let mut data = [0; N];
    if chain.readable_len() != HEAD + N as u64 {
        return None;
    }
    chain.read(ram, HEAD, &mut data).ok()?;
    Some(data)
}

/// Two `virtio_net_ctrl_mac`, one behind the other. Their addresses are of no interest.
fn check_tables(ram: &GuestRam, chain: &Chain) -> Option<()> {
    let mut end = HEAD;
    for _table in 0..2 {
        let mut entries = [0; 4];
        chain.read(ram, end, &mut entries).ok()?;
        end += 4 + 6 * u64::from(u32::from_le_bytes(entries));
    }
    (end == chain.readable_len()).then_some(())
}

impl Net {
    /// Carries out the commands that there are. None goes back before the end, so they are no more than the queue has.
    pub(super) fn control(&mut self, queue: u16, io: &mut Io<'_>) {
        let mut chain = std::mem::take(&mut self.chain);
        let mut left = CONTROL_SIZE;
        let mut more = true;
        while more {
            while left > 0 && io.pop(queue, &mut chain) {
                left -= 1;
                let command = Command::read(io.ram(), &chain, Features::from_bits(io.features()));
                let ack = command.map_or(Ack::Err, |command| self.carry_out(command, io));
                match chain.write(io.ram(), 0, &[ack as u8]) {
                    Ok(()) => io.push(queue, chain.id(), 1),
                    Err(error) => io.fail(queue, error),
                }
            }
            more = io.want_notifications(queue, true) && left > 0;
        }
        if left < CONTROL_SIZE {
            io.publish(queue);
        }
        self.chain = chain;
    }

    fn carry_out(&mut self, command: Command, io: &mut Io<'_>) -> Ack {
        match command {
            Command::Filter => {}
            Command::SetMac(mac) => self.state.mac = mac,
            Command::Announced => self.state.announce = false,
            Command::SetPairs(pairs) => {
                if !(1..=self.cables.len()).contains(&usize::from(pairs)) {
                    return Ack::Err;
                }
                self.set_pairs(pairs, io);
            }
            Command::SetOffloads(bits) => {
                let negotiated = config::switchable(Features::from_bits(io.features()));
                if bits & !negotiated.into_bits() != 0 {
                    return Ack::Err;
                }
                let before = std::mem::replace(&mut self.state.guest_offloads, bits);
                if !self.accept_offloads() {
                    self.state.guest_offloads = before;
                    self.accept_offloads();
                    return Ack::Err;
                }
            }
        }
        Ack::Ok
    }

    fn set_pairs(&mut self, pairs: u16, io: &mut Io<'_>) {
        let before = self.used();
        self.state.pairs = pairs;
        for receiver in self.receivers.iter_mut().skip(usize::from(pairs)) {
            receiver.give_back(io);
        }
        for transmitter in self.transmitters.iter_mut().skip(usize::from(pairs)) {
            transmitter.blocked = false;
        }
        // Where frames go has changed, and what the new queues hold was not looked at.
        (before..self.used()).for_each(|index| self.transmit(index, io));
        (0..self.used()).for_each(|to| self.receive_alone(to, io));
    }

    /// Tells the cables what the driver takes; false when one of them refuses.
    pub(super) fn accept_offloads(&mut self) -> bool {
        let takes = config::guest_offloads(Features::from_bits(self.state.guest_offloads));
        if !self.has_header {
            return takes == Offloads::default();
        }
        let mut all = true;
        for cable in &mut self.cables {
            if cable.accept_offloads(takes).is_err() {
                self.counters.offload_errors += 1;
                all = false;
            }
        }
        all
    }
}
