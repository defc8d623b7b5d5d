//! What every kernel does, counted, against a blessed table: a change that costs instructions, traffic or bank
//! conflicts must be meant. `cargo xtask bless` takes the present counts over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use abi::{
    BWD_VARIANTS, FWD_VARIANTS, HOPPER_BWD_VARIANTS, HOPPER_FWD_VARIANTS, HopperFwdVariant,
    HopperScores,
};
use flash_attention::baseline::{self, Algorithm};
use flash_attention::profile::{CounterOptions, Counters, InstructionClass, Recorder};
use flash_attention::{
    Arch, Attention, AttentionElement, Bias, Buffer, BwdStep, CopyKind, Device, Dtype,
    EmulatorOptions, Forward, Gradients, KERNEL_COMPILER, ScoreKind, Tensor, bf16, f16, kernels,
};

/// Counts may move by this part of the blessed ones.
const TOLERANCE: f64 = 0.02;

/// Two query tiles and three or more key tiles of every variant, none of them whole.
const SEQLEN_Q: usize = 200;
const SEQLEN_K: usize = 330;
const HEADS: usize = 2;

/// A counter: its column, whether another compiler may change it, its value.
type Column = (&'static str, bool, fn(&Counters) -> u64);

const COLUMNS: &[Column] = &[
    ("hbm_read_bytes", false, |c| c.hbm.read_bytes),
    ("hbm_write_bytes", false, |c| c.hbm.write_bytes),
    ("global_sectors", false, |c| c.total.global.sum().sectors),
    ("shared_wavefronts", false, |c| {
        c.total.shared.sum().wavefronts
    }),
    ("bank_conflicts", false, |c| {
        c.total.shared.sum().conflicts()
    }),
    ("tensor_flops", false, |c| c.total.operations.tensor_flops),
    ("mufu", false, |c| c.total.operations.mufu),
    ("barrier_arrivals", false, |c| c.total.barrier_arrivals),
    ("f32_flops", true, |c| c.total.operations.f32_flops),
    ("divergent_branches", true, |c| c.total.divergent_branches),
    ("integer", true, |c| {
        c.total.class(InstructionClass::Integer).warp
    }),
    ("warp_instructions", true, |c| c.total.executed().warp),
];

/// Counts of one kernel, in the order of [`COLUMNS`].
type Row = Vec<u64>;

fn blessed_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/blessed/counters.txt")
}

/// The counts of every kernel.
fn counted() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for v in FWD_VARIANTS {
        let problem = Problem::of_ampere(v.dtype, v.head_dim, v.scores, v.copy);
        problem.count(&mut rows, v.entry, Pass::Forward);
    }
    for v in BWD_VARIANTS.iter().filter(|v| v.step == BwdStep::Main) {
        let problem = Problem::of_ampere(v.dtype, v.head_dim, v.scores, v.copy);
        problem.count(&mut rows, v.entry, Pass::Backward);
    }
    for v in HOPPER_FWD_VARIANTS {
        let problem = Problem::of_hopper(v.dtype, v.head_dim, v.scores);
        let is_alike = |other: &&HopperFwdVariant| {
            (other.dtype, other.head_dim, other.scores) == (v.dtype, v.head_dim, v.scores)
        };
        let fewest_keys = HOPPER_FWD_VARIANTS
            .iter()
            .filter(is_alike)
            .map(|v| v.block_n);
        let problem = Problem {
            // Of kernels that differ in the number of keys alone, the one with the fewest is for masks.
            is_causal: fewest_keys.min() == Some(v.block_n),
            ..problem
        };
        problem.count(&mut rows, v.entry, Pass::Forward);
    }
    for v in HOPPER_BWD_VARIANTS {
        let problem = Problem::of_hopper(v.dtype, v.head_dim, v.scores);
        problem.count(&mut rows, v.entry, Pass::Backward);
    }
    for algorithm in [Algorithm::Standard, Algorithm::Flash1] {
        for head_dim in [64, 128] {
            let (device, recorder) = counting_device(Arch::Sm80);
            ancestor::<f16>(&device, algorithm, head_dim);
            ancestor::<bf16>(&device, algorithm, head_dim);
            add(&mut rows, &recorder);
        }
    }
    rows
}

#[derive(Clone, Copy)]
enum Pass {
    Forward,
    Backward,
}

/// What selects a kernel.
struct Problem {
    arch: Arch,
    dtype: Dtype,
    head_dim: usize,
    is_causal: bool,
    has_softcap: bool,
    /// With a bias, whose gradient is asked for.
    has_bias: bool,
    /// First element of each tensor in its buffer: an odd one is what the element-copy variants are for.
    offset: usize,
}

impl Problem {
    fn of_ampere(dtype: Dtype, head_dim: u32, scores: ScoreKind, copy: CopyKind) -> Problem {
        Problem {
            arch: Arch::Sm80,
            dtype,
            head_dim: head_dim as usize,
            is_causal: true,
            // Softcap needs nothing but the scores, and every variant for any scores has it.
            has_softcap: scores == ScoreKind::Any,
            has_bias: scores == ScoreKind::Any,
            offset: usize::from(copy == CopyKind::Element),
        }
    }

    fn of_hopper(dtype: Dtype, head_dim: u32, scores: HopperScores) -> Problem {
        Problem {
            arch: Arch::Sm90a,
            dtype,
            head_dim: head_dim as usize,
            is_causal: true,
            has_softcap: scores == HopperScores::Softcap,
            has_bias: false,
            offset: 0,
        }
    }

    /// Counts the kernel `entry`, which this problem must select, and all that goes with it.
    fn count(&self, rows: &mut BTreeMap<String, Row>, entry: &str, pass: Pass) {
        let (device, recorder) = counting_device(self.arch);
        match (self.dtype, pass) {
            (Dtype::F16, Pass::Forward) => self.forward::<f16>(&device),
            (Dtype::Bf16, Pass::Forward) => self.forward::<bf16>(&device),
            (Dtype::F16, Pass::Backward) => self.backward::<f16>(&device),
            (Dtype::Bf16, Pass::Backward) => self.backward::<bf16>(&device),
        }
        add(rows, &recorder);
        assert!(rows.contains_key(entry), "{entry} did not run");
    }

    fn attention(&self) -> Attention {
        let mut attention = Attention::new();
        if self.is_causal {
            attention = attention.causal();
        }
        if self.has_softcap {
            attention = attention.softcap(30.0);
        }
        attention
    }

    /// Queries, and keys that are also values.
    fn inputs<T: AttentionElement>(&self, device: &Device) -> [Tensor<T>; 2] {
        [
            [1, SEQLEN_Q, HEADS, self.head_dim],
            [1, SEQLEN_K, 1, self.head_dim],
        ]
        .map(|shape| tensor(device, self.offset, shape))
    }

    fn forward<T: AttentionElement>(&self, device: &Device) {
        let [q, k] = self.inputs::<T>(device);
        self.attention().forward(&q, &k, &k).unwrap();
    }

    /// Runs the main kernel and all that goes with it.
    fn backward<T: AttentionElement>(&self, device: &Device) {
        let [q, k] = self.inputs::<T>(device);
        let mut attention = self.attention();
        if self.has_bias {
            let bias = Tensor::<f32>::zeros(device, [1, 1, SEQLEN_Q, SEQLEN_K]).unwrap();
            attention = attention.bias(&bias);
        }
        let forward = attention.forward(&q, &k, &k).unwrap();
        let [d_q, d_out] = [(); 2].map(|()| tensor(device, self.offset, q.shape()));
        let [d_k, d_v] = [(); 2].map(|()| tensor(device, self.offset, k.shape()));
        let d_bias = Tensor::<f32>::zeros(device, [1, 1, SEQLEN_Q, SEQLEN_K]).unwrap();
        let mut gradients = Gradients {
            d_q,
            d_k,
            d_v,
            d_bias: self.has_bias.then(|| Bias::from(&d_bias)),
            variants: Vec::new(),
        };
        // The output of the forward pass, where its alignment is that of everything else.
        let forward = Forward {
            out: tensor(device, self.offset, q.shape()),
            ..forward
        };
        attention
            .backward_into([&q, &k, &k], &forward, &d_out, None, &mut gradients)
            .unwrap();
    }
}

fn counting_device(arch: Arch) -> (Device, Recorder) {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
        arch,
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    });
    (device, recorder)
}

fn add(rows: &mut BTreeMap<String, Row>, recorder: &Recorder) {
    for launch in recorder.take() {
        let counts = COLUMNS.iter().map(|(_, _, count)| count(&launch.counters));
        // Kernels that serve several problems are counted on the first of them.
        rows.entry(launch.entry).or_insert_with(|| counts.collect());
    }
}

/// A row-major tensor whose first element is element `offset` of its buffer.
fn tensor<T: AttentionElement>(device: &Device, offset: usize, shape: [usize; 4]) -> Tensor<T> {
    let values: Vec<T> = (0..offset + shape.iter().product::<usize>())
        .map(|i| T::from_f64((i * 37 % 101) as f64 / 50.0 - 1.0))
        .collect();
    let buffer = Buffer::from_slice(device, &values).unwrap();
    let [_, seqlen, heads, head_dim] = shape.map(|extent| extent as i64);
    let row = heads * head_dim;
    Tensor::from_buffer(&buffer, offset, shape, [seqlen * row, row, head_dim, 1]).unwrap()
}

fn ancestor<T: AttentionElement>(device: &Device, algorithm: Algorithm, head_dim: usize) {
    let q = tensor::<T>(device, 0, [1, SEQLEN_Q, HEADS, head_dim]);
    let k = tensor(device, 0, [1, SEQLEN_K, 1, head_dim]);
    baseline::forward(algorithm, &Attention::new(), &q, &k, &k).unwrap();
}

fn render(rows: &BTreeMap<String, Row>) -> String {
    let mut text = format!(
        "# Counts of one launch per kernel: batch 1, seqlen_q {SEQLEN_Q}, seqlen_k {SEQLEN_K}, {HEADS} heads, 1 key head.\n\
         # Written by `cargo xtask bless`.\n\
         compiler {KERNEL_COMPILER}\nkernel"
    );
    for (name, _, _) in COLUMNS {
        write!(text, " {name}").unwrap();
    }
    text.push('\n');
    for (entry, row) in rows {
        text.push_str(entry);
        for count in row {
            write!(text, " {count}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// The compiler of the table, and its rows.
fn parse(text: &str) -> (String, BTreeMap<String, Row>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let compiler = lines.next().unwrap().strip_prefix("compiler ").unwrap();
    let columns: Vec<&str> = lines.next().unwrap().split(' ').skip(1).collect();
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(
        columns, names,
        "the table has other columns: cargo xtask bless"
    );
    let rows = lines.map(|line| {
        let mut words = line.split(' ');
        let entry = words.next().unwrap().to_owned();
        (entry, words.map(|word| word.parse().unwrap()).collect())
    });
    (compiler.to_owned(), rows.collect())
}

fn has_moved(old: u64, new: u64) -> bool {
    new.abs_diff(old) as f64 > TOLERANCE * old as f64
}

#[test]
fn no_kernel_does_more_than_it_was_blessed_for() {
    let rows = counted();
    let entries: BTreeSet<&str> = kernels().map(|kernel| kernel.spec.entry).collect();
    assert_eq!(
        rows.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        entries
    );
    let file = blessed_file();
    if std::env::var_os("FLASH_ATTENTION_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&file, render(&rows)).unwrap();
        return;
    }
    let (compiler, blessed) = parse(&std::fs::read_to_string(&file).unwrap());
    let same_compiler = compiler == KERNEL_COMPILER;
    if !same_compiler {
        println!("the table was blessed with {compiler}: instruction counts are not compared");
    }
    let names = |rows: &BTreeMap<String, Row>| rows.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&rows), names(&blessed), "cargo xtask bless");
    let mut moved = String::new();
    for (entry, row) in &rows {
        for (index, (name, of_compiler, _)) in COLUMNS.iter().enumerate() {
            let (old, new) = (blessed[entry][index], row[index]);
            if has_moved(old, new) && (same_compiler || !of_compiler) {
                writeln!(moved, "{entry}: {name} was {old}, is {new}").unwrap();
            }
        }
    }
    assert!(
        moved.is_empty(),
        "more than 2 % from tests/blessed/counters.txt; if that is meant: cargo xtask bless\n{moved}"
    );
}

#[test]
fn two_percent_is_the_limit_and_nothing_may_come_from_zero() {
    assert!(!has_moved(100, 102) && !has_moved(100, 98));
    assert!(has_moved(100, 103) && has_moved(100, 97));
    assert!(has_moved(0, 1) && !has_moved(0, 0));
}
