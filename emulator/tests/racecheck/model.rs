//! The memory model in its plainest form: one vector clock per thread, all accesses kept, every pair
//! compared. Random programs are judged by it and by racecheck alike.

use std::collections::HashMap;
use std::ops::Range;

use ptx_emulator::{FaultKind, Party};

use crate::check::{FIRST_LINE, Shape, judge_on_one_thread};
use crate::generate::{Random, program};
use crate::program::{Access, Guard, Kind, Memory, Scope, Step};

const BLOCKS: usize = 2;
/// Two warps.
const THREADS: usize = 64;

type Clock = [u32; BLOCKS * THREADS];

fn join(clock: &mut Clock, other: &Clock) {
    for (mine, theirs) in clock.iter_mut().zip(other) {
        *mine = (*mine).max(*theirs);
    }
}

/// The number of the memory, and the offset.
type Location = (usize, u32);

/// What a fence hands on.
#[derive(Clone)]
struct Release {
    block: usize,
    is_wide: bool,
    clock: Clock,
}

/// An access by one thread.
struct Touch {
    thread: usize,
    time: u32,
    step: usize,
    memory: usize,
    offset: u32,
    access: Access,
}

impl Touch {
    fn conflicts(&self, other: &Touch) -> bool {
        self.memory == other.memory
            && self.offset < other.offset + other.access.bytes
            && other.offset < self.offset + self.access.bytes
            && (self.access.kind.writes() || other.access.kind.writes())
    }

    fn is_non_coherent_with(&self, other: &Touch) -> bool {
        let is = |touch: &Touch| matches!(touch.access.kind, Kind::NonCoherent);
        is(self) || is(other)
    }

    fn is_morally_strong_with(&self, other: &Touch) -> bool {
        let same_block = self.thread / THREADS == other.thread / THREADS;
        match (self.access.kind.scope(), other.access.kind.scope()) {
            (Some(mine), Some(theirs)) => {
                (self.offset, self.access.bytes) == (other.offset, other.access.bytes)
                    && (same_block || mine.is_wide && theirs.is_wide)
            }
            _ => false,
        }
    }
}

#[derive(Clone)]
struct Thread {
    clock: Clock,
    time: u32,
    /// Its last fence of any scope, and its last one beyond the block.
    fences: [Option<Release>; 2],
    /// What a `.release` of a location hands on with later strong writes to it.
    bound: HashMap<Location, Vec<Release>>,
    observed: Vec<(Location, Release)>,
}

/// Two parties of a race, each by thread and step.
type Race = ((usize, usize), (usize, usize));

struct Machine<'a> {
    steps: &'a [Step],
    threads: Vec<Thread>,
    past: Vec<Touch>,
    heads: HashMap<Location, (u32, Vec<Release>)>,
    races: Vec<Race>,
}

/// The warps of a block.
struct Warps {
    at: [usize; 2],
    waits: [bool; 2],
    /// By step: how many warps have arrived there, and what they have done and known.
    arrived: HashMap<usize, (u32, Clock)>,
}

impl<'a> Machine<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let thread = Thread {
            clock: [0; BLOCKS * THREADS],
            time: 0,
            fences: [None, None],
            bound: HashMap::new(),
            observed: Vec::new(),
        };
        Self {
            steps,
            threads: vec![thread; BLOCKS * THREADS],
            past: Vec::new(),
            heads: HashMap::new(),
            races: Vec::new(),
        }
    }

    /// The races of the first step that has any. Blocks run one after the other, and each warp to
    /// its next barrier, as they do in order.
    fn run(mut self) -> Vec<Race> {
        for block in 0..BLOCKS {
            let mut warps = Warps {
                at: [0, 0],
                waits: [false, false],
                arrived: HashMap::new(),
            };
            let mut last = 1;
            while let Some(warp) = [1 - last, last]
                .into_iter()
                .find(|warp| !warps.waits[*warp] && warps.at[*warp] < self.steps.len())
            {
                last = warp;
                self.turn(block, warp, &mut warps);
                if !self.races.is_empty() {
                    return self.races;
                }
            }
        }
        self.races
    }

    fn turn(&mut self, block: usize, warp: usize, warps: &mut Warps) {
        let members = block * THREADS + 32 * warp..block * THREADS + 32 * warp + 32;
        while warps.at[warp] < self.steps.len() && self.races.is_empty() {
            let step = warps.at[warp];
            warps.at[warp] += 1;
            match self.steps[step] {
                Step::Barrier => return self.arrive(block, (warp, true), step, warps),
                Step::Handover(_) => return self.arrive(block, (warp, warp == 1), step, warps),
                Step::Access(guard, access) => self.access(members.clone(), guard, step, access),
                Step::WarpSync(guard) => self.meet(&admitted(members.clone(), guard)),
                Step::Fence(guard, scope) => {
                    for thread in admitted(members.clone(), guard) {
                        self.acquire(thread, scope.is_wide, None);
                        self.fence(thread, scope.is_wide);
                    }
                }
            }
        }
    }

    fn tick(&mut self, thread: usize) {
        let state = &mut self.threads[thread];
        state.time += 1;
        state.clock[thread] = state.time;
    }

    fn meet(&mut self, threads: &[usize]) {
        let mut sum = [0; BLOCKS * THREADS];
        for thread in threads {
            self.tick(*thread);
            join(&mut sum, &self.threads[*thread].clock);
        }
        for thread in threads {
            self.threads[*thread].clock = sum;
        }
    }

    fn arrive(
        &mut self,
        block: usize,
        (warp, waits): (usize, bool),
        step: usize,
        warps: &mut Warps,
    ) {
        let members = |warp| block * THREADS + 32 * warp..block * THREADS + 32 * warp + 32;
        warps.waits[warp] = waits;
        let arrived = warps
            .arrived
            .entry(step)
            .or_insert((0, [0; BLOCKS * THREADS]));
        arrived.0 += 1;
        for thread in members(warp) {
            self.tick(thread);
            join(&mut arrived.1, &self.threads[thread].clock);
        }
        if arrived.0 < 2 {
            return;
        }
        for warp in 0..2 {
            // A warp may stand at a later barrier than the one it has not waited at.
            if warps.waits[warp] && warps.at[warp] == step + 1 {
                warps.waits[warp] = false;
                for thread in members(warp) {
                    join(&mut self.threads[thread].clock, &arrived.1);
                }
            }
        }
    }

    fn fence(&mut self, thread: usize, is_wide: bool) {
        self.tick(thread);
        let state = &mut self.threads[thread];
        let release = Release {
            block: thread / THREADS,
            is_wide,
            clock: state.clock,
        };
        state.fences[0] = Some(release.clone());
        if is_wide {
            state.fences[1] = Some(release);
        }
    }

    fn acquire(&mut self, thread: usize, is_wide: bool, only: Option<Location>) {
        let state = &mut self.threads[thread];
        for (location, release) in &state.observed {
            let is_here = release.block == thread / THREADS;
            let is_meant = only.is_none_or(|only| only == *location);
            if is_meant && (is_here || is_wide && release.is_wide) {
                join(&mut state.clock, &release.clock);
            }
        }
    }

    fn access(&mut self, members: Range<usize>, guard: Guard, step: usize, access: Access) {
        let threads = admitted(members, guard);
        for &thread in &threads {
            self.tick(thread);
            let block = thread / THREADS;
            let touch = Touch {
                thread,
                time: self.threads[thread].time,
                step,
                memory: memory_of(block, access),
                offset: access.offset(thread % THREADS),
                access,
            };
            let clock = &self.threads[thread].clock;
            let races = self.past.iter().filter(|past| {
                past.conflicts(&touch)
                    && (past.is_non_coherent_with(&touch)
                        || past.time > clock[past.thread] && !past.is_morally_strong_with(&touch))
            });
            let races = races.map(|past| ((past.thread, past.step), (thread, step)));
            self.races.extend(races);
            self.past.push(touch);
        }
        for &thread in &threads {
            let memory = memory_of(thread / THREADS, access);
            self.synchronise(thread, (memory, access.offset(thread % THREADS)), access);
        }
    }

    /// The part of an access in release and acquire patterns.
    fn synchronise(&mut self, thread: usize, location: Location, access: Access) {
        let (reads, keeps) = match access.kind {
            Kind::Load | Kind::NonCoherent => return,
            Kind::Store | Kind::StrongStore(_) => (false, false),
            Kind::StrongLoad(_) => (true, true),
            Kind::Atom(_) => (true, true),
            Kind::Red(_) => (false, true),
        };
        if reads {
            let seen = self
                .heads
                .get(&location)
                .into_iter()
                .flat_map(|head| &head.1);
            let seen = seen.map(|release| (location, release.clone()));
            self.threads[thread].observed.extend(seen);
        }
        if !keeps {
            let end = location.1 + access.bytes;
            self.heads.retain(|(memory, offset), (bytes, _)| {
                *memory != location.0 || *offset >= end || *offset + *bytes <= location.1
            });
        }
        let Some(scope) = access.kind.scope() else {
            return;
        };
        if access.kind.writes() {
            let handed_on = self.hand_on(thread, location, scope);
            let head = self
                .heads
                .entry(location)
                .or_insert((access.bytes, Vec::new()));
            head.1.extend(handed_on);
        }
        if scope.acquires {
            self.acquire(thread, scope.is_wide, Some(location));
        }
    }

    fn hand_on(&mut self, thread: usize, location: Location, scope: Scope) -> Vec<Release> {
        let state = &mut self.threads[thread];
        if scope.releases {
            // The access itself is not part of what it releases.
            let mut clock = state.clock;
            clock[thread] -= 1;
            let block = thread / THREADS;
            let release = Release {
                block,
                is_wide: scope.is_wide,
                clock,
            };
            state.bound.entry(location).or_default().push(release);
        }
        let bound = state.bound.get(&location).into_iter().flatten();
        state
            .fences
            .iter()
            .flatten()
            .chain(bound)
            .cloned()
            .collect()
    }
}

/// Memories are numbered: two global ones, then the blocks' shared ones.
fn memory_of(block: usize, access: Access) -> usize {
    match access.memory {
        Memory::Data => 0,
        Memory::Flag => 1,
        Memory::Buffer => 2 + block,
    }
}

fn admitted(members: Range<usize>, guard: Guard) -> Vec<usize> {
    members
        .filter(|thread| guard.admits(thread / THREADS, thread % THREADS))
        .collect()
}

fn thread_and_step(party: &Party) -> (usize, usize) {
    let thread = THREADS * party.block[0] as usize + (32 * party.warp + party.lane) as usize;
    (thread, (party.line - FIRST_LINE) as usize)
}

#[test]
fn racecheck_judges_random_programs_as_the_plain_model_does() {
    let mut racy = 0;
    for seed in 0..PROGRAMS {
        let program = program(&mut Random(seed));
        let races = Machine::new(&program.steps).run();
        let text = program.text();
        let judged = judge_on_one_thread(Shape(BLOCKS as u32, THREADS as u32), &text);
        match judged.map_err(|fault| fault.kind) {
            Ok(()) => assert!(
                races.is_empty(),
                "seed {seed} misses {:?} of\n{text}",
                races[0]
            ),
            Err(FaultKind::Race(conflict) | FaultKind::NonCoherentWrite(conflict)) => {
                racy += 1;
                let found = (
                    thread_and_step(&conflict.first),
                    thread_and_step(&conflict.second),
                );
                assert!(
                    races.contains(&found),
                    "seed {seed} finds {conflict} in\n{text}"
                );
            }
            Err(kind) => panic!("seed {seed}: {kind}\n{text}"),
        }
    }
    // Neither nearly none nor nearly all of the programs, else the comparison says little.
    assert!((PROGRAMS / 5..PROGRAMS * 4 / 5).contains(&racy), "{racy}");
}

const PROGRAMS: u64 = 3000;
