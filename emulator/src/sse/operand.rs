//! Vector operands.

use iced_x86::{EncodingKind, Instruction, Mnemonic as N, OpKind, Register};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;

/// 128 bits, the unit that packed operations work on.
pub(crate) type Lane = [u8; 16];
/// A vector operand of up to 256 bits.
pub(crate) type Vector = [Lane; 2];

/// A value of which only the low bytes matter.
pub(crate) const ZERO: Vector = [[0; 16]; 2];

/// x87 status: the summary of pending exceptions.
const FSW_ES: u16 = 1 << 7;

pub(crate) fn is_vex(i: &Instruction) -> bool {
    i.encoding() == EncodingKind::VEX
}

impl<M: Machine> Cpu<'_, M> {
    /// The checks before any instruction on vectors, by the kind of its registers.
    pub(crate) fn check_vector(&mut self, i: &Instruction) -> Result<(), Fault> {
        if is_vex(i) {
            return self.check_avx();
        }
        let mmx =
            (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_mm());
        let xmm = (0..i.op_count())
            .any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_xmm());
        if xmm || !mmx {
            self.check_sse()?;
        }
        if mmx {
            self.check_mmx()?;
            self.enter_mmx()?;
        }
        Ok(())
    }

    /// What every MMX instruction does to x87: top of stack 0, all registers valid.
    pub(crate) fn enter_mmx(&mut self) -> Result<(), Fault> {
        let area = self.vectors_mut()?;
        if area.fsw() & FSW_ES != 0 {
            return Err(Fault::MF);
        }
        area.set_top(0);
        area.set_ftw(0xff);
        Ok(())
    }

    /// A vector register, zero-extended.
    pub(crate) fn vector_register(&mut self, register: Register) -> Result<Vector, Fault> {
        let area = self.vectors()?;
        let n = register.number();
        Ok(if register.is_mm() {
            let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = area.st(n);
            [
                [b0, b1, b2, b3, b4, b5, b6, b7, 0, 0, 0, 0, 0, 0, 0, 0],
                [0; 16],
            ]
        } else if register.is_ymm() {
            [area.xmm(n), area.ymm_high(n)]
        } else {
            [area.xmm(n), [0; 16]]
        })
    }

    /// Writes a vector register; VEX clears what lies above the operand, older encodings leave it.
    pub(crate) fn set_vector_register(
        &mut self,
        i: &Instruction,
        register: Register,
        value: Vector,
    ) -> Result<(), Fault> {
        let vex = is_vex(i);
        let area = self.vectors_mut()?;
        let n = register.number();
        let [low, high] = value;
        if register.is_mm() {
            let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = low;
            area.set_st(n, [b0, b1, b2, b3, b4, b5, b6, b7, 0xff, 0xff]);
            return Ok(());
        }
        area.set_xmm(n, low);
        if register.is_ymm() {
            area.set_ymm_high(n, high);
        } else if vex {
            area.set_ymm_high(n, [0; 16]);
        }
        Ok(())
    }

    /// Operand `n`: a vector or general register, or as many bytes of memory as the instruction reads.
    pub(crate) fn vector(&mut self, i: &Instruction, n: u32) -> Result<Vector, Fault> {
        if i.op_kind(n) == OpKind::Register {
            let register = i.op_register(n);
            if register.is_gpr() {
                return Ok(from_integer(self.register(register)));
            }
            return self.vector_register(register);
        }
        let size = i.memory_size().size();
        let address = self.address(i, size, AccessKind::Read)?;
        check_alignment(i, address, size)?;
        let mut bytes = [0; 32];
        let data = bytes.get_mut(..size).ok_or(Fault::Unsupported)?;
        self.load_bytes(address, data)?;
        Ok(split(&bytes))
    }

    /// Writes operand `n`.
    pub(crate) fn set_vector(
        &mut self,
        i: &Instruction,
        n: u32,
        value: Vector,
    ) -> Result<(), Fault> {
        if i.op_kind(n) == OpKind::Register {
            let register = i.op_register(n);
            if register.is_gpr() {
                self.set_register(register, to_integer(&value));
                return Ok(());
            }
            return self.set_vector_register(i, register, value);
        }
        let size = i.memory_size().size();
        let address = self.address(i, size, AccessKind::Write)?;
        check_alignment(i, address, size)?;
        let bytes = join(&value);
        self.store_bytes(address, bytes.get(..size).ok_or(Fault::Unsupported)?)
    }
}

pub(crate) fn join(value: &Vector) -> [u8; 32] {
    let mut bytes = [0; 32];
    let (low, high) = bytes.split_at_mut(16);
    low.copy_from_slice(&value[0]);
    high.copy_from_slice(&value[1]);
    bytes
}

pub(crate) fn split(bytes: &[u8; 32]) -> Vector {
    let mut value = ZERO;
    let (low, high) = bytes.split_at(16);
    value[0].copy_from_slice(low);
    value[1].copy_from_slice(high);
    value
}

pub(crate) fn from_integer(value: u64) -> Vector {
    [u128::from(value).to_le_bytes(), [0; 16]]
}

pub(crate) fn to_integer(value: &Vector) -> u64 {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = value[0];
    u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7])
}

/// SSE wants 16-byte operands aligned unless the instruction is made for the other case; of AVX only the moves that
/// are called aligned do.
fn check_alignment(i: &Instruction, address: u64, size: usize) -> Result<(), Fault> {
    let aligned = match i.mnemonic() {
        N::Vmovaps
        | N::Vmovapd
        | N::Vmovdqa
        | N::Vmovntps
        | N::Vmovntpd
        | N::Vmovntdq
        | N::Vmovntdqa => true,
        N::Movups | N::Movupd | N::Movdqu | N::Lddqu => false,
        _ => size == 16 && !is_vex(i),
    };
    let mask = u64::try_from(size.saturating_sub(1)).unwrap_or(0);
    if aligned && address & mask != 0 {
        Err(Fault::GP0)
    } else {
        Ok(())
    }
}
