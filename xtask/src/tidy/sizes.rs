//! What has grown far beyond its neighbours: listed, so that somebody looks.

use super::lexer;
use super::sources::Source;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 100;

/// Long files and functions.
pub(super) fn list(sources: &[Source]) -> Vec<String> {
    let mut notes = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES && !source.is_test() {
            notes.push(format!("{} has {lines} lines", source.path));
        }
        for (name, line, lines) in functions(&lexer::code(&source.text)) {
            if lines > FUNCTION_LINES {
                notes.push(format!("{}:{line}: {name} has {lines} lines", source.path));
            }
        }
    }
    notes
}

/// Name, first line and length of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    // Functions whose braces are open: name, line, depth outside of the body.
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    let mut next: Option<(String, usize)> = None;
    let mut depth = 0_usize;
    for (index, line) in code.lines().enumerate() {
        if let Some(name) = function_name(line) {
            next = Some((name, index + 1));
        }
        for letter in line.chars() {
            match letter {
                '{' => {
                    if let Some((name, line)) = next.take() {
                        open.push((name, line, depth));
                    }
                    depth += 1;
                }
                '}' => {
                    depth = depth.saturating_sub(1);
                    if let Some((name, line, _)) = open.pop_if(|function| function.2 == depth) {
                        found.push((name, line, index + 2 - line));
                    }
                }
                // A function of a trait without a body.
                ';' => {
                    next = next.filter(|(_, line)| *line == index + 1 && depth_in_line(code, index))
                }
                _ => {}
            }
        }
    }
    found
}

/// Whether the line's `;` stands inside of brackets, as in `[u8; 4]`.
fn depth_in_line(code: &str, index: usize) -> bool {
    let line = code.lines().nth(index).unwrap_or_default();
    !line.trim_end().ends_with(';')
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.find(|word| *word == "fn")?;
    words
        .next()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::sources::source;
    use super::*;

    #[test]
    fn functions_are_measured_by_their_braces() {
        let code = "fn a() {\n    if x {\n    }\n}\ntrait T {\n    fn b();\n    fn c(x: [u8; 4]) {}\n}\n\
                    fn d(\n    x: u8,\n) -> u8 {\n    fn e() {\n    }\n    x\n}\n";
        let functions = functions(code);
        let expected = [("a", 1, 4), ("c", 7, 1), ("e", 12, 2), ("d", 9, 7)];
        assert_eq!(functions.len(), expected.len(), "{functions:?}");
        for (found, expected) in functions.iter().zip(expected) {
            assert_eq!((found.0.as_str(), found.1, found.2), expected);
        }
    }

    #[test]
    fn long_ones_are_listed() {
        let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES));
        let notes = list(&[source("a/src/b.rs", &long)]);
        assert_eq!(notes, ["a/src/b.rs:1: long has 102 lines"]);
        let file = "x\n".repeat(FILE_LINES + 1);
        assert_eq!(list(&[source("a/src/b.rs", &file)]).len(), 1);
        assert!(list(&[source("a/src/tests.rs", &file)]).is_empty());
    }
}
