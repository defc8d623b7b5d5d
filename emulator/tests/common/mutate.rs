//! Changes PTX texts in ways that keep most of their structure: tokens and statements are torn out, doubled, swapped
//! and spliced in from other texts. Both the test `mutations` and the fuzzer in `fuzz/` work with it.

/// The texts to start from and to splice from.
pub const CORPUS: &[&str] = &[
    include_str!("../corpus/async_copy.ptx"),
    include_str!("../corpus/asynchronous.ptx"),
    include_str!("../corpus/atomics.ptx"),
    include_str!("../corpus/barriers.ptx"),
    include_str!("../corpus/bits.ptx"),
    include_str!("../corpus/calls.ptx"),
    include_str!("../corpus/compare.ptx"),
    include_str!("../corpus/control_flow.ptx"),
    include_str!("../corpus/convert.ptx"),
    include_str!("../corpus/directives.ptx"),
    include_str!("../corpus/float.ptx"),
    include_str!("../corpus/half.ptx"),
    include_str!("../corpus/integer.ptx"),
    include_str!("../corpus/matrix.ptx"),
    include_str!("../corpus/memory.ptx"),
    include_str!("../corpus/movement.ptx"),
    include_str!("../corpus/refused.ptx"),
    include_str!("../corpus/row_sum.ptx"),
    include_str!("../corpus/warp.ptx"),
];

/// Tokens at the edges of what the grammar and the decoder know.
const EDGES: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "3",
    "31",
    "32",
    "33",
    "63",
    "64",
    "255",
    "256",
    "1023",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "0x",
    "0b1",
    "077",
    "1e999",
    "-0.0",
    "0f7FC00000",
    "0f00000001",
    "0d7FF0000000000000",
    "WARP_SZ",
    "_",
    "%p0",
    "%p8",
    "%h1",
    "%r1",
    "%r39",
    "%r40",
    "%r999999",
    "%rd1",
    "%f1",
    "%d1",
    "%tid.x",
    "%clock",
    "!%p1",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "@",
    "|",
    "+",
    "-",
    "=",
    "<",
    ">",
    ".pred",
    ".b8",
    ".b16",
    ".b32",
    ".b64",
    ".b128",
    ".u8",
    ".s16",
    ".s64",
    ".f16x2",
    ".bf16",
    ".f32",
    ".f64",
    ".v2",
    ".v4",
    ".sat",
    ".ftz",
    ".rz",
    ".lo",
    ".cc",
    ".sync",
    ".aligned",
    ".reg",
    ".param",
    ".shared",
    ".local",
    ".global",
    ".align",
    ".func",
    ".entry",
    ".version",
    ".target",
    "//",
    "/*",
    "\"",
];

/// Small numbers out of a seed (xorshift64*).
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high as usize * end) >> 32
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list.get(self.below(list.len())).copied().unwrap_or("")
    }
}

/// `text` with one to four changes.
pub fn mutate(text: &str, random: &mut Random) -> String {
    let mut text = text.to_string();
    for _ in 0..=random.below(4) {
        let other = random.pick(CORPUS);
        let donor = if random.below(2) == 0 {
            text.as_str()
        } else {
            other
        };
        text = if random.below(3) == 0 {
            change(&statements(&text), &statements(donor), random)
        } else {
            change(&tokens(&text), &tokens(donor), random)
        };
    }
    text
}

/// One change to a list of pieces; what is new comes from `donor`.
fn change(pieces: &[&str], donor: &[&str], random: &mut Random) -> String {
    let (at, end) = (random.below(pieces.len()), random.below(pieces.len()));
    let new = random.pick(donor);
    let mut pieces = pieces.to_vec();
    if pieces.is_empty() {
        return new.to_string();
    }
    match random.below(8) {
        0 => drop(pieces.remove(at)),
        1 => pieces.insert(at, new),
        2 => pieces[at] = new,
        3 => pieces[at] = random.pick(EDGES),
        4 => pieces.insert(at, random.pick(EDGES)),
        5 => pieces.swap(at, end),
        6 => {
            let repeated = vec![pieces[at]; 1 + random.below(20)];
            pieces.splice(at..at, repeated);
        }
        _ => drop(pieces.drain(at.min(end)..at.max(end).min(at.min(end) + 8))),
    }
    pieces.concat()
}

/// Words with the dot or percent sign before them, single other characters, and white space.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._$%".contains(c);
    let mut rest = text;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let same = |c: char| match first {
            c1 if c1.is_whitespace() => c.is_whitespace(),
            c1 if is_word(c1) => is_word(c) && c != '.',
            _ => false,
        };
        let length = first.len_utf8();
        let end = rest[length..].find(|c| !same(c));
        let end = end.map_or(rest.len(), |end| length + end);
        tokens.push(&rest[..end]);
        rest = &rest[end..];
    }
    tokens
}

/// Everything up to and including each semicolon or brace.
fn statements(text: &str) -> Vec<&str> {
    text.split_inclusive([';', '{', '}']).collect()
}
