//! Ring 0 of the bare-metal guest has no instruction that a host which emulates ring 0 lacks: no vectors, no x87.

use anyhow::{Result, bail, ensure};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction};

use crate::elf;

/// Its sections, one a processor mode.
const SECTIONS: [(&str, u32); 3] = [(".ring0_16", 16), (".ring0_32", 32), (".ring0_64", 64)];

/// Checks the guest.
///
/// # Errors
/// The address and text of the first instruction that does not belong there, or a section that is missing.
pub(super) fn check(file: &[u8]) -> Result<()> {
    let sections = elf::sections(file)?;
    for (name, bits) in SECTIONS {
        let Some(section) = sections.iter().find(|section| section.name == name) else {
            bail!("the bare-metal guest has no section {name}");
        };
        ensure!(!section.contents.is_empty(), "section {name} is empty");
        check_code(section.contents, bits, section.address)
            .map_err(|error| error.context(format!("section {name}")))?;
    }
    Ok(())
}

fn check_code(code: &[u8], bits: u32, address: u64) -> Result<()> {
    let decoder = Decoder::with_ip(bits, code, address, DecoderOptions::NONE);
    for instruction in decoder {
        if instruction.is_invalid() {
            bail!("no instruction at {:#x}", instruction.ip());
        }
        if let Some(feature) = foreign(&instruction) {
            bail!(
                "{:?} at {:#x} needs {feature:?}, which ring 0 must do without",
                instruction.code(),
                instruction.ip()
            );
        }
    }
    Ok(())
}

/// The first of the instruction's CPUID features that is not of the plain processor.
fn foreign(instruction: &Instruction) -> Option<CpuidFeature> {
    let features = instruction.cpuid_features().iter().copied();
    features
        .into_iter()
        .find(|feature| !PLAIN.contains(feature))
}

/// What every KVM emulates.
const PLAIN: [CpuidFeature; 11] = [
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CPUID,
    CpuidFeature::MSR,
    // What the assembler fills gaps with.
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::CMOV,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_code_passes() {
        // mov rax, cr3; wrmsr; iretq; hlt
        let code = [0x0f, 0x20, 0xd8, 0x0f, 0x30, 0x48, 0xcf, 0xf4];
        check_code(&code, 64, 0x10_0000).unwrap();
    }

    #[test]
    fn vectors_and_x87_and_rubbish_are_refused_where_they_stand() {
        let refused = |code: &[u8]| check_code(code, 64, 0x1000).unwrap_err().to_string();
        // nop; movaps [rax], xmm0
        assert!(refused(&[0x90, 0x0f, 0x29, 0x00]).contains("0x1001 needs SSE"));
        // fld1
        assert!(refused(&[0xd9, 0xe8]).contains("FPU"));
        // vpxor ymm0, ymm0, ymm0
        assert!(refused(&[0xc5, 0xfd, 0xef, 0xc0]).contains("AVX2"));
        // popcnt eax, eax
        assert!(refused(&[0xf3, 0x0f, 0xb8, 0xc0]).contains("POPCNT"));
        // push es is no instruction of 64-bit mode
        assert!(refused(&[0x06]).contains("no instruction at 0x1000"));
    }

    #[test]
    fn a_guest_without_its_sections_is_refused() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let error = check(&file).unwrap_err().to_string();
        assert_eq!(error, "the bare-metal guest has no section .ring0_16");
    }
}
