//! Runs one instruction on the host's own CPU: the only unsafe code of the crate, and only in this test.
#![expect(
    unsafe_code,
    reason = "generated machine code is run, which no safe interface offers"
)]

use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

/// The general registers in the order of their numbers.
pub(crate) const GPR64: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

const PAGE: usize = 4096;
/// Bytes of the whole mapping: code, state, arena.
pub(crate) const SIZE: usize = 3 * PAGE;
/// Offset of the instruction under test.
pub(crate) const SLOT: usize = 0x800;
const EPILOGUE: usize = 0x900;
const STATE: usize = PAGE;
const RFLAGS: usize = STATE + 0x80;
const HOST_RSP: usize = STATE + 0x88;
const HOST_MXCSR: usize = STATE + 0x90;
const VECTORS: usize = STATE + 0x400;
/// Bytes of x87, SSE, AVX state in standard format.
pub(crate) const VECTOR_BYTES: usize = 832;
/// Offset of the memory that instructions work on.
pub(crate) const ARENA: usize = 2 * PAGE;
/// Its size.
pub(crate) const ARENA_SIZE: usize = 1024;

/// Registers and memory, before and after.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) gpr: [u64; 16],
    pub(crate) rflags: u64,
    pub(crate) vectors: [u8; VECTOR_BYTES],
    pub(crate) arena: [u8; ARENA_SIZE],
}

/// A mapping below 4 GiB that holds stub, state and arena.
pub(crate) struct Host {
    base: *mut u8,
}

impl Host {
    pub(crate) fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, flags, -1, 0) };
        assert_ne!(
            base,
            libc::MAP_FAILED,
            "no memory that is writable and executable"
        );
        let mut host = Self { base: base.cast() };
        host.write_stub();
        host
    }

    /// Linear address of the first byte.
    pub(crate) fn base(&self) -> u64 {
        self.base as u64
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= SIZE);
        // SAFETY: the range lies in the mapping (checked above), which nobody else holds a reference to.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset), bytes.len())
        };
    }

    fn take(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= SIZE);
        // SAFETY: the range lies in the mapping (checked above), which nobody else holds a reference to.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.add(offset), bytes.as_mut_ptr(), bytes.len())
        };
    }

    /// Encodes instructions one behind the other.
    fn assemble(&mut self, mut offset: usize, instructions: &[Instruction]) {
        let mut encoder = Encoder::new(64);
        for instruction in instructions {
            let rip = self.base() + offset as u64;
            let length = encoder
                .encode(instruction, rip)
                .expect("the stub is encodable");
            let bytes = encoder.take_buffer();
            self.put(offset, &bytes);
            offset += length;
        }
    }

    fn at(&self, offset: usize) -> MemoryOperand {
        MemoryOperand::with_base_displ(
            Register::RIP,
            i64::try_from(self.base() + offset as u64).unwrap(),
        )
    }

    fn write_stub(&mut self) {
        use Register as R;
        let saved = [R::RBX, R::RBP, R::R12, R::R13, R::R14, R::R15];
        let mut enter: Vec<Instruction> = saved
            .iter()
            .map(|r| Instruction::with1(Code::Push_r64, *r).unwrap())
            .collect();
        enter.push(Instruction::with(Code::Pushfq));
        enter.push(Instruction::with2(Code::Mov_rm64_r64, self.at(HOST_RSP), R::RSP).unwrap());
        enter.push(Instruction::with1(Code::Stmxcsr_m32, self.at(HOST_MXCSR)).unwrap());
        enter.push(Instruction::with2(Code::Mov_r32_imm32, R::EAX, 7).unwrap());
        enter.push(Instruction::with2(Code::Xor_r32_rm32, R::EDX, R::EDX).unwrap());
        enter.push(Instruction::with1(Code::Xrstor64_mem, self.at(VECTORS)).unwrap());
        enter.push(Instruction::with1(Code::Push_rm64, self.at(RFLAGS)).unwrap());
        enter.push(Instruction::with(Code::Popfq));
        for (n, register) in GPR64.iter().enumerate() {
            enter.push(
                Instruction::with2(Code::Mov_r64_rm64, *register, self.at(STATE + 8 * n)).unwrap(),
            );
        }
        enter
            .push(Instruction::with_branch(Code::Jmp_rel32_64, self.base() + SLOT as u64).unwrap());
        self.assemble(0, &enter);

        let mut leave = Vec::new();
        for (n, register) in GPR64.iter().enumerate() {
            leave.push(
                Instruction::with2(Code::Mov_rm64_r64, self.at(STATE + 8 * n), *register).unwrap(),
            );
        }
        leave.push(Instruction::with2(Code::Mov_r64_rm64, R::RSP, self.at(HOST_RSP)).unwrap());
        leave.push(Instruction::with(Code::Pushfq));
        leave.push(Instruction::with1(Code::Pop_rm64, self.at(RFLAGS)).unwrap());
        leave.push(Instruction::with2(Code::Mov_r32_imm32, R::EAX, 7).unwrap());
        leave.push(Instruction::with2(Code::Xor_r32_rm32, R::EDX, R::EDX).unwrap());
        leave.push(Instruction::with1(Code::Xsave64_mem, self.at(VECTORS)).unwrap());
        leave.push(Instruction::with(Code::Fninit));
        leave.push(Instruction::with1(Code::Ldmxcsr_m32, self.at(HOST_MXCSR)).unwrap());
        leave.push(Instruction::with(Code::VEX_Vzeroupper));
        leave.push(Instruction::with(Code::Popfq));
        leave.extend(
            saved
                .iter()
                .rev()
                .map(|r| Instruction::with1(Code::Pop_r64, *r).unwrap()),
        );
        leave.push(Instruction::with(Code::Retnq));
        self.assemble(EPILOGUE, &leave);
    }

    /// Puts the instruction under test in place.
    pub(crate) fn load(&mut self, code: &[u8]) {
        self.put(SLOT, code);
        let behind = SLOT + code.len();
        let back =
            Instruction::with_branch(Code::Jmp_rel32_64, self.base() + EPILOGUE as u64).unwrap();
        self.assemble(behind, &[back]);
    }

    /// Runs it once.
    pub(crate) fn run(&mut self, context: &mut Context) {
        let registers: Vec<u8> = context
            .gpr
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.put(STATE, &registers);
        self.put(RFLAGS, &context.rflags.to_le_bytes());
        self.put(VECTORS, &context.vectors);
        self.put(ARENA, &context.arena);
        // SAFETY: the stub keeps the C calling convention, restores flags, MXCSR and x87, and the instruction under
        // test touches no memory outside the arena: its operands were chosen so.
        unsafe {
            let stub: extern "C" fn() = std::mem::transmute(self.base);
            stub();
        }
        for (n, value) in context.gpr.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            self.take(STATE + 8 * n, &mut bytes);
            *value = u64::from_le_bytes(bytes);
        }
        let mut flags = [0; 8];
        self.take(RFLAGS, &mut flags);
        context.rflags = u64::from_le_bytes(flags);
        self.take(VECTORS, &mut context.vectors);
        self.take(ARENA, &mut context.arena);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe { libc::munmap(self.base.cast(), SIZE) };
    }
}

/// The mask that the host's FXSAVE stores.
pub(crate) fn mxcsr_mask() -> u32 {
    #[repr(align(16))]
    struct Area([u8; 512]);
    let mut area = Area([0; 512]);
    // SAFETY: FXSAVE writes 512 bytes at an address aligned to 16.
    unsafe { std::arch::x86_64::_fxsave64(area.0.as_mut_ptr()) };
    u32::from_le_bytes(area.0[28..32].try_into().unwrap())
}
