//! x87, SSE and AVX state in the standard (not compacted) format of XSAVE.
//!
//! Source: Intel SDM volume 1, 13.4 and table 10-2 (layout of the legacy region).

/// Bit of a component in XCR0 and XSTATE_BV.
pub mod component {
    /// x87 and MMX.
    pub const X87: u64 = 1 << 0;
    /// MXCSR and XMM.
    pub const SSE: u64 = 1 << 1;
    /// The upper halves of YMM.
    pub const AVX: u64 = 1 << 2;
}

/// Size of the area in bytes: that of KVM's `kvm_xsave`, enough for AVX-512 and protection keys.
pub const XSAVE_AREA_SIZE: usize = 4096;

/// Offset of the AVX component on every CPU that has it.
pub(crate) const AVX_OFFSET: usize = 576;
/// Bytes of the AVX component.
pub(crate) const AVX_SIZE: usize = 256;
/// Bytes of the legacy region.
pub(crate) const LEGACY_SIZE: usize = 512;
/// MXCSR after reset.
pub(crate) const MXCSR_RESET: u32 = 0x1f80;
/// The bits of MXCSR that exist if the machine does not say.
const MXCSR_MASK: u32 = 0xffff;

const FCW: usize = 0;
const FSW: usize = 2;
const FTW: usize = 4;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const MXCSR: usize = 24;
const MXCSR_MASK_OFFSET: usize = 28;
const ST0: usize = 32;
const XMM0: usize = 160;
const XSTATE_BV: usize = 512;

/// x87 and vector state, [`XSAVE_AREA_SIZE`] bytes.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct XsaveArea {
    bytes: [u8; XSAVE_AREA_SIZE],
}

impl std::fmt::Debug for XsaveArea {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XsaveArea")
            .field("xstate_bv", &self.xstate_bv())
            .finish_non_exhaustive()
    }
}

impl Default for XsaveArea {
    /// The state after reset.
    fn default() -> Self {
        let mut area = Self {
            bytes: [0; XSAVE_AREA_SIZE],
        };
        area.fill_init();
        area
    }
}

impl XsaveArea {
    /// All of it: the legacy region at 0, the header at 512, then the components where CPUID leaf 13 says.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; XSAVE_AREA_SIZE] {
        &self.bytes
    }

    /// All of it, to be filled.
    pub const fn as_mut_bytes(&mut self) -> &mut [u8; XSAVE_AREA_SIZE] {
        &mut self.bytes
    }

    /// Which components are not in their initial state.
    #[must_use]
    pub fn xstate_bv(&self) -> u64 {
        u64::from_le_bytes(self.get(XSTATE_BV))
    }

    /// The low 128 bits of vector register `n` (modulo 16).
    #[must_use]
    pub fn xmm(&self, n: usize) -> [u8; 16] {
        self.get(XMM0 + n % 16 * 16)
    }

    /// Bits 128 to 255 of vector register `n` (modulo 16).
    #[must_use]
    pub fn ymm_high(&self, n: usize) -> [u8; 16] {
        self.get(AVX_OFFSET + n % 16 * 16)
    }

    /// SSE control and status.
    #[must_use]
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes(self.get(MXCSR))
    }

    /// Sets the low 128 bits of vector register `n` (modulo 16).
    pub fn set_xmm(&mut self, n: usize, value: [u8; 16]) {
        self.put(XMM0 + n % 16 * 16, value);
        self.mark(component::SSE);
    }

    /// Sets bits 128 to 255 of vector register `n` (modulo 16).
    pub fn set_ymm_high(&mut self, n: usize, value: [u8; 16]) {
        self.put(AVX_OFFSET + n % 16 * 16, value);
        self.mark(component::AVX);
    }

    /// Sets SSE control and status.
    pub fn set_mxcsr(&mut self, value: u32) {
        self.put(MXCSR, value.to_le_bytes());
        self.mark(component::SSE);
    }

    /// The bits of MXCSR that the CPU has.
    pub(crate) fn mxcsr_mask(&self) -> u32 {
        u32::from_le_bytes(self.get(MXCSR_MASK_OFFSET))
    }

    pub(crate) fn fcw(&self) -> u16 {
        u16::from_le_bytes(self.get(FCW))
    }

    pub(crate) fn fsw(&self) -> u16 {
        u16::from_le_bytes(self.get(FSW))
    }

    /// Abridged tag word: one bit a physical register, set if it is in use.
    pub(crate) fn ftw(&self) -> u8 {
        let [tag] = self.get(FTW);
        tag
    }

    /// Register ST(n), counted from the top of the stack, as ten bytes.
    pub(crate) fn st(&self, n: usize) -> [u8; 10] {
        self.get(ST0 + n % 8 * 16)
    }

    /// Opcode (11 bits) of the last x87 instruction, the low 32 bits of its address and of its operand's.
    pub(crate) fn last_instruction(&self) -> (u32, u32, u32) {
        let opcode = u32::from(u16::from_le_bytes(self.get(FOP)) & 0x7ff);
        (
            opcode,
            u32::from_le_bytes(self.get(FIP)),
            u32::from_le_bytes(self.get(FDP)),
        )
    }

    pub(crate) fn set_last_instruction(&mut self, opcode: u32, instruction: u32, operand: u32) {
        self.put(FOP, ((opcode & 0x7ff) as u16).to_le_bytes());
        self.put(FIP, u64::from(instruction).to_le_bytes());
        self.put(FDP, u64::from(operand).to_le_bytes());
        self.mark(component::X87);
    }

    pub(crate) fn set_fcw(&mut self, value: u16) {
        self.put(FCW, value.to_le_bytes());
        self.mark(component::X87);
    }

    pub(crate) fn set_fsw(&mut self, value: u16) {
        self.put(FSW, value.to_le_bytes());
        self.mark(component::X87);
    }

    /// Moves the top of the stack; the physical registers keep what they hold.
    pub(crate) fn set_top(&mut self, top: u16) {
        const TOP: u16 = 7 << 11;
        let old = (self.fsw() & TOP) >> 11;
        let mut registers = [[0; 10]; 8];
        for (n, register) in registers.iter_mut().enumerate() {
            *register = self.st(n + 8 + usize::from(top & 7) - usize::from(old));
        }
        for (n, register) in registers.into_iter().enumerate() {
            self.set_st(n, register);
        }
        self.set_fsw(self.fsw() & !TOP | (top & 7) << 11);
    }

    pub(crate) fn set_ftw(&mut self, value: u8) {
        self.put(FTW, [value]);
        self.mark(component::X87);
    }

    pub(crate) fn set_st(&mut self, n: usize, value: [u8; 10]) {
        self.put(ST0 + n % 8 * 16, value);
        self.mark(component::X87);
    }

    pub(crate) fn set_xstate_bv(&mut self, value: u64) {
        self.put(XSTATE_BV, value.to_le_bytes());
    }

    fn mark(&mut self, components: u64) {
        self.set_xstate_bv(self.xstate_bv() | components);
    }

    /// Writes the initial values of the components that XSTATE_BV calls initial, so that readers need not look at it.
    pub(crate) fn fill_init(&mut self) {
        let bv = self.xstate_bv();
        if bv & component::X87 == 0 {
            self.init_x87();
        }
        if bv & component::SSE == 0 {
            self.bytes[XMM0..XMM0 + 256].fill(0);
        }
        if bv & (component::SSE | component::AVX) == 0 {
            self.put(MXCSR, MXCSR_RESET.to_le_bytes());
        }
        if bv & component::AVX == 0 {
            self.bytes[AVX_OFFSET..AVX_OFFSET + AVX_SIZE].fill(0);
        }
        if self.get(MXCSR_MASK_OFFSET) == [0; 4] {
            self.put(MXCSR_MASK_OFFSET, MXCSR_MASK.to_le_bytes());
        }
    }

    pub(crate) fn init_x87(&mut self) {
        self.bytes[..MXCSR].fill(0);
        self.bytes[ST0..XMM0].fill(0);
        self.put(FCW, 0x37f_u16.to_le_bytes());
    }

    /// Reads `N` bytes at an offset of this module's own making.
    pub(crate) fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.bytes
            .get(offset..)
            .and_then(<[u8]>::first_chunk)
            .copied()
            .unwrap_or([0; N])
    }

    /// Writes `N` bytes at an offset of this module's own making.
    pub(crate) fn put<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        if let Some(place) = self
            .bytes
            .get_mut(offset..)
            .and_then(<[u8]>::first_chunk_mut)
        {
            *place = value;
        }
    }
}
