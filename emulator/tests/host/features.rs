//! What the host's CPU can do.

use std::arch::is_x86_feature_detected as has;

use iced_x86::{Code, CpuidFeature as F};

/// True if the host executes this encoding.
pub(crate) fn host_has(code: Code) -> bool {
    code.cpuid_features().iter().all(|feature| match feature {
        F::ADX => has!("adx"),
        F::AES => has!("aes"),
        F::AVX => has!("avx"),
        F::AVX2 => has!("avx2"),
        F::BMI1 => has!("bmi1"),
        F::BMI2 => has!("bmi2"),
        F::CMPXCHG16B => has!("cmpxchg16b"),
        F::LZCNT => has!("lzcnt"),
        F::MOVBE => has!("movbe"),
        F::PCLMULQDQ => has!("pclmulqdq"),
        F::POPCNT => has!("popcnt"),
        F::SHA => has!("sha"),
        F::SSE3 => has!("sse3"),
        F::SSSE3 => has!("ssse3"),
        F::SSE4_1 => has!("sse4.1"),
        F::SSE4_2 => has!("sse4.2"),
        F::XSAVE => has!("xsave"),
        F::XSAVEC => has!("xsavec"),
        F::XSAVEOPT => has!("xsaveopt"),
        F::CLFLUSHOPT => leaf7_ebx(23),
        F::CLWB => leaf7_ebx(24),
        F::CLDEMOTE => leaf7_ecx(25),
        F::MOVDIRI => leaf7_ecx(27),
        F::SERIALIZE => leaf7_edx(14),
        F::VAES => leaf7_ecx(9),
        F::VPCLMULQDQ => leaf7_ecx(10),
        // Every 64-bit CPU has these, or takes them for a hint without effect.
        F::INTEL8086
        | F::INTEL186
        | F::INTEL386
        | F::INTEL486
        | F::X64
        | F::FPU
        | F::FPU287
        | F::FPU387
        | F::CMOV => true,
        F::MMX | F::SSE | F::SSE2 | F::FXSR | F::CX8 | F::CLFSH | F::MULTIBYTENOP | F::PAUSE => {
            true
        }
        F::PREFETCHW | F::PREFETCHWT1 | F::CET_IBT | F::CET_SS => true,
        other => panic!("{code:?}: how is {other:?} looked for?"),
    })
}

fn leaf7_ebx(bit: u32) -> bool {
    leaf7().ebx >> bit & 1 != 0
}

fn leaf7_ecx(bit: u32) -> bool {
    leaf7().ecx >> bit & 1 != 0
}

fn leaf7_edx(bit: u32) -> bool {
    leaf7().edx >> bit & 1 != 0
}

#[expect(
    unsafe_code,
    reason = "the intrinsic is unsafe in the oldest supported compiler"
)]
#[allow(unused_unsafe, reason = "and safe in newer ones")]
fn leaf7() -> std::arch::x86_64::CpuidResult {
    // SAFETY: every 64-bit CPU has CPUID.
    unsafe { std::arch::x86_64::__cpuid_count(7, 0) }
}
