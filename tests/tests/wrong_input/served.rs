//! What can be wrong with programs that serve devices.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use trivisor_tests::trivisor;

use super::pv::{start, told, told_by};
use super::write;

#[test]
fn nobody_serves_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = path.display().to_string();
    for flag in ["--disk", "--net"] {
        let option = format!("vhost-user={socket}");
        let advice = "start the program that serves it first";
        let missing = format!("{flag} vhost-user: there is no socket {socket}");
        told(&[flag, &option], 4, &missing, advice);
        drop(UnixListener::bind(&path).unwrap());
        let unserved = format!("{flag} vhost-user: nobody serves the socket {socket}");
        told(&[flag, &option], 4, &unserved, advice);
        fs::remove_file(&path).unwrap();
        // Somebody who hangs up.
        let listener = UnixListener::bind(&path).unwrap();
        let hang_up = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let wrong = "cannot be used: the connection is closed";
        told(&[flag, &option], 4, wrong, "vhost-user back-end");
        hang_up.join().unwrap();
        fs::remove_file(&path).unwrap();
        // Somebody who never answers: his queue takes the connection.
        let _silent = UnixListener::bind(&path).unwrap();
        told(&[flag, &option], 4, "it does not answer", "no other VM");
        fs::remove_file(&path).unwrap();
    }
    let plain = write(folder.path(), "plain", b"");
    let option = format!("vhost-user={}", plain.display());
    told(&["--disk", &option], 4, "nobody serves", "first");
}

#[test]
fn options_that_the_other_program_has() {
    for option in [
        "ro",
        "format=raw",
        "cache=none",
        "serial=A",
        "bps=1M",
        "iops=5",
    ] {
        let disk = format!("vhost-user=/run/x.sock,{option}");
        told(
            &["--disk", &disk],
            2,
            "the program behind it has the image",
            "queues= and queue-size=",
        );
    }
    let pmem = "vhost-user=/run/x.sock,bus=pmem";
    told(&["--disk", pmem], 2, "no such option", "bus=virtio");
    told(
        &["--mode", "basic", "--share", "/,root"],
        2,
        "--share: mode basic has no virtio devices",
        "--mode pv",
    );
}

#[test]
fn shares() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let advice = "--share takes a folder";
    let missing = format!("{path}/none,data");
    told(&["--share", &missing], 2, "there is no folder", advice);
    let plain = write(folder.path(), "plain", b"");
    let plain = format!("{},data", plain.display());
    told(&["--share", &plain], 2, "is no folder", advice);
    let twice = format!("{path},data");
    told(
        &["--share", &twice, "--share", &twice],
        2,
        "two folders have the tag \"data\"",
        "a tag of its own",
    );

    // No virtiofsd in the search path, and none in the places where distributions have it.
    let hide = "for file in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd /usr/lib/virtiofsd; do
            [ -e $file ] && mount --bind /dev/null $file
        done
        PATH=/nowhere exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", hide, "sh"]);
    command.arg(trivisor()).args(start(&["--share", &twice]));
    told_by(
        &mut command,
        4,
        "--share: the program virtiofsd is not installed",
        "install the package virtiofsd",
    );

    // One that gives up.
    let tools = tempfile::tempdir().unwrap();
    let script = b"#!/bin/sh\n[ \"$1\" = --help ] && echo --shared-dir --readonly && exit\n\
                   echo no space left >&2; exit 1\n";
    let program = write(tools.path(), "virtiofsd", script);
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, rights).unwrap();
    let mut command = Command::new(trivisor());
    let search = format!("{}:/usr/bin:/bin", tools.path().display());
    command
        .args(start(&["--share", &twice]))
        .env("PATH", search);
    told_by(
        &mut command,
        4,
        "virtiofsd gave up: no space left",
        "virtiofsd",
    );
}
