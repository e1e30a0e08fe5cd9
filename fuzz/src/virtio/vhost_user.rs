//! A device whose server comes, goes and says what an input says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_buses::{QueueServer, ServedQueue, ServerEvent};
use trivisor_devices_pv::vhost_user::{Function, VhostUser};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject, entry};

entry!(Program);

const QUEUES: u16 = 2;

#[derive(Default)]
struct State {
    there: bool,
    events: VecDeque<ServerEvent>,
    started: Vec<ServedQueue>,
    rung: u32,
}

/// The program behind the device, as the host has it.
#[derive(Clone, Default)]
struct Program(Arc<Mutex<State>>);

impl Program {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueServer for Program {
    fn features(&self) -> u64 {
        u64::MAX
    }

    fn queues(&self) -> u16 {
        QUEUES
    }

    fn config(&self) -> &[u8] {
        &[0x11; 60]
    }

    fn is_there(&self) -> bool {
        self.state().there
    }

    fn start(&mut self, _features: u64, queues: &[ServedQueue]) {
        assert!(queues.iter().all(|queue| queue.index < QUEUES));
        self.state().started = queues.to_vec();
    }

    fn ring(&mut self, _queue: u16) {
        self.state().rung += 1;
    }

    fn next_event(&mut self) -> Option<ServerEvent> {
        self.state().events.pop_front()
    }

    fn stop(&mut self) {
        self.state().started.clear();
    }

    fn forget(&mut self) {}
}

impl Subject for Program {
    type Device = VhostUser;

    #[expect(
        clippy::expect_used,
        reason = "a target that cannot be set up is wrong itself"
    )]
    fn make(_ram: &GuestRam, variant: u8) -> (Self, VhostUser) {
        let program = Self::default();
        let function = match variant % 3 {
            0 => Function::Disk {
                queues: QUEUES,
                queue_size: 64,
            },
            1 => Function::FileSystem {
                tag: "folder".into(),
            },
            _ => Function::Network { mac: [2; 6] },
        };
        let server = Box::new(program.clone());
        let device = VhostUser::new(function, server).expect("they fit together");
        (program, device)
    }

    fn host(&mut self, _rig: &mut Rig<VhostUser>, input: &mut Input<'_>) {
        let mut state = self.state();
        let event = match input.byte() % 4 {
            0 => ServerEvent::Used(input.byte().into()),
            1 => ServerEvent::Configuration,
            2 => ServerEvent::Back,
            _ => ServerEvent::Gone,
        };
        match event {
            ServerEvent::Back => state.there = true,
            ServerEvent::Gone => state.there = false,
            _ => {}
        }
        state.events.push_back(event);
    }

    fn serves(&mut self, rig: &mut Rig<VhostUser>) {
        self.state().there = true;
        self.state().events.push_back(ServerEvent::Back);
        rig.settle();
        assert_eq!(self.state().started.len(), usize::from(QUEUES));
        let before = self.state().rung;
        rig.notify(0);
        assert_eq!(self.state().rung, before + 1);
    }
}
