//! The disc and its tray.

use trivisor_buses::Storage;

use super::answers::View;
use super::{BLOCK, Cdrom, Sense};
use crate::link::Link;

/// Events of a medium (MMC-2, table 71).
pub(super) mod event {
    pub(in super::super) const NONE: u8 = 0;
    pub(in super::super) const EJECT_REQUEST: u8 = 1;
    pub(in super::super) const NEW_MEDIA: u8 = 2;
    pub(in super::super) const MEDIA_REMOVAL: u8 = 3;
}

impl Cdrom {
    /// Blocks of the disc that can be read; 0: there is none, or the tray is open.
    pub(super) fn blocks(&self) -> u32 {
        match &self.disc {
            Some(disc) if !self.tray_open && self.successor.is_none() => {
                let blocks = disc.geometry().capacity / BLOCK as u64;
                u32::try_from(blocks).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }

    pub(super) fn view(&self) -> View {
        View {
            blocks: self.blocks(),
            tray_open: self.tray_open,
            locked: self.locked,
        }
    }

    /// Why there are no blocks.
    pub(super) const fn no_disc(&self) -> Sense {
        if self.tray_open {
            Sense::TRAY_OPEN
        } else {
            Sense::NO_DISC
        }
    }

    /// The guest opens or closes the tray; the disc stays in it.
    pub(super) fn move_tray(&mut self, open: bool) {
        if self.tray_open == open {
            return;
        }
        self.tray_open = open;
        let disc = self.disc.is_some();
        self.changed = !open && disc;
        self.event = match (open, disc) {
            (true, true) => event::MEDIA_REMOVAL,
            (false, true) => event::NEW_MEDIA,
            (_, false) => event::NONE,
        };
    }

    /// The host asks the guest to let the disc go.
    pub(in super::super) const fn ask_for_disc(&mut self) {
        self.event = event::EJECT_REQUEST;
    }

    /// The host takes the disc out, the tray then stands open, or lays another one in and closes it.
    pub(in super::super) fn change_disc(&mut self, disc: Option<Box<dyn Storage>>) {
        let disc = disc.map(Link::new);
        let new = disc.is_some();
        self.successor = Some(disc);
        if !self.disc.as_ref().is_some_and(Link::is_busy) {
            self.succeed();
        }
        self.tray_open = !new;
        self.locked = false;
        self.changed = new;
        self.event = if new {
            event::NEW_MEDIA
        } else {
            event::MEDIA_REMOVAL
        };
    }

    /// Nothing is under way with the disc that goes.
    pub(super) fn succeed(&mut self) {
        if let Some(disc) = self.successor.take() {
            self.disc = disc;
        }
    }
}
