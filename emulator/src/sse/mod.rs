//! MMX, SSE and AVX: moves, logic and integer arithmetic. One table serves all widths: an operation works on a lane of
//! 128 bits, MMX uses half a lane, AVX two.
//!
//! Source: Intel SDM volume 2, the pages of the instructions; volume 2, 2.4 (exceptions by class).

mod aes;
mod elements;
mod lanes;
mod moves;
mod operand;
mod packed;
mod rearrange;
mod sha;
mod shift;
mod shuffle;

use iced_x86::Instruction;

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;

/// Executes a vector instruction, or says that it is none of these.
pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    if let Some(operation) = packed::operation(i.mnemonic()) {
        return packed::binary(cpu, i, operation);
    }
    if let Some(operation) = shift::operation(i.mnemonic()) {
        return shift::shift(cpu, i, operation);
    }
    if let Some(operation) = shuffle::operation(i.mnemonic()) {
        return shuffle::shuffle(cpu, i, operation);
    }
    if let Some(operation) = moves::operation(i) {
        return operation(cpu, i);
    }
    lanes::execute(cpu, i)
}
