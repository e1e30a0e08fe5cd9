//! What can be wrong with virtio devices: each says what failed, and what to do.

use std::fs;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use trivisor_tests::{Session, bare_metal, kvm_wanted, trivisor};

use super::{refused, run, with_kernel, write};

/// Expects this status of `trivisor run` with a good kernel, `what` in the first line and `advice` in the second.
pub(super) fn told(options: &[&str], status: i32, what: &str, advice: &str) {
    let mut command = Command::new(trivisor());
    told_by(command.args(start(options)), status, what, advice);
}

/// As [`told`], by any command.
pub(super) fn told_by(command: &mut Command, status: i32, what: &str, advice: &str) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {text}");
    let mut lines = text.lines();
    let mut expect = |start: &str, wanted: &str| {
        let line = lines.next().unwrap_or_default();
        assert!(
            line.starts_with(start) && line.contains(wanted),
            "{command:?}: {wanted:?} is not in its line of {text}"
        );
    };
    expect("trivisor: ", what);
    expect("  ", advice);
    assert_eq!(lines.next(), None, "{text}");
}

/// The words that start a guest.
pub(super) fn start(options: &[&str]) -> Vec<String> {
    let kernel = bare_metal().display().to_string();
    let words = ["run", "--timeout", "60", "--kernel", &kernel];
    words
        .iter()
        .chain(options)
        .copied()
        .map(Into::into)
        .collect()
}

/// `trivisor disk create` with these words.
fn make(words: &[&str]) {
    let (status, text) = run(&[&["disk", "create"], words].concat());
    assert_eq!(status, Some(0), "{words:?}: {text}");
}

#[test]
fn options() {
    for (flag, value, wanted) in [
        ("--disk", "a,queues=0", "1 to 64"),
        ("--disk", "a,queue-size=3", "a power of two from 4 to 32768"),
        ("--disk", "a,serial=123456789012345678901", "1 to 20"),
        ("--disk", "a,bus=scsi", "bus=virtio|pmem|ide"),
        ("--disk", "a,format=vdi", "format=raw|qcow2|vmdk"),
        ("--disk", "a,cache=some", "cache=writeback|none|unsafe"),
        ("--disk", "a,iops=many", "no size"),
        ("--disk", ",ro", "the image's name is missing"),
        (
            "--net",
            "bridge",
            "user, tap=NAME, socket=PATH, vhost-user=SOCKET or none",
        ),
        ("--net", "user,model=e1000", "needs mode hvm"),
        ("--net", "user,mac=01:02:03:04:05:06", "address of a group"),
        ("--net", "user,queues=2", "needs a tap"),
        ("--net", "user,forward=tcp:80", "is no forward"),
        ("--net", "tap=t,forward=tcp:1:2", "needs user"),
        ("--vsock", "2,/run/a", "the guest's number is 3 to"),
        ("--vsock", "3", "CID,PATH"),
        ("--transport", "isa", "pci or mmio"),
    ] {
        refused(&["run", flag, value], 2, wanted);
    }
    refused(&["balloon", "no-such-vm", "64M"], 2, "no-such-vm");
    refused(&["balloon", "no-such-vm", "lots"], 2, "is no size");
    for device in [
        &["--net", "user"][..],
        &["--disk", "a.img,bus=virtio"],
        &["--vsock", "3,/run/a"],
        &["--rng"],
        &["--balloon"],
        &["--transport", "mmio"],
        &["--packed"],
    ] {
        let what = format!("{}: mode basic has no virtio devices", device[0]);
        told(
            &[&["--mode", "basic"], device].concat(),
            2,
            &what,
            "--mode pv",
        );
    }
    let folder = tempfile::tempdir().unwrap();
    for (text, wanted) in [
        (
            "[[disk]]\nfile = 'a'\nqueues = 0\n",
            "line 3: \"queues=0\": 1 to 64",
        ),
        (
            "[[net]]\nlink = 'user'\nforward = 'a'\n",
            "unknown key \"forward\"",
        ),
        ("[vm]\nvsock = '3'\n", "line 2: \"3\": CID,PATH"),
    ] {
        let path = write(folder.path(), "vm.toml", text.as_bytes());
        refused(&["run", path.to_str().unwrap()], 2, wanted);
    }
}

#[test]
fn printed_settings_are_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let print = |words: &[&str]| {
        let mut command = Command::new(trivisor());
        let output = command.args(["run", "--print-config"]).args(words).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for (words, mode) in [
        (&["--kernel", "a"][..], "basic"),
        (&["--disk", "a.img,bus=pmem"], "basic"),
        (&["--disk", "a.img", "--no-rng"], "pv"),
        (
            &[
                "--disk",
                "a.qcow2,ro,format=qcow2,cache=none,queues=2,queue-size=64,serial=A,bps=1M,iops=9",
                "--net",
                "user,forward=tcp:8080:80",
                "--net",
                "tap=tap0,queues=2,mac=52:54:00:12:34:56",
                "--vsock",
                "3,/run/a.vsock",
                "--balloon",
                "--transport",
                "mmio",
                "--packed",
            ],
            "pv",
        ),
    ] {
        let printed = print(words);
        assert!(printed.contains(&format!("mode = \"{mode}\"")), "{printed}");
        let path = write(folder.path(), "vm.toml", printed.as_bytes());
        assert_eq!(print(&[path.to_str().unwrap()]), printed);
    }
    refused(
        &["run", "--print-config", "--mode", "basic", "--net", "none"],
        2,
        "mode basic has no virtio devices",
    );
}

#[test]
fn images() {
    if !kvm_wanted("images") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let disk = |image: &str, what: &str, advice: &str| told(&["--disk", image], 2, what, advice);

    disk(
        &at("gone.img"),
        "gone.img does not exist",
        "trivisor disk create",
    );
    disk(
        folder.path().to_str().unwrap(),
        "is a directory",
        "--disk takes a file",
    );
    write(folder.path(), "odd.img", &[0; 1000]);
    disk(
        &at("odd.img"),
        "odd.img: its 1000 bytes are not a positive multiple of the sector",
        "truncate",
    );

    make(&[&at("b.qcow2"), "1M", "--format", "qcow2"]);
    let (a, b) = (at("a.qcow2"), at("b.qcow2"));
    let on_top = [
        "--format",
        "qcow2",
        "--backing",
        &b,
        "--backing-format",
        "qcow2",
    ];
    make(&[&[a.as_str()], &on_top[..]].concat());
    fs::remove_file(&b).unwrap();
    disk(
        &a,
        "b.qcow2 does not exist",
        "qemu-img info --backing-chain",
    );
    symlink(&a, &b).unwrap();
    disk(&a, "lead back to itself", "qemu-img rebase");

    make(&[&at("c.qcow2"), "1M"]);
    fs::copy(at("c.qcow2"), at("c.img")).unwrap();
    disk(
        &at("c.img"),
        "is named like a raw image and begins like a qcow2 one",
        "format=",
    );
    let file = fs::File::options().write(true).open(at("c.qcow2"));
    // Bits of a cluster: 9 to 21 in truth.
    file.unwrap().write_all_at(&[0, 0, 0, 77], 20).unwrap();
    disk(&at("c.qcow2"), "is no valid qcow2 image", "qemu-img check");

    write(
        folder.path(),
        "d.vmdk",
        b"# Disk DescriptorFile\nversion=1\n",
    );
    disk(&at("d.vmdk"), "vmdk images are read only", "add ,ro");
    let read_only = format!("{},ro", at("d.vmdk"));
    disk(&read_only, "its 0 bytes are not", "trivisor disk create");
    write(
        folder.path(),
        "d.vmdk",
        &[&b"KDMV"[..], &[0xff; 4092]].concat(),
    );
    disk(&read_only, "is no valid vmdk image", "another format=");
}

#[test]
fn an_image_has_one_vm() {
    if !kvm_wanted("an image has one VM") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let images = [at("disk.img"), at("disk.qcow2")];
    make(&[&images[0], "1M"]);
    make(&[&images[1], "1M"]);
    let name = format!("test-image-{}", std::process::id());
    let [raw, qcow2] = images.each_ref().map(String::as_str);
    let mut first = Session::guest("serial", &["--name", &name, "--disk", raw, "--disk", qcow2]);
    first.expect("ok serial");
    for image in [raw, qcow2] {
        told(&["--disk", image], 2, "in use by another VM", "trivisor ps");
        let read_only = format!("{image},ro");
        told(
            &["--disk", &read_only],
            2,
            "in use by another VM",
            "trivisor ps",
        );
    }
    // Nor has a machine a balloon that was not asked for.
    told_by(
        Command::new(trivisor()).args(["balloon", &name, "64M"]),
        4,
        "no balloon: start it with --balloon",
        "trivisor info",
    );
    first.type_line("exit");
    assert_eq!(first.wait().status.code(), Some(0));
    with_kernel(&["--disk", raw, "--disk", qcow2], 0, "");
}

#[test]
fn sockets() {
    if !kvm_wanted("sockets") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let net = |name: &str, what: &str, advice: &str| {
        told(&["--net", &format!("socket={}", at(name))], 4, what, advice);
    };
    net(
        "gone",
        "there is no socket",
        "start the program that serves it first",
    );
    drop(UnixListener::bind(at("unserved")).unwrap());
    net(
        "unserved",
        "nobody serves the socket",
        "start the program that serves it first",
    );
    net(&"a".repeat(200), "cannot be used", "name a UNIX socket");

    let vsock = |name: &str, what: &str, advice: &str| {
        told(&["--vsock", &format!("3,{}", at(name))], 2, what, advice);
    };
    let _listener = UnixListener::bind(at("served")).unwrap();
    vsock("served", "is in use", "trivisor ps");
    write(folder.path(), "file", b"precious");
    vsock("file", "is there already", "name another path");
    assert_eq!(fs::read(at("file")).unwrap(), b"precious");
    vsock(
        "none/vsock",
        "cannot be made",
        "in a folder that this user may write",
    );
    vsock(&"a".repeat(200), "cannot be made", "at most 107 bytes");
}

/// `trivisor run` with `options` in a network namespace, after what `prepare` does there.
fn in_namespace(prepare: &str, options: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    command.arg(format!("set -e; {prepare} \"$@\"")).arg("sh");
    command.arg(trivisor()).args(start(options));
    command
}

#[test]
fn taps() {
    if !kvm_wanted("taps") {
        return;
    }
    let tap = |prepare: &str, link: &str, status, what: &str, advice: &str| {
        told_by(
            &mut in_namespace(prepare, &["--net", link]),
            status,
            what,
            advice,
        );
    };
    tap(
        "",
        "tap=nosuch",
        4,
        "there is no tap nosuch",
        "ip tuntap add dev nosuch mode tap",
    );
    tap("", "tap=lo", 2, "lo is no tap", "ip tuntap list");
    tap(
        "",
        "tap=a/b",
        2,
        "is no name of a network interface",
        "ip link",
    );
    tap(
        "ip tuntap add dev one mode tap;",
        "tap=one,queues=2",
        2,
        "has one queue, not 2",
        "multi_queue",
    );
    let without = "setpriv --bounding-set=-net_admin";
    tap(
        without,
        "tap=nosuch",
        4,
        "the right to make one is lacking",
        "let an administrator make it for this user",
    );
    tap(
        &format!("ip tuntap add dev theirs mode tap user 12345; {without}"),
        "tap=theirs",
        4,
        "the tap theirs belongs to another user",
        "ip tuntap add dev theirs mode tap user",
    );
}

#[test]
fn user_networks() {
    if !kvm_wanted("user networks") {
        return;
    }
    let nowhere = tempfile::tempdir().unwrap();
    told_by(
        Command::new(trivisor())
            .args(start(&["--net", "user"]))
            .env("PATH", nowhere.path()),
        4,
        "passt is not installed",
        "install the package passt, or choose --net tap=NAME",
    );
    told_by(
        &mut in_namespace("ip link set lo up;", &["--net", "user"]),
        4,
        "--net user: passt gave up",
        "choose another network",
    );
    let network = "ip link set lo up
        ip link add guest0 type veth peer name other0
        ip addr add 10.10.0.2/24 dev guest0 && ip link set guest0 up
        ip route add default via 10.10.0.1
        busybox httpd -p 127.0.0.1:8080 -h /
        ";
    told_by(
        &mut in_namespace(network, &["--net", "user,forward=tcp:8080:80"]),
        4,
        "127.0.0.1/8080:80",
        "forward=",
    );
}
