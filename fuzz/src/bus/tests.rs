use super::*;
use crate::TARGETS;

/// Whatever stands behind a word is read as it would be without it.
#[test]
fn words_are_whole_operations() {
    const BEHIND: [u8; 16] = [0xee; 16];
    let fuzzer = BusFuzzer {
        space: Space::Ports,
        base: 0,
        size: 1,
        registers: &[0],
        fit: |_, _| Ok(()),
    };
    let mut words = 0;
    for target in TARGETS {
        for word in (target.dictionary)() {
            let bytes = [&word[..], &BEHIND].concat();
            let mut input = Input(&bytes);
            while input.0.len() > BEHIND.len() {
                fuzzer.step(&mut input);
            }
            assert_eq!(input.0, BEHIND, "{}: {word:x?}", target.name);
            words += 1;
        }
    }
    assert!(words > 1000, "{words}");
}

#[test]
fn words_mean_what_they_are_called() {
    let fuzzer = BusFuzzer {
        space: Space::Ports,
        base: 0x60,
        size: 5,
        registers: &[0, 4],
        fit: |_, _| Ok(()),
    };
    for (word, meaning) in [
        (words::write(&[0, 4], 4, &[0xd4]), "Write(64, [d4])"),
        (words::put(0, &[1, 2, 3, 4]), "Write(60, [1, 2, 3, 4])"),
        (words::read(&[0, 4], 4, 1), "Read(64, 2)"),
        (
            words::read_string(&[0, 4], 4, 1, 0),
            "ReadString(64, 2, 100)",
        ),
        (
            words::write_string(&[0, 4], 0, 0, 3, [1, 2, 3, 4]),
            "WriteString(60, 1, [1, 2, 3])",
        ),
        (words::TWIN.to_vec(), "Twin"),
        (words::LOOK.to_vec(), "Pause"),
        (words::RESET.to_vec(), "Reset"),
        (words::PRESS.to_vec(), "Press"),
        (words::FAIL.to_vec(), "Outside(false)"),
        (words::WORK.to_vec(), "Outside(true)"),
        (words::line(3, true).to_vec(), "Line(3, true)"),
        (words::push(&[0x1e, 0x9e]), "Push([1e, 9e])"),
        (words::advance(20).to_vec(), "Advance(1.048576ms)"),
    ] {
        let step = fuzzer.step(&mut Input(&word));
        assert_eq!(format!("{step:x?}"), meaning);
    }
}
