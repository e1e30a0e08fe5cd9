//! The guest's memory map, and its kernel loaded.

use trivisor_buses::Fitted;
use trivisor_emulator::{DescriptorTable, General, Segment, System};
use trivisor_kvm::{PhysicalMemory, VcpuRegisters};
use trivisor_loader::{
    BootProtocol, BootState, Guest, LoadError, MemoryKind, MemoryRegion, Source, layout,
};
use trivisor_memory::RamLayout;

use crate::config::BootConfig;

/// Loads the kernel; returns the registers in which the first vCPU starts.
pub(crate) fn load(
    memory: &PhysicalMemory,
    fitted: &Fitted,
    boot: &mut BootConfig,
) -> Result<VcpuRegisters, LoadError> {
    let regions = memory_map(memory.ram().layout(), fitted);
    let guest = Guest {
        cmdline: &boot.cmdline,
        regions: &regions,
        rsdp: fitted.rsdp,
        random_seed: &boot.random_seed,
        protocol: BootProtocol::Auto,
    };
    let initrd = boot.initrd.as_mut().map(Source::file).transpose()?;
    let state = trivisor_loader::load(
        &**memory.ram().memory(),
        Source::file(&mut boot.kernel)?,
        initrd,
        &guest,
    )?;
    Ok(registers(&state))
}

/// The map that the kernel is shown: RAM without the firmware's places below 1 MiB.
fn memory_map(ram: RamLayout, fitted: &Fitted) -> Vec<MemoryRegion> {
    let region = |start: u64, end: u64, kind| MemoryRegion {
        start,
        size: end.saturating_sub(start),
        kind,
    };
    let low_end = ram.low().start + ram.low().size;
    let tables = fitted.placed.iter().map(|table| table.address).min();
    let firmware = tables
        .unwrap_or(layout::HIGH_MEMORY)
        .min(layout::HIGH_MEMORY);
    let mut map = vec![
        region(0, layout::EBDA, MemoryKind::Ram),
        region(layout::EBDA, 0xa_0000, MemoryKind::Reserved),
        region(firmware, layout::HIGH_MEMORY, MemoryKind::Reserved),
        region(layout::HIGH_MEMORY, low_end, MemoryKind::Ram),
    ];
    map.extend(
        ram.high()
            .map(|high| region(high.start, high.start + high.size, MemoryKind::Ram)),
    );
    map.retain(|region| region.size > 0);
    map
}

/// The loader's boot state as KVM takes it.
fn registers(state: &BootState) -> VcpuRegisters {
    let segment = |from: trivisor_loader::Segment| Segment {
        base: from.base,
        limit: from.limit,
        selector: from.selector,
        kind: from.kind,
        present: true,
        code_or_data: from.code_or_data,
        big: from.big,
        long: from.long,
        granular: from.granular,
        ..Segment::default()
    };
    let data = segment(state.data);
    let mut general = General {
        rip: state.rip,
        rflags: 2,
        ..General::default()
    };
    let [rax, _, _, rbx, rsp, _, rsi, ..] = &mut general.gpr;
    (*rax, *rbx, *rsp, *rsi) = (state.rax, state.rbx, state.rsp, state.rsi);
    let system = System {
        cs: segment(state.cs),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: segment(state.tr),
        ldt: Segment {
            unusable: true,
            ..Segment::default()
        },
        gdt: DescriptorTable {
            base: state.gdt.base,
            limit: state.gdt.limit,
        },
        idt: DescriptorTable::default(),
        cr0: state.cr0,
        cr4: state.cr4,
        efer: state.efer,
    };
    VcpuRegisters {
        general,
        system,
        cr2: 0,
        cr3: state.cr3,
    }
}
