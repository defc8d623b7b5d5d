//! Shadow memory: for every byte, the accesses that a later one may race with.
//!
//! Memory is divided into pages, and a page into cells of 16 bytes: the size of an ldmatrix row and of
//! a cp.async. When an access needs it, the cells of a page are split into smaller ones with equal
//! contents, so that no cell is ever touched in part.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::machine::address::GlobalView;
use crate::machine::registers::LANES;
use crate::observe::{Access, Action};

use super::actor::Actor;
use super::cell::Cell;
use super::phases::is_agent;
use super::record::Record;

/// Bytes of a page. No access that the machine accepts crosses pages: it is aligned to its size.
const PAGE: u64 = 1 << 12;
/// Binary logarithm of the bytes of an unsplit cell.
const WIDEST: u32 = 4;

/// An earlier access that races with the actor's.
pub(super) struct Hit {
    pub earlier: Record,
    /// First byte that both touch, as an offset into the memory that was visited.
    pub offset: u64,
}

/// What a visit does with accesses that race with nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// Remembers them.
    Access,
    /// Leaves them to the future: a copy that will land later.
    Ahead,
}

struct Page {
    /// Binary logarithm of the bytes of a cell.
    grain: u32,
    cells: Box<[Cell]>,
}

impl Page {
    fn new() -> Self {
        Self {
            grain: WIDEST,
            cells: vec![Cell::UNTOUCHED; (PAGE >> WIDEST) as usize].into(),
        }
    }

    /// The cells of `bytes` bytes from `offset` on, and the binary logarithm of their size. No cells
    /// when the bytes leave the page, which the machine will refuse.
    #[inline(always)]
    fn cells(&mut self, offset: u64, bytes: u32) -> (&mut [Cell], u32) {
        let inside = offset % PAGE;
        let end = inside + u64::from(bytes);
        if (inside | end) & ((1 << self.grain) - 1) != 0 {
            self.split((inside | end).trailing_zeros());
        }
        let range = (inside >> self.grain) as usize..(end >> self.grain) as usize;
        (self.cells.get_mut(range).unwrap_or_default(), self.grain)
    }

    fn each_cell(&mut self, offset: u64, bytes: u32, each: &mut impl FnMut(&mut Cell, u64)) {
        let (cells, grain) = self.cells(offset, bytes);
        for (index, cell) in cells.iter_mut().enumerate() {
            each(cell, offset + ((index as u64) << grain));
        }
    }

    #[cold]
    fn split(&mut self, grain: u32) {
        let parts = 1 << (self.grain - grain);
        let cells = self.cells.iter();
        self.cells = cells
            .flat_map(|cell| std::iter::repeat_n(cell, parts).cloned())
            .collect();
        self.grain = grain;
    }

    /// Checks the actor's access to a few bytes against earlier ones.
    #[inline(always)]
    fn visit(&mut self, actor: &Actor, offset: u64, bytes: u32, visit: Visit) -> Option<Hit> {
        let (cells, grain) = self.cells(offset, bytes);
        for (index, cell) in cells.iter_mut().enumerate() {
            let racing = match visit {
                Visit::Access => cell.access(actor),
                Visit::Ahead => cell.conflict(actor),
            };
            if let Some(earlier) = racing {
                let offset = offset + ((index as u64) << grain);
                return Some(Hit { earlier, offset });
            }
        }
        None
    }
}

/// Shadow of the shared memory of a block of one cluster at a time.
pub(super) struct SharedShadow(Vec<Page>);

impl SharedShadow {
    pub fn new(bytes: u32) -> Self {
        let pages = u64::from(bytes).div_ceil(PAGE);
        Self((0..pages).map(|_| Page::new()).collect())
    }

    /// A block begins, and everything that was remembered has happened before it. Pages that the
    /// last block has split are made whole; the others need no change, unless epochs start again.
    pub fn start_block(&mut self, epochs_restart: bool) {
        for page in &mut self.0 {
            if page.grain != WIDEST || epochs_restart {
                *page = Page::new();
            }
        }
    }

    /// Checks an access lane by lane.
    pub fn visit(&mut self, actor: &mut Actor, access: &Access, visit: Visit) -> Option<Hit> {
        each_run(actor, access, |actor, offset, bytes| {
            let page = self.0.get_mut((offset / PAGE) as usize)?;
            page.visit(actor, offset, bytes, visit)
        })
    }

    /// An access by a thread, wherever, that the actor's would race with. Those of copies are left out: who waits for
    /// them is a matter of their own.
    pub fn unordered(&self, actor: &Actor) -> Option<Hit> {
        let pages = self.0.iter().zip((0..).step_by(PAGE as usize));
        pages
            .flat_map(|(page, start)| {
                let cells = page.cells.iter().zip((start..).step_by(1 << page.grain));
                cells.map(|(cell, offset): (&Cell, u64)| (cell, offset))
            })
            .find_map(|(cell, offset)| {
                let earlier = cell.conflict(actor).filter(|old| !is_agent(old.cluster))?;
                Some(Hit { earlier, offset })
            })
    }

    /// Calls `each` for the cells of some bytes, with their offsets.
    pub fn each_cell(&mut self, start: u64, bytes: u64, mut each: impl FnMut(&mut Cell, u64)) {
        each_part(start, bytes, |number, offset, bytes| {
            if let Some(page) = self.0.get_mut(number) {
                page.each_cell(offset, bytes, &mut each);
            }
        });
    }

    /// A copy has landed. When it was issued, its write was checked, and nobody has touched the bytes
    /// since.
    pub fn land(&mut self, write: Record, offset: u32, bytes: u32) {
        let offset = u64::from(offset);
        if let Some(page) = self.0.get_mut((offset / PAGE) as usize) {
            for cell in page.cells(offset, bytes).0 {
                cell.restart(write);
            }
        }
    }
}

/// Shadow of device memory, for the clusters of all threads of the host. Pages come into being when
/// they are touched.
pub(super) struct GlobalShadow(Vec<Table>);

/// A page, once it has been touched.
type LazyPage = OnceLock<Box<Mutex<Page>>>;

/// The pages of one allocation.
struct Table {
    base: u64,
    bytes: u64,
    pages: OnceLock<Box<[LazyPage]>>,
}

impl Table {
    fn page(&self, number: usize) -> Option<&Mutex<Page>> {
        let pages = self.pages.get_or_init(|| {
            let count = self.bytes.div_ceil(PAGE);
            (0..count).map(|_| OnceLock::new()).collect()
        });
        let page = pages.get(number)?;
        Some(page.get_or_init(|| Box::new(Mutex::new(Page::new()))))
    }
}

impl GlobalShadow {
    pub fn new(memory: &GlobalView) -> Self {
        let tables = memory.allocations().map(|allocation| Table {
            base: allocation.base,
            bytes: allocation.bytes,
            pages: OnceLock::new(),
        });
        Self(tables.collect())
    }

    /// First address of an allocation.
    pub fn base(&self, allocation: usize) -> u64 {
        self.0[allocation].base
    }

    /// Checks an access to an allocation lane by lane.
    pub fn visit(&self, allocation: usize, actor: &mut Actor, access: &Access) -> Option<Hit> {
        let table = &self.0[allocation];
        let mut held = None;
        each_run(actor, access, |actor, offset, bytes| {
            let number = (offset / PAGE) as usize;
            let page = match &mut held {
                Some((held, page)) if *held == number => page,
                other => {
                    // Let go of one page before waiting for another.
                    *other = None;
                    let page = table.page(number)?.lock();
                    let page = page.unwrap_or_else(PoisonError::into_inner);
                    &mut other.insert((number, page)).1
                }
            };
            page.visit(actor, offset, bytes, Visit::Access)
        })
    }

    /// Index and first address of the allocation that may hold an address.
    pub fn holding(&self, address: u64) -> Option<(usize, u64)> {
        let after = self.0.partition_point(|table| table.base <= address);
        let index = after.checked_sub(1)?;
        Some((index, self.0[index].base))
    }

    /// Calls `each` for the cells of some bytes of an allocation, with their offsets.
    pub fn each_cell(
        &self,
        allocation: usize,
        start: u64,
        bytes: u64,
        mut each: impl FnMut(&mut Cell, u64),
    ) {
        let table = &self.0[allocation];
        each_part(start, bytes, |number, offset, bytes| {
            if let Some(page) = table.page(number) {
                let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
                page.each_cell(offset, bytes, &mut each);
            }
        });
    }

    /// A read that happens later than it was checked.
    pub fn read_again(&self, actor: &Actor, address: u64, bytes: u32) {
        let after = self.0.partition_point(|table| table.base <= address);
        let Some(table) = after.checked_sub(1).map(|index| &self.0[index]) else {
            return;
        };
        let offset = address - table.base;
        if let Some(page) = table.page((offset / PAGE) as usize) {
            let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
            for cell in page.cells(offset, bytes).0 {
                // What it could race with has been checked at the issue, or has changed its source.
                cell.access(actor);
            }
        }
    }
}

/// The lanes that hold parts of row `row` of a matrix.
fn lanes_of_row(row: usize, transpose: bool) -> u32 {
    if transpose {
        0x1111_1111 << (row / 2)
    } else {
        0xf << (4 * row)
    }
}

/// Calls `each` with number of a page, offset and size for the parts of some bytes that lie in one page each.
fn each_part(start: u64, bytes: u64, mut each: impl FnMut(usize, u64, u32)) {
    let (mut at, end) = (start, start + bytes);
    while at < end {
        let stop = end.min((at / PAGE + 1) * PAGE);
        each((at / PAGE) as usize, at, (stop - at) as u32);
        at = stop;
    }
}

/// Calls `visit` with offset and size for each lane of an access, or for several lanes at once that
/// read the same bytes; they become the actor's lanes. Ends at the first hit.
#[inline(always)]
fn each_run(
    actor: &mut Actor,
    access: &Access,
    mut visit: impl FnMut(&Actor, u64, u32) -> Option<Hit>,
) -> Option<Hit> {
    let mut rest = access.lanes;
    while rest != 0 {
        let first = rest.trailing_zeros() as usize % LANES;
        let offset = access.offsets[first];
        let mut lanes = 1 << first;
        rest &= rest - 1;
        match access.action {
            // The lane names the row, the whole warp reads it.
            Action::LoadMatrixRow => lanes = u32::MAX,
            Action::StoreMatrixRow { transpose } => lanes = lanes_of_row(first % 8, transpose),
            Action::Load(_) => {
                while access.offsets[rest.trailing_zeros() as usize % LANES] == offset && rest != 0
                {
                    lanes |= rest & rest.wrapping_neg();
                    rest &= rest - 1;
                }
            }
            _ => {}
        }
        actor.record.lanes = lanes;
        let hit = visit(actor, offset, access.bytes_of(first));
        if hit.is_some() {
            return hit;
        }
    }
    None
}
