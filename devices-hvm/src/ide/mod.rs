//! 82371SB (PIIX3), function 1: IDE interface, two channels of two drives, with a bus master; disks and CD-ROM drives.
//!
//! Sources: Intel, 82371FB (PIIX) and 82371SB (PIIX3) PCI ISA IDE Xcelerator, order number 290550, 2.4 and 2.6.3; Intel,
//! Programming Interface for Bus Master IDE Controller 1.0, 1994; INCITS 361-2002, AT Attachment with Packet Interface - 6
//! (ATA/ATAPI-6), chapters 6 to 9; SFF-8020i 2.6, chapters 7 and 10; INCITS 333-2000, MultiMedia Commands - 2 (MMC-2).
//!
//! | configuration | register | write | reset |
//! |---|---|---|---|
//! | 0x00 | VID, DID, class | - | 8086:7010, 010180 |
//! | 0x04 | PCICMD | IOSE, BME | 0x0000 |
//! | 0x06 | PCISTS | error bits are cleared by 1 | 0x0280 |
//! | 0x0d | MLT | bits 7:4 | 0x00 |
//! | 0x20 | BMIBA: 16 ports | bits 15:4 | 0x00000001 |
//! | 0x40, 0x42 | IDETIM, a channel each | bit 15 lets its ports answer; the rest is kept | 0x0000 |
//! | 0x44 | SIDETIM | kept | 0x00 |
//!
//! | bus master, channel 1 from 8 on | register | write | reset |
//! |---|---|---|---|
//! | 0 | BMIC | SSBM starts and stops, RWCON is kept | 0x00 |
//! | 2 | BMIS: active, error, interrupt, drives capable of DMA | bits 2:1 are cleared by 1, bits 6:5 kept | 0x00 |
//! | 4 | BMIDTP | bits 31:2 | 0 |
//!
//! | port from 0x1f0, 0x170 on | read | write | reset, disk / CD-ROM |
//! |---|---|---|---|
//! | 0 | Data, 16 or 32 bits | Data | - |
//! | 1 | Error | Features | 0x01 |
//! | 2 | Sector Count, Interrupt Reason | the same | 0x01 |
//! | 3 | LBA Low | the same | 0x01 |
//! | 4, 5 | LBA Mid, LBA High; Byte Count | the same | 0x0000 / 0xeb14 |
//! | 6 | Device | Device, of both drives | 0xa0 |
//! | 7 | Status; ends the interrupt | Command | 0x50 / 0x00 |
//! | 0x3f6, 0x376 | Alternate Status | Device Control: nIEN, SRST, HOB | 0x00 |
//!
//! The commands of disks stand in `ata/commands.rs`, packets in `atapi/packet.rs`; others abort, or end with sense
//! 5/20/00. What needs no storage ends within the write of the command. What needs it leaves BSY set until the storage
//! has done it: no access waits. So after SRST and DEVICE RESET too, for a storage may still write to the guest's memory;
//! only a reset of the machine waits for it.
//!
//! Disks and CD-ROM hand the guest's memory to the storage as the descriptor table describes it; data that goes through
//! the data port is fetched up to 128 KiB ahead. Where the table describes less than a command moves, whole sectors are
//! moved as far as there is memory, and the bus master ends without an interrupt (programming interface, 3.1: interrupt 0,
//! active 0). A table ends at the end of its 64 KiB. An address that is no RAM sets BMIS's error and aborts the command.
//! Data goes in the direction of the command, whatever RWCON says.
//!
//! Writes to 1 to 6 of a command block, and to BMIS and BMIDTP, only keep what is written: they may be posted
//! ([`Posted`](trivisor_buses::Posted)), and come in their order, before any access that traps.
//!
//! **Not modelled**: timing; CRC and parity errors; media with errors that can be retried; UNIT ATTENTION after power-on,
//! which drivers only clear. SMART, security, setting a host protected area, acoustic management, READ LONG, READ BUFFER
//! and queued DMA abort, and IDENTIFY does not offer them; power modes end well, and the drive stays active. Who plays
//! audio is told sense 5/20/00, who reads anything but 2048 bytes of user data by READ CD 5/24/00.
//!
//! **Differs from QEMU's** `piix3-ide`, where the documents are on our side:
//! - IDETIM bit 15 clear: its ports do not answer (290550, 2.4.12); QEMU's always do.
//! - Beyond the last sector is IDNF (ATA/ATAPI-6, 8.27.6), an unreadable sector UNC; QEMU says ABRT.
//! - READ MULTIPLE before SET MULTIPLE MODE aborts (ATA/ATAPI-6, 8.31.6); QEMU starts with 16 sectors.
//! - SRST makes no interrupt (ATA/ATAPI-6, 9.3).
//! - The registers of an address are left as they are by a command that succeeds (ATA/ATAPI-6, 8.27.5: reserved).
//! - A packet whose memory is larger than its answer leaves the bus master active (programming interface, 3.1), as QEMU's
//!   disks do.
//! - Sense data is not VALID, for it has no information (SPC-2, 7.20.2); an open tray is told as such (MMC-2, annex A).
//! - A disc whose tray was opened and closed is a new one: UNIT ATTENTION (MMC-2, 6.1.35).
//! - READ TOC, format 1, counts its own bytes (MMC-2, 6.1.22); mode pages tell of a disc of data (SFF-8020i, table 61).
//!
//! **Relied on by**: SeaBIOS 1.16 (disks and CD), by way of it GRUB 2.06 and syslinux; Linux 6.1 (`ata_piix`, with DMA).

mod ata;
mod atapi;
mod bus_master;
mod config;
mod core;
mod drive;
mod identify;
mod pio;
mod ports;
pub mod regs;
mod restore;
mod state;
mod task_file;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, DiscDrive, DiscError, Dma, Line, PostedPlaces, RestoreError,
    SavedState, Storage, Wake,
};
use trivisor_pci::regs::offset as header;
use trivisor_pci::{
    Bar, Class, ConfigError, ConfigSpace, Endpoint, FunctionShell, Identity, PciFunction,
};

use self::ata::Disk;
use self::atapi::Cdrom;
pub use self::config::{DiskConfig, DriveConfig};
use self::core::Channel;
use self::drive::{Drive, Kind};
pub use self::ports::{
    COMMAND_PORTS, CONTROL_PORTS, CommandBlock, ControlBlock, WIDTHS, posted_commands,
};
use self::regs::{BMIBA, BUS_MASTER_PORTS, Idetim, command_block, config as offset};
pub use self::state::IdeStateV1;
use crate::link::Link;

/// The controller with its drives, a PCI function.
pub struct Ide {
    // Wiring.
    dma: Arc<dyn Dma>,
    posted: Option<Arc<dyn PostedPlaces>>,
    /// Where the bus masters' ports are.
    masters: Option<u16>,
    // Guest-visible state.
    endpoint: Endpoint,
    channels: [Channel; 2],
}

impl std::fmt::Debug for Ide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ide")
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Ide {
    /// A controller with `drives`, by channel; `lines` lead to ISA interrupts 14 and 15. Its storages wake it.
    ///
    /// # Errors
    /// Never: its registers fit.
    pub fn new(
        drives: [[Option<DriveConfig>; 2]; 2],
        lines: [Line; 2],
        dma: Arc<dyn Dma>,
    ) -> Result<Self, ConfigError> {
        let ([first, second], [primary, secondary]) = (drives, lines);
        let channel = |line, drives: [Option<DriveConfig>; 2]| {
            Channel::new(line, drives.map(|drive| drive.map(make)))
        };
        Ok(Self {
            dma,
            posted: None,
            masters: None,
            endpoint: Endpoint::new(config_space()?),
            channels: [channel(primary, first), channel(secondary, second)],
        })
    }

    /// Writes to registers of the bus masters that do nothing at once are posted by `places`, wherever the guest moves
    /// them.
    #[must_use]
    pub fn with_posted(mut self, places: Option<Arc<dyn PostedPlaces>>) -> Self {
        self.posted = places;
        self
    }

    /// Lets both channels answer, now and after each reset: what firmware would have done. The function's command
    /// register has to allow ports as well.
    ///
    /// # Errors
    /// Never: the registers exist.
    pub fn enable_channels(&mut self) -> Result<(), ConfigError> {
        let on = Idetim::new().with_ide(true).into_bits().to_le_bytes();
        let both = [on, on].concat();
        let config = self.endpoint.config_mut();
        config.define(offset::IDETIM, &both, &[0xff; 4])
    }

    /// Takes the disc out of a CD-ROM drive, or lays another one in. By force, or when the guest has not locked the
    /// tray; else the guest is asked to let it go.
    ///
    /// # Errors
    /// When there is no such drive, or it is locked.
    pub fn change_disc(
        &mut self,
        channel: usize,
        drive: usize,
        disc: Option<Box<dyn Storage>>,
        force: bool,
    ) -> Result<(), DiscError> {
        let channel = self.channels.get_mut(channel).ok_or(DiscError::NoDrive)?;
        let drive = channel.cdrom(drive).ok_or(DiscError::NoDrive)?;
        let Kind::Cdrom(cdrom) = &mut drive.kind else {
            return Err(DiscError::NoDrive);
        };
        if cdrom.locked && !force {
            cdrom.ask_for_disc();
            return Err(DiscError::Locked);
        }
        cdrom.change_disc(disc);
        Ok(())
    }

    /// The channel, if its ports answer.
    fn decoded(&mut self, channel: usize) -> Result<(&mut Channel, &dyn Dma), AccessError> {
        let config = self.endpoint.config();
        let [primary, secondary] = [0, 2]
            .map(|at| Idetim::from_bits(u16::from_le_bytes(config.get(offset::IDETIM + at))).ide());
        let enabled = if channel == 0 { primary } else { secondary };
        if !enabled || !config.command().io() {
            return Err(AccessError::NoRegister);
        }
        let channel = self.channels.get_mut(channel);
        Ok((channel.ok_or(AccessError::NoRegister)?, &*self.dma))
    }

    fn data_read(&mut self, channel: usize, data: &mut [u8]) -> Result<(), AccessError> {
        let (channel, dma) = self.decoded(channel)?;
        channel.read_data(data, dma);
        Ok(())
    }

    fn data_write(&mut self, channel: usize, data: &[u8]) -> Result<(), AccessError> {
        let (channel, dma) = self.decoded(channel)?;
        channel.write_data(data, dma);
        Ok(())
    }

    fn command_read(
        &mut self,
        channel: usize,
        offset: u16,
        data: &mut [u8],
    ) -> Result<(), AccessError> {
        if offset == command_block::DATA {
            // A byte is a word's, as a bus of 16 bits has it: the boot loader of Solaris 10 counts on it.
            let mut word = [0; 2];
            return if let [byte] = data {
                self.data_read(channel, &mut word)?;
                [*byte, _] = word;
                Ok(())
            } else {
                self.data_read(channel, data)
            };
        }
        let (channel, _) = self.decoded(channel)?;
        for (byte, register) in data.iter_mut().zip(offset..) {
            *byte = match register {
                command_block::ERROR..=command_block::STATUS => channel.read(register),
                _ => 0xff,
            };
        }
        Ok(())
    }

    fn command_write(
        &mut self,
        channel: usize,
        offset: u16,
        data: &[u8],
    ) -> Result<(), AccessError> {
        if offset == command_block::DATA {
            return match data.len() {
                1 => Err(AccessError::Width),
                _ => self.data_write(channel, data),
            };
        }
        let (channel, dma) = self.decoded(channel)?;
        for (byte, register) in data.iter().zip(offset..=command_block::STATUS) {
            channel.write(register, *byte, dma);
        }
        Ok(())
    }

    fn control_read(&mut self, channel: usize) -> Result<u8, AccessError> {
        Ok(self.decoded(channel)?.0.alternate_status())
    }

    fn control_write(&mut self, channel: usize, value: u8) -> Result<(), AccessError> {
        let (channel, dma) = self.decoded(channel)?;
        channel.write_control(value, dma);
        Ok(())
    }

    /// The channel and the register that an offset in the bus master's ports is.
    fn master(&mut self, at: u64) -> Option<(&mut Channel, u8, &dyn Dma)> {
        let at = u8::try_from(at).ok()?;
        let channel = self.channels.get_mut(usize::from(at >> 3))?;
        Some((channel, at & 7, &*self.dma))
    }
}

fn make(config: DriveConfig) -> Drive {
    Drive::new(match config {
        DriveConfig::Disk(config, storage) => Kind::Disk(Disk::new(config, storage)),
        DriveConfig::Cdrom(disc) => Kind::Cdrom(Cdrom::new(disc.map(Link::new))),
    })
}

fn config_space() -> Result<ConfigSpace, ConfigError> {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7010,
        revision: 0,
        class: Class {
            base: 0x01,
            sub: 0x01,
            interface: 0x80,
        },
        subsystem_vendor: 0,
        subsystem: 0,
    });
    config.define(header::COMMAND, &[0, 0], &[0x05, 0])?;
    config.define(header::STATUS, &[0x80, 0x02], &[])?;
    config.define(header::CACHE_LINE_SIZE, &[0, 0], &[0, 0xf0])?;
    config.define(header::INTERRUPT_LINE, &[0], &[0])?;
    config.add_bar(BMIBA, Bar::io(BUS_MASTER_PORTS))?;
    config.define(offset::IDETIM, &[0; 4], &[0xff; 4])?;
    config.define(offset::SIDETIM, &[0], &[0xff])?;
    Ok(config)
}

impl PciFunction for Ide {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if bar != BMIBA {
            return Err(AccessError::NoRegister);
        }
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = self
                .master(at)
                .map_or(0xff, |(channel, register, _)| channel.master.read(register));
        }
        Ok(())
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        if bar != BMIBA {
            return Err(AccessError::NoRegister);
        }
        for (byte, at) in data.iter().zip(offset..) {
            if let Some((channel, register, dma)) = self.master(at) {
                channel.write_master(register, *byte, dma);
            }
        }
        Ok(())
    }

    fn window_moved(&mut self, bar: u8, base: Option<u64>) {
        let Some(places) = self.posted.as_ref().filter(|_| bar == BMIBA) else {
            return;
        };
        let base = base.and_then(|base| u16::try_from(base).ok());
        if let Some(old) = std::mem::replace(&mut self.masters, base) {
            ports::posted_masters(old).for_each(|place| places.unpost(place));
        }
        for place in base.into_iter().flat_map(ports::posted_masters) {
            // Refused, each write is an exit, as it would be without.
            let _at_once = places.post(place);
        }
    }
}

impl Wake for Ide {
    fn wake(&mut self) -> bool {
        for channel in &mut self.channels {
            channel.go_on(&*self.dma);
        }
        false
    }
}

impl Component for Ide {
    fn start(&mut self) {
        self.wake();
    }

    fn pause(&mut self) {
        for channel in &mut self.channels {
            channel.settle(&*self.dma);
        }
    }

    fn reset(&mut self) {
        self.endpoint.reset();
        self.channels.iter_mut().for_each(Channel::reset);
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &IdeStateV1::from(self))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: IdeStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.restore(self)
    }
}

/// Somebody's hand at the tray of a CD-ROM drive, whose controller stands on a bus.
#[derive(Debug, Clone)]
pub struct Tray {
    ide: Arc<FunctionShell<Ide>>,
    channel: usize,
    drive: usize,
}

impl Tray {
    /// Of the drive in this place.
    #[must_use]
    pub const fn new(ide: Arc<FunctionShell<Ide>>, channel: usize, drive: usize) -> Self {
        Self {
            ide,
            channel,
            drive,
        }
    }
}

impl DiscDrive for Tray {
    fn change_disc(&self, disc: Option<Box<dyn Storage>>, force: bool) -> Result<(), DiscError> {
        let change = |ide: &mut Ide| ide.change_disc(self.channel, self.drive, disc, force);
        self.ide.with(change)
    }
}
