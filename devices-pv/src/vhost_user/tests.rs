use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use trivisor_buses::AccessError;
use trivisor_virtio_device::testing::{Rig, Ring};

use super::*;
use crate::golden::check_golden;

/// What a server was told and says.
#[derive(Default)]
struct State {
    features: u64,
    config: Vec<u8>,
    there: bool,
    events: VecDeque<ServerEvent>,
    started: Vec<(u64, Vec<ServedQueue>)>,
    rung: Vec<u16>,
    stops: u32,
    forgets: u32,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

impl Fake {
    fn new(features: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            features: features | Feature::Version1.bit(),
            config: (1..=60).collect(),
            there: true,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

struct Served(Fake, Vec<u8>);

impl QueueServer for Served {
    fn features(&self) -> u64 {
        self.0.state().features
    }
    fn queues(&self) -> u16 {
        2
    }
    fn config(&self) -> &[u8] {
        &self.1
    }
    fn is_there(&self) -> bool {
        self.0.state().there
    }
    fn start(&mut self, features: u64, queues: &[ServedQueue]) {
        self.0.state().started.push((features, queues.to_vec()));
    }
    fn ring(&mut self, queue: u16) {
        self.0.state().rung.push(queue);
    }
    fn next_event(&mut self) -> Option<ServerEvent> {
        self.0.state().events.pop_front()
    }
    fn stop(&mut self) {
        self.0.state().stops += 1;
    }
    fn forget(&mut self) {
        self.0.state().forgets += 1;
    }
}

const DISK: Function = Function::Disk {
    queues: 2,
    queue_size: 64,
};
const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn share() -> Function {
    let tag = "data".into();
    Function::FileSystem { tag }
}

fn device(function: Function, fake: &Fake) -> VhostUser {
    let config = fake.state().config.clone();
    VhostUser::new(function, Box::new(Served(fake.clone(), config))).unwrap()
}

fn rig(function: Function, fake: &Fake, features: u64) -> Rig<VhostUser> {
    Rig::new(device(function, fake), Ring::Split, features)
}

/// Bases of the queues that were started last.
fn bases(fake: &Fake) -> Vec<(u16, u16)> {
    let state = fake.state();
    let (_, queues) = state.started.last().unwrap();
    queues
        .iter()
        .map(|queue| (queue.index, queue.base))
        .collect()
}

/// The server uses buffers, and says so.
fn set_used_index(rig: &Rig<VhostUser>, fake: &Fake, queue: u16, index: u16) {
    let used = rig.queue(queue).address(Area::Device);
    assert!(rig.ram().write(used + 2, &index.to_le_bytes()));
    fake.state().events.push_back(ServerEvent::Used(queue));
}

#[test]
fn the_server_gets_the_drivers_queues() {
    let fake = Fake::new(1 << 9);
    let rig = rig(DISK, &fake, 1 << 9);
    let state = fake.state();
    let [(features, queues)] = &state.started[..] else {
        panic!("{:?}", state.started);
    };
    assert_eq!(*features, 1 << 9 | Feature::Version1.bit());
    for (number, queue) in (0..).zip(queues) {
        assert_eq!((queue.index, queue.size, queue.base), (number, 64, 0));
        let areas = Area::ALL.map(|area| rig.queue(number).address(area));
        assert_eq!(queue.areas, areas);
    }
    assert_eq!(queues.len(), 2);
}

#[test]
fn rings_go_there_and_interrupts_come_back() {
    let fake = Fake::new(0);
    let mut rig = rig(DISK, &fake, 0);
    rig.notify(1);
    rig.notify(0);
    assert_eq!(fake.state().rung, [1, 0]);
    fake.state().events.push_back(ServerEvent::Used(1));
    assert!(!rig.wake());
    assert_eq!((rig.take_interrupts(0), rig.take_interrupts(1)), (0, 1));
    // A queue that is not there.
    fake.state().events.push_back(ServerEvent::Used(9));
    assert!(!rig.wake());
    // A storm is looked at share by share.
    let storm = [ServerEvent::Used(0); SHARE as usize];
    fake.state().events.extend(storm);
    assert!(rig.wake());
    assert!(!rig.wake());
}

#[test]
fn another_server_goes_on_at_the_used_index() {
    let fake = Fake::new(0);
    fake.state().there = false;
    let mut rig = rig(DISK, &fake, 0);
    // Whatever stands in RAM: the queues begin.
    set_used_index(&rig, &fake, 0, 77);
    fake.state().there = true;
    fake.state().events.push_back(ServerEvent::Back);
    rig.wake();
    assert_eq!(bases(&fake), [(0, 0), (1, 0)]);
    set_used_index(&rig, &fake, 0, 5);
    set_used_index(&rig, &fake, 1, 0xffff);
    fake.state().there = false;
    fake.state().events.push_back(ServerEvent::Gone);
    rig.wake();
    fake.state().there = true;
    fake.state().events.push_back(ServerEvent::Back);
    rig.wake();
    assert_eq!(bases(&fake), [(0, 5), (1, 0xffff)]);
    let counters = rig.device().counters();
    assert_eq!((counters.came, counters.went), (2, 1));
    assert_eq!(rig.take_config_changes(), 0, "a disk has no cable");
    // A driver that begins anew.
    rig.reset();
    assert_eq!(fake.state().stops, 1);
    assert_eq!(fake.state().forgets, 1);
    assert_eq!(bases(&fake), [(0, 0), (1, 0)]);
}

#[test]
fn a_pause_stops_the_server_until_the_next_ring() {
    let fake = Fake::new(0);
    let mut rig = rig(DISK, &fake, 0);
    set_used_index(&rig, &fake, 0, 3);
    let starts = fake.state().started.len();
    rig.call(VhostUser::pause);
    assert_eq!(rig.take_interrupts(0), 1, "what it used at last");
    assert_eq!(fake.state().stops, 1);
    // It may come back meanwhile.
    fake.state().events.push_back(ServerEvent::Back);
    rig.wake();
    assert_eq!(fake.state().started.len(), starts);
    rig.notify(0);
    rig.notify(1);
    assert_eq!(fake.state().started.len(), starts + 1);
    assert_eq!(bases(&fake), [(0, 3), (1, 0)]);
    assert_eq!(fake.state().rung, [0, 1]);
}

#[test]
fn a_queue_that_is_stopped_alone_leaves_the_others() {
    let fake = Fake::new(0);
    let mut rig = rig(DISK, &fake, 0);
    rig.stop(Some(0));
    assert_eq!(fake.state().stops, 1);
    assert_eq!(bases(&fake), [(1, 0)]);
}

#[test]
fn features_are_those_that_both_have() {
    let every = Fake::new(u64::MAX);
    let none = Fake::new(0);
    let offered = |function: &Function, fake: &Fake| device(function.clone(), fake).features();
    assert_eq!(offered(&share(), &every), 0);
    // No switch of the cache, no lifetime, no zones.
    assert_eq!(offered(&DISK, &every), 0x7676);
    assert_eq!(offered(&DISK, &none), 1 << 12, "its queues");
    let single = Function::Disk {
        queues: 1,
        queue_size: 4,
    };
    assert_eq!(offered(&single, &every), 0x6676);
    let network = Function::Network { mac: MAC };
    assert_eq!(offered(&network, &none), 1 << 5 | 1 << 16);
    let no_control_queue = 1 << 17 | 1 << 2;
    assert_eq!(offered(&network, &every) & no_control_queue, 0);
    // Of chapter 6, what the front-end knows and the server has.
    let queues = |fake: &Fake| device(DISK, fake).queue_features();
    assert_eq!(queues(&none), Feature::Version1.bit());
    for absent in [Feature::PackedRing, Feature::RingReset, Feature::InOrder] {
        assert!(!absent.is_in(queues(&every)), "{absent:?}");
    }
    assert!(Feature::EventIndex.is_in(queues(&every)));
}

#[test]
fn what_the_server_does_not_have_is_not_told_to_it() {
    let fake = Fake::new(0);
    let network = Function::Network { mac: MAC };
    let _rig = rig(network, &fake, 1 << 5 | 1 << 16);
    assert_eq!(fake.state().started[0].0, Feature::Version1.bit());
}

#[test]
fn configurations() {
    let fake = Fake::new(0);
    let mut disk = rig(DISK, &fake, 0);
    let mut expected: Vec<u8> = (1..=60).collect();
    expected[34..36].copy_from_slice(&[2, 0]);
    assert_eq!(disk.read_config(0, 60), expected);
    assert_eq!(disk.read_config(58, 4), [59, 60, 0, 0]);
    assert_eq!(disk.write_config(0, &[1]), Err(AccessError::ReadOnly));
    fake.state().events.push_back(ServerEvent::Configuration);
    disk.wake();
    assert_eq!(disk.take_config_changes(), 1);

    let files = rig(share(), &fake, 0);
    let mut tag = b"data".to_vec();
    tag.resize(36, 0);
    assert_eq!(files.read_config(0, 36), tag);
    assert_eq!(files.read_config(36, 4), [1, 0, 0, 0]);

    let mut card = rig(Function::Network { mac: MAC }, &fake, 0);
    assert_eq!(card.read_config(0, 8), [0x52, 0x54, 0, 1, 2, 3, 1, 0]);
    fake.state().there = false;
    fake.state().events.push_back(ServerEvent::Gone);
    card.wake();
    assert_eq!(card.take_config_changes(), 1, "the cable is out");
    assert_eq!(card.read_config(6, 2), [0, 0]);
}

#[test]
fn what_does_not_fit_is_no_device() {
    let fake = Fake::new(0);
    let refused = |function: Function, config: Vec<u8>| {
        VhostUser::new(function, Box::new(Served(fake.clone(), config))).unwrap_err()
    };
    let disk = |queues, queue_size| Function::Disk { queues, queue_size };
    let (served, queues) = (2, 3);
    assert_eq!(
        refused(disk(3, 64), vec![0; 60]),
        VhostUserError::Queues { served, queues }
    );
    for (queues, size) in [(0, 64), (65, 64), (1, 2), (1, 3)] {
        let error = refused(disk(queues, size), vec![0; 60]);
        assert!(matches!(error, VhostUserError::Function(_)), "{error}");
    }
    let error = refused(disk(1, 64), vec![0; 7]);
    assert_eq!(error, VhostUserError::Config { bytes: 7 });
    for tag in [String::new(), "x".repeat(37)] {
        let error = refused(Function::FileSystem { tag }, Vec::new());
        assert!(matches!(error, VhostUserError::Function(_)), "{error}");
    }
}

#[test]
fn a_restored_device_goes_on() {
    let fake = Fake::new(0);
    let rig = rig(DISK, &fake, 0);
    set_used_index(&rig, &fake, 1, 0);
    set_used_index(&rig, &fake, 0, 4);
    let other = Fake::new(0);
    let _rig = rig.migrate(device(DISK, &other));
    assert_eq!(bases(&other), [(0, 4), (1, 0)]);
    assert_eq!(other.state().rung, [0, 1]);
}

#[test]
fn its_state_stays_readable() {
    let fake = Fake::new(0);
    let mut rig = rig(DISK, &fake, 0);
    check_golden(rig.device_mut(), state::KIND, 1, "01");
}
