//! What every kernel does, counted, against a blessed table: a change that costs instructions, traffic or bank
//! conflicts must be meant. `cargo xtask bless` takes the present counts over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use abi::{BWD_VARIANTS, FWD_VARIANTS};
use flash_attention::baseline::{self, Algorithm};
use flash_attention::profile::{CounterOptions, Counters, InstructionClass, Recorder};
use flash_attention::{
    Attention, AttentionElement, Bias, Buffer, BwdStep, BwdVariant, CopyKind, Device, Dtype,
    EmulatorOptions, Forward, FwdVariant, Gradients, KERNEL_COMPILER, ScoreKind, Tensor, bf16, f16,
    kernels,
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
    for variant in FWD_VARIANTS {
        let (device, recorder) = counting_device();
        match variant.dtype {
            Dtype::F16 => forward::<f16>(&device, variant),
            Dtype::Bf16 => forward::<bf16>(&device, variant),
        }
        add(&mut rows, &recorder);
        assert!(
            rows.contains_key(variant.entry),
            "{} did not run",
            variant.entry
        );
    }
    for variant in BWD_VARIANTS.iter().filter(|v| v.step == BwdStep::Main) {
        let (device, recorder) = counting_device();
        match variant.dtype {
            Dtype::F16 => backward::<f16>(&device, variant),
            Dtype::Bf16 => backward::<bf16>(&device, variant),
        }
        add(&mut rows, &recorder);
        assert!(
            rows.contains_key(variant.entry),
            "{} did not run",
            variant.entry
        );
    }
    for algorithm in [Algorithm::Standard, Algorithm::Flash1] {
        for head_dim in [64, 128] {
            let (device, recorder) = counting_device();
            ancestor::<f16>(&device, algorithm, head_dim);
            ancestor::<bf16>(&device, algorithm, head_dim);
            add(&mut rows, &recorder);
        }
    }
    rows
}

fn counting_device() -> (Device, Recorder) {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
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

/// An odd first element is what the element-copy variants are for.
fn offset(copy: CopyKind) -> usize {
    usize::from(copy == CopyKind::Element)
}

/// Options that select the kernels for these scores.
fn options(scores: ScoreKind) -> Attention {
    // Softcap needs nothing but the scores, and every variant for any scores has it.
    match scores {
        ScoreKind::Plain => Attention::new().causal(),
        ScoreKind::Any => Attention::new().causal().softcap(30.0),
    }
}

fn forward<T: AttentionElement>(device: &Device, variant: &FwdVariant) {
    let (head_dim, offset) = (variant.head_dim as usize, offset(variant.copy));
    let q = tensor::<T>(device, offset, [1, SEQLEN_Q, HEADS, head_dim]);
    let k = tensor(device, offset, [1, SEQLEN_K, 1, head_dim]);
    options(variant.scores).forward(&q, &k, &k).unwrap();
}

/// Runs the main kernel `variant` and all that goes with it, the gradient of a bias too where scores may be any.
fn backward<T: AttentionElement>(device: &Device, variant: &BwdVariant) {
    let (head_dim, offset) = (variant.head_dim as usize, offset(variant.copy));
    let q = tensor::<T>(device, offset, [1, SEQLEN_Q, HEADS, head_dim]);
    let k = tensor(device, offset, [1, SEQLEN_K, 1, head_dim]);
    let mut attention = options(variant.scores);
    if variant.scores == ScoreKind::Any {
        let bias = Tensor::<f32>::zeros(device, [1, 1, SEQLEN_Q, SEQLEN_K]).unwrap();
        attention = attention.bias(&bias);
    }
    let forward = attention.forward(&q, &k, &k).unwrap();
    let [d_q, d_out] = [(); 2].map(|()| tensor(device, offset, q.shape()));
    let [d_k, d_v] = [(); 2].map(|()| tensor(device, offset, k.shape()));
    let d_bias = Tensor::<f32>::zeros(device, [1, 1, SEQLEN_Q, SEQLEN_K]).unwrap();
    let mut gradients = Gradients {
        d_q,
        d_k,
        d_v,
        d_bias: (variant.scores == ScoreKind::Any).then(|| Bias::from(&d_bias)),
        variants: Vec::new(),
    };
    // The output of the forward pass, where its alignment is that of everything else.
    let forward = Forward {
        out: tensor(device, offset, q.shape()),
        ..forward
    };
    let inputs = [&q, &k, &k];
    attention
        .backward_into(inputs, &forward, &d_out, None, &mut gradients)
        .unwrap();
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
