use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, mknodat};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};

use crate::escape::{EscapeKeys, Event, Input};
use crate::image::{ImageError, open, open_plain};
use crate::tail::OutputTail;
use crate::terminal::{RawTerminal, restore_all};

fn error(result: Result<File, ImageError>, directory: &Path) -> String {
    let text = result.unwrap_err().to_string();
    text.replace(directory.to_str().unwrap(), "DIR")
}

#[test]
fn images_are_locked_against_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, [0; 512]).unwrap();
    let in_use = "DIR/disk.img is in use by another VM";

    let writer = open(&path, false).unwrap();
    assert_eq!(error(open(&path, false), directory.path()), in_use);
    assert_eq!(error(open(&path, true), directory.path()), in_use);
    drop(open_plain(&path).unwrap());
    let copy = writer.try_clone().unwrap();
    drop(writer);
    assert_eq!(
        error(open(&path, true), directory.path()),
        in_use,
        "a copy holds the lock as well"
    );
    drop(copy);

    let readers = [open(&path, true).unwrap(), open(&path, true).unwrap()];
    let refused = open(&path, false).unwrap_err();
    assert!(matches!(refused, ImageError::Locked { writing: true, .. }));
    drop(readers);
    drop(open(&path, false).unwrap());
}

#[test]
fn a_lock_that_is_about_to_end_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, [0; 512]).unwrap();
    let ended = open(&path, false).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Not before the other thread has found it locked, most likely.
            std::thread::yield_now();
            drop(ended);
        });
        drop(open(&path, false).unwrap());
    });
}

#[test]
fn what_is_no_image_is_refused_by_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = |name: &str| error(open(&at(name), true), directory.path());
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::write(at("file"), b"").unwrap();

    assert_eq!(text("none"), "DIR/none does not exist");
    assert_eq!(text("dangling"), "DIR/dangling does not exist");
    assert_eq!(text(""), "DIR/ is a directory, not a file");
    assert_eq!(text("fifo"), "DIR/fifo is a FIFO, not a file");
    assert_eq!(text("socket"), "DIR/socket is a socket, not a file");
    assert_eq!(text("file/below"), "DIR/file/below cannot be opened");
    let null = open(Path::new("/dev/null"), false).unwrap_err();
    assert_eq!(
        null.to_string(),
        "/dev/null is a character device, not a file"
    );
    let kernel = error(open_plain(&at("fifo")), directory.path());
    assert_eq!(kernel, "DIR/fifo is a FIFO, not a file");
}

#[test]
fn permission_says_what_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open it all the same.
    if File::open(&path).is_err() {
        assert_eq!(
            error(open(&path, true), directory.path()),
            "DIR/secret must not be read"
        );
        assert_eq!(
            error(open(&path, false), directory.path()),
            "DIR/secret must not be written"
        );
    } else {
        assert!(open(&path, false).is_ok());
    }
    let permission = ImageError::Permission {
        path: "a".into(),
        writing: true,
    };
    assert_eq!(permission.to_string(), "a must not be written");
}

#[test]
fn a_read_only_image_cannot_be_written_and_blocks_as_usual() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    fs::write(&path, b"old").unwrap();
    let image = open(&path, true).unwrap();
    assert!(rustix::io::write(&image, b"new").is_err());
    assert!(!fcntl_getfl(&image).unwrap().contains(OFlags::NONBLOCK));
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

fn bytes(bytes: &[u8]) -> Input {
    Input::Bytes(bytes.to_vec())
}

#[test]
fn escape_keys_are_found() {
    let cases: &[(&[u8], &[Input])] = &[
        (b"", &[]),
        (b"ls\r", &[bytes(b"ls\r")]),
        (b"\x01x", &[Input::Event(Event::End)]),
        (b"\x01c", &[Input::Event(Event::Monitor)]),
        (b"\x01h", &[Input::Event(Event::Help)]),
        (b"\x01?", &[Input::Event(Event::Help)]),
        (b"\x01a", &[bytes(b"\x01")]),
        (b"\x01\x01", &[bytes(b"\x01")]),
        (b"\x01\x01x", &[bytes(b"\x01x")]),
        (b"\x01z", &[bytes(b"\x01z")]),
        (b"\x01", &[]),
        (
            b"a\x01cb\x01ac\x01x",
            &[
                bytes(b"a"),
                Input::Event(Event::Monitor),
                bytes(b"b\x01c"),
                Input::Event(Event::End),
            ],
        ),
    ];
    for (typed, wanted) in cases {
        assert_eq!(EscapeKeys::default().feed(typed), *wanted, "{typed:?}");
        // In two pieces it is the same, but for where the bytes are split.
        for at in 0..=typed.len() {
            let mut keys = EscapeKeys::default();
            let mut found = keys.feed(&typed[..at]);
            found.extend(keys.feed(&typed[at..]));
            assert_eq!(flat(&found), flat(wanted), "{typed:?} at {at}");
        }
    }
}

/// Each byte and event by itself.
fn flat(found: &[Input]) -> Vec<Result<u8, Event>> {
    let each = found.iter().map(|input| match input {
        Input::Bytes(bytes) => bytes.iter().map(|byte| Ok(*byte)).collect(),
        Input::Event(event) => vec![Err(*event)],
    });
    each.collect::<Vec<_>>().concat()
}

#[test]
fn the_tail_is_bounded_and_shows_control_characters() {
    let mut tail = OutputTail::new(16, 2);
    assert!(tail.is_empty());
    assert_eq!(tail.to_string(), "");
    tail.push(b"one\r\ntwo\r\nthree");
    assert_eq!(tail.to_string(), "two\nthree\n");
    tail.push(b"\x1b[2J\x07\xff\tx");
    assert_eq!(tail.to_string(), "o\nthree\\u{1b}[2J\\u{7}\u{fffd}\tx\n");
    tail.push(&[b'x'; 1000]);
    tail.push(b"end\n");
    assert_eq!(tail.to_string(), "xxxxxxxxxxxxend\n");

    let mut nothing = OutputTail::new(0, 5);
    nothing.push(b"text");
    assert!(nothing.is_empty());
    let mut usual = OutputTail::default();
    (0..1000).for_each(|line| usual.push(format!("line {line}\n").as_bytes()));
    let text = usual.to_string();
    assert_eq!(text.lines().count(), 20);
    assert!(text.starts_with("line 980\n") && text.ends_with("line 999\n"));
}

/// A pseudo-terminal: the user's side, and the program's, which lives as long as the test process.
fn pseudo_terminal() -> (OwnedFd, BorrowedFd<'static>) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let program = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    let program: &'static OwnedFd = Box::leak(Box::new(program));
    (user, program.as_fd())
}

fn modes(terminal: impl AsFd) -> String {
    let modes: Termios = tcgetattr(terminal).unwrap();
    format!("{modes:?}")
}

/// One test for all: `restore_all` acts on every terminal of the process.
#[test]
fn a_terminal_is_put_back_on_every_way_out() {
    let (_user, terminal) = pseudo_terminal();
    let before = modes(terminal);
    let enter = || RawTerminal::enter(terminal).unwrap().unwrap();

    let raw = enter();
    let found = tcgetattr(terminal).unwrap();
    let off = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    assert!(!found.local_modes.intersects(off));
    assert!(found.output_modes.contains(OutputModes::OPOST));
    drop(raw);
    assert_eq!(modes(terminal), before, "dropped");

    let raw = enter();
    restore_all();
    assert_eq!(modes(terminal), before, "from a signal handler");
    let mut other = tcgetattr(terminal).unwrap();
    other.local_modes -= LocalModes::ECHO;
    tcsetattr(terminal, OptionalActions::Now, &other).unwrap();
    let changed = modes(terminal);
    restore_all();
    drop(raw);
    assert_eq!(modes(terminal), changed, "once is enough");
    let original = enter();
    drop(original);
    assert_eq!(modes(terminal), changed, "as it was when it was entered");
    other.local_modes |= LocalModes::ECHO;
    tcsetattr(terminal, OptionalActions::Now, &other).unwrap();

    let (outer, inner) = (enter(), enter());
    restore_all();
    assert_eq!(modes(terminal), before, "entered twice");
    drop((inner, outer));
    assert_eq!(modes(terminal), before);

    // The hook runs before anything is dropped, as where panics abort.
    let raw = enter();
    let panicked = std::thread::spawn(|| panic!("as a test")).join();
    assert!(panicked.is_err());
    assert_eq!(modes(terminal), before, "after a panic");
    drop(raw);

    let (_user, second) = pseudo_terminal();
    let second_before = modes(second);
    let both = (enter(), RawTerminal::enter(second).unwrap().unwrap());
    restore_all();
    assert_eq!((modes(terminal), modes(second)), (before, second_before));
    drop(both);
}

#[test]
fn what_is_no_terminal_is_left_alone() {
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let read: &'static OwnedFd = Box::leak(Box::new(read));
    assert!(RawTerminal::enter(read.as_fd()).unwrap().is_none());
    let file: &'static File = Box::leak(Box::new(File::open("/dev/null").unwrap()));
    assert!(RawTerminal::enter(file.as_fd()).unwrap().is_none());
}
