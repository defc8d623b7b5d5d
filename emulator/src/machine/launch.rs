//! Launching a kernel over a grid.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fault::{Fault, FaultKind};
use crate::ir::Kernel;
use crate::memory::GlobalMemory;
use crate::observe::{ClusterSize, CounterOptions, Counters, Sanitizers, Watch};

use super::address::GlobalView;
use super::block::Block;
use super::bulk::Flights;
use super::chance::{Chance, Schedule, block_order};
use super::cluster::{Cluster, WarpTrouble};
use super::context::{Context, MmaNumerics};
use super::explain::Surroundings;
use super::rules;
use super::step::Processor;
use super::warp::Place;

/// What to launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Blocks along x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster along x, y, z, of which the grid is a multiple; `None` for what the entry's
    /// `.reqnctapercluster` says, without it one block. Needs a module for sm_90 or later.
    pub cluster: Option<[u32; 3]>,
    /// Bytes of the `.extern .shared` array.
    pub dynamic_shared_bytes: u32,
    /// The entry's parameters, laid out like a C struct; exactly as long as the entry declares.
    pub params: &'a [u8],
}

/// How to run it. None of the options changes what a correct kernel computes, except
/// [`Options::mma`].
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Order of whatever the ISA leaves unordered.
    pub schedule: Schedule,
    /// Threads of the host to use; all cores when `None`.
    pub threads: Option<usize>,
    /// Rounding inside `mma`.
    pub mma: MmaNumerics,
    /// What to check beyond the rules that every launch is held to.
    pub sanitizers: Sanitizers,
    /// Warp instructions that a block may execute, so that one that never ends is found; any number
    /// when `None`.
    pub instruction_limit: Option<u64>,
    /// What to count; nothing when `None`.
    pub counters: Option<CounterOptions>,
    /// Called with (blocks done, blocks in all) after every block, from any thread.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

/// What a finished launch did.
#[derive(Clone, Debug, Default)]
pub struct LaunchReport {
    /// Instructions executed, counted once per warp (and group of lanes).
    pub warp_instructions: u64,
    /// The same, counted once per thread that executed them.
    pub thread_instructions: u64,
    /// What [`Options::counters`] asked for.
    pub counters: Option<Counters>,
}

/// Runs `kernel` and returns when all its blocks have ended.
///
/// # Errors
/// The [`Fault`] of the lowest-numbered block among those that were found faulty; the launch stops
/// at the first one. A launch that does not fit the kernel is refused before anything runs.
pub fn launch(
    kernel: &Kernel,
    memory: &GlobalMemory,
    launch: &Launch,
    options: &Options,
) -> Result<LaunchReport, Fault> {
    rules::check(kernel, launch).map_err(|rule| refused(kernel, rule))?;
    if let Some(counters) = options.counters {
        let checked = counters.l2.check();
        checked.map_err(|error| refused(kernel, error.to_string()))?;
    }
    let globals = memory
        .module_variables(&kernel.globals)
        .map_err(|error| refused(kernel, error.to_string()))?;
    let allocations = memory.snapshot();
    if !options.sanitizers.initcheck {
        // Nobody will note what this launch writes.
        allocations
            .iter()
            .for_each(|allocation| allocation.written.mark_everything());
    }
    let view = GlobalView::new(allocations.into());
    let cluster = launch.cluster.or(kernel.cluster.required);
    let (cluster, is_explicit_cluster) = (cluster.unwrap_or([1; 3]), cluster.is_some());
    let watch = Watch::new(kernel, (launch, cluster), options, &view);
    let run = Run {
        kernel,
        memory,
        launch,
        options,
        globals,
        view,
        cluster,
        is_explicit_cluster,
        watch: &watch,
        processor: Processor::detect(),
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        report: Mutex::new(LaunchReport::default()),
        fault: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 1..run.threads() {
            scope.spawn(|| run.work());
        }
        run.work();
    });
    let fault = run
        .fault
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((_, fault)) = fault {
        return Err(fault);
    }
    let report = run
        .report
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(LaunchReport {
        counters: watch.counters(),
        ..report
    })
}

fn refused(kernel: &Kernel, rule: String) -> Fault {
    Fault {
        kind: FaultKind::Launch(rule),
        entry: kernel.entry.as_str().into(),
        line: 0,
        source: None,
        block: [0; 3],
        warp: 0,
        lane: None,
    }
}

/// One launch, shared by the threads that work on it.
struct Run<'a> {
    kernel: &'a Kernel,
    memory: &'a GlobalMemory,
    launch: &'a Launch<'a>,
    options: &'a Options<'a>,
    globals: Arc<[u64]>,
    view: GlobalView,
    /// Blocks of a cluster along x, y, z.
    cluster: [u32; 3],
    /// Whether the launch or the entry has asked for clusters.
    is_explicit_cluster: bool,
    watch: &'a Watch,
    processor: Processor,
    /// Position of the next cluster in launch order.
    next: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
    report: Mutex<LaunchReport>,
    /// Fault of the lowest-numbered faulty cluster so far.
    fault: Mutex<Option<(u64, Fault)>>,
}

impl Run<'_> {
    fn blocks(&self) -> u64 {
        // Checked: at most 2^31 * 2^16 * 2^16.
        self.launch.grid.iter().map(|n| u64::from(*n)).product()
    }

    fn blocks_per_cluster(&self) -> u32 {
        self.cluster.iter().product()
    }

    fn clusters(&self) -> u64 {
        self.blocks() / u64::from(self.blocks_per_cluster())
    }

    /// Threads of the host to work with.
    fn threads(&self) -> usize {
        if self.watch.needs_one_thread() {
            return 1;
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.options.threads.unwrap_or_else(cores).max(1);
        threads.min(usize::try_from(self.clusters()).unwrap_or(usize::MAX))
    }

    /// Takes clusters until none is left or one was faulty.
    fn work(&self) {
        let (blocks, clusters) = (self.blocks(), self.clusters());
        let order = block_order(self.options.schedule, clusters);
        let num_warps = self.launch.block.iter().product::<u32>().div_ceil(32);
        let mut cluster = Cluster::new(self.context(num_warps), num_warps, self.processor);
        let mut places = Vec::new();
        while !self.stopped.load(Relaxed) {
            let position = self.next.fetch_add(1, Relaxed);
            if position >= clusters {
                break;
            }
            let number = order(position);
            places.clear();
            let ranks = 0..self.blocks_per_cluster();
            places.extend(ranks.map(|rank| self.place(number, rank, num_warps)));
            if let Err(trouble) = cluster.run(number, &places, &self.globals, self.options) {
                self.stopped.store(true, Relaxed);
                self.record(number, trouble);
                break;
            }
            for _ in &places {
                let done = self.done.fetch_add(1, Relaxed) + 1;
                if let Some(progress) = self.options.progress {
                    progress(done, blocks);
                }
            }
        }
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.warp_instructions += cluster.context.warp_instructions;
        report.thread_instructions += cluster.context.thread_instructions;
    }

    fn context(&self, num_warps: u32) -> Context<'_> {
        let num_blocks = self.blocks_per_cluster();
        Context {
            kernel: self.kernel,
            params: self.launch.params,
            global: self.view.clone(),
            blocks: (0..num_blocks)
                .map(|rank| {
                    let base = self.kernel.shared.model.base(rank) + self.first_shared();
                    Block::new(num_warps, base, self.shared_bytes())
                })
                .collect(),
            rank: 0,
            flights: Flights::default(),
            woken: 0,
            numerics: self.options.mma,
            chance: Chance::new(self.options.schedule, 0, num_warps, num_blocks),
            sanitizers: self.options.sanitizers,
            warp_instructions: 0,
            thread_instructions: 0,
            turn_end: 0,
            observers: self.watch.observers(&ClusterSize {
                blocks: num_blocks,
                warps: num_warps,
                shared_bytes: self.shared_bytes(),
            }),
        }
    }

    /// Shared memory of a block that the program can use.
    fn shared_bytes(&self) -> u32 {
        self.dynamic_shared_offset() - self.first_shared() + self.launch.dynamic_shared_bytes
    }

    /// Offset of its first byte.
    fn first_shared(&self) -> u32 {
        self.kernel.shared.model.first()
    }

    fn dynamic_shared_offset(&self) -> u32 {
        let step = self.options.schedule.plan().shared_step;
        self.kernel.shared.dynamic_offset(step)
    }

    /// The place of the block of a rank of cluster `number`.
    fn place(&self, number: u64, rank: u32, num_warps: u32) -> Place {
        Place {
            grid: self.launch.grid,
            block: self.launch.block,
            block_index: block_index(self.launch.grid, self.cluster, number, rank),
            warp: 0,
            num_warps,
            cluster: self.cluster,
            rank,
            is_explicit_cluster: self.is_explicit_cluster,
            shared_base: self.kernel.shared.model.base(rank),
            dynamic_shared_offset: self.dynamic_shared_offset(),
            dynamic_shared_bytes: self.launch.dynamic_shared_bytes,
            total_shared_bytes: self.shared_bytes(),
        }
    }

    fn record(&self, number: u64, found: WarpTrouble) {
        let (line, source) = self.kernel.place(found.trouble.pc);
        let surroundings = Surroundings {
            kernel: self.kernel,
            memory: self.memory,
            shared_bytes: self.shared_bytes(),
        };
        let fault = Fault {
            kind: surroundings.explain(found.trouble.kind),
            entry: self.kernel.entry.as_str().into(),
            line,
            source,
            block: found.block,
            warp: found.warp,
            lane: found.trouble.lane,
        };
        let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(other, _)| number < *other) {
            *first = Some((number, fault));
        }
    }
}

/// `%ctaid` of the block of a rank of cluster `number`: along x first, both clusters in the grid and blocks in
/// a cluster (PTX ISA, "%cluster_ctarank").
pub(crate) fn block_index(grid: [u32; 3], cluster: [u32; 3], number: u64, rank: u32) -> [u32; 3] {
    let [nx, ny] = [0, 1].map(|axis| u64::from(grid[axis] / cluster[axis]));
    let corner = [number % nx, number / nx % ny, number / nx / ny];
    let [cx, cy, _] = cluster;
    let inside = [rank % cx, rank / cx % cy, rank / cx / cy];
    std::array::from_fn(|axis| corner[axis] as u32 * cluster[axis] + inside[axis])
}
