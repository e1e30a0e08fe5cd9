use super::fork;

#[test]
fn a_test_harness_has_threads_and_cannot_fork() {
    let error = fork(|| 0).unwrap_err().to_string();
    assert!(
        error.starts_with("a process with ") && error.ends_with(" threads cannot be forked"),
        "{error}"
    );
}
