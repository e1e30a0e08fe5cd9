//! A machine of flat memory, for tests, examples and fuzzers.

use std::collections::VecDeque;
use std::io;

use crate::machine::{Access, AccessError, AccessKind, Machine};
use crate::registers::{
    Changed, DescriptorTable, General, Registers, Segment, System, cr0, cr4, efer,
};
use crate::xsave_area::{XsaveArea, component};

/// A virtual CPU in ring 0 whose linear addresses are offsets into one block of memory; all else gives #PF.
#[derive(Debug, Clone)]
pub struct TestMachine {
    /// Registers; RIP starts at [`base`](Self::base).
    pub registers: Registers,
    /// x87 and vector state.
    pub vectors: XsaveArea,
    /// Linear address of the first byte of memory.
    pub base: u64,
    /// Memory.
    pub memory: Vec<u8>,
    /// Extended control register 0.
    pub xcr0: u64,
    /// Model-specific registers that exist.
    pub msrs: Vec<(u32, u64)>,
    /// What ports were written with: port and bytes.
    pub port_writes: Vec<(u16, Vec<u8>)>,
    /// What ports will answer; ones when it is empty.
    pub port_reads: VecDeque<u8>,
    /// Answers of CPUID leaf 13 by subleaf.
    pub cpuid: Vec<[u32; 4]>,
    /// How often the next compare-and-exchange loses against another CPU.
    pub lost_races: usize,
}

/// A flat segment.
const fn flat(selector: u16, kind: u8) -> Segment {
    Segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        kind,
        dpl: 0,
        present: true,
        code_or_data: true,
        big: true,
        long: false,
        granular: true,
        available: false,
        unusable: false,
    }
}

impl TestMachine {
    /// A machine in 64-bit mode with `size` bytes of zeroes at `base`.
    #[must_use]
    pub fn new(base: u64, size: usize) -> Self {
        let data = flat(0x18, 3);
        let code = Segment {
            long: true,
            big: false,
            ..flat(0x10, 11)
        };
        let system = System {
            cs: code,
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: Segment {
                kind: 11,
                code_or_data: false,
                limit: 0x67,
                ..flat(0x28, 11)
            },
            ldt: Segment {
                unusable: true,
                ..Segment::default()
            },
            gdt: DescriptorTable::default(),
            idt: DescriptorTable::default(),
            cr0: cr0::PE | cr0::NE | cr0::MP | 1 << 31,
            cr4: cr4::OSFXSR | cr4::OSXSAVE | cr4::FSGSBASE | 1 << 5,
            efer: efer::SCE | efer::LMA | 1 << 8,
        };
        let general = General {
            gpr: [0; 16],
            rip: base,
            rflags: 2,
        };
        Self {
            registers: Registers { general, system },
            vectors: XsaveArea::default(),
            base,
            memory: vec![0; size],
            xcr0: component::X87 | component::SSE | component::AVX,
            msrs: Vec::new(),
            port_writes: Vec::new(),
            port_reads: VecDeque::new(),
            cpuid: Vec::new(),
            lost_races: 0,
        }
    }

    /// The same machine in 16-bit real mode.
    #[must_use]
    pub fn real_mode(base: u64, size: usize) -> Self {
        let mut machine = Self::new(base, size);
        let segment = |kind| Segment {
            limit: 0xffff,
            big: false,
            granular: false,
            ..flat(0, kind)
        };
        let system = &mut machine.registers.system;
        for register in [
            &mut system.ds,
            &mut system.es,
            &mut system.fs,
            &mut system.gs,
            &mut system.ss,
        ] {
            *register = segment(3);
        }
        system.cs = segment(11);
        (system.cr0, system.efer) = (0, 0);
        machine
    }

    /// The same machine in 32-bit protected mode.
    #[must_use]
    pub fn protected_mode(base: u64, size: usize) -> Self {
        let mut machine = Self::new(base, size);
        machine.registers.system.cs = flat(0x10, 11);
        machine.registers.system.efer = 0;
        machine
    }

    /// Puts code where RIP stands.
    #[must_use]
    pub fn with_code(mut self, code: &[u8]) -> Self {
        for (place, byte) in self.memory.iter_mut().zip(code) {
            *place = *byte;
        }
        self
    }

    /// The bytes of an access, or the page fault.
    fn slice(
        &mut self,
        address: u64,
        size: usize,
        access: Access,
    ) -> Result<&mut [u8], AccessError> {
        let write = matches!(access.kind, AccessKind::Write | AccessKind::Modify);
        let fetch = access.kind == AccessKind::Fetch;
        let error_code =
            u32::from(write) << 1 | u32::from(access.user) << 2 | u32::from(fetch) << 4;
        let end = self.base.saturating_add(self.memory.len() as u64);
        let first_bad = if (self.base..end).contains(&address) {
            end
        } else {
            address
        };
        let fault = AccessError::PageFault {
            address: first_bad,
            error_code,
        };
        let start = usize::try_from(address.wrapping_sub(self.base)).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(size);
        self.memory.get_mut(range).ok_or(fault)
    }
}

impl Machine for TestMachine {
    fn registers(&mut self) -> io::Result<Registers> {
        Ok(self.registers)
    }

    fn set_registers(&mut self, registers: &Registers, changed: Changed) -> io::Result<()> {
        self.registers.general = registers.general;
        if changed == Changed::Both {
            self.registers.system = registers.system;
        }
        Ok(())
    }

    fn read(&mut self, address: u64, data: &mut [u8], access: Access) -> Result<(), AccessError> {
        data.copy_from_slice(self.slice(address, data.len(), access)?);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8], access: Access) -> Result<(), AccessError> {
        self.slice(address, data.len(), access)?
            .copy_from_slice(data);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        address: u64,
        old: &[u8],
        new: &[u8],
        access: Access,
    ) -> Result<bool, AccessError> {
        if let Some(left) = self.lost_races.checked_sub(1) {
            self.lost_races = left;
            return Ok(false);
        }
        let memory = self.slice(address, new.len(), access)?;
        let same = memory == old;
        if same {
            memory.copy_from_slice(new);
        }
        Ok(same)
    }

    fn vectors(&mut self, area: &mut XsaveArea) -> io::Result<()> {
        area.clone_from(&self.vectors);
        Ok(())
    }

    fn set_vectors(&mut self, area: &XsaveArea) -> io::Result<()> {
        self.vectors.clone_from(area);
        Ok(())
    }

    fn port_in(&mut self, _port: u16, data: &mut [u8]) -> io::Result<()> {
        for byte in data {
            *byte = self.port_reads.pop_front().unwrap_or(0xff);
        }
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> io::Result<()> {
        self.port_writes.push((port, data.to_vec()));
        Ok(())
    }

    fn msr(&mut self, index: u32) -> io::Result<u64> {
        let found = self.msrs.iter().find(|(known, _)| *known == index);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn xcr0(&mut self) -> io::Result<u64> {
        Ok(self.xcr0)
    }

    fn set_xcr0(&mut self, value: u64) -> io::Result<()> {
        self.xcr0 = value;
        Ok(())
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let entry = usize::try_from(subleaf).ok().filter(|_| leaf == 0xd);
        entry
            .and_then(|n| self.cpuid.get(n))
            .copied()
            .unwrap_or([0; 4])
    }
}
