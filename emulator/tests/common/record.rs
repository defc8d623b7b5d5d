//! Writes the launches of tests as fixtures into the folder that the variable PTX_FIXTURES names, for a GPU to repeat.
//!
//! Only what the ISA defines is recorded: a launch that also ends well, with the same bits, with its buffers elsewhere,
//! under all sanitizers, under other schedules and with the other numerics of tensor cores. Each launch is recorded
//! once. Files are named by a hash of what they hold, so that equal ones are one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use ptx_emulator::{
    Fault, GlobalMemory, Kernel, Launch, LaunchReport, MmaNumerics, Options, Sanitizers, Schedule,
    launch,
};

use super::fixtures::{Contents, Fixture, Map, Pointer, Stored, compare, emulate};

/// Bytes of buffers and text that a fixture may have: the fixtures travel.
const LIMIT: usize = 1 << 20;

/// Texts with one of these have results that the ISA leaves to the machine.
const MACHINE_DEPENDENT: &[&str] = &[
    "%clock",
    "%globaltimer",
    "%smid",
    "%nsmid",
    "%warpid",
    "%nwarpid",
    "%gridid",
    "%total_smem_size",
    "%dynamic_smem_size",
    "%envreg",
    "activemask",
    "elect.sync",
    "createpolicy",
    "nanosleep",
];

/// Tests whose results are addresses, which are the machine's choice.
const ABOUT_ADDRESSES: &[&str] = &[
    "shared_variables_do_not_overlap",
    "a_shared_address_is_the_rank_and_an_offset_behind_the_first_kib",
    "mapa_replaces_the_rank_and_getctarank_reads_it",
];

/// A buffer of a launch.
pub struct Buffer {
    pub address: u64,
    pub bytes: usize,
    /// Ranges of bytes that the ISA leaves open.
    pub open: Vec<[usize; 2]>,
}

impl Buffer {
    /// A buffer whose bytes are all defined.
    pub fn new(address: u64, bytes: usize) -> Buffer {
        Buffer {
            address,
            bytes,
            open: Vec::new(),
        }
    }
}

/// What a test launches.
pub struct Launched<'a> {
    pub text: &'a str,
    pub entry: &'a str,
    pub kernel: &'a Kernel,
    pub memory: &'a GlobalMemory,
    pub shape: Launch<'a>,
    pub buffers: &'a [Buffer],
    /// The maps in the parameters.
    pub maps: &'a [Map],
}

static FOLDER: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("PTX_FIXTURES"));
static SEEN: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

/// [`launch`], recorded when the variable is set.
pub fn run(launched: &Launched, options: &Options) -> Result<LaunchReport, Fault> {
    match &*FOLDER {
        Some(folder) => run_into(Path::new(folder), launched, options),
        None => launched.launch(options),
    }
}

/// [`launch`], recorded into a folder if it ends well.
pub fn run_into(
    folder: &Path,
    launched: &Launched,
    options: &Options,
) -> Result<LaunchReport, Fault> {
    let before = launched.snapshot();
    let report = launched.launch(options)?;
    launched.record(folder, before);
    Ok(report)
}

impl Launched<'_> {
    fn launch(&self, options: &Options) -> Result<LaunchReport, Fault> {
        launch(self.kernel, self.memory, &self.shape, options)
    }

    fn snapshot(&self) -> Vec<Vec<u8>> {
        let read = |buffer: &Buffer| {
            let mut bytes = vec![0; buffer.bytes];
            let done = self.memory.read(buffer.address, &mut bytes);
            done.expect("a buffer of the launch is there");
            bytes
        };
        self.buffers.iter().map(read).collect()
    }

    fn record(&self, folder: &Path, before: Vec<Vec<u8>>) {
        let fixture = self.fixture();
        let mut hasher = DefaultHasher::new();
        (self.text, &before, &fixture.params, fixture.grid).hash(&mut hasher);
        (fixture.block, fixture.cluster, fixture.dynamic_shared_bytes).hash(&mut hasher);
        format!("{:?}", fixture.maps).hash(&mut hasher);
        let key = hasher.finish();
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.insert(key);
        drop(seen);
        let contents = Contents {
            text: self.text.to_string(),
            before,
            after: self.snapshot(),
        };
        let visible = is_new.then(|| with_a_trace(&fixture, contents)).flatten();
        if let Some(contents) = visible.filter(|contents| is_defined(&fixture, contents)) {
            write(folder, key, fixture, &contents);
        }
    }

    /// Everything but the names of files.
    fn fixture(&self) -> Fixture {
        let mut params = self.shape.params.to_vec();
        for map in self.maps {
            params[map.offset..][..128].fill(0);
        }
        let mut pointers = Vec::new();
        for offset in (0..params.len() / 8 * 8).step_by(8) {
            let word: [u8; 8] = params[offset..][..8].try_into().expect("eight bytes");
            let points_to = |buffer: &Buffer| buffer.address == u64::from_le_bytes(word);
            if let Some(buffer) = self.buffers.iter().position(points_to) {
                pointers.push(Pointer { offset, buffer });
                params[offset..][..8].fill(0);
            }
        }
        let stored = |buffer: &Buffer| Stored {
            before: String::new(),
            after: String::new(),
            open: buffer.open.clone(),
        };
        let thread = std::thread::current();
        Fixture {
            test: thread.name().unwrap_or_default().to_string(),
            text: String::new(),
            entry: self.entry.to_string(),
            grid: self.shape.grid,
            block: self.shape.block,
            cluster: self.shape.cluster,
            dynamic_shared_bytes: self.shape.dynamic_shared_bytes,
            params,
            pointers,
            maps: self.maps.to_vec(),
            buffers: self.buffers.iter().map(stored).collect(),
        }
    }
}

/// The contents, if a launch that does nothing would be found out. Zeros in the place of zeros would not: then the
/// zeros of before are replaced by something else.
fn with_a_trace(fixture: &Fixture, contents: Contents) -> Option<Contents> {
    if contents.before != contents.after {
        return Some(contents);
    }
    let mut contents = contents;
    for bytes in &mut contents.before {
        if bytes.iter().all(|byte| *byte == 0) {
            bytes.fill(0xa5);
        }
    }
    let options = Options {
        instruction_limit: Some(1 << 23),
        ..Options::default()
    };
    contents.after = emulate::run(fixture, &contents, &options).ok()?;
    (contents.before != contents.after).then_some(contents)
}

/// Whether the ISA says what comes out.
fn is_defined(fixture: &Fixture, contents: &Contents) -> bool {
    let bytes: usize = contents.before.iter().map(Vec::len).sum();
    let is_open = MACHINE_DEPENDENT
        .iter()
        .any(|word| contents.text.contains(word))
        || ABOUT_ADDRESSES
            .iter()
            .any(|test| fixture.test.ends_with(test));
    if is_open || contents.text.len() + 2 * bytes > LIMIT {
        return false;
    }
    let schedules = [Schedule::InOrder]
        .into_iter()
        .chain((1..5).map(Schedule::Seeded));
    let numerics = [MmaNumerics::F32, MmaNumerics::Hardware];
    schedules
        .zip(numerics.into_iter().cycle())
        .all(|(schedule, mma)| {
            let options = Options {
                schedule,
                mma,
                threads: Some(1),
                sanitizers: Sanitizers::ALL,
                instruction_limit: Some(1 << 23),
                ..Options::default()
            };
            let found = emulate::run(fixture, contents, &options);
            found.is_ok_and(|found| compare::difference(fixture, contents, &found).is_none())
        })
}

/// Writes what the fixture refers to and then the fixture, each whole or not at all.
fn write(folder: &Path, key: u64, mut fixture: Fixture, contents: &Contents) {
    fs::create_dir_all(folder).expect("the folder of fixtures can be made");
    fixture.text = store(folder, "ptx", contents.text.as_bytes());
    for (stored, (before, after)) in fixture
        .buffers
        .iter_mut()
        .zip(contents.before.iter().zip(&contents.after))
    {
        stored.before = store(folder, "bin", before);
        stored.after = store(folder, "bin", after);
    }
    let json = serde_json::to_vec(&fixture).expect("plain data");
    place(&folder.join(format!("{key:016x}.json")), &json);
}

/// Writes a file named by its hash.
fn store(folder: &Path, end: &str, bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let name = format!("{:016x}.{end}", hasher.finish());
    place(&folder.join(&name), bytes);
    name
}

/// Many tests write at once, sometimes the same: each its own file, renamed when it is complete.
fn place(file: &PathBuf, bytes: &[u8]) {
    if file.exists() {
        return;
    }
    let thread = format!("{:?}", std::thread::current().id());
    let part = file.with_extension(format!("{}-{thread}", std::process::id()));
    fs::write(&part, bytes).expect("a fixture can be written");
    fs::rename(&part, file).expect("a fixture can be renamed");
}
