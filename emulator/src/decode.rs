//! One step: fetch, decode, execute, commit.

use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction, Register};

use crate::cpu::Cpu;
use crate::execute::execute;
use crate::machine::{AccessKind, Machine};
use crate::outcome::{EmulateError, Event, Fault, InstructionBytes, Outcome, vector};
use crate::registers::rflags;

/// Longest instruction in bytes (Intel SDM volume 2, 2.3.11).
const MAX_LENGTH: usize = 15;
const PAGE: u64 = 4096;
/// How often a locked instruction is tried again before the guest itself may try.
const ATTEMPTS: usize = 16;
/// DR6.BS: a single step has ended.
const DR6_BS: u64 = 1 << 14;

/// Executes the one instruction at RIP.
///
/// Registers go back to the machine only when the instruction completes; with a fault they stay as they are. A repeated
/// string instruction does a bounded number of elements, advances RCX, RSI and RDI, and leaves RIP where it is until
/// it has finished: the guest, or the next step, goes on with it.
///
/// The machine forgets its shadow of STI or MOV SS after [`Outcome::Done`], as after any instruction.
///
/// # Errors
/// [`EmulateError::Unsupported`] for instructions outside `forms.txt`, [`EmulateError::Host`] if the machine fails.
pub fn step<M: Machine>(machine: &mut M) -> Result<Outcome, EmulateError> {
    for _ in 0..ATTEMPTS {
        let mut cpu = Cpu::new(machine)?;
        let mut bytes = InstructionBytes {
            bytes: [0; MAX_LENGTH],
            len: 0,
        };
        let stepping = cpu.flag(rflags::TF);
        match attempt(&mut cpu, &mut bytes) {
            Ok(()) => {
                cpu.commit()?;
                return Ok(if stepping {
                    Outcome::Inject(SINGLE_STEP)
                } else {
                    Outcome::Done
                });
            }
            Err(Fault::Trap(event)) => {
                cpu.commit()?;
                return Ok(Outcome::Inject(event));
            }
            Err(Fault::Event(event)) => return Ok(Outcome::Inject(event)),
            Err(Fault::Retry) => {}
            Err(Fault::Unsupported) => {
                return Err(EmulateError::Unsupported {
                    rip: cpu.start,
                    bytes,
                });
            }
            Err(Fault::Host(error)) => return Err(error.into()),
        }
    }
    Ok(Outcome::Done)
}

const SINGLE_STEP: Event = Event {
    vector: vector::DB,
    error_code: None,
    payload: Some(DR6_BS),
    software: false,
};

fn attempt<M: Machine>(cpu: &mut Cpu<'_, M>, bytes: &mut InstructionBytes) -> Result<(), Fault> {
    let instruction = fetch(cpu, bytes)?;
    cpu.general.rip = cpu.wrap_rip(instruction.next_ip());
    cpu.general.rflags &= !rflags::RF;
    execute(cpu, &instruction)
}

/// Reads no byte of a second page unless the instruction reaches into it.
fn fetch<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    bytes: &mut InstructionBytes,
) -> Result<Instruction, Fault> {
    let address = code_address(cpu, 0)?;
    let to_page_end = usize::try_from(PAGE - address % PAGE).unwrap_or(MAX_LENGTH);
    let access = cpu.access(AccessKind::Fetch);
    bytes.len = to_page_end.min(MAX_LENGTH);
    let (first, _) = bytes.bytes.split_at_mut(bytes.len);
    cpu.machine.read(address, first, access)?;
    let (instruction, error) = decode(cpu, bytes);
    if error != DecoderError::NoMoreBytes || bytes.len == MAX_LENGTH {
        return finish(cpu, bytes, instruction, error);
    }
    let next = code_address(cpu, to_page_end)?;
    let (_, second) = bytes.bytes.split_at_mut(to_page_end);
    cpu.machine.read(next, second, access)?;
    bytes.len = MAX_LENGTH;
    let (instruction, error) = decode(cpu, bytes);
    finish(cpu, bytes, instruction, error)
}

fn finish<M: Machine>(
    cpu: &Cpu<'_, M>,
    bytes: &mut InstructionBytes,
    instruction: Instruction,
    error: DecoderError,
) -> Result<Instruction, Fault> {
    match error {
        DecoderError::None => {
            bytes.len = instruction.len();
            code_address(cpu, instruction.len().saturating_sub(1))?;
            Ok(instruction)
        }
        // Fifteen bytes and no end: the CPU's answer is #GP.
        _ if instruction.len() == MAX_LENGTH => Err(Fault::GP0),
        _ => Err(Fault::UD),
    }
}

fn decode<M: Machine>(cpu: &Cpu<'_, M>, bytes: &InstructionBytes) -> (Instruction, DecoderError) {
    let mut instruction = Instruction::default();
    match Decoder::try_with_ip(cpu.bits, bytes.as_slice(), cpu.start, DecoderOptions::NONE) {
        Ok(mut decoder) => {
            decoder.decode_out(&mut instruction);
            (instruction, decoder.last_error())
        }
        Err(_) => (instruction, DecoderError::InvalidInstruction),
    }
}

/// Linear address of a byte of the instruction.
fn code_address<M: Machine>(cpu: &Cpu<'_, M>, distance: usize) -> Result<u64, Fault> {
    let rip = cpu.start.wrapping_add(u64::try_from(distance).unwrap_or(0));
    if cpu.bits == 64 {
        return if cpu.is_canonical(rip) {
            Ok(rip)
        } else {
            Err(Fault::GP0)
        };
    }
    let segment = cpu.system.segment(Register::CS);
    if rip > u64::from(segment.limit) {
        return Err(Fault::GP0);
    }
    Ok(segment.base.wrapping_add(rip) & 0xffff_ffff)
}
