//! A kick is never lost, whatever the guest is doing.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use trivisor_emulator::Segment;
use trivisor_kvm::{
    Exit, Io, IrqchipKind, Kvm, PhysicalMemory, VcpuRegisters, Vm, install_kick_handler,
};
use trivisor_memory::{GuestRam, RamLayout, RamOptions};
use trivisor_tests::kvm_wanted;

const ROUNDS: u64 = 1000;
const THREADS: u64 = 4;

struct Nothing;

impl Io for Nothing {
    fn port_read(&mut self, _port: u16, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn port_write(&mut self, _port: u16, _data: &[u8]) {}
    fn mmio_read(&mut self, _address: u64, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn mmio_write(&mut self, _address: u64, _data: &[u8]) {}
}

/// Real mode, all segments at address 0.
fn real_mode(entry: u64) -> VcpuRegisters {
    let mut registers = VcpuRegisters::default();
    let data = Segment {
        limit: 0xffff,
        kind: 3,
        present: true,
        code_or_data: true,
        ..Segment::default()
    };
    let system = &mut registers.system;
    for segment in [
        &mut system.ds,
        &mut system.es,
        &mut system.fs,
        &mut system.gs,
        &mut system.ss,
    ] {
        *segment = data;
    }
    system.cs = Segment { kind: 0xb, ..data };
    system.tr = Segment {
        code_or_data: false,
        kind: 0xb,
        ..data
    };
    system.ldt = Segment {
        code_or_data: false,
        kind: 2,
        ..data
    };
    system.cr0 = 0x10;
    registers.general.rip = entry;
    registers.general.rflags = 2;
    registers
}

/// Four threads kick a vCPU in turn, each as soon as the kick before was answered. A lost one hangs.
fn kicks_arrive(guest: &[u8]) {
    let kvm = Kvm::open().unwrap();
    let mut vm = Vm::new(&kvm, IrqchipKind::Split { pins: 24 }, 1).unwrap();
    let ram = GuestRam::new(RamLayout::new(1 << 20).unwrap(), &RamOptions::default()).unwrap();
    for slot in ram.slots() {
        vm.add_slot(slot, Arc::new(ram.clone())).unwrap();
    }
    assert!(ram.write(0x1000, guest));
    install_kick_handler().unwrap();
    let mut vcpu = vm.create_vcpu(0).unwrap();
    vcpu.start_at(&real_mode(0x1000)).unwrap();
    let kicker = vcpu.kicker().clone();
    let (answered, changed, over) = (Mutex::new(0_u64), Condvar::new(), AtomicBool::new(false));
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            vcpu.enter_thread();
            let memory = PhysicalMemory::new(ram.clone(), Vec::new());
            while !over.load(Ordering::SeqCst) {
                if vcpu.run(&mut Nothing, &memory).unwrap() == Exit::Interrupted {
                    // Clears after the flag of the kick was cleared: whatever was asked before is seen here.
                    *answered.lock().unwrap() = asked.load(Ordering::SeqCst);
                    changed.notify_all();
                }
            }
        });
        let kickers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS / THREADS {
                        let mine = asked.fetch_add(1, Ordering::SeqCst) + 1;
                        kicker.kick();
                        let pending = |answered: &mut u64| *answered < mine;
                        drop(
                            changed
                                .wait_while(answered.lock().unwrap(), pending)
                                .unwrap(),
                        );
                    }
                })
            })
            .collect();
        kickers
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        over.store(true, Ordering::SeqCst);
        kicker.kick();
    });
    assert_eq!(*answered.lock().unwrap(), ROUNDS);
}

#[test]
fn a_spinning_guest_is_kicked() {
    if kvm_wanted("kick a spinning guest") {
        kicks_arrive(&[0xeb, 0xfe]); // jmp $
    }
}

#[test]
fn a_halted_guest_is_kicked() {
    if kvm_wanted("kick a halted guest") {
        kicks_arrive(&[0xf4, 0xeb, 0xfd]); // hlt; jmp $-1
    }
}

#[test]
fn a_guest_in_port_access_is_kicked() {
    if kvm_wanted("kick a guest in port access") {
        kicks_arrive(&[0xe6, 0x80, 0xeb, 0xfc]); // out 0x80, al; jmp $-2
    }
}
