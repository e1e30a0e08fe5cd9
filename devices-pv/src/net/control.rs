//! Commands of the control queue: virtio 1.3, 5.1.6.5. Read whole here, carried out by the device.

use trivisor_memory::GuestRam;
use trivisor_virtio_device::Chain;

use super::regs::{Features, command};

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
