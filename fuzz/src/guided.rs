//! The targets under libFuzzer, which is led by what each input reaches: `trivisor-fuzz-guided FOLDER.. -FLAG=VALUE..`, with
//! the target's name in `TRIVISOR_FUZZ_TARGET`. `cargo xtask fuzz TARGET --guided` builds and runs it.

#![forbid(unsafe_code)]
#![no_main]

use std::env;
use std::process;
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use trivisor_fuzz::{TARGETS, Target, engine};

/// The longest that an input may take.
const LIMIT: Duration = Duration::from_secs(1);

static CHOSEN: OnceLock<&Target> = OnceLock::new();

/// The target; without one the process ends.
fn chosen() -> &'static Target {
    let name = env::var("TRIVISOR_FUZZ_TARGET").unwrap_or_default();
    let named = |target: &&Target| target.name == name;
    TARGETS.iter().find(named).unwrap_or_else(|| {
        eprintln!("TRIVISOR_FUZZ_TARGET={name}: no such target");
        process::exit(2)
    })
}

fuzz_target!(init: { CHOSEN.get_or_init(chosen); }, |input: &[u8]| {
    engine::run_within(CHOSEN.get_or_init(chosen), input, LIMIT);
});
