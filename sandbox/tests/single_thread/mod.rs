//! Runs tests one after the other on the main thread: a process that forks must have no other.

/// Runs the tests whose names contain the arguments, or all; a failed one ends the process by its panic.
/// Of the standard harness's flags it has `--list` and `--exact`, by which cargo-nextest runs each test alone.
pub(crate) fn run(tests: &[(&str, fn())]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        let none_is_ignored = has("--ignored");
        for (name, _) in tests.iter().filter(|_| !none_is_ignored) {
            println!("{name}: test");
        }
        return;
    }
    let exact = has("--exact");
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen = tests.iter().filter(|(name, _)| {
        let fits = |part: &str| {
            if exact {
                *name == part
            } else {
                name.contains(part)
            }
        };
        wanted.is_empty() || wanted.iter().any(|part| fits(part))
    });
    let mut count = 0;
    for (name, test) in chosen {
        test();
        println!("test {name} ... ok");
        count += 1;
    }
    println!("\ntest result: ok. {count} passed; 0 failed\n");
}
