//! `forms.txt` is complete and its named tests exist.

use std::collections::HashMap;

use iced_x86::{Code, Decoder, DecoderOptions};

use crate::forms::{Proof, forms};
use crate::instance::{Instance, instance};
use crate::native::SIZE;
use crate::random::Random;
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{EmulateError, step};

const BASE: u64 = 0x10_0000;

#[test]
fn the_list_has_what_the_emulator_takes_and_no_more() {
    let listed: HashMap<Code, Proof> = forms().into_iter().collect();
    let mut wrong = Vec::new();
    for code in Code::values() {
        let handled = is_handled(code);
        match (handled, listed.contains_key(&code)) {
            (true, false) => wrong.push(format!("{code:?} is handled but not listed")),
            (false, true) => wrong.push(format!("{code:?} is listed but not handled")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_form_is_listed_twice() {
    let forms = forms();
    let unique: HashMap<Code, Proof> = forms.iter().cloned().collect();
    assert_eq!(unique.len(), forms.len());
}

#[test]
fn named_tests_exist() {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        read_all(&folder, &mut sources);
    }
    for (code, proof) in forms() {
        if let Proof::Manual(name) = proof {
            let needle = format!("#[test]\nfn {name}()");
            assert!(
                sources.contains(&needle),
                "{code:?}: no test is called {name}"
            );
        }
    }
}

/// All Rust source below a folder, without indentation.
fn read_all(folder: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in std::fs::read_to_string(path).unwrap().lines() {
                text.push_str(line.trim_start());
                text.push('\n');
            }
        }
    }
}

/// Many encodings exist on old CPUs alone, or are two instructions: they decode to something else.
fn decodes_to(bytes: &[u8], bitness: u32, code: Code) -> bool {
    Decoder::new(bitness, bytes, DecoderOptions::NONE)
        .decode()
        .code()
        == code
}

/// True if the emulator executes some instance of the encoding in some mode.
fn is_handled(code: Code) -> bool {
    let info = code.op_code();
    if !info.is_instruction() {
        return false;
    }
    let modes = [
        (64, info.mode64()),
        (32, info.mode32()),
        (16, info.mode16()),
    ];
    modes
        .iter()
        .filter(|(_, possible)| *possible)
        .any(|(bitness, _)| {
            let mut random = Random::new(code as u64);
            let same = |instance: &Instance| decodes_to(&instance.bytes, *bitness, code);
            let mut tries = (0..16).filter_map(|_| instance(code, BASE, *bitness, &mut random));
            let Some(instance) = tries.find(same) else {
                return false;
            };
            let mut machine = match bitness {
                64 => TestMachine::new(BASE, SIZE),
                32 => TestMachine::protected_mode(BASE, SIZE),
                _ => {
                    let mut machine = TestMachine::protected_mode(BASE, SIZE);
                    machine.registers.system.cs.big = false;
                    machine.registers.system.cs.base = BASE;
                    machine.registers.general.rip = 0;
                    machine
                }
            };
            machine.memory[..instance.bytes.len()].copy_from_slice(&instance.bytes);
            for (number, value) in &instance.pinned {
                machine.registers.general.gpr[*number] = *value;
            }
            !matches!(step(&mut machine), Err(EmulateError::Unsupported { .. }))
        })
}
