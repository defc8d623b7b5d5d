//! The L2 cache: which requests reach device memory.
//!
//! Lines of 128 bytes with four sectors, each with the bytes it holds and whether they are newer than
//! device memory. A read of a byte that is not held reads the sector; a write reads nothing. What
//! leaves the cache newer than memory is written back, after the rest of the sector has been read
//! where only part of it was written. Within a set, the line used least recently leaves first.

use super::counts::SECTOR_BYTES;
use super::sectors::Part;

/// Bytes of a line, the unit in which a cache gives space to addresses.
pub(crate) const LINE_BYTES: u64 = 128;
const SECTORS: u64 = LINE_BYTES / SECTOR_BYTES;

/// What a request does with a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
    /// Atomics: performed in the cache, on the old value.
    Update,
}

/// A sector moves between the cache and device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    Read,
    Write,
}

/// A sector in the cache.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sector {
    /// Bit i is byte i.
    held: u32,
    is_dirty: bool,
}

impl Sector {
    /// Serves a request, and calls `tell` when device memory is read for it.
    pub fn serve(&mut self, bytes: u32, purpose: Purpose, tell: &mut impl FnMut(Transfer)) {
        if purpose != Purpose::Write && bytes & !self.held != 0 {
            tell(Transfer::Read);
            self.held = u32::MAX;
        }
        self.held |= bytes;
        self.is_dirty |= purpose != Purpose::Read;
    }

    /// Leaves the cache.
    pub fn leave(self, tell: &mut impl FnMut(Transfer)) {
        if self.is_dirty {
            if self.held != u32::MAX {
                tell(Transfer::Read);
            }
            tell(Transfer::Write);
        }
    }
}

#[derive(Clone, Copy)]
struct Line {
    /// Number of the line in memory; none in a line that was never used.
    number: Option<u64>,
    sectors: [Sector; SECTORS as usize],
}

/// A set-associative cache over memory whose sectors are numbered from 0.
pub(super) struct L2 {
    /// Set after set, most recently used line first.
    lines: Vec<Line>,
    ways: usize,
}

impl L2 {
    /// An empty cache of `sets * ways` lines, both at least 1.
    pub fn new(sets: usize, ways: usize) -> Self {
        let unused = Line {
            number: None,
            sectors: Default::default(),
        };
        Self {
            lines: vec![unused; sets * ways],
            ways,
        }
    }

    /// Serves a request and tells of every sector that moves, with its number.
    pub fn serve(&mut self, part: Part, purpose: Purpose, tell: &mut impl FnMut(u64, Transfer)) {
        let number = part.sector / SECTORS;
        let first = self.set_of(number) * self.ways;
        let set = &mut self.lines[first..first + self.ways];
        match set.iter().position(|line| line.number == Some(number)) {
            Some(way) => set[..=way].rotate_right(1),
            None => {
                set.rotate_right(1);
                leave(&set[0], tell);
                set[0] = Line {
                    number: Some(number),
                    sectors: Default::default(),
                };
            }
        }
        let sector = &mut set[0].sectors[(part.sector % SECTORS) as usize];
        sector.serve(part.bytes, purpose, &mut |transfer| {
            tell(part.sector, transfer);
        });
    }

    /// The set of a line. Each round through the sets begins one further than the one before, so that
    /// rows at a power-of-two distance do not crowd into a few sets; hardware hashes addresses for
    /// that, in ways that are not published.
    fn set_of(&self, number: u64) -> usize {
        let sets = (self.lines.len() / self.ways) as u64;
        ((number + number / sets) % sets) as usize
    }

    /// Everything leaves, as it does some time after the launch.
    pub fn flush(&mut self, tell: &mut impl FnMut(u64, Transfer)) {
        for line in self.lines.drain(..) {
            leave(&line, tell);
        }
    }
}

fn leave(line: &Line, tell: &mut impl FnMut(u64, Transfer)) {
    let Some(number) = line.number else { return };
    for (index, sector) in line.sectors.iter().enumerate() {
        sector.leave(&mut |transfer| tell(SECTORS * number + index as u64, transfer));
    }
}
