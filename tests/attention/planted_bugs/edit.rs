//! Mistakes, planted into a text at one place after the other.

use std::ops::Range;

/// The text with its `nth` occurrence of `from` replaced; `None` when there are fewer.
pub fn replace_nth(text: &str, from: &str, to: &str, nth: usize) -> Option<String> {
    let (at, _) = text.match_indices(from).nth(nth)?;
    Some(format!("{}{to}{}", &text[..at], &text[at + from.len()..]))
}

/// A kind of mistake.
pub struct Mistake {
    pub name: &'static str,
    /// What it makes of a line of PTX, of which at most one instruction is concerned.
    pub plant: fn(&str) -> Option<String>,
}

impl Mistake {
    /// The text with the mistake at one place, for every place.
    pub fn planted(&self, ptx: &str) -> impl Iterator<Item = String> {
        let mut start = 0;
        ptx.split_inclusive('\n').filter_map(move |line| {
            let at = start..start + line.len();
            start = at.end;
            let line = (self.plant)(line)?;
            Some(format!("{}{line}{}", &ptx[..at.start], &ptx[at.end..]))
        })
    }
}

/// Where the statement is, with its guard, whose opcode begins with `opcode`.
fn statement(line: &str, opcode: &str) -> Option<Range<usize>> {
    let at = line.find(opcode)?;
    let start = line[..at].rfind([';', '\t']).map_or(0, |before| before + 1);
    let end = at + line[at..].find(';')? + 1;
    Some(start..end)
}

/// The line without that statement.
pub fn without(line: &str, opcode: &str) -> Option<String> {
    let at = statement(line, opcode)?;
    Some(format!("{}{}", &line[..at.start], &line[at.end..]))
}

/// The line where the last operand of that statement, a register, goes through the instruction `change` with `by` before.
pub fn with_operand(line: &str, opcode: &str, change: &str, by: u32) -> Option<String> {
    let at = statement(line, opcode)?;
    let (before, register) = line[at.clone()].trim_end_matches(';').rsplit_once(' ')?;
    let (head, tail) = (&line[..at.start], &line[at.end..]);
    Some(format!(
        "{head}{{ .reg .b32 %changed; {change} %changed, {register}, {by}; {before} %changed; }}{tail}"
    ))
}

/// The line with another number at the end of that statement.
pub fn with_number(line: &str, opcode: &str, other: fn(u32) -> u32) -> Option<String> {
    let at = statement(line, opcode)?;
    let (before, number) = line[at.clone()].trim_end_matches(';').rsplit_once(' ')?;
    let number = other(number.parse().ok()?);
    let (head, tail) = (&line[..at.start], &line[at.end..]);
    Some(format!("{head}{before} {number};{tail}"))
}
