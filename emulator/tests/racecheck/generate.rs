//! Random programs that have something to find and something to prove.

use crate::program::{Access, Guard, Kind, Memory, Program, Scope, Step};

/// A small generator (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }
}

/// A program: any steps in any order, or a message with some of its parts missing.
pub fn program(random: &mut Random) -> Program {
    let warp = |number: u32, block| Guard {
        mask: 32,
        value: 32 * number,
        block: Some(block),
    };
    let steps = match random.next() % 5 {
        0 => jumble(random),
        1 | 2 => message(random, [warp(0, 0), warp(1, 1)]),
        _ => message(random, [warp(0, 1), warp(1, 1)]),
    };
    Program {
        steps: number_handovers(steps),
    }
}

/// Every handover has a barrier of its own.
fn number_handovers(mut steps: Vec<Step>) -> Vec<Step> {
    let mut handovers = 0;
    steps.retain_mut(|step| {
        if let Step::Handover(number) = step {
            handovers += 1;
            *number = handovers;
        }
        handovers < 16
    });
    steps
}

fn jumble(random: &mut Random) -> Vec<Step> {
    let count = 2 + random.next() % 7;
    let step = |_| match random.next() % 16 {
        0..=7 => Step::Access(guard(random), access(random)),
        _ => synchronisation(random),
    };
    (0..count).map(step).collect()
}

/// One side touches data and writes a flag; the other reads the flag and touches the data.
fn message(random: &mut Random, [writer, reader]: [Guard; 2]) -> Vec<Step> {
    let mut steps = vec![touch(random, writer)];
    for (side, raises) in [(writer, true), (reader, false)] {
        let fence = |random: &mut Random| {
            let reach = scope(random, false, false);
            Step::Fence(some_of(random, side), reach)
        };
        let parts = [
            (30, synchronisation(random)),
            (if raises { 85 } else { 20 }, fence(random)),
            (
                90,
                Step::Access(some_of(random, side), flag(random, raises)),
            ),
            (20, Step::Access(guard(random), flag(random, raises))),
            (if raises { 20 } else { 85 }, fence(random)),
            (30, synchronisation(random)),
        ];
        let kept = parts
            .into_iter()
            .filter(|(percent, _)| random.next() % 100 < *percent);
        steps.extend(kept.map(|(_, step)| step));
    }
    steps.push(touch(random, reader));
    steps
}

/// One thread of each warp of a side, or all of them.
fn some_of(random: &mut Random, side: Guard) -> Guard {
    match random.next() % 8 {
        0 => side,
        n => Guard {
            mask: side.mask | 31,
            value: side.value | u32::from(n == 7),
            ..side
        },
    }
}

fn touch(random: &mut Random, side: Guard) -> Step {
    let access = Access {
        kind: random.pick(&[Kind::Load, Kind::Store, Kind::Store]),
        memory: Memory::Data,
        bytes: 4,
        factor: 1,
        shift: 0,
        mask: random.pick(&[31, 63]),
    };
    Step::Access(some_of(random, side), access)
}

fn flag(random: &mut Random, raises: bool) -> Access {
    let kind = match (raises, random.next() % 4) {
        (true, 0..=1) => Kind::StrongStore(scope(random, false, true)),
        (true, 2) => Kind::Red(scope(random, false, true)),
        (false, 0..=1) => Kind::StrongLoad(scope(random, true, false)),
        (false, 2) => Kind::Red(scope(random, false, true)),
        _ => Kind::Atom(scope(random, true, true)),
    };
    Access {
        kind,
        memory: Memory::Flag,
        bytes: 4,
        factor: 1,
        shift: 0,
        mask: random.pick(&[0, 0, 1]),
    }
}

fn synchronisation(random: &mut Random) -> Step {
    match random.next() % 6 {
        0 | 1 => Step::WarpSync(Guard {
            block: None,
            ..guard(random)
        }),
        2 => Step::Fence(guard(random), scope(random, false, false)),
        3 => Step::Handover(0),
        _ => Step::Barrier,
    }
}

fn guard(random: &mut Random) -> Guard {
    let mask = random.pick(&[0, 0, 0, 1, 16, 32, 32, 48, 63, 63, 31]);
    Guard {
        mask,
        value: random.next() as u32 & mask,
        block: random.pick(&[None, None, Some(0), Some(1)]),
    }
}

fn scope(random: &mut Random, may_acquire: bool, may_release: bool) -> Scope {
    Scope {
        is_wide: !random.next().is_multiple_of(8),
        acquires: may_acquire && random.next().is_multiple_of(2),
        releases: may_release && random.next().is_multiple_of(2),
    }
}

fn access(random: &mut Random) -> Access {
    let memory = random.pick(&[Memory::Buffer, Memory::Data, Memory::Data]);
    let kind = match random.next() % 16 {
        0..=4 => Kind::Load,
        5..=9 => Kind::Store,
        10 | 11 => Kind::StrongLoad(scope(random, true, false)),
        12 | 13 => Kind::StrongStore(scope(random, false, true)),
        14 if random.next().is_multiple_of(3) && memory == Memory::Data => Kind::NonCoherent,
        14 => Kind::Red(scope(random, false, true)),
        _ => Kind::Atom(scope(random, true, true)),
    };
    let bytes = match kind.scope() {
        Some(_) => random.pick(&[4, 4, 4, 8]),
        None => random.pick(&[1, 2, 4, 4, 4, 8, 16]),
    };
    Access {
        kind,
        memory,
        bytes,
        factor: random.pick(&[0, 1, 1, 1, 3]),
        shift: random.pick(&[0, 0, 0, 1, 32]),
        mask: random.pick(&[63, 63, 1, 0]),
    }
}
