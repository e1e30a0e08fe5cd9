//! Devices whose queues another program serves: a file system by virtiofsd, a disk, a network card.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.1, 5.2 and 5.11, and QEMU, docs/interop/vhost-user.rst.
//!
//! The device passes on where the queues are, that the driver rang, and that buffers were used. It looks at no buffer;
//! what it knows of a queue is the used index, at which another server goes on when the one before is gone. Until then
//! the guest's requests wait.
//!
//! | configuration of | bytes |
//! |---|---|
//! | a file system | the tag, one queue of requests |
//! | a disk | the server's, but for the number of queues |
//! | a network card | the address, and a link that is up while the server is there |
//!
//! **Not modelled**: packed queues, a reset of one queue alone, a control queue of network cards, a disk's switch of
//! its cache, notifications and shared memory of file systems.
//!
//! **Relied on by**: Linux (`virtiofs`, `virtio_blk`, `virtio_net`), the `virtio-drivers` crate.

mod function;
mod state;

#[cfg(test)]
mod tests;

use thiserror::Error;
use trivisor_buses::{QueueServer, RestoreError, SavedState, ServedQueue, ServerEvent};
use trivisor_virtio_device::features::Feature;
use trivisor_virtio_device::queue::Area;
use trivisor_virtio_device::{DeviceType, Io, VirtioDevice, read_config_bytes};

pub use function::{DISK_CONFIG, Function, FunctionError, TAG_LEN};
pub use state::VhostUserStateV1;

/// What happened that is looked at in one turn.
const SHARE: u32 = 128;

/// Features of chapter 6 that a server may have and the transport then offers.
const QUEUE_FEATURES: u64 = Feature::IndirectDescriptors.bit()
    | Feature::EventIndex.bit()
    | Feature::Version1.bit()
    | Feature::AnyLayout.bit();

/// A function or a server that makes no device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VhostUserError {
    /// The function cannot be.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The server has fewer queues.
    #[error("{served} queues are served, not {queues}")]
    Queues {
        /// Those of the server.
        served: u16,
        /// Those of the function.
        queues: u16,
    },
    /// A disk without its sectors.
    #[error("a configuration of {bytes} bytes is none of a disk")]
    Config {
        /// Its bytes.
        bytes: usize,
    },
}

/// How often its server came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VhostUserCounters {
    /// It was there, the first time included.
    pub came: u64,
    /// It was gone.
    pub went: u64,
}

/// Such a device.
pub struct VhostUser {
    // Configuration.
    function: Function,
    sizes: Vec<u16>,
    // Wiring.
    server: Box<dyn QueueServer>,
    // State.
    /// The queues were served since the last reset.
    started: bool,
    /// The device gets turns: neither paused nor reset.
    running: bool,
    counters: VhostUserCounters,
}

impl std::fmt::Debug for VhostUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VhostUser")
            .field("function", &self.function)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl VhostUser {
    /// `function`, served by `server`.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn new(function: Function, server: Box<dyn QueueServer>) -> Result<Self, VhostUserError> {
        function.check()?;
        let (queues, size) = function.queues();
        let served = server.queues();
        if served < queues {
            return Err(VhostUserError::Queues { served, queues });
        }
        let bytes = server.config().len();
        if matches!(function, Function::Disk { .. }) && bytes < size_of::<u64>() {
            return Err(VhostUserError::Config { bytes });
        }
        Ok(Self {
            function,
            sizes: vec![size; queues.into()],
            server,
            started: false,
            running: false,
            counters: VhostUserCounters::default(),
        })
    }

    /// How often its server came and went so far.
    #[must_use]
    pub const fn counters(&self) -> VhostUserCounters {
        self.counters
    }

    /// Has the driver's queues served, but for the one of this number.
    fn begin(&mut self, io: &mut Io<'_>, except: Option<u16>) {
        self.running = true;
        let numbers = (0..).zip(&self.sizes).map(|(number, _)| number);
        let numbers = numbers.filter(|number| except != Some(*number));
        let queues = numbers.filter_map(|index| {
            let queue = io.queue(index).filter(|queue| queue.ready())?;
            let base = match self.started {
                true => queue.used_index(io.ram())?,
                false => 0,
            };
            Some(ServedQueue {
                index,
                size: queue.size(),
                areas: Area::ALL.map(|area| queue.address(area)),
                base,
            })
        });
        let queues: Vec<ServedQueue> = queues.collect();
        // What it does not have is the device's own.
        let features = io.features() & self.server.features();
        self.server.start(features, &queues);
        self.started |= self.server.is_there();
    }

    /// Acts on what happened; true when more may have.
    fn take_events(&mut self, io: &mut Io<'_>) -> bool {
        for _ in 0..SHARE {
            match self.server.next_event() {
                None => return false,
                Some(ServerEvent::Used(queue)) => io.interrupt(queue),
                Some(ServerEvent::Configuration) => io.config_changed(),
                Some(ServerEvent::Back) => {
                    self.counters.came += 1;
                    if self.running {
                        self.begin(io, None);
                    }
                    self.show_server(io);
                }
                Some(ServerEvent::Gone) => {
                    self.counters.went += 1;
                    self.show_server(io);
                }
            }
        }
        true
    }

    fn show_server(&self, io: &mut Io<'_>) {
        if self.function.shows_server() {
            io.config_changed();
        }
    }
}

impl VirtioDevice for VhostUser {
    fn device_type(&self) -> DeviceType {
        self.function.device_type()
    }

    fn features(&self) -> u64 {
        self.function.features(self.server.features())
    }

    fn queue_features(&self) -> u64 {
        self.server.features() & QUEUE_FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let (served, is_there) = (self.server.config(), self.server.is_there());
        read_config_bytes(&self.function.config(served, is_there), offset, data);
    }

    fn activate(&mut self, io: &mut Io<'_>) {
        self.begin(io, None);
        self.take_events(io);
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        if !self.running {
            // The first after a pause: all queues at once.
            self.begin(io, None);
            self.take_events(io);
        }
        self.server.ring(queue);
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        self.take_events(io)
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        self.server.stop();
        self.running = false;
        // What it used at last.
        self.take_events(io);
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        self.server.stop();
        self.running = false;
        if queue.is_some() {
            // The others go on.
            self.begin(io, queue);
        }
    }

    fn reset(&mut self) {
        self.server.forget();
        self.started = false;
    }

    fn save(&self) -> SavedState {
        let state = VhostUserStateV1 {
            started: self.started,
        };
        SavedState::encode(state::KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let VhostUserStateV1 { started } = state.decode(state::KIND, state::VERSION)?;
        self.started = started;
        Ok(())
    }
}
