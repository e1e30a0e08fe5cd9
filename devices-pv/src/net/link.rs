//! The link: the host's wish, and the other ends of the cables.

use trivisor_virtio_device::Io;

use super::Net;
use super::regs::{Features, Status};

impl Net {
    /// Plugs the cables in, or pulls them out.
    pub fn set_link(&mut self, up: bool, io: &mut Io<'_>) {
        self.change(io, |net| net.state.link_up = up);
    }

    /// Asks the driver to announce itself to the network, as after a move to another host.
    pub fn announce(&mut self, io: &mut Io<'_>) {
        if Features::from_bits(io.features()).guest_announce() {
            self.state.announce = true;
            io.config_changed();
        }
    }

    pub(super) fn status(&self) -> Status {
        Status::new()
            .with_link_up(self.link_is_up())
            .with_announce(self.state.announce)
    }

    pub(super) const fn link_is_up(&self) -> bool {
        self.state.link_up && self.cables_up
    }

    pub(super) fn look_at_cables(&self) -> bool {
        self.cables.iter().all(|cable| cable.link_is_up())
    }

    /// Does what may change the link, and what follows from it.
    fn change(&mut self, io: &mut Io<'_>, what: impl FnOnce(&mut Self)) {
        let before = self.link_is_up();
        what(self);
        if self.link_is_up() == before {
            return;
        }
        io.config_changed();
        for transmitter in &mut self.transmitters {
            transmitter.blocked = false;
        }
        (0..self.used()).for_each(|index| self.transmit(index, io));
        (0..self.used()).for_each(|to| self.receive_alone(to, io));
    }

    pub(super) fn refresh_cables(&mut self, io: &mut Io<'_>) {
        let up = self.look_at_cables();
        if up != self.cables_up {
            self.change(io, |net| net.cables_up = up);
        }
    }
}
