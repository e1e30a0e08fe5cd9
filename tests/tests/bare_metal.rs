//! The basic machine from inside: a guest that drives each device by a script.

use trivisor_tests::{Ended, Session, bare_metal, kvm_wanted};

/// Runs `script` in the bare-metal guest.
fn guest(script: &str, more: &[&str]) -> Ended {
    start(script, more).wait()
}

fn start(script: &str, more: &[&str]) -> Session {
    let options: Vec<&str> = [&["--mode", "basic"], more].concat();
    Session::guest(script, &options)
}

/// Runs `script` and expects each of `wanted` in its output, no failed command, and status 0.
fn check(name: &str, script: &str, more: &[&str], wanted: &[&str]) -> String {
    if !kvm_wanted(name) {
        return String::new();
    }
    let ended = guest(script, more);
    let output = &ended.output;
    assert_eq!(ended.status.code(), Some(0), "{output}");
    assert!(!output.contains("err "), "{output}");
    for wanted in wanted {
        assert!(output.contains(wanted), "{wanted:?} is not in\n{output}");
    }
    ended.output
}

#[test]
fn it_prints_and_powers_off() {
    check(
        "print",
        "hello; poweroff",
        &[],
        &["ok hello", "ok poweroff"],
    );
}

#[test]
fn it_resets_by_acpi_and_by_the_keyboard_controller() {
    check("reset", "reset", &[], &["ok reset"]);
    check(
        "reset by the keyboard controller",
        "kbdreset",
        &[],
        &["ok kbdreset"],
    );
}

#[test]
fn uart_ioapic_and_timer_answer_as_their_datasheets_say() {
    let script = "uart; ioapic; timer 100 3; time; idle 20; exceptions; poweroff";
    check(
        "devices",
        script,
        &[],
        &["ok uart", "ok ioapic", "ok timer", "ok time 20", "ok idle"],
    );
}

#[test]
fn the_tables_are_whole() {
    let wanted = ["checksum=right", "ok acpi", "ok mem", "acpi s5 type=5"];
    let output = check(
        "tables",
        "mem; acpi; poweroff",
        &["--cpus", "3", "--memory", "5G"],
        &wanted,
    );
    if !output.is_empty() {
        assert_eq!(output.matches("acpi madt processor").count(), 3, "{output}");
        // RAM around the hole: 3 GiB less the kilobytes below 1 MiB that are reserved, and 2 GiB.
        assert!(
            output.contains("address=0x100000000 size=0x80000000 type=1"),
            "{output}"
        );
    }
}

#[test]
fn two_and_sixty_four_processors_start() {
    check(
        "2 processors",
        "cpus 2; poweroff",
        &["--cpus", "2"],
        &["ok cpus online=2"],
    );
    check(
        "64 processors",
        "cpus 64; poweroff",
        &["--cpus", "64"],
        &["ok cpus online=64"],
    );
}

#[test]
fn lines_go_in_and_come_out() {
    if !kvm_wanted("lines") {
        return;
    }
    let mut vm = start("serial; poweroff", &[]);
    vm.expect("ok serial");
    for word in ["one", "two", "a-longer-line-than-the-fifo-of-sixteen-bytes"] {
        vm.type_line(&format!("echo {word}"));
        vm.expect(&format!("ok echo {word}"));
    }
    vm.type_line("end");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn persistent_memory_keeps_what_was_flushed() {
    if !kvm_wanted("persistent memory") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    std::fs::write(&image, vec![0x5a; 64 << 10]).unwrap();
    let disk = image.to_str().unwrap();
    // The first image lies at the first GiB above 4 GiB.
    let script = "peek 0x100000000 4; poke 0x100000008 8 0x1122334455667788; poweroff";
    check(
        "persistent memory",
        script,
        &["--disk", disk],
        &["value=0x5a5a5a5a"],
    );
    let bytes = std::fs::read(&image).unwrap();
    assert_eq!(bytes[8..16], 0x1122_3344_5566_7788_u64.to_le_bytes());
    let script = "peek 0x100000008 8; poweroff";
    check(
        "read-only memory",
        script,
        &["--disk", &format!("{disk},ro")],
        &["0x1122334455667788"],
    );
}

#[test]
fn a_debug_exit_ends_with_its_status() {
    if !kvm_wanted("debug exit") {
        return;
    }
    let ended = guest("debugexit 0x10", &["--debug-exit", "0xf4"]);
    assert_eq!(ended.status.code(), Some(0x21), "{}", ended.output);
    // Without being asked for it is not there.
    let ended = guest("debugexit 0x10; poweroff", &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn crashes_show_registers() {
    if !kvm_wanted("crashes") {
        return;
    }
    let ended = guest("triple", &[]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.output);
    for wanted in ["triple fault", "rip ", "cr3 ", "ok triple"] {
        assert!(
            ended.output.contains(wanted),
            "{wanted:?}: {}",
            ended.output
        );
    }
    let ended = guest("pvpanic", &[]);
    assert_eq!(ended.status.code(), Some(3), "{}", ended.output);
    assert!(
        ended.output.contains("pvpanic events 0x1"),
        "{}",
        ended.output
    );
}

#[test]
fn a_truncated_image_ends_with_status_4() {
    if !kvm_wanted("truncated image") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut vm = start("serial; poweroff", &["--disk", image.to_str().unwrap()]);
    vm.expect("ok serial");
    std::fs::File::options()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(4096)
        .unwrap();
    vm.type_line("peek 0x100080000 8");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(4), "{}", ended.output);
    assert!(ended.output.contains("was truncated"), "{}", ended.output);
}

#[test]
fn a_reset_starts_again_when_asked_to() {
    if !kvm_wanted("reboot") {
        return;
    }
    let mut vm = start("hello; serial; reset", &["--reboot"]);
    for _ in 0..3 {
        vm.expect("ok hello");
        vm.expect("ok serial");
        vm.type_line("end");
    }
    vm.expect("ok hello");
    vm.expect("ok serial");
    vm.type_line("poweroff");
    let ended = vm.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
}

#[test]
fn output_that_nobody_reads_blocks_no_processor() {
    if !kvm_wanted("blocked output") {
        return;
    }
    // A megabyte of echoes into a pipe that holds 64 KiB: the guest must come to its end all the same.
    let kernel = bare_metal();
    let mut command = std::process::Command::new(trivisor_tests::trivisor());
    command
        .args(["run", "--kernel"])
        .arg(kernel)
        .args(["--serial", "none", "--timeout", "600"]);
    let script = "echo 0123456789abcdef;".repeat(80);
    command.args(["--cmdline-only", &format!("-- {script} poweroff")]);
    let ended = Session::spawn(&mut command).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert_eq!(ended.output, "");
}
