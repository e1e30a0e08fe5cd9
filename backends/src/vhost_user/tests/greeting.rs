//! What a back-end says of itself, and what is said of one that does not.

use super::peer::{FEATURES, Manners, Peer, Vice};
use super::*;
use crate::net::ConnectError;
use crate::vhost_user::BackEndError;
use crate::vhost_user::message::{PROTOCOL_FEATURES, Request, protocol};

fn refusal(manners: Manners, queues: u16) -> BackEndError {
    let (_folder, path) = socket();
    let _peer = Peer::listen(&path, manners);
    BackEnd::at(&path, DISK, queues).unwrap_err()
}

fn refusal_of_vice(request: Request, vice: Vice) -> LinkError {
    let vice = Some((request, vice));
    let manners = Manners {
        vice,
        ..Manners::default()
    };
    match refusal(manners, 1) {
        BackEndError::Greeting { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_back_end_tells_what_it_offers() {
    let (_folder, path) = socket();
    let manners = Manners::default();
    let config = manners.config.clone();
    let _peer = Peer::listen(&path, manners);
    let (_back_end, offer, _asker) = BackEnd::at(&path, DISK, 4).unwrap();
    assert_eq!(offer.features, FEATURES);
    assert_eq!((offer.queues, &offer.config), (4, &config));
}

#[test]
fn one_without_protocol_features_is_one_all_the_same() {
    let (_folder, path) = socket();
    let manners = Manners {
        features: FEATURES,
        ..Manners::default()
    };
    let peer = Peer::listen(&path, manners);
    let wanted = Wanted { config: 0, ..DISK };
    let (back_end, offer, asker) = BackEnd::at(&path, wanted, 2).unwrap();
    assert_eq!((offer.queues, offer.config.len()), (0, 0));
    let mut front = Front::with(back_end, offer, asker);
    front.start(0);
    assert_eq!(peer.wait(Request::SetFeatures).long(0), FEATURES);
    // Its queues are enabled by their kick.
    peer.wait(Request::SetVringKick);
    let more = peer.told.try_iter();
    let enabled = more.filter(|one| one.request == Request::SetVringEnable as u32);
    assert_eq!(enabled.count(), 0);
}

#[test]
fn too_little_is_said() {
    let manners = || Manners::default();
    let error = refusal(manners(), 5);
    assert!(
        matches!(
            error,
            BackEndError::Queues {
                offered: 4,
                wanted: 5,
                ..
            }
        ),
        "{error}"
    );
    let features = PROTOCOL_FEATURES | 1 << 9;
    let error = refusal(
        Manners {
            features,
            ..manners()
        },
        1,
    );
    assert!(matches!(error, BackEndError::Legacy { .. }), "{error}");
    let protocol = protocol::MQ;
    let error = refusal(
        Manners {
            protocol,
            ..manners()
        },
        1,
    );
    assert!(matches!(error, BackEndError::NoConfig { .. }), "{error}");
}

#[test]
fn nobody_at_the_socket() {
    let (_folder, path) = socket();
    let error = BackEnd::at(&path, DISK, 1).unwrap_err();
    let missing = ConnectError::Missing { path: path.clone() };
    assert_eq!(error.to_string(), missing.to_string());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = BackEnd::at(&path, DISK, 1).unwrap_err();
    assert!(
        matches!(error, BackEndError::Connect(ConnectError::Unserved { .. })),
        "{error}"
    );
    std::fs::remove_file(&path).unwrap();
    let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let error = BackEnd::at(&path, DISK, 1).unwrap_err();
    assert!(
        matches!(error, BackEndError::Connect(ConnectError::Host { .. })),
        "{error}"
    );
}

#[test]
fn answers_that_are_none() {
    let questions = [
        Request::GetFeatures,
        Request::GetProtocolFeatures,
        Request::GetQueueNum,
        Request::GetConfig,
    ];
    for request in questions {
        for vice in [Vice::Close, Vice::HalfAHeader, Vice::HalfAPayload] {
            let error = refusal_of_vice(request, vice);
            assert!(
                matches!(error, LinkError::Closed),
                "{request:?}, {vice:?}: {error}"
            );
        }
        let number = request as u32;
        for (vice, wanted) in [
            (Vice::Huge, MessageError::Long { bytes: 1 << 30 }),
            (Vice::Other, MessageError::Unasked { request: 99 }),
            (Vice::Version, MessageError::Flags { flags: 6 }),
            (Vice::Question, MessageError::Flags { flags: 1 }),
            (
                Vice::Short,
                MessageError::Length {
                    request: number,
                    bytes: if request == Request::GetConfig { 71 } else { 7 },
                },
            ),
        ] {
            match refusal_of_vice(request, vice) {
                LinkError::Message(error) => assert_eq!(error, wanted),
                error => panic!("{request:?}, {vice:?}: {error:?}"),
            }
        }
    }
    match refusal_of_vice(Request::GetConfig, Vice::Refusal) {
        LinkError::Message(error) => assert_eq!(error, MessageError::Refused { request: 24 }),
        error => panic!("{error:?}"),
    }
}

#[test]
fn one_that_never_answers_is_given_up() {
    let error = refusal_of_vice(Request::GetFeatures, Vice::Silence);
    assert!(matches!(error, LinkError::Silent), "{error}");
}
