//! A keyboard or a tablet.

use trivisor_devices_pv::input::{self, InputEvent, InputKind};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Host);

/// Somebody who types, or moves about.
struct Host(InputKind);

impl Subject for Host {
    type Device = input::Input;

    fn make(_ram: &GuestRam, variant: u8) -> (Self, input::Input) {
        let kind = match variant & 1 {
            0 => InputKind::Keyboard,
            _ => InputKind::Tablet,
        };
        let device = input::Input::new(kind, "").expect("no serial number fits");
        (Self(kind), device)
    }

    fn host(&mut self, rig: &mut Rig<input::Input>, input: &mut Input<'_>) {
        let update: Vec<_> = (0..input.byte())
            .map(|_| InputEvent::key(input.byte().into(), input.byte() & 1 == 0))
            .collect();
        rig.call(|device, io| device.inject(&update, io));
    }

    fn serves(&mut self, rig: &mut Rig<input::Input>) {
        rig.driver(0).add(&[], &[8]);
        rig.driver(0).add(&[], &[8]);
        rig.kick(0);
        let press = InputEvent::key(1, true);
        assert!(rig.call(|device, io| device.inject(&[press], io)));
        let mut next = || rig.poll(0).map(|reply| reply.data);
        assert_eq!(next(), Some(press.to_bytes().to_vec()));
        assert_eq!(next(), Some(InputEvent::REPORT.to_bytes().to_vec()));
        rig.request(1, &[&[0x11, 0, 0, 0, 1, 0, 0, 0]], 0);
        let leds = u16::from(self.0 == InputKind::Keyboard);
        assert_eq!(rig.device().leds(), leds);
    }
}
