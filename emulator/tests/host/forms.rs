//! `forms.txt`: what the emulator executes, and how each form is tested.

use std::collections::HashMap;

use iced_x86::Code;

/// How a form is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Against the host's CPU.
    Native,
    /// By the test of this name.
    Manual(String),
}

/// Every line of `forms.txt` in order.
pub(crate) fn forms() -> Vec<(Code, Proof)> {
    let names: HashMap<String, Code> = Code::values()
        .map(|code| (format!("{code:?}"), code))
        .collect();
    let text = include_str!("../../forms.txt");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let code = *names
            .get(name)
            .unwrap_or_else(|| panic!("forms.txt: no encoding is called {name}"));
        let proof = match (words.next(), words.next(), words.next()) {
            (None, ..) => Proof::Native,
            (Some("manual"), Some(test), None) => Proof::Manual(test.to_owned()),
            _ => panic!("forms.txt: cannot read {line:?}"),
        };
        (code, proof)
    };
    lines.map(parse).collect()
}
