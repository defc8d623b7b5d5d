//! Which source files a PTX text refers to: `.file` directives and the `.loc` directives that count them (PTX ISA,
//! "Debugging Directives").

use std::collections::HashSet;

/// Whether `text` begins with a `.file` directive, which ends with its line.
pub(crate) fn is_file(text: &str) -> bool {
    text.starts_with(".file")
}

/// Whether `text` begins with a debug section. Those of line directives are empty, or hold the names of functions.
pub(crate) fn is_section(text: &str) -> bool {
    text.starts_with(".section")
}

/// The number that a `.file` directive gives its file.
pub(crate) fn file_number(directive: &str) -> Option<&str> {
    directive.split_whitespace().nth(1)
}

/// Numbers of the files in `.loc FILE LINE COLUMN[, function_name LABEL, inlined_at FILE LINE COLUMN]`.
pub(crate) fn files_used(text: &str) -> HashSet<&str> {
    let mut files = HashSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(".loc") {
            files.extend(words.next());
            files.extend(words.skip_while(|word| *word != "inlined_at").nth(1));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_used_by_its_lines_and_by_what_is_inlined_there() {
        let text = "\t.loc\t1 70 0\nmov.b32 %r1, 5;\n.loc 20 3 4, function_name $L__s, inlined_at 3 9 1 // 7 .loc 8\n";
        assert_eq!(files_used(text), HashSet::from(["1", "20", "3"]));
        assert_eq!(
            files_used("// .loc 1 2 3\n.local .b8 a[4];"),
            HashSet::new()
        );
        assert_eq!(file_number(".file\t20 \"a/b.rs\""), Some("20"));
    }
}
