use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use trivisor_loader::{BootProtocol, Compression};

use super::*;
use crate::engine::{Failure, Options};

fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| panic!("{name} has no target"))
}

#[test]
fn every_device_has_a_target() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../mode-basic/src"));
    let mut devices = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.join("core.rs").is_file() {
            target(path.file_name().unwrap().to_str().unwrap());
            devices += 1;
        }
    }
    assert!(devices >= 9, "{devices} devices in {}", folder.display());
}

/// Fails to compile when the loader has one more.
#[test]
fn every_format_and_compression_has_a_target() {
    let of_protocol = |protocol| match protocol {
        BootProtocol::Pvh => "pvh",
        BootProtocol::Multiboot1 => "multiboot1",
        BootProtocol::Multiboot2 => "multiboot2",
        BootProtocol::Linux => "elf",
        BootProtocol::Auto => "bzimage",
    };
    let of_compression = |compression| match compression {
        Compression::Gzip => Some("gzip"),
        Compression::Bzip2 => Some("bzip2"),
        Compression::Lzma => Some("lzma"),
        Compression::Xz => Some("xz"),
        Compression::Lz4 => Some("lz4"),
        Compression::Zstd => Some("zstd"),
        // Known by its name alone: there is nothing to fuzz.
        Compression::Lzo => None,
    };
    let protocols = [
        loader::elf::PROTOCOL,
        loader::pvh::PROTOCOL,
        loader::multiboot1::PROTOCOL,
        loader::multiboot2::PROTOCOL,
        loader::bzimage::PROTOCOL,
    ];
    let compressions = [
        loader::gzip::COMPRESSION,
        loader::bzip2::COMPRESSION,
        loader::lzma::COMPRESSION,
        loader::xz::COMPRESSION,
        loader::lz4::COMPRESSION,
        loader::zstd::COMPRESSION,
    ];
    let mut names: Vec<_> = protocols.map(of_protocol).to_vec();
    names.extend(compressions.iter().copied().filter_map(of_compression));
    for name in &names {
        target(name);
    }
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 11);
}

#[test]
fn seeds_of_formats_load() {
    for (seeds, protocol) in [
        (loader::elf::seeds(), loader::elf::PROTOCOL),
        (loader::pvh::seeds(), loader::pvh::PROTOCOL),
        (loader::multiboot1::seeds(), loader::multiboot1::PROTOCOL),
        (loader::multiboot2::seeds(), loader::multiboot2::PROTOCOL),
        (loader::bzimage::seeds(), loader::bzimage::PROTOCOL),
    ] {
        assert!(seeds.iter().any(|seed| seed.len() % 2 == 1), "{protocol:?}");
        for (index, seed) in seeds.iter().enumerate() {
            let result = loader::load_image(seed, protocol);
            assert!(result.is_ok(), "{protocol:?} {index}: {result:?}");
        }
    }
}

#[test]
fn seeds_of_compressions_are_one_image() {
    for (seeds, compression) in [
        (loader::gzip::seeds(), loader::gzip::COMPRESSION),
        (loader::bzip2::seeds(), loader::bzip2::COMPRESSION),
        (loader::lzma::seeds(), loader::lzma::COMPRESSION),
        (loader::xz::seeds(), loader::xz::COMPRESSION),
        (loader::lz4::seeds(), loader::lz4::COMPRESSION),
        (loader::zstd::seeds(), loader::zstd::COMPRESSION),
    ] {
        let unpacked = loader::unpack(&seeds[0], compression).unwrap();
        assert_eq!(
            (&unpacked[..4], unpacked.len()),
            (&b"\x7fELF"[..], 128),
            "{compression}"
        );
    }
}

#[test]
fn all_targets_take_their_seeds_and_corpora() {
    for target in TARGETS {
        let corpus = corpus::read(corpus::folder(), target).unwrap();
        let kept = corpus.into_iter().map(|(_, input)| input);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for input in seeds.into_iter().chain(kept) {
            engine::try_one(target, &input).unwrap();
        }
    }
}

#[test]
fn every_corpus_has_its_target() {
    let Ok(entries) = fs::read_dir(corpus::folder()) else {
        return;
    };
    for entry in entries {
        let name = entry.unwrap().file_name();
        target(name.to_str().unwrap());
    }
}

#[test]
fn what_panics_is_found_and_told() {
    fn run(data: &[u8]) {
        // Three bytes that no single mutation finds: each is a feature of its own.
        let depth = data
            .iter()
            .zip([0x13, 0x37, 0xc5])
            .take_while(|(a, b)| **a == *b)
            .count();
        features::note(depth);
        assert!(depth < 3, "found");
    }
    let planted = Target {
        name: "planted",
        run,
        seeds: || vec![vec![0; 8]],
        dictionary: Vec::new,
    };
    let options = Options {
        time: Duration::from_secs(60),
        seed: 1,
        corpus: "no such folder".into(),
    };
    let mut report = Vec::new();
    let error = engine::run(&[planted], &options, &mut report).unwrap_err();
    let Failure::Panic { input, .. } = &error else {
        panic!("{error}");
    };
    assert!(input.starts_with(&[0x13, 0x37, 0xc5]), "{input:x?}");
    let text = error.to_string();
    assert!(text.starts_with("target planted: found"), "{text}");
    assert!(text.contains("\n1337c5"), "{text}");
    assert!(report.starts_with(b"planted "));
}

#[test]
fn what_a_dictionary_names_is_found() {
    /// Nothing leads to it.
    const WORD: &[u8] = b"\x13\x37\xc5\x8a\x01\xfe\x42\x99";
    fn run(data: &[u8]) {
        let found = data.windows(WORD.len()).any(|window| window == WORD);
        assert!(!found, "found");
    }
    let planted = Target {
        name: "planted",
        run,
        seeds: || vec![vec![0; 64]],
        dictionary: || vec![b"another".to_vec(), WORD.to_vec()],
    };
    let options = Options {
        time: Duration::from_secs(60),
        seed: 1,
        corpus: "no such folder".into(),
    };
    let error = engine::run(&[planted], &options, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Failure::Panic { .. }), "{error}");
}

#[test]
fn every_chip_of_a_pc_has_a_dictionary() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../devices-hvm/src"));
    let mut chips = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.join("mod.rs").is_file() {
            let chip = path.file_name().unwrap().to_str().unwrap();
            let mut targets = TARGETS.iter().rev();
            let target = targets.find(|target| target.name.starts_with(chip));
            let target = target.unwrap_or_else(|| panic!("{chip} has no target"));
            assert!(!(target.dictionary)().is_empty(), "{chip}");
            chips += 1;
        }
    }
    assert!(chips >= 10, "{chips} chips in {}", folder.display());
}

#[test]
fn words_fit_into_any_engine() {
    for target in TARGETS {
        for word in (target.dictionary)() {
            let fits = (1..=MAX_WORD).contains(&word.len());
            assert!(fits, "{}: {word:x?}", target.name);
        }
    }
}

#[test]
fn another_engine_gets_seeds_corpus_and_dictionary() {
    let folder = std::env::temp_dir().join(format!("trivisor-export-{}", std::process::id()));
    let target = target("uart");
    corpus::export(&target, &folder).unwrap();
    let inputs = fs::read_dir(folder.join("inputs")).unwrap().count();
    let kept = fs::read(folder.join("inputs/reserved-bits-of-fcr")).unwrap();
    let dictionary = fs::read_to_string(folder.join("dictionary")).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(inputs > (target.seeds)().len(), "{inputs}");
    assert_eq!(kept, [0, 2, 0, 0xff, 15, 1]);
    assert_eq!(dictionary.lines().count(), (target.dictionary)().len());
    assert!(
        dictionary.starts_with("\"\\x05\\x00\\x00\"\n"),
        "{dictionary}"
    );
}

#[test]
fn an_input_that_takes_long_is_a_finding() {
    let target = Target {
        name: "slow",
        run: |data| {
            let sum = |end: u64| (0..end).map(std::hint::black_box).sum::<u64>();
            assert!(sum(u64::from(data[0]) << 20) > 0);
        },
        seeds: Vec::new,
        dictionary: Vec::new,
    };
    engine::run_within(&target, &[1], Duration::from_secs(60));
    let slow = || engine::run_within(&target, &[16], Duration::from_nanos(1));
    let message = *std::panic::catch_unwind(slow)
        .unwrap_err()
        .downcast::<String>()
        .unwrap();
    assert!(message.starts_with("an input takes "), "{message}");
}

#[test]
fn a_device_that_forgets_is_found() {
    use trivisor_buses::{AccessError, Component, PortDevice, RestoreError, SavedState, Widths};

    /// Saves all but its last written byte.
    struct Forgetful(u8);
    impl PortDevice for Forgetful {
        fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
            data.fill(self.0);
            Ok(())
        }
        fn write(&mut self, _offset: u16, data: &[u8]) -> Result<(), AccessError> {
            self.0 = data[0];
            Ok(())
        }
    }
    impl Component for Forgetful {
        fn reset(&mut self) {
            self.0 = 0;
        }
        fn save(&self) -> SavedState {
            SavedState::encode("forgetful", 1, &())
        }
        fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
            state.decode("forgetful", 1)
        }
    }
    let fuzzer = bus::BusFuzzer {
        space: bus::Space::Ports,
        base: 0,
        size: 1,
        registers: &[0],
        fit: |_, slots| {
            slots.pio("forgetful", 0, 1, Widths::BYTES, Forgetful(0))?;
            Ok(())
        },
    };
    let twin = std::panic::catch_unwind(|| fuzzer.run(&[0, 0, 0, 7, 15, 1, 5, 0, 0]));
    let message = *twin.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("differs after Read"), "{message}");
    fuzzer.run(&[0, 0, 0, 7, 5, 0, 0]);
}

#[test]
fn inputs_are_text() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(corpus::parse(&corpus::format(&bytes)), Some(bytes));
    assert_eq!(
        corpus::parse("# a remark\n 01 fF\n2 3 # more"),
        Some(vec![1, 0xff, 0x23])
    );
    for wrong in ["1", "0g", "+1"] {
        assert_eq!(corpus::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_file_without_an_input_is_named() {
    let folder = std::env::temp_dir().join(format!("trivisor-corpus-{}", std::process::id()));
    let target = target("rtc");
    fs::create_dir_all(folder.join("rtc")).unwrap();
    fs::write(folder.join("rtc/a.hex"), "0102").unwrap();
    let read = corpus::read(&folder, &target).unwrap();
    fs::write(folder.join("rtc/b.hex"), "no").unwrap();
    let error = corpus::read(&folder, &target).unwrap_err().to_string();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!((read.len(), &*read[0].1), (1, &[1, 2][..]));
    assert!(
        error.ends_with("b.hex: not pairs of hexadecimal digits"),
        "{error}"
    );
}
