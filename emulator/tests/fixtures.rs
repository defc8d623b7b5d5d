//! What is recorded for a GPU to repeat is what the ISA defines, and a wrong result does not pass.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use std::fs;
use std::path::PathBuf;

use common::fixtures::{Contents, Fixture, compare, emulate, read};
use common::kernel;
use common::record::{Buffer, Launched, run_into};
use ptx_emulator::{GlobalMemory, Launch, Module, Options};

/// Bytes of the output buffer.
const OUTPUT: usize = 256;

/// Launches `body` with two warps and an output full of `fill`, recording, and reads what was recorded.
fn recorded(name: &str, body: &str, fill: u8) -> Vec<(Fixture, Contents)> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let text = kernel(".shared .align 16 .b8 tile[256];", body);
    let module = Module::parse(&text).expect("a module");
    let memory = GlobalMemory::new();
    let out = memory.alloc(OUTPUT).expect("memory");
    memory.write(out, &[fill; OUTPUT]).expect("in bounds");
    let launched = Launched {
        text: &text,
        entry: "k",
        kernel: module.kernel("k").expect("the entry"),
        memory: &memory,
        shape: Launch {
            grid: [1; 3],
            block: [64, 1, 1],
            cluster: None,
            dynamic_shared_bytes: 0,
            params: &out.to_le_bytes(),
        },
        buffers: &[Buffer::new(out, OUTPUT)],
        maps: &[],
    };
    run_into(&folder, &launched, &Options::default()).expect("no fault without sanitizers");
    let files = read::list(&folder).expect("the folder");
    let fixtures = files
        .iter()
        .map(|file| read::read(file).expect("a fixture"));
    fixtures.collect()
}

const STORE: &str = "mad.wide.u32 %rd1, %r0, 4, %rd0; st.global.b32 [%rd1], %r1;";

/// The only fixture of a body, and what the emulator makes of it.
fn repeated(name: &str, body: &str) -> (Fixture, Contents, Vec<Vec<u8>>) {
    let mut all = recorded(name, body, 7);
    assert_eq!(all.len(), 1);
    let (fixture, contents) = all.remove(0);
    let found = emulate::run(&fixture, &contents, &Options::default()).expect("the same launch");
    (fixture, contents, found)
}

#[test]
fn a_recorded_launch_is_repeated_bit_for_bit_and_a_wrong_byte_is_reported() {
    let body = format!("mul.lo.u32 %r1, %r0, 3; {STORE}");
    let (fixture, contents, mut found) = repeated("repeated", &body);
    assert_eq!(contents.before, [[7; OUTPUT]]);
    assert_eq!(found, contents.after);
    assert_eq!(compare::difference(&fixture, &contents, &found), None);
    found[0][4 * 5 + 1] ^= 0x80;
    assert_eq!(
        compare::difference(&fixture, &contents, &found).as_deref(),
        Some("buffer 0, byte 20: found 0x0000800f, expected 0x0000000f (1 of 64 words differ)")
    );
}

#[test]
fn what_the_isa_leaves_open_does_not_count() {
    let body = format!("mov.u32 %r1, %r0; {STORE}");
    let (mut fixture, contents, mut found) = repeated("open", &body);
    found[0][20] ^= 1;
    fixture.buffers[0].open = vec![[20, 24]];
    assert_eq!(compare::difference(&fixture, &contents, &found), None);
    fixture.buffers[0].open = vec![[24, 28]];
    assert!(compare::difference(&fixture, &contents, &found).is_some());
}

#[test]
fn an_approximation_may_be_off_by_its_bound_and_no_more() {
    let body = format!(
        "cvt.rn.f32.u32 %f0, %r0; mul.f32 %f0, %f0, 0f3DCCCCCD; ex2.approx.f32 %f1, %f0; mov.b32 %r1, %f1; {STORE}"
    );
    let (fixture, contents, exact) = repeated("approximation", &body);
    let moved_by = |units: u8| {
        let mut found = exact.clone();
        found[0][40] = found[0][40].wrapping_add(units);
        compare::difference(&fixture, &contents, &found)
    };
    // 2^1 is the first word here: a unit in its last place is 2^-23 of it, and the bound is 2^-22.
    assert_eq!(exact[0][40..44], 2f32.to_le_bytes());
    assert_eq!((moved_by(1), moved_by(2)), (None, None));
    assert!(moved_by(3).is_some());
    // The same difference in an exact result is one.
    let text = contents.text.replace("ex2.approx.f32", "mov.f32");
    let exactly = Contents {
        text,
        ..contents.clone()
    };
    let mut found = exact.clone();
    found[0][40] += 1;
    assert!(compare::difference(&fixture, &exactly, &found).is_some());
}

#[test]
fn a_launch_that_leaves_no_trace_is_not_recorded_and_zeros_over_zeros_are_one() {
    assert_eq!(recorded("nothing", "add.u32 %r1, %r0, 1;", 0).len(), 0);
    let found = recorded("zeros", &format!("mov.u32 %r1, 0; {STORE}"), 0);
    let (_, contents) = &found[0];
    assert_eq!(contents.before, [[0xa5; OUTPUT]]);
    assert_eq!(contents.after, [[0; OUTPUT]]);
}

#[test]
fn launches_that_depend_on_the_machine_are_not_recorded() {
    for (name, body) in [
        ("clock", "mov.u32 %r1, %clock;"),
        (
            "race",
            "mov.u32 %r2, tile; st.shared.b32 [%r2], %r0; ld.shared.b32 %r1, [%r2];",
        ),
        ("unwritten", "mov.u32 %r2, tile; ld.shared.b32 %r1, [%r2];"),
        (
            "address",
            "cvt.u32.u64 %r1, %rd0; shr.u64 %rd2, %rd0, 32; cvt.u32.u64 %r1, %rd2;",
        ),
        ("order", "atom.global.add.u32 %r1, [%rd0], 1; bar.sync 0;"),
    ] {
        let found = recorded(name, &format!("{body} {STORE}"), 7);
        assert_eq!(found.len(), 0, "{name}");
    }
}
