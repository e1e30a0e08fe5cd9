//! What stands in the process that knows paths, and between the two.

use super::*;

#[test]
fn another_process_can_connect() {
    let mut server = None;
    let mut bench = Bench::with(|path| {
        let (serving, asking) = ConnectServer::new(&path).unwrap();
        server = Some(serving);
        Box::new(RemoteConnector::new(asking))
    });
    let server = server.unwrap();
    assert!(!server.turn().unwrap());
    let programs = UnixListener::bind(bench.folder.path().join("v.sock_9")).unwrap();
    let (good, bad) = (
        bench.host.connect(9).unwrap(),
        bench.host.connect(10).unwrap(),
    );
    assert_eq!(bench.events(), []);
    assert_eq!(
        kind(bench.write(good, b"x")),
        Some(ErrorKind::NotConnected),
        "not yet"
    );
    assert!(wait(&server));
    assert!(server.turn().unwrap() && server.turn().unwrap() && !server.turn().unwrap());
    assert!(wait(&bench.watched));
    let events = bench.events();
    assert!(
        events.starts_with(&[StreamEvent::Connected(good), StreamEvent::Gone(bad)]),
        "{events:?}"
    );
    bench.write(good, b"over there").unwrap();
    let (mut program, _) = programs.accept().unwrap();
    let mut seen = [0; 10];
    program.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"over there");

    // A wish that was given up: its answer is dropped, and the program sees its end.
    let given_up = bench.host.connect(9).unwrap();
    bench.host.close(given_up);
    assert!(server.turn().unwrap());
    assert_eq!(bench.events(), []);
    let (program, _) = programs.accept().unwrap();
    assert!(is_closed(&program));

    drop(server);
    assert_eq!(bench.events(), []);
    assert_eq!(kind(bench.host.connect(9)), Some(ErrorKind::BrokenPipe));
    assert!(
        bench.host.next_event().is_none(),
        "the end is not told for ever"
    );
}

#[test]
fn more_answers_than_a_round_takes_come_all_the_same() {
    let mut server = None;
    let mut bench = Bench::with(|path| {
        let (serving, asking) = ConnectServer::new(&path).unwrap();
        server = Some(serving);
        Box::new(RemoteConnector::new(asking))
    });
    let server = server.unwrap();
    // Answers that nobody waits for any more pile up in front of the last one.
    let mut asked = 0;
    while asked <= MAX_STREAMS {
        let wish = bench.host.connect(1).unwrap();
        bench.host.close(wish);
        assert!(server.turn().unwrap());
        asked += 1;
    }
    let last = bench.host.connect(1).unwrap();
    assert!(server.turn().unwrap());
    assert_eq!(bench.events(), [StreamEvent::Gone(last)]);
}

#[test]
fn a_server_is_not_impressed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = ConnectServer::new(&folder.path().join("v")).unwrap();
    for message in [&b"short"[..], &[0; 13], &[0; 4000]] {
        rustix::io::write(&client, message).unwrap();
        assert_eq!(kind(server.turn()), Some(ErrorKind::InvalidData));
    }
    // Who asks and never looks at the answers is cut off, and does not block the server.
    let mut refused = false;
    for _ in 0..10_000 {
        refused |= rustix::io::write(&client, &[0; 12]).is_err();
        if let Err(error) = server.turn() {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            refused = true;
        }
        if refused {
            break;
        }
    }
    assert!(refused);
    drop(client);
    while server.turn().is_ok() {}
}

#[test]
fn a_path_is_taken_only_from_the_dead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    let listener = Listener::new(&path).unwrap();
    let error = Listener::new(&path).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error:?}");
    drop(listener);
    assert!(!path.exists());

    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind, as by a kill");
    drop(Listener::new(&path).unwrap());

    std::fs::write(&path, b"precious").unwrap();
    let error = Listener::new(&path).unwrap_err();
    assert!(matches!(error, ListenError::Occupied { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let long = folder.path().join("x".repeat(200));
    for path in [folder.path().join("no/folder"), long] {
        let error = Listener::new(&path).unwrap_err();
        assert!(matches!(error, ListenError::Host { .. }), "{error:?}");
    }
}

#[test]
fn the_listener_ends_with_the_device() {
    let bench = Bench::new();
    let path = bench.path();
    let Bench {
        listener,
        host,
        folder,
        ..
    } = bench;
    drop(listener);
    assert!(!path.exists());
    drop((host, folder));
}
