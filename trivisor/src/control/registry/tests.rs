use std::sync::Barrier;

use super::*;
use crate::failure::USAGE;

/// What a VM leaves behind that is killed.
fn leave_a_socket(all: &Path, name: &str) {
    fs::create_dir(all.join(name)).unwrap();
    drop(UnixListener::bind(all.join(name).join(SOCKET)).unwrap());
}

#[test]
fn a_name_is_free_again_when_its_vm_has_ended_or_was_killed() {
    let all = tempfile::tempdir().unwrap();
    let first = Registration::among(all.path(), "vm", 1).unwrap();
    let second = Registration::among(all.path(), "vm", 2).unwrap_err();
    assert_eq!(second.status, USAGE);
    assert!(second.what.contains("\"vm\" is running"), "{}", second.what);
    let left: Vec<_> = fs::read_dir(all.path().join("vm")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    drop(first);
    assert!(!all.path().join("vm").exists());

    leave_a_socket(all.path(), "vm");
    // It was killed before it was known, too, and had the number that we have.
    drop(UnixListener::bind(all.path().join("vm/new.3")).unwrap());
    let third = Registration::among(all.path(), "vm", 3).unwrap();
    assert_eq!(knock(&all.path().join("vm").join(SOCKET)), Ok(()));
    drop(third);
    assert!(!all.path().join("vm").exists());
}

#[test]
fn only_those_that_run_are_listed_and_what_killed_ones_left_goes() {
    let all = tempfile::tempdir().unwrap();
    let second = Registration::among(all.path(), "b", 1).unwrap();
    let _first = Registration::among(all.path(), "a", 1).unwrap();
    leave_a_socket(all.path(), "killed");
    assert_eq!(running_among(all.path()), ["a", "b"]);
    assert!(!all.path().join("killed").exists());
    drop(second);
    assert_eq!(running_among(all.path()), ["a"]);

    // While another takes a name, nothing is removed.
    leave_a_socket(all.path(), "killed");
    let lock = File::open(all.path()).unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert_eq!(running_among(all.path()), ["a"]);
    assert!(all.path().join("killed").exists());
    assert_eq!(running_among(&all.path().join("none")), [""; 0]);
}

#[test]
fn one_that_lets_nobody_in_still_has_its_name() {
    let all = tempfile::tempdir().unwrap();
    let _busy = Registration::among(all.path(), "vm", 1).unwrap();
    let socket = all.path().join("vm").join(SOCKET);
    let address = SocketAddrUnix::new(&*socket).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = stream_socket().unwrap();
        match rustix::net::connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(error) => break assert_eq!(error, Errno::AGAIN),
        }
    }
    assert_eq!(
        Registration::among(all.path(), "vm", 2).unwrap_err().status,
        USAGE
    );
}

#[test]
fn of_many_that_take_a_name_at_once_exactly_one_gets_it() {
    const STARTS: u32 = 8;
    for round in 0..300 {
        let all = tempfile::tempdir().unwrap();
        if round % 2 == 0 {
            leave_a_socket(all.path(), "vm");
        }
        let together = Barrier::new(STARTS as usize);
        let results: Vec<_> = std::thread::scope(|scope| {
            let start = |number| {
                let (all, together) = (all.path(), &together);
                scope.spawn(move || {
                    together.wait();
                    Registration::among(all, "vm", number)
                })
            };
            let threads: Vec<_> = (0..STARTS).map(start).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let (winners, losers): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(winners.len(), 1, "round {round}: {losers:?}");
        for loser in losers {
            let failure = loser.unwrap_err();
            assert_eq!(failure.status, USAGE, "{failure:?}");
        }
        // Whoever connects reaches the winner, and no other.
        let winner = winners.into_iter().next().unwrap().unwrap();
        let _client = UnixStream::connect(all.path().join("vm").join(SOCKET)).unwrap();
        winner.listener().accept().unwrap();
    }
}

#[test]
fn names_change_hands_while_others_end() {
    let all = tempfile::tempdir().unwrap();
    let owners = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (all, owners) = (all.path(), &owners);
            scope.spawn(move || {
                for _ in 0..500 {
                    match Registration::among(all, "vm", number) {
                        Ok(registration) => {
                            let others = owners.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            assert_eq!(others, 0, "two VMs have one name");
                            owners.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(registration);
                        }
                        Err(failure) => assert_eq!(failure.status, USAGE, "{failure:?}"),
                    }
                }
            });
        }
    });
}
