//! What the firmware's way to a boot sector costs, and the posted writes that keep it cheap. Counts only, never times.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use trivisor_tests::{Session, bootable_disk, kvm_wanted, trivisor};

/// Instructions that KVM emulates where it emulates ring 0, and exits to the VMM, of Debian 12's QEMU on the same way:
/// `-machine pc -nodefaults -vga std` with an IDE disk and the same SeaBIOS 1.16.2 (`cargo xtask bench bios`).
const QEMU_INSTRUCTIONS: u64 = 5_763_000;
const QEMU_EXITS: u64 = 3_698;

/// mov dx, 0xcf9; mov al, 6; out dx, al
const RESET: [u8; 7] = [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4];

/// A PC with this boot sector.
fn run(folder: &Path, code: &[u8], options: &[&str]) -> Session {
    let disk = bootable_disk(folder, code, 1 << 20);
    let mut command = Command::new(trivisor());
    command.args(["run", "--timeout", "600", "--serial", "none", "--disk"]);
    Session::spawn(command.arg(disk).args(options))
}

#[test]
fn a_boot_sector_is_reached_with_half_of_qemus_exits() {
    if !kvm_wanted("the firmware's exits") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics.json");
    let vm = run(
        folder.path(),
        &RESET,
        &["--metrics", metrics.to_str().unwrap()],
    );
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let metrics: serde_json::Value = serde_json::from_slice(&fs::read(metrics).unwrap()).unwrap();
    let count = |name: &str| metrics["counters"][name].as_u64().unwrap();
    let (instructions, exits) = (count("emulated_instructions"), count("user_exits"));
    assert!(
        instructions < QEMU_INSTRUCTIONS,
        "SeaBIOS executed {instructions} instructions, and QEMU's PC takes {QEMU_INSTRUCTIONS}: a chip lets it wait or \
         probe, or the tables have grown that it walks; `cargo xtask bench bios --where` says where they go"
    );
    assert!(
        exits <= QEMU_EXITS / 2,
        "{exits} exits, half of QEMU's {QEMU_EXITS} was the aim: writes that were posted are so no more, or a chip is \
         asked more often than before; `cargo xtask bench bios --where` says which port"
    );
}

#[test]
fn posted_writes_arrive_in_their_order_before_anything_is_read() {
    if !kvm_wanted("posted writes") {
        return;
    }
    // More cells of text than fit the ring, the last one read back; then a colour, written and read back.
    let code = [
        0xb8, 0x00, 0xb8, // mov ax, 0xb800
        0x8e, 0xc0, // mov es, ax
        0x31, 0xff, // xor di, di
        0xb8, 0x41, 0x07, // mov ax, 0x0741
        0xb9, 0xd0, 0x07, // mov cx, 2000
        0xfc, 0xf3, 0xab, // cld; rep stosw
        0x26, 0x3b, 0x45, 0xfe, // cmp ax, es:[di-2]
        0x75, 0x1d, // jne halt
        0xba, 0xc8, 0x03, 0xb0, 0x05, 0xee, // out 0x3c8, 5
        0x42, 0xb0, 0x11, 0xee, // out 0x3c9, 0x11
        0xb0, 0x22, 0xee, 0xb0, 0x33, 0xee, // out 0x3c9, 0x22; out 0x3c9, 0x33
        0xb2, 0xc7, 0xb0, 0x05, 0xee, // out 0x3c7, 5
        0xb2, 0xc9, 0xec, 0xec, // in al, 0x3c9; in al, 0x3c9
        0xba, 0xf4, 0x00, 0xee, // out 0xf4, al
        0xfa, 0xf4, // halt: cli; hlt
    ];
    let folder = tempfile::tempdir().unwrap();
    let ended = run(folder.path(), &code, &["--debug-exit", "0xf4"]).wait();
    // Green, and the port's rule: twice that and 1.
    assert_eq!(ended.status.code(), Some(0x22 * 2 + 1), "{}", ended.output);
}

#[test]
fn a_screen_shows_what_was_posted_by_a_guest_that_never_comes_out_again() {
    if !kvm_wanted("posted writes on the screen") {
        return;
    }
    // The text into the first row, then jmp to itself: nothing that would end a stay in the guest.
    let code = [
        0xb8, 0x00, 0xb8, 0x8e, 0xc0, // mov ax, 0xb800; mov es, ax
        0x31, 0xff, 0x31, 0xc0, 0x8e, 0xd8, // xor di, di; xor ax, ax; mov ds, ax
        0xbe, 0x40, 0x7c, 0xb4, 0x07, // mov si, text; mov ah, 7
        0xfc, 0xac, // cld; next: lodsb
        0x84, 0xc0, 0x74, 0xfe, // test al, al; jz itself
        0xab, 0xeb, 0xf8, // stosw; jmp next
    ];
    let mut sector = code.to_vec();
    sector.resize(0x40, 0x90);
    sector.extend(b"posted and seen\0");
    let folder = tempfile::tempdir().unwrap();
    let name = format!("posted-{}", std::process::id());
    let _vm = run(folder.path(), &sector, &["--name", &name]);
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let mut screenshot = Command::new(trivisor());
        let said = screenshot.args(["screenshot", &name, "--text"]).output();
        let screen = String::from_utf8(said.unwrap().stdout).unwrap();
        if screen.starts_with("posted and seen") {
            return;
        }
        assert!(Instant::now() < deadline, "the screen:\n{screen}");
        #[expect(
            clippy::disallowed_methods,
            reason = "a screen tells nobody that it has changed"
        )]
        std::thread::sleep(Duration::from_millis(200));
    }
}
