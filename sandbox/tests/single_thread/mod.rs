//! Runs tests one after the other on the main thread: a process that forks must have no other.

/// Runs the tests whose names contain the arguments, or all; a failed one ends the process by its panic.
pub(crate) fn run(tests: &[(&str, fn())]) {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let chosen = tests
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(part)));
    let mut count = 0;
    for (name, test) in chosen {
        test();
        println!("test {name} ... ok");
        count += 1;
    }
    println!("\ntest result: ok. {count} passed; 0 failed\n");
}
