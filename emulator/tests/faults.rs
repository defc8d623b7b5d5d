//! Every program of `faults/` that is wrong gives exactly its report, and its right twin none.
//!
//! ```text
//! faults/NAME.ptx        a program with one mistake
//! faults/NAME.pass.ptx   its twin: the smallest change that makes it right
//! faults/NAME.report     what the emulator says of NAME.ptx; `BLESS=1 cargo test` writes it
//! ```
//! Both texts begin with two lines of comment: the name of the rule with the mistake in one sentence, and how to launch,
//! `// launch: grid 2, block 64, shared 1024, schedule in-order` (or `schedule seed 7`; `cluster N` may follow, blocks of a
//! cluster, and `limit N`, which is [`Options::instruction_limit`]). A parameter of the entry is a `.u64` device pointer, known by its name: see
//! [`buffer`]; or `.align 64 .b8 map[128]`, which is a tensor map of `out`: see [`tensor_map`]. All sanitizers are on.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::fixtures::Map;
use common::record::{self, Buffer, Launched};
use ptx_emulator::{
    GlobalMemory, Launch, Module, Options, Sanitizers, Schedule, TensorFill, TensorInterleave,
    TensorL2Promotion, TensorMap, TensorSwizzle, TensorTile, TensorType,
};

/// Bytes of every buffer.
const BUFFER: usize = 4096;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// Names of all files of the folder.
fn files() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).expect("the folder of fixtures");
    entries
        .map(|entry| entry.expect("a file").file_name())
        .map(|name| name.into_string().expect("a name in UTF-8"))
        .collect()
}

/// Names of the fixtures.
fn fixtures() -> impl Iterator<Item = String> {
    let is_failing = |file: &String| file.ends_with(".ptx") && !file.ends_with(".pass.ptx");
    let files = files().into_iter().filter(is_failing);
    files.map(|file| file.trim_end_matches(".ptx").to_string())
}

fn read(file: &str) -> String {
    let path = folder().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How a fixture wants to be launched.
struct Header<'t> {
    mistake: &'t str,
    line: &'t str,
    blocks: u32,
    threads: u32,
    cluster: Option<u32>,
    dynamic_shared_bytes: u32,
    schedule: Schedule,
    instruction_limit: Option<u64>,
}

fn header<'t>(file: &str, text: &'t str) -> Header<'t> {
    let mut lines = text.lines();
    let mistake = lines.next().and_then(|line| line.strip_prefix("// "));
    let line = lines
        .next()
        .and_then(|line| line.strip_prefix("// launch: "));
    let (Some(mistake), Some(line)) = (mistake, line) else {
        panic!("{file} must begin with `// rule: mistake` and `// launch: ..`");
    };
    let mut header = Header {
        mistake,
        line,
        blocks: 0,
        threads: 0,
        cluster: None,
        dynamic_shared_bytes: 0,
        schedule: Schedule::InOrder,
        instruction_limit: None,
    };
    for part in line.split(", ") {
        let number = || {
            let word = part.rsplit(' ').next().unwrap_or_default();
            word.parse::<u32>()
                .unwrap_or_else(|_| panic!("{file}: no number in `{part}`"))
        };
        match part.split(' ').next() {
            Some("grid") => header.blocks = number(),
            Some("block") => header.threads = number(),
            Some("cluster") => header.cluster = Some(number()),
            Some("shared") => header.dynamic_shared_bytes = number(),
            Some("schedule") if part == "schedule in-order" => {}
            Some("schedule") => header.schedule = Schedule::Seeded(number().into()),
            Some("limit") => header.instruction_limit = Some(number().into()),
            _ => panic!("{file}: `{part}` is no part of a launch"),
        }
    }
    header
}

/// Device address of the buffer that a parameter's name asks for.
fn buffer(memory: &GlobalMemory, name: &str) -> u64 {
    let address = memory.alloc(BUFFER).expect("room");
    match name {
        // All bytes have been written.
        "out" => memory.write(address, &[0; BUFFER]).expect("in bounds"),
        // Nobody has written to it.
        "fresh" => {}
        // The host has freed it.
        "freed" => memory.free(address).expect("allocated"),
        _ => panic!("no buffer is called {name}"),
    }
    address
}

/// A buffer as 64 rows of 16 floats, copied in boxes of 8 rows.
fn tensor_map(address: u64) -> TensorMap {
    let tile = TensorTile {
        data_type: TensorType::F32,
        address,
        dims: &[16, 64],
        strides: &[64],
        box_dims: &[16, 8],
        element_strides: &[1, 1],
        interleave: TensorInterleave::None,
        swizzle: TensorSwizzle::None,
        l2_promotion: TensorL2Promotion::None,
        fill: TensorFill::Zero,
    };
    TensorMap::encode_tiled(&tile).expect("a map")
}

/// The same map for the record.
fn recorded_map(offset: usize, buffer: usize) -> Map {
    Map {
        offset,
        buffer,
        data_type: "f32".to_string(),
        dims: vec![16, 64],
        strides: vec![64],
        box_dims: vec![16, 8],
        element_strides: vec![1, 1],
        swizzle: 0,
        fills_with_nan: false,
    }
}

/// The parameters of an entry.
#[derive(Default)]
struct Parameters {
    bytes: Vec<u8>,
    buffers: Vec<Buffer>,
    maps: Vec<Map>,
}

fn parameters(memory: &GlobalMemory, text: &str) -> Parameters {
    let (_, rest) = text.split_once(".entry ").expect("an entry");
    let (_, rest) = rest.split_once('(').expect("a parameter list");
    let (list, _) = rest.split_once(')').expect("a parameter list");
    let mut parameters = Parameters::default();
    for parameter in list
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match parameter.strip_prefix(".param .u64 ") {
            Some(name) => {
                let address = buffer(memory, name);
                parameters.bytes.extend(address.to_le_bytes());
                // What the host has freed cannot be read back.
                if name != "freed" {
                    parameters.buffers.push(Buffer::new(address, BUFFER));
                }
            }
            None => {
                assert_eq!(parameter, ".param .align 64 .b8 map[128]");
                let of = parameters.buffers.len() - 1;
                let address = parameters.buffers[of].address;
                let offset = parameters.bytes.len().next_multiple_of(64);
                parameters.bytes.resize(offset, 0);
                parameters.bytes.extend(tensor_map(address).as_bytes());
                parameters.maps.push(recorded_map(offset, of));
            }
        }
    }
    parameters
}

/// What the emulator says of a text: nothing when it is right.
fn verdict(file: &str, text: &str, schedule: Schedule) -> Option<String> {
    let module = match Module::parse(text) {
        Ok(module) => module,
        Err(error) => return Some(format!("{error}\n")),
    };
    let header = header(file, text);
    let memory = GlobalMemory::new();
    let parameters = parameters(&memory, text);
    let entry = module.entries().next().expect("one entry");
    let launched = Launched {
        text,
        entry,
        kernel: module.kernel(entry).expect("the entry"),
        memory: &memory,
        shape: Launch {
            grid: [header.blocks, 1, 1],
            block: [header.threads, 1, 1],
            cluster: header.cluster.map(|blocks| [blocks, 1, 1]),
            dynamic_shared_bytes: header.dynamic_shared_bytes,
            params: &parameters.bytes,
        },
        buffers: &parameters.buffers,
        maps: &parameters.maps,
    };
    let options = Options {
        schedule,
        threads: Some(1),
        sanitizers: Sanitizers::ALL,
        instruction_limit: header.instruction_limit,
        ..Options::default()
    };
    record::run(&launched, &options)
        .err()
        .map(|fault| fault.report().to_string())
}

#[test]
fn every_mistake_gives_exactly_its_report() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    for name in fixtures() {
        let file = format!("{name}.ptx");
        let text = read(&file);
        let found = verdict(&file, &text, header(&file, &text).schedule)
            .unwrap_or_else(|| "nothing wrong was found\n".to_string());
        let path = folder().join(format!("{name}.report"));
        if bless {
            fs::write(path, found).expect("the report is written");
            continue;
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        if found != expected {
            wrong += &format!("---- {file} should say\n{expected}---- it says\n{found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_twin_is_accused_under_any_schedule() {
    let mut accused = String::new();
    for name in fixtures() {
        let file = format!("{name}.pass.ptx");
        let text = read(&file);
        let seeds = (0..8).map(Schedule::Seeded);
        for schedule in [Schedule::InOrder].into_iter().chain(seeds) {
            if let Some(report) = verdict(&file, &text, schedule) {
                accused += &format!("---- {file}, {schedule:?}\n{report}");
            }
        }
    }
    assert!(accused.is_empty(), "{accused}");
}

#[test]
fn every_file_belongs_to_a_complete_fixture() {
    let mut expected = BTreeSet::new();
    for name in fixtures() {
        let [ptx, pass, report] =
            ["ptx", "pass.ptx", "report"].map(|suffix| format!("{name}.{suffix}"));
        let (text, twin) = (read(&ptx), read(&pass));
        let (header, twins) = (header(&ptx, &text), header(&pass, &twin));
        assert_eq!(
            header.line, twins.line,
            "{name} and its twin are launched alike"
        );
        assert_ne!(text, twin, "{name} and its twin differ");
        assert!(
            header.mistake.contains(": "),
            "{ptx} begins with `// rule: mistake`"
        );
        expected.extend([ptx, pass, report]);
    }
    let files = files();
    let orphans: Vec<&String> = files.difference(&expected).collect();
    assert!(orphans.is_empty(), "{orphans:?} belong to no fixture");
}
