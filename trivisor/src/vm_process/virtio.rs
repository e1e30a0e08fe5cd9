//! The virtio devices of a plan, with their back-ends behind them. What waits for guest RAM is made when the board
//! fits it.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use thiserror::Error;
use trivisor_backends::disk::{
    Attendant, Cache, DiscChanger, Disk, DiskError, DiskOptions, Limited, Opened, Worker,
};
use trivisor_backends::entropy::HostEntropy;
use trivisor_backends::net;
use trivisor_backends::rate_limiter::RateLimiter;
use trivisor_backends::vhost_user::{Asker, BackEndQueues};
use trivisor_backends::vsock::{Host, RemoteConnector};
use trivisor_buses::{CharOutput, Storage, Work};
use trivisor_devices_pv::balloon::BalloonOptions;
use trivisor_devices_pv::block::{Block, BlockOptions};
use trivisor_devices_pv::board::{
    BalloonPlug, ConsolePlug, Made, Plug, PlugWith, PmemPlug, TransportKind,
};
use trivisor_devices_pv::map;
use trivisor_devices_pv::net::{Net, NetOptions};
use trivisor_devices_pv::rng::Rng;
use trivisor_devices_pv::vhost_user::VhostUser;
use trivisor_devices_pv::vsock::{Vsock, VsockOptions};
use trivisor_memory::{FileMapping, GuestRam};
use trivisor_vmm_core::VirtioConfig;

use super::jail::Jail;
use crate::arguments::DiskCache;
use crate::failure::Failure;
use crate::plan::served::Served;
use crate::plan::virtio::{Cable, Card, Image, Sockets, VirtioCard, VirtioDisk};
use crate::plan::{self, Plan};
use crate::settings::TransportSetting;

/// An image that makes no disk.
#[derive(Debug, Error)]
#[error("disk {}", .path.display())]
pub(super) struct Unfit {
    path: PathBuf,
    pub(super) source: DiskError,
}

/// The disks' workers, and what a CD drive has for other discs, from the board's fitting to the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    workers: Vec<Worker>,
    changer: Option<DiscChanger>,
    attendant: Option<Attendant>,
}

impl Workers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, workers: Vec<Worker>) {
        self.lock().workers.extend(workers);
    }

    /// Of the CD drive.
    pub(super) fn add_changer(&self, changer: DiscChanger, attendant: Attendant) {
        let mut waiting = self.lock();
        waiting.changer = Some(changer);
        waiting.attendant = Some(attendant);
    }

    /// All workers that were added.
    pub(super) fn take(&self) -> Vec<Worker> {
        std::mem::take(&mut self.lock().workers)
    }

    pub(super) fn take_changer(&self) -> Option<DiscChanger> {
        self.lock().changer.take()
    }

    pub(super) fn take_attendant(&self) -> Option<Attendant> {
        self.lock().attendant.take()
    }
}

/// Starts a thread for each, which confines itself first.
pub(super) fn start_workers(
    workers: Vec<Worker>,
    jail: Option<&Jail>,
) -> Result<Vec<JoinHandle<()>>, Failure> {
    let start = |worker: Worker| start(move || worker.run(), jail);
    workers.into_iter().map(start).collect()
}

/// Starts the thread of a CD drive, which confines itself first, too.
pub(super) fn start_attendant(attendant: Attendant, jail: Option<&Jail>) -> Result<(), Failure> {
    start(move || attendant.run(), jail).map(drop)
}

fn start(
    serve: impl FnOnce() + Send + 'static,
    jail: Option<&Jail>,
) -> Result<JoinHandle<()>, Failure> {
    let jail = jail.cloned();
    let run = move || {
        if jail.as_ref().is_none_or(|jail| jail.enter().is_ok()) {
            serve();
        }
    };
    let thread = std::thread::Builder::new().name("disk".into()).spawn(run);
    thread.map_err(Failure::no_thread("a thread for a disk"))
}

/// All of them, in the order in which the guest finds them.
pub(super) fn config(
    plan: &Plan,
    console: Option<Box<dyn CharOutput>>,
    pmem: &[Arc<FileMapping>],
    workers: &Workers,
) -> Result<VirtioConfig, Failure> {
    let mut devices: Vec<Box<dyn Plug>> = Vec::new();
    for disk in &plan.virtio.disks {
        devices.push(match disk {
            VirtioDisk::Image(image) => plug_disk(image, workers)?,
            VirtioDisk::Served(served) => plug_served("virtio-block", served)?,
        });
    }
    for (image, mapping) in plan.pmem.iter().zip(pmem) {
        if plan.is_virtio_pmem(image) {
            let plug = plug_pmem(image, mapping.clone(), workers.clone());
            devices.push(plug.map_err(Failure::refused("a disk's descriptor"))?);
        }
    }
    for card in &plan.virtio.cards {
        devices.push(match card {
            VirtioCard::Cables(card) => {
                plug_card(card).map_err(Failure::refused("a network card's descriptor"))?
            }
            VirtioCard::Served(served) => plug_served("virtio-net", served)?,
        });
    }
    for share in &plan.virtio.shares {
        devices.push(plug_served("virtio-fs", share)?);
    }
    if plan.virtio.rng {
        devices.push(Box::new(PlugWith::new("virtio-rng", |ram| {
            let entropy = HostEntropy::new(ram.clone());
            Ok(Made::new(Rng::new(Box::new(entropy)), Vec::new()))
        })));
    }
    if let Some(output) = console {
        devices.push(Box::new(ConsolePlug(output)));
    }
    if let Some(sockets) = &plan.virtio.sockets {
        devices
            .push(plug_sockets(sockets).map_err(Failure::refused("a socket device's descriptor"))?);
    }
    if plan.virtio.balloon {
        devices.push(Box::new(BalloonPlug(BalloonOptions::default())));
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

/// The kernel's command line, which names the devices where the kernel finds them by nothing else.
pub(super) fn cmdline(plan: &Plan, config: &VirtioConfig) -> String {
    if plan.names_devices {
        // In front: what stands behind `--` is for the first process.
        let devices = map::mmio_parameters(config.devices.len());
        format!("{devices} {}", plan.cmdline)
    } else {
        plan.cmdline.clone()
    }
}

fn plug_sockets(sockets: &Sockets) -> io::Result<Box<dyn Plug>> {
    let listener = sockets.listener.as_fd().try_clone_to_owned()?;
    let connector = sockets.connector.try_clone()?;
    let options = VsockOptions::new(sockets.cid);
    Ok(Box::new(PlugWith::new("virtio-vsock", move |ram| {
        let connector = Box::new(RemoteConnector::new(connector));
        let (host, source) = Host::new(listener, connector, ram.clone())?;
        let device = Vsock::new(options, Box::new(host)).map_err(io::Error::other)?;
        Ok(Made::new(device, vec![source]))
    })))
}

fn plug_served(name: &'static str, served: &Served) -> Result<Box<dyn Plug>, Failure> {
    let asker = served.asker.try_clone();
    let asker = asker.map_err(Failure::refused("a back-end's descriptor"))?;
    let (function, wanted) = (served.function.clone(), served.wanted);
    let offer = served.offer.clone();
    Ok(Box::new(PlugWith::new(name, move |ram| {
        let (asker, queues) = (Asker::new(asker), function.queues());
        let (server, source) =
            BackEndQueues::new(wanted, offer, asker, ram, queues).map_err(io::Error::other)?;
        let device = VhostUser::new(function, Box::new(server)).map_err(io::Error::other)?;
        let sources = vec![source];
        Ok(Made::new(device, sources))
    })))
}

/// What stands behind a disk, which waits for guest RAM.
pub(super) struct StoragePlug {
    path: PathBuf,
    opened: Opened,
    options: DiskOptions,
    limits: [Option<NonZeroU64>; 2],
    /// Requests under way at most.
    depth: usize,
    workers: Workers,
}

impl StoragePlug {
    pub(super) fn new(image: &Image, workers: &Workers) -> Result<Self, Failure> {
        let opened = image.image.try_clone();
        Ok(Self {
            path: image.path.clone(),
            opened: opened.map_err(Failure::refused("a disk's descriptor"))?,
            options: DiskOptions {
                read_only: image.read_only,
                cache: match image.cache {
                    DiskCache::Writeback | DiskCache::None => Cache::Flush,
                    DiskCache::Unsafe => Cache::Unsafe,
                },
                ..DiskOptions::default()
            },
            limits: image.limits,
            depth: image.queue_size.into(),
            workers: workers.clone(),
        })
    }

    /// The storage, what it becomes ready by, and what is to be done beside where somebody does it.
    #[expect(clippy::type_complexity, reason = "taken apart at once")]
    pub(super) fn make(
        self,
        ram: &GuestRam,
    ) -> io::Result<(Box<dyn Storage>, Vec<OwnedFd>, Option<Box<dyn Work>>)> {
        let path = self.path;
        let parts = Disk::image(self.opened, ram.clone(), &self.options);
        let parts = parts.map_err(|source| io::Error::other(Unfit { path, source }))?;
        self.workers.add(parts.workers);
        let writer = parts.writer.map(|writer| Box::new(writer) as Box<dyn Work>);
        let [bytes, requests] = self.limits;
        if bytes.is_none() && requests.is_none() {
            return Ok((Box::new(parts.disk), vec![parts.event], writer));
        }
        let limiter = RateLimiter::per_second(bytes, requests);
        let (limited, timer) = Limited::new(parts.disk, limiter, self.depth)?;
        Ok((Box::new(limited), vec![parts.event, timer], writer))
    }
}

fn plug_disk(image: &Image, workers: &Workers) -> Result<Box<dyn Plug>, Failure> {
    let block = BlockOptions {
        queues: image.queues,
        queue_size: image.queue_size,
        serial: image.serial.clone(),
    };
    let storage = StoragePlug::new(image, workers)?;
    Ok(Box::new(PlugWith::new("virtio-block", move |ram| {
        let (storage, sources, work) = storage.make(ram)?;
        let device = Block::new(block, storage).map_err(io::Error::other)?;
        Ok(Made {
            device,
            sources,
            work,
        })
    })))
}

/// The guest reads and writes the file's pages; what flushes them is a disk of the same file.
fn plug_pmem(
    image: &plan::Disk,
    mapping: Arc<FileMapping>,
    workers: Workers,
) -> io::Result<Box<dyn Plug>> {
    let (file, path) = (image.file.try_clone()?, image.path.clone());
    let storage = move |ram: &GuestRam| {
        let parts = Disk::raw(file, ram.clone(), &DiskOptions::default());
        let parts = parts.map_err(|source| io::Error::other(Unfit { path, source }))?;
        workers.add(parts.workers);
        Ok((Box::new(parts.disk) as Box<dyn Storage>, vec![parts.event]))
    };
    Ok(Box::new(PmemPlug { mapping, storage }))
}

fn plug_card(card: &Card) -> io::Result<Box<dyn Plug>> {
    let options = NetOptions::new(card.mac);
    let ends = card.cables.iter().map(Cable::try_clone);
    let ends = ends.collect::<io::Result<Vec<_>>>()?;
    Ok(Box::new(PlugWith::new("virtio-net", move |ram| {
        let (mut cables, mut sources) = (Vec::new(), Vec::new());
        for end in ends {
            let (cable, source) = match end {
                Cable::Tap(fd) => net::tap(fd, ram.clone())?,
                Cable::Socket(fd) => net::socket(fd, ram.clone())?,
            };
            cables.push(cable);
            sources.push(source);
        }
        let device = Net::new(options, cables).map_err(io::Error::other)?;
        Ok(Made::new(device, sources))
    })))
}
