//! Virtio from inside: a bare-metal guest with drivers of its own, over PCI and over MMIO. Its drivers know split
//! virtqueues alone; packed ones are tested in the crates.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use trivisor_tests::{Ended, Session, bare_metal, kvm_wanted};

const TRANSPORTS: [&str; 2] = ["pci", "mmio"];
const SECTOR: usize = 512;
/// What the guest's frames are: destination, source, type.
const HEADER: usize = 14;
const PATIENCE: Duration = Duration::from_secs(300);

/// Starts the guest on the pv board with no device that was not asked for.
fn start(transport: &str, script: &str, more: &[&str]) -> Session {
    let mut options = vec!["--mode", "pv", "--transport", transport];
    if !more.contains(&"--rng") {
        options.push("--no-rng");
    }
    options.extend(more);
    Session::guest(script, &options)
}

/// The end of a guest whose commands have all succeeded.
fn succeed(vm: Session) -> String {
    let Ended { status, output } = vm.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(!output.contains("err "), "{output}");
    output
}

/// An image whose sectors are filled with their numbers.
fn image(path: &Path, sectors: u8) {
    let bytes: Vec<u8> = (0..sectors).flat_map(|number| [number; SECTOR]).collect();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_disk_reads_writes_and_flushes() {
    if !kvm_wanted("virtio block") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for transport in TRANSPORTS {
        let path = folder.path().join(transport);
        image(&path, 64);
        let disk = format!("{},serial=D15C", path.display());
        let script = "block 0 info; block 0 read 3 1; block 0 read 8 32; block 0 write 5 4 0xa5; block 0 flush; \
                      block 0 read 4 6; block 0 interrupt 8; serial; poweroff";
        let mut vm = start(transport, script, &["--disk", &disk]);
        vm.expect("ok block sectors=64 readonly=false id=D15C");
        vm.expect("ok block read=1 at=3 first=0x3 sum=1536");
        let sum = (8..40).sum::<usize>() * SECTOR;
        vm.expect(&format!("ok block read=32 at=8 first=0x8 sum={sum}"));
        vm.expect("ok block flushed");
        // While the guest still runs: what it has flushed is in the file.
        let written = fs::read(&path).unwrap();
        assert!(
            written[5 * SECTOR..9 * SECTOR]
                .iter()
                .all(|byte| *byte == 0xa5)
        );
        assert!(
            written[4 * SECTOR..5 * SECTOR]
                .iter()
                .all(|byte| *byte == 4)
        );
        assert!(
            written[9 * SECTOR..10 * SECTOR]
                .iter()
                .all(|byte| *byte == 9)
        );
        let sum = (4 + 4 * 0xa5 + 9) * SECTOR;
        vm.expect(&format!("ok block read=6 at=4 first=0x4 sum={sum}"));
        vm.expect("ok block interrupts=8");
        // Past the end, and on from there.
        vm.expect("ok serial");
        vm.type_line("block 0 read 60 8");
        vm.expect("err block driver I/O error");
        vm.type_line("block 0 read 63 1");
        vm.expect("ok block read=1 at=63 first=0x3f");
        vm.type_line("end");
        assert_eq!(vm.wait().status.code(), Some(0));
    }
}

#[test]
fn a_read_only_disk_refuses_to_be_written() {
    if !kvm_wanted("read-only virtio block") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    image(&path, 8);
    let before = fs::read(&path).unwrap();
    let disk = format!("{},ro", path.display());
    for transport in TRANSPORTS {
        let script = "block 0 info; block 0 write 0 1 0xff; block 0 read 7 1; poweroff";
        let mut vm = start(transport, script, &["--disk", &disk]);
        vm.expect("readonly=true");
        vm.expect("err block driver");
        vm.expect("ok block read=1 at=7 first=0x7");
        assert_eq!(vm.wait().status.code(), Some(0));
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn pci_shows_the_same_by_ports_and_by_memory() {
    if !kvm_wanted("PCI") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    image(&path, 8);
    // Far from where the board puts anything, in its window.
    let script = "pci; virtio; bar 0 0xd8000000; decode 0; block 0 read 2 1; poweroff";
    let output = succeed(start("pci", script, &["--disk", path.to_str().unwrap()]));
    for wanted in [
        "ok pci functions=2 ecam=same",
        "vendor=0x1af4 device=0x1042",
        "ok virtio devices=1 by=pci",
        "ok bar",
        "ok decode",
        "ok block read=1 at=2 first=0x2",
    ] {
        assert!(output.contains(wanted), "{wanted:?} is not in\n{output}");
    }
}

#[test]
fn functions_share_a_pin_and_mask_their_messages() {
    if !kvm_wanted("PCI interrupts") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Four lines for the first pins of the devices: the first disk and the fifth share one.
    let disks: Vec<String> = (0..5)
        .map(|number| {
            let path = folder.path().join(format!("disk{number}"));
            image(&path, 8);
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let options: Vec<&str> = disks.iter().flat_map(|disk| ["--disk", disk]).collect();
    let output = succeed(start("pci", "intx 0 4; msix 1; poweroff", &options));
    assert!(output.contains("ok intx"), "{output}");
    assert!(output.contains("ok msix"), "{output}");
}

#[test]
fn devices_over_mmio_are_found_by_table_and_by_command_line() {
    if !kvm_wanted("virtio over MMIO") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    image(&path, 8);
    let disk = path.to_str().unwrap();
    let script = "virtio; block 0 interrupt 2; poweroff";
    let output = succeed(start("mmio", script, &["--disk", disk]));
    let found = "virtio 0 type=2 bus=mmio at=0xe8000000 pin=16";
    assert!(output.contains(found), "{output}");
    assert!(output.contains("ok virtio devices=1 by=dsdt"), "{output}");

    // As a Linux that leaves ACPI alone is told.
    let kernel = bare_metal();
    let arguments = [
        "run",
        "--timeout",
        "600",
        "--mode",
        "pv",
        "--transport",
        "mmio",
        "--no-rng",
    ];
    let mut arguments = arguments.map(String::from).to_vec();
    arguments.extend(["--kernel".into(), kernel.display().to_string()]);
    arguments.extend(["--disk".into(), disk.into()]);
    arguments.extend(["--cmdline".into(), format!("acpi=off -- {script}")]);
    let output = succeed(Session::start(&arguments));
    assert!(output.contains(found), "{output}");
    assert!(
        output.contains("ok virtio devices=1 by=command-line"),
        "{output}"
    );
}

/// A network of the test's making, of one card.
struct Wire {
    listener: UnixListener,
    link: String,
    _folder: tempfile::TempDir,
}

impl Wire {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            link: format!("socket={},mac=52:54:00:12:34:56", path.display()),
            _folder: folder,
        }
    }

    fn accept(&self) -> UnixStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// A frame of QEMU's stream protocol: a length of 4 bytes before it.
fn receive(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
    stream.read_exact(&mut frame).unwrap();
    frame
}

fn send(stream: &mut UnixStream, frame: &[u8]) {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, frame].concat()).unwrap();
}

fn frame(destination: [u8; 6], text: &[u8]) -> Vec<u8> {
    let source = [0x52, 0x54, 0, 0, 0, 1];
    let mut frame = [&destination[..], &source, &[0x88, 0xb5], text].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn a_card_sends_and_receives_frames() {
    if !kvm_wanted("virtio net") {
        return;
    }
    const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    for transport in TRANSPORTS {
        let wire = Wire::new();
        let script = "net 0 mac; net 0 send over the wire; net 0 receive; net 0 interrupt; net 0 echo 64; poweroff";
        let mut vm = start(transport, script, &["--net", &wire.link]);
        let mut stream = wire.accept();
        vm.expect("ok net mac=52:54:00:12:34:56");
        let sent = receive(&mut stream);
        assert_eq!(sent[..6], [0xff; 6]);
        assert_eq!(sent[6..12], CARD);
        assert_eq!(&sent[HEADER..HEADER + 13], b"over the wire");
        vm.expect("net ready");
        send(&mut stream, &frame(CARD, b"to the guest"));
        vm.expect("ok net received=60 text=to the guest");
        vm.expect("net ready");
        send(&mut stream, &frame(CARD, b"with an interrupt"));
        vm.expect("text=with an interrupt");
        vm.expect("net ready");
        // More than its ring holds, of all lengths that a frame may have.
        for number in 0..64_usize {
            let text = vec![u8::try_from(number).unwrap(); 46 + number * 23];
            let asked = frame(CARD, &text);
            send(&mut stream, &asked);
            let answered = receive(&mut stream);
            assert_eq!(answered[..6], asked[6..12]);
            assert_eq!(answered[6..12], CARD);
            assert_eq!(answered[12..], asked[12..], "frame {number}");
        }
        vm.expect("ok net echoed=64");
        succeed(vm);
    }
}

#[test]
fn entropy_comes_in_any_amount() {
    if !kvm_wanted("virtio rng") {
        return;
    }
    for transport in TRANSPORTS {
        let script = "rng 1; rng 64; rng 100000; poweroff";
        let output = succeed(start(transport, script, &["--rng"]));
        assert!(output.contains("ok rng bytes=1 "), "{output}");
        assert!(output.contains("ok rng bytes=64 "), "{output}");
        let differ = output.split("ok rng bytes=100000 ").nth(1).unwrap();
        let differ = differ.split("differ=").nth(1).unwrap();
        let differ: u32 = differ.lines().next().unwrap().trim().parse().unwrap();
        // Of random bytes one in 256 is its neighbour's like: 390 of them, and no more than twice as many.
        assert!((99_200..99_999).contains(&differ), "{output}");
    }
}

#[test]
fn streams_are_opened_from_both_sides() {
    if !kvm_wanted("virtio vsock") {
        return;
    }
    for transport in TRANSPORTS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vsock");
        let vsock = format!("7,{}", path.display());
        // A program of the host, at the port that the guest asks for.
        let listener = UnixListener::bind(folder.path().join("vsock_1024")).unwrap();
        let script = "vsock connect 1024 from the guest; vsock connect 1025 to nobody; vsock listen 52; poweroff";
        let mut vm = start(transport, script, &["--vsock", &vsock]);
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "from the guest\n");
        (&stream).write_all(b"from the host\n").unwrap();
        // The guest has shut its side.
        assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
        drop(stream);
        vm.expect("vsock cid=7");
        vm.expect("vsock received=from the host");
        vm.expect("ok vsock received=14");
        vm.expect("ok vsock received=0 end=Reset");

        vm.expect("vsock listening=52");
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"CONNECT 52\n").unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("OK "), "{line}");
        // More than the guest's buffer holds: it has to give credit.
        for round in 0..16_u8 {
            let asked = vec![round; 700];
            stream.write_all(&asked).unwrap();
            let mut answered = vec![0; 700];
            reader.read_exact(&mut answered).unwrap();
            assert_eq!(answered, asked);
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        vm.expect("ok vsock echoed=11200 end=Shutdown");
        succeed(vm);
    }
}

#[test]
fn a_console_takes_standard_input_and_output() {
    if !kvm_wanted("virtio console") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for transport in TRANSPORTS {
        // What the guest's commands say goes by the serial port.
        let said = folder.path().join(transport);
        let serial = format!("file:{}", said.display());
        let script = "console 0 write shown; console 0 read; poweroff";
        let more = ["--console", "stdio", "--serial", &serial];
        let mut vm = start(transport, script, &more);
        vm.expect("shown");
        // What comes before the driver's reset is gone with it.
        let start = std::time::Instant::now();
        while !fs::read_to_string(&said).unwrap().contains("console ready") {
            assert!(start.elapsed() < PATIENCE, "it does not read");
            let _pause = Command::new("sleep").arg("0.05").status();
        }
        vm.type_line("typed");
        let Ended { status, output } = vm.wait();
        assert_eq!(status.code(), Some(0), "{output}");
        let said = fs::read_to_string(&said).unwrap();
        assert!(said.contains("typed") && !said.contains("err "), "{said}");
    }
}

#[test]
fn a_console_goes_to_a_file() {
    if !kvm_wanted("virtio console in a file") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hvc0");
    let console = format!("file:{}", path.display());
    for transport in TRANSPORTS {
        let script = "console 0 write kept; poweroff";
        succeed(start(transport, script, &["--console", &console]));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("kept"), "{text}");
    }
}

#[test]
fn persistent_memory_is_written_and_flushed() {
    if !kvm_wanted("virtio pmem") {
        return;
    }
    const SIZE: usize = 2 << 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pmem");
    fs::write(&path, vec![0x11; SIZE]).unwrap();
    let disk = format!("{},bus=pmem", path.display());
    let script = "virtio-pmem 0 read 0x1fffff; virtio-pmem 0 write 0x12345 0xa5; virtio-pmem 0 flush; \
                  virtio-pmem 0 flush; serial; poweroff";
    let mut vm = start("mmio", script, &["--disk", &disk]);
    vm.expect("length=0x200000 byte=0x11");
    vm.expect("ok virtio-pmem flush ret=0x0");
    vm.expect("ok virtio-pmem flush ret=0x0");
    vm.expect("ok serial");
    let written = fs::read(&path).unwrap();
    assert_eq!((written[0x12344], written[0x12345]), (0x11, 0xa5));
    vm.type_line("end");
    assert_eq!(vm.wait().status.code(), Some(0));
}
