//! The virtio devices of a plan, with their back-ends behind them. What waits for guest RAM is made when the board
//! fits it.

use std::io;
use std::os::fd::OwnedFd;

use trivisor_backends::net::{self, Tap};
use trivisor_devices_pv::board::{Made, Plug, PlugWith, TransportKind};
use trivisor_devices_pv::net::{Net, NetOptions};
use trivisor_vmm_core::VirtioConfig;

use crate::failure::Failure;
use crate::plan::Plan;
use crate::plan::virtio::{Cable, Card};
use crate::settings::TransportSetting;

/// All of them, in the order in which the guest finds them.
pub(super) fn config(plan: &Plan) -> Result<VirtioConfig, Failure> {
    let mut devices: Vec<Box<dyn Plug>> = Vec::new();
    for card in &plan.virtio.cards {
        devices.push(plug_card(card).map_err(Failure::refused("a network card's descriptor"))?);
    }
    Ok(VirtioConfig {
        devices,
        transport: match plan.transport {
            TransportSetting::Pci => TransportKind::Pci,
            TransportSetting::Mmio => TransportKind::Mmio,
        },
        packed: plan.packed,
    })
}

/// What a plan's descriptors become for one start: the next one wants them as well.
fn plug_card(card: &Card) -> io::Result<Box<dyn Plug>> {
    enum End {
        Tap(OwnedFd),
        Socket(OwnedFd),
    }

    let options = NetOptions::new(card.mac);
    let ends = card.cables.iter().map(|cable| {
        Ok(match cable {
            Cable::Tap(fd) => End::Tap(fd.try_clone()?),
            Cable::Socket(fd) => End::Socket(fd.try_clone()?),
        })
    });
    let ends = ends.collect::<io::Result<Vec<_>>>()?;
    Ok(Box::new(PlugWith::new("virtio-net", move |ram| {
        let (mut cables, mut sources) = (Vec::new(), Vec::new());
        for end in ends {
            let (cable, source): (Box<dyn trivisor_buses::Packets>, _) = match end {
                End::Tap(fd) => {
                    let source = fd.try_clone()?;
                    (Box::new(Tap::new(fd, ram.clone())?), source)
                }
                End::Socket(fd) => net::socket(fd, ram.clone())?,
            };
            cables.push(cable);
            sources.push(source);
        }
        let device = Net::new(options, cables).map_err(io::Error::other)?;
        Ok(Made { device, sources })
    })))
}
