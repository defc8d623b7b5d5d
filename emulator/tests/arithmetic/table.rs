//! Runs one instruction on a table of operands: one thread per row, operands and result as 64-bit words.

use ptx_emulator::{GlobalMemory, Launch, Module, Options};

use crate::cases::{Kind, rows};
use crate::common::record::{self, Buffer, Launched};

const THREADS: u32 = 256;

/// The kernel around `body`, which reads operand i from `%rdi`, `%ri`, `%hi`, `%qi` or `%pi` (i from 1 to 4; narrower
/// registers hold the low bits) and leaves its result in `result`, a register of any of these.
fn kernel(body: &str, result: &str) -> String {
    let operands: String = (1..=4)
        .map(|i| {
            format!(
                "cvt.u32.u64 %r{i}, %rd{i}; cvt.u16.u64 %h{i}, %rd{i}; cvt.u8.u64 %q{i}, %rd{i};\n\
                 and.b32 %r9, %r{i}, 1; setp.ne.u32 %p{i}, %r9, 0;\n"
            )
        })
        .collect();
    let widen = match &result[..2] {
        "%p" => format!("selp.b64 %rd0, 1, 0, {result};"),
        "%q" => format!("cvt.u64.u8 %rd0, {result};"),
        "%h" => format!("cvt.u64.u16 %rd0, {result};"),
        "%r" if !result.starts_with("%rd") => format!("cvt.u64.u32 %rd0, {result};"),
        _ => format!("mov.b64 %rd0, {result};"),
    };
    format!(
        ".version 8.2\n.target sm_90\n.address_size 64\n.entry k(.param .u64 rows, .param .u64 results)\n{{\n\
         .reg .pred %p<9>; .reg .b8 %q<9>; .reg .b16 %h<9>; .reg .b32 %r<19>; .reg .b64 %rd<19>;\n\
         ld.param.u64 %rd9, [rows]; ld.param.u64 %rd10, [results];\n\
         mov.u32 %r9, %tid.x; mov.u32 %r10, %ctaid.x; mad.lo.u32 %r9, %r10, {THREADS}, %r9;\n\
         mad.wide.u32 %rd9, %r9, 32, %rd9; mad.wide.u32 %rd10, %r9, 8, %rd10;\n\
         ld.global.v2.b64 {{%rd1, %rd2}}, [%rd9]; ld.global.v2.b64 {{%rd3, %rd4}}, [%rd9+16];\n\
         {operands}{body}\n{widen}\nst.global.b64 [%rd10], %rd0;\nret;\n}}"
    )
}

/// The result of `body` for every row; the rows of which `is_open` is true have none that the ISA defines.
fn results(
    body: &str,
    result: &str,
    rows: &[[u64; 4]],
    is_open: impl Fn(usize) -> bool,
) -> Vec<u64> {
    let text = kernel(body, result);
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let memory = GlobalMemory::new();
    let blocks = (rows.len() as u32).div_ceil(THREADS);
    let padded = (blocks * THREADS) as usize;
    let (mut input, mut open) = (Vec::with_capacity(32 * padded), Vec::new());
    // The padding repeats the last row, so that it holds no operand that a row may not have.
    for i in 0..padded {
        let row = i.min(rows.len() - 1);
        input.extend(rows[row].iter().flat_map(|word| word.to_le_bytes()));
        if is_open(row) {
            open.push([8 * i, 8 * i + 8]);
        }
    }
    let table = memory.alloc(input.len()).expect("memory for the operands");
    let output = memory.alloc(8 * padded).expect("memory for the results");
    memory.write(table, &input).expect("the operands");
    let params = [table.to_le_bytes(), output.to_le_bytes()].concat();
    let shape = Launch {
        grid: [blocks, 1, 1],
        block: [THREADS, 1, 1],
        cluster: None,
        dynamic_shared_bytes: 0,
        params: &params,
    };
    let results = Buffer {
        open,
        ..Buffer::new(output, 8 * padded)
    };
    let launched = Launched {
        text: &text,
        entry: "k",
        kernel: module.kernel("k").expect("the entry"),
        memory: &memory,
        shape,
        buffers: &[Buffer::new(table, input.len()), results],
        maps: &[],
    };
    record::run(&launched, &Options::default()).unwrap_or_else(|fault| panic!("{fault}\n{body}"));
    let mut bytes = vec![0; 8 * rows.len()];
    memory.read(output, &mut bytes).expect("the results");
    let words = bytes.chunks_exact(8);
    words
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .collect()
}

/// Checks `body` on all [`rows`] of the given kinds of operands. `expected` says what has to be in `result`; `None`
/// where the ISA leaves it open.
pub fn check(body: &str, result: &str, kinds: &[Kind], expected: impl Fn([u64; 4]) -> Option<u64>) {
    let rows = rows(kinds);
    let expected: Vec<Option<u64>> = rows.iter().map(|row| expected(*row)).collect();
    let found = results(body, result, &rows, |row| expected[row].is_none());
    let mut checked = 0;
    for ((row, got), expected) in rows.iter().zip(found).zip(expected) {
        if let Some(expected) = expected {
            assert_eq!(
                got,
                expected,
                "{body}\n{result} of {:x?}: got {got:#x}, expected {expected:#x}",
                &row[..kinds.len()]
            );
            checked += 1;
        }
    }
    assert!(
        checked > rows.len() / 4,
        "{body}: only {checked} rows have a result"
    );
}
