//! Devices whose queues other programs serve, and which go on when these are killed and come back.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use trivisor_tests::{Session, initramfs, kvm_wanted, linux_vmlinux, trivisor};

const SECTOR: usize = 512;

/// A program that goes with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // One that was killed before is no error.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// qemu-storage-daemon with an image at a socket.
fn storage_daemon(image: &Path, socket: &Path) -> Program {
    let (image, socket) = (image.display(), socket.display());
    let mut command = Command::new("qemu-storage-daemon");
    command.args([
        "--blockdev",
        &format!("driver=file,node-name=image,filename={image}"),
        "--export",
        &format!(
            "type=vhost-user-blk,id=disk,node-name=image,addr.type=unix,addr.path={socket},writable=on"
        ),
        // It listens when there is a first byte here.
        "--chardev",
        "stdio,id=monitor",
        "--monitor",
        "chardev=monitor",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("qemu-storage-daemon is installed");
    let mut greeting = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut greeting).unwrap();
    Program(child)
}

#[test]
fn a_disk_goes_on_after_its_back_end_was_killed() {
    if !kvm_wanted("vhost-user block") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for transport in ["pci", "mmio"] {
        let (image, socket) = (folder.path().join("image"), folder.path().join("socket"));
        let bytes: Vec<u8> = (0..64).flat_map(|number| [number; SECTOR]).collect();
        fs::write(&image, bytes).unwrap();
        let mut daemon = storage_daemon(&image, &socket);
        let disk = format!("vhost-user={}", socket.display());
        let script = "block 0 info; block 0 read 8 32; block 0 interrupt 4; serial; poweroff";
        let options = ["--transport", transport, "--disk", &disk, "--no-rng"];
        let mut vm = Session::guest(script, &options);
        vm.expect("ok block sectors=64 readonly=false");
        let sum = (8..40).sum::<usize>() * SECTOR;
        vm.expect(&format!("ok block read=32 at=8 first=0x8 sum={sum}"));
        vm.expect("ok block interrupts=4");
        vm.expect("ok serial");
        for round in 0..3_u8 {
            let (at, byte) = (16 + round, 0xa0 + round);
            daemon.0.kill().unwrap();
            daemon.0.wait().unwrap();
            fs::remove_file(&socket).unwrap();
            // Nobody is there: the guest's request waits for who comes.
            vm.type_line(&format!("block 0 write {at} 2 {byte}"));
            daemon = storage_daemon(&image, &socket);
            vm.expect(&format!("ok block written=2 at={at}"));
            vm.type_line("block 0 flush");
            vm.expect("ok block flushed");
            vm.type_line(&format!("block 0 read {at} 3"));
            let sum = (2 * usize::from(byte) + usize::from(at) + 2) * SECTOR;
            vm.expect(&format!(
                "ok block read=3 at={at} first={byte:#x} sum={sum}"
            ));
            let written = fs::read(&image).unwrap();
            let place = usize::from(at) * SECTOR;
            assert!(
                written[place..][..2 * SECTOR]
                    .iter()
                    .all(|found| *found == byte)
            );
        }
        vm.type_line("end");
        assert_eq!(vm.wait().status.code(), Some(0));
        drop(daemon);
        fs::remove_file(&socket).unwrap();
    }
}

/// The processes of virtiofsd that share this folder.
fn sharers(folder: &Path) -> Vec<Pid> {
    let folder = folder.to_str().unwrap();
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let words = fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
        let (program, rest) = words.split_once('\0')?;
        (program.ends_with("virtiofsd") && rest.contains(folder)).then(|| Pid::from_raw(number))?
    };
    fs::read_dir("/proc").unwrap().filter_map(of).collect()
}

#[test]
fn linux_mounts_a_share_and_mounts_it_again_after_virtiofsd_was_killed() {
    if !kvm_wanted("a share") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [data, fixed] = ["data", "fixed"].map(|name| folder.path().join(name));
    for folder in [&data, &fixed] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("greeting"), "from the host\n").unwrap();
    }
    let (kernel, initrd) = (linux_vmlinux(), initramfs());
    let mut command = Command::new(trivisor());
    command
        .args(["run", "--timeout", "600", "--kernel"])
        .arg(kernel);
    command.arg("--initrd").arg(initrd);
    command.args(["--share", &format!("{},data", data.display())]);
    command.args(["--share", &format!("{},fixed,ro", fixed.display())]);
    let mut vm = Session::spawn(&mut command);
    vm.expect("trivisor-guest: ready");
    let mount =
        "mkdir /data /fixed; mount -t virtiofs data /data && mount -t virtiofs fixed /fixed";
    let both = vm.shell(&format!("{mount}; cat /data/greeting /fixed/greeting"));
    assert_eq!(both.matches("from the host").count(), 2, "{both}");
    vm.shell("echo from the guest > /data/answer");
    let answer = fs::read_to_string(data.join("answer")).unwrap();
    assert_eq!(answer, "from the guest\n");
    vm.shell(
        "touch /fixed/answer; rm /fixed/greeting; mount -o remount,rw /fixed; touch /fixed/more",
    );
    let left = fs::read_dir(&fixed).unwrap().count();
    assert!(left == 1 && fixed.join("greeting").exists());

    let killed = sharers(&data);
    assert!(!killed.is_empty());
    for pid in &killed {
        // The second goes with the first.
        let _gone = kill_process(*pid, Signal::KILL);
    }
    // The new one knows nothing of the old mount.
    fs::write(data.join("greeting"), "once more\n").unwrap();
    let again = vm.shell("umount /data; mount -t virtiofs data /data && cat /data/greeting");
    assert!(again.contains("once more"), "{again}");
    vm.type_line("poweroff -f");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert!(sharers(&data).is_empty() && sharers(&fixed).is_empty());
}
