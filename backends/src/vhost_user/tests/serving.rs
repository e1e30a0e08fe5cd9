//! Queues, kicks and calls, and back-ends that come and go.

use std::os::fd::AsFd;

use super::peer::{FEATURES, Manners, Message, Peer, Vice, inode};
use super::*;
use crate::vhost_user::message::{PROTOCOL_FEATURES, Request};

fn peer(path: &Path, vice: Option<(Request, Vice)>) -> Peer {
    let manners = Manners {
        vice,
        ..Manners::default()
    };
    Peer::listen(path, manners)
}

fn readable(fd: impl AsFd) -> bool {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

fn read(fd: impl AsFd) {
    assert!(readable(&fd));
    rustix::io::read(fd, &mut [0; 8]).unwrap();
}

fn only(message: &Message) -> &OwnedFd {
    assert_eq!(message.descriptors.len(), 1, "{message:?}");
    &message.descriptors[0]
}

#[test]
fn a_back_end_is_told_all_that_it_needs() {
    let (_folder, path) = socket();
    let peer = peer(&path, None);
    let mut front = Front::new(&path);
    assert!(!front.server.is_there());
    front.start(7);
    assert!(front.server.is_there());
    assert_eq!(front.server.features(), FEATURES);
    peer.wait(Request::SetOwner);
    let features = peer.wait(Request::SetFeatures);
    assert_eq!(features.long(0), FEATURES | PROTOCOL_FEATURES);
    let memory = peer.wait(Request::SetMemTable);
    assert_eq!(
        (memory.word(0), memory.long(8), memory.long(16)),
        (1, 0, 4 << 20)
    );
    assert_eq!((memory.long(24), memory.long(32)), (0, 0));
    only(&memory);
    let area = peer.wait(Request::SetInflightFd);
    assert_eq!((area.long(0), area.payload.len()), (4096, 24));
    assert_eq!(area.word(16), 2 | 64 << 16, "queues and their descriptors");
    for index in 0..2 {
        let start = 0x1000 * (1 + u64::from(index));
        let number = peer.wait(Request::SetVringNum);
        assert_eq!((number.word(0), number.word(4)), (index, 64));
        let address = peer.wait(Request::SetVringAddr);
        assert_eq!((address.word(0), address.word(4)), (index, 0));
        // Descriptors, used ring, available ring.
        let found = [8, 16, 24].map(|at| address.long(at));
        assert_eq!(found, [start, start + 0x800, start + 0x400]);
        let base = peer.wait(Request::SetVringBase);
        assert_eq!((base.word(0), base.word(4)), (index, 7));
        let call = peer.wait(Request::SetVringCall);
        let kick = peer.wait(Request::SetVringKick);
        assert_eq!((call.long(0), kick.long(0)), (index.into(), index.into()));
        let enable = peer.wait(Request::SetVringEnable);
        assert_eq!((enable.word(0), enable.word(4)), (index, 1));
        // What the driver rang for before is looked at.
        read(only(&kick));
        let queue = u16::try_from(index).unwrap();
        front.server.ring(queue);
        read(only(&kick));
        rustix::io::write(only(&call), &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(front.event(), ServerEvent::Used(queue));
    }
}

#[test]
fn stopped_queues_are_let_go_of_and_started_again() {
    let (_folder, path) = socket();
    let peer = peer(&path, None);
    let mut front = Front::new(&path);
    front.start(0);
    for _ in 0..3 {
        front.server.stop();
        for index in 0..2 {
            assert_eq!(peer.wait(Request::GetVringBase).word(0), index);
        }
        front.server.start(FEATURES, &[queue(0, 3)]);
        front.until(ServerEvent::Used(0));
        assert_eq!(peer.wait(Request::SetVringBase).word(4), 3);
        front.server.stop();
        assert_eq!(peer.wait(Request::GetVringBase).word(0), 0);
        front.server.start(FEATURES, &[queue(0, 0), queue(1, 0)]);
        front.until(ServerEvent::Used(1));
    }
    assert!(front.server.failure().is_none());
}

#[test]
fn the_next_back_end_goes_on_with_what_was_in_flight() {
    let (_folder, path) = socket();
    let first = peer(&path, None);
    let mut front = Front::new(&path);
    front.start(0);
    let area = inode(only(&first.wait(Request::SetInflightFd)));
    first.die(&path);
    front.until(ServerEvent::Gone);
    assert!(!front.server.is_there());
    // Nobody is there: attempts fail, and the driver's rings wait.
    for _ in 0..5 {
        front.back_end.turn();
        assert_eq!(front.server.next_event(), None);
    }
    front.server.ring(0);
    front.server.start(FEATURES, &[queue(0, 9)]);
    let second = peer(&path, None);
    front.start(9);
    assert_eq!(inode(only(&second.wait(Request::SetInflightFd))), area);
    assert_eq!(second.wait(Request::SetVringBase).word(4), 9);
    read(only(&second.wait(Request::SetVringKick)));
    // After a reset of the device nothing is in flight.
    front.server.stop();
    front.server.forget();
    front.server.start(FEATURES, &[queue(0, 0), queue(1, 0)]);
    front.until(ServerEvent::Used(1));
    second.wait(Request::GetInflightFd);
    assert_ne!(inode(only(&second.wait(Request::SetInflightFd))), area);
}

#[test]
fn a_back_end_that_changed_is_noticed() {
    let (_folder, path) = socket();
    let first = peer(&path, None);
    let mut front = Front::new(&path);
    front.until(ServerEvent::Back);
    first.die(&path);
    front.until(ServerEvent::Gone);
    let poorer = Manners {
        features: 1 << 32 | PROTOCOL_FEATURES,
        ..Manners::default()
    };
    let second = Peer::listen(&path, poorer);
    let limit = Instant::now() + LIMIT;
    while !matches!(front.server.failure(), Some(LinkError::Less)) {
        front.back_end.turn();
        assert_eq!(front.server.next_event(), None);
        assert!(Instant::now() < limit);
    }
    second.die(&path);
    let larger = Manners {
        config: (1..=60).collect(),
        ..Manners::default()
    };
    let _third = Peer::listen(&path, larger);
    assert_eq!(front.event(), ServerEvent::Configuration);
    assert_eq!(front.server.config()[0], 1);
    assert_eq!(front.event(), ServerEvent::Back);
}

#[test]
fn a_start_that_goes_wrong_ends_the_connection() {
    let steps = [
        Request::SetFeatures,
        Request::SetMemTable,
        Request::GetInflightFd,
        Request::SetInflightFd,
        Request::SetVringAddr,
        Request::SetVringKick,
        Request::SetVringEnable,
    ];
    let vices = [
        Vice::Close,
        Vice::HalfAHeader,
        Vice::Short,
        Vice::Huge,
        Vice::Other,
        Vice::Twice,
        Vice::Refusal,
        Vice::NoDescriptor,
    ];
    for step in steps {
        for vice in vices {
            let has_it = match step {
                Request::GetInflightFd => vice != Vice::Refusal,
                _ => vice != Vice::NoDescriptor,
            };
            if !has_it {
                continue;
            }
            let (_folder, path) = socket();
            let _peer = peer(&path, Some((step, vice)));
            let mut front = Front::new(&path);
            front.until(ServerEvent::Back);
            front.server.start(FEATURES, &[queue(0, 0), queue(1, 0)]);
            front.until(ServerEvent::Gone);
            assert!(front.server.failure().is_some(), "{step:?}, {vice:?}");
            // It is asked again, and the device waits.
            front.until(ServerEvent::Back);
        }
    }
}

#[test]
fn one_that_stops_to_answer_is_gone_and_nobody_waits_for_it() {
    for step in [Request::SetMemTable, Request::GetVringBase] {
        let (_folder, path) = socket();
        let _peer = peer(&path, Some((step, Vice::Silence)));
        let mut front = Front::new(&path);
        front.until(ServerEvent::Back);
        front.server.start(FEATURES, &[queue(0, 0), queue(1, 0)]);
        if step == Request::GetVringBase {
            front.until(ServerEvent::Used(1));
        }
        let before = Instant::now();
        front.server.stop();
        let took = before.elapsed();
        assert!(took < LIMIT / 2, "{took:?}");
        assert!(matches!(front.server.failure(), Some(LinkError::Silent)));
        assert!(!front.server.is_there());
    }
    // Without a stop it is missed by the clock.
    let (_folder, path) = socket();
    let _peer = peer(&path, Some((Request::SetMemTable, Vice::Silence)));
    let mut front = Front::new(&path);
    front.until(ServerEvent::Back);
    front.server.start(FEATURES, &[queue(0, 0)]);
    front.until(ServerEvent::Gone);
    assert!(matches!(front.server.failure(), Some(LinkError::Silent)));
}

#[test]
fn one_that_talks_unasked_is_gone() {
    let (_folder, path) = socket();
    let _peer = peer(&path, Some((Request::GetVringBase, Vice::Twice)));
    let mut front = Front::new(&path);
    front.start(0);
    front.server.stop();
    front.until(ServerEvent::Gone);
    assert!(matches!(
        front.server.failure(),
        Some(LinkError::Message(_))
    ));
}

#[test]
fn private_memory_cannot_be_served() {
    let (_folder, path) = socket();
    let _peer = peer(&path, None);
    let (_back_end, offer, asker) = BackEnd::at(&path, DISK, 2).unwrap();
    let ram = crate::testing::ram();
    let error = BackEndQueues::new(DISK, offer, Asker::new(asker), &ram, (2, 64)).unwrap_err();
    assert!(error.to_string().contains("private"), "{error}");
}

#[test]
fn who_abuses_its_right_to_ask_gets_nothing() {
    let (_folder, path) = socket();
    let _peer = peer(&path, None);
    let (back_end, _offer, asker) = BackEnd::at(&path, DISK, 2).unwrap();
    back_end.turn();
    assert!(back_end.is_served() && back_end.deadline().is_none());
    rustix::io::write(&asker, b"more").unwrap();
    back_end.turn();
    assert!(!back_end.is_served());
    rustix::io::write(&asker, &[0]).unwrap();
    back_end.turn();
    assert!(back_end.deadline().is_none());
    assert!(Asker::new(asker).answer().is_none());
}
