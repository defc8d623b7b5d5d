//! Where names, comments, functions and variables begin and end in PTX text (PTX ISA, "Syntax").

/// All names in a text, in order. Opcodes and directives contain a dot, which a name never does.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.')))
        .filter(|word| !word.contains('.'))
        .filter(|word| word.starts_with(|c: char| !c.is_ascii_digit()))
}

/// The first place from `at` on that is neither white space nor comment.
pub(crate) fn skip_blank(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        match comment_length(trimmed) {
            0 => return at,
            length => at += length,
        }
    }
}

/// Length of the comment that `text` begins with, 0 when it begins with something else.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        text.find("*/").map_or(text.len(), |end| end + 2)
    } else {
        0
    }
}

/// Length of the function or variable that `text` begins with: up to its `;`, or to the `}` of a function's body.
pub(crate) fn item_length(text: &str) -> Option<usize> {
    let (mut at, mut depth, mut has_initialiser) = (0, 0_u32, false);
    loop {
        at += comment_length(&text[at..]);
        let c = text[at..].chars().next()?;
        match c {
            '"' => at += 1 + text[at + 1..].find('"')?,
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            '=' if depth == 0 => has_initialiser = true,
            _ => {}
        }
        at += c.len_utf8();
        if depth == 0 && (c == ';' || c == '}' && !has_initialiser) {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_directives_and_numbers_are_not_names() {
        let text = "ld.param.b32 %r1, [x_param_0+16]; .reg .b32 y$1<2>; call.uni f, 0f3F800000;";
        let found: Vec<&str> = names(text).collect();
        assert_eq!(found, ["%r1", "x_param_0", "y$1", "f"]);
    }

    #[test]
    fn comments_and_white_space_are_skipped_together() {
        let text = " // one }\n/* two; */\t.func";
        assert_eq!(&text[skip_blank(text, 0)..], ".func");
        assert_eq!(skip_blank("// only", 0), 7);
    }

    #[test]
    fn an_item_ends_at_its_own_brace_or_semicolon() {
        for item in [
            ".global .b8 a[2] = {1, 2};",
            ".entry k() { { // } comment\n } .pragma \"};\"; }",
            ".extern .shared .b8 s[];",
        ] {
            assert_eq!(item_length(&format!("{item} .next;")), Some(item.len()));
        }
        assert_eq!(item_length(".entry k() { ret;"), None);
        assert_eq!(item_length("} .entry"), None);
    }
}
