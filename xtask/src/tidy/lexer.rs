//! Rust without its comments and literals, so that words in them are not taken for code.

/// The text with each comment, string and character literal turned to blanks; lines stay lines.
pub(super) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = literal(rest);
        if skipped == 0 {
            // A whole word at once: the `r` that ends it begins no string.
            let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let len = word.unwrap_or(rest.len()).max(letter.len_utf8());
            code.push_str(&rest[..len]);
            rest = &rest[len..];
        } else {
            let blank = |letter| if letter == '\n' { '\n' } else { ' ' };
            code.extend(rest[..skipped].chars().map(blank));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of the comment or literal that the text begins with; 0 when it begins with neither.
fn literal(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment(text);
    }
    let mut prefix = ["br", "cr", "b", "c", "r"].into_iter();
    let prefix = prefix.find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            let hashes = rest.trim_start_matches('#');
            let raw = prefix.ends_with('r');
            hashes.starts_with('"') && (raw || hashes.len() == rest.len())
        })
    });
    let prefix = prefix.unwrap_or_default();
    let body = &text[prefix.len()..];
    if prefix.ends_with('r') {
        return prefix.len() + raw_string(body);
    }
    if body.starts_with('"') {
        return prefix.len() + quoted(body, '"');
    }
    if let Some(body) = text.strip_prefix("b'") {
        return 1 + quoted(&text[1..], '\'').max(body.len().min(1));
    }
    if text.starts_with('\'') && !is_lifetime(text) {
        return quoted(text, '\'');
    }
    0
}

/// `'a` without a closing quote behind one letter is a lifetime.
fn is_lifetime(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    let (first, second) = (letters.next(), letters.next());
    first != Some('\\') && second != Some('\'')
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..) {
        if rest.is_empty() {
            break;
        }
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let from = hashes + 1;
    let len = text.get(from..).and_then(|rest| rest.find(&end));
    len.map_or(text.len(), |len| from + len + end.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let code = code(text);
        assert_eq!(code.lines().count(), text.lines().count());
        code.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_go_and_code_stays() {
        assert_eq!(words("a // unsafe {\nb"), ["a", "b"]);
        assert_eq!(words("a /* x /* unsafe */ y */ b"), ["a", "b"]);
        assert_eq!(words(r#"f("unsafe { \" {", g)"#), ["f(", ",", "g)"]);
        assert_eq!(words("x = r#\"unsafe \" {\"#;"), ["x", "=", ";"]);
        assert_eq!(words("x = br\"\\\"; y"), ["x", "=", ";", "y"]);
        assert_eq!(words("b\"{\" c\"{\" z"), ["z"]);
        assert_eq!(words("'{' '\\'' b'{' '\"' z"), ["z"]);
        assert_eq!(words("for<'a> &'a str 'q'"), ["for<'a>", "&'a", "str"]);
        assert_eq!(words("attr\"x\" y"), ["attr", "y"]);
        assert_eq!(words("\"ends\nnowhere"), Vec::<String>::new());
    }
}
