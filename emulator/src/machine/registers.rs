//! Register files of one warp, and the loops that apply a scalar function to its 32 lanes.
//!
//! Every `map` computes all lanes; only those of the mask are stored. The scalar function must
//! therefore be total; instructions that can fault check the masked lanes first. Each loop has a
//! constant trip count of 32 and no branch, which is what lets the compiler vectorise it.

use crate::ir::{Pred, R32, R64, SlotCounts};

use super::plan::Fill;

/// Lanes per warp.
pub(crate) const LANES: usize = 32;

/// One value per lane.
pub(crate) type Lanes<T> = [T; LANES];

/// The lanes that execute an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    /// Bit i is lane i.
    pub lanes: u32,
    /// True when no live lane is outside: lanes that do not exist any more may be overwritten.
    pub whole: bool,
}

impl Mask {
    /// Lane numbers in the mask, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        lanes_of(self.lanes)
    }
}

/// Numbers of the set bits, ascending.
#[inline(always)]
pub(crate) fn lanes_of(mut lanes: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = lanes.trailing_zeros() as usize;
        lanes &= lanes.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// Where the result of an arithmetic instruction belongs.
#[derive(Clone, Copy)]
pub(crate) enum Destination {
    W32(R32),
    W64(R64),
    Pred(Pred),
}

/// The result of an arithmetic instruction for all lanes, on its way to its slot. Storing it is left
/// to one place, so that the code of each instruction stays small.
pub(crate) struct Scratch {
    w32: Slot<u32>,
    w64: Slot<u64>,
    pred: u32,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            w32: Slot([0; LANES]),
            w64: Slot([0; LANES]),
            pred: 0,
        }
    }

    #[inline(always)]
    pub fn w32(&mut self, d: R32, values: Lanes<u32>) -> Destination {
        self.w32.0 = values;
        Destination::W32(d)
    }

    #[inline(always)]
    pub fn w64(&mut self, d: R64, values: Lanes<u64>) -> Destination {
        self.w64.0 = values;
        Destination::W64(d)
    }

    #[inline(always)]
    pub fn pred(&mut self, d: Pred, values: u32) -> Destination {
        self.pred = values;
        Destination::Pred(d)
    }
}

/// A slot, aligned so that a vector load never crosses a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Slot<T>(Lanes<T>);

/// The three register files.
pub(crate) struct Registers {
    r32: Vec<Slot<u32>>,
    r64: Vec<Slot<u64>>,
    pred: Vec<u32>,
}

impl Registers {
    pub fn new(counts: SlotCounts) -> Self {
        Self {
            r32: vec![Slot([0; LANES]); usize::from(counts.r32)],
            r64: vec![Slot([0; LANES]); usize::from(counts.r64)],
            pred: vec![0; usize::from(counts.pred).max(1)],
        }
    }

    /// Nothing is written yet, but for [`Pred::TRUE`].
    pub fn reset(&mut self, fill: Fill) {
        let word = fill.word();
        self.r32.fill(Slot([word; LANES]));
        self.r64
            .fill(Slot([u64::from(word) << 32 | u64::from(word); LANES]));
        self.pred.fill(fill.predicate());
        self.pred[usize::from(Pred::TRUE.0)] = u32::MAX;
    }

    #[inline(always)]
    pub fn get32(&self, r: R32) -> &Lanes<u32> {
        &self.r32[usize::from(r.0)].0
    }

    #[inline(always)]
    pub fn get32_mut(&mut self, r: R32) -> &mut Lanes<u32> {
        &mut self.r32[usize::from(r.0)].0
    }

    #[inline(always)]
    pub fn get64(&self, r: R64) -> &Lanes<u64> {
        &self.r64[usize::from(r.0)].0
    }

    #[inline(always)]
    pub fn get64_mut(&mut self, r: R64) -> &mut Lanes<u64> {
        &mut self.r64[usize::from(r.0)].0
    }

    #[inline(always)]
    pub fn get_pred(&self, p: Pred) -> u32 {
        self.pred[usize::from(p.0)]
    }

    #[inline(always)]
    pub fn set32(&mut self, mask: Mask, d: R32, values: &Lanes<u32>) {
        blend(mask, self.get32_mut(d), values);
    }

    #[inline(always)]
    pub fn set64(&mut self, mask: Mask, d: R64, values: &Lanes<u64>) {
        blend(mask, self.get64_mut(d), values);
    }

    #[inline(always)]
    pub fn set_pred(&mut self, mask: Mask, d: Pred, values: u32) {
        let slot = &mut self.pred[usize::from(d.0)];
        *slot = *slot & !mask.lanes | values & mask.lanes;
    }

    /// Stores the lanes of `mask`.
    #[inline(always)]
    pub fn store(&mut self, mask: Mask, scratch: &Scratch, destination: Destination) {
        match destination {
            Destination::W32(d) => self.set32(mask, d, &scratch.w32.0),
            Destination::W64(d) => self.set64(mask, d, &scratch.w64.0),
            Destination::Pred(d) => self.set_pred(mask, d, scratch.pred),
        }
    }

    #[inline(always)]
    pub fn map1_32(&self, a: R32, f: impl Fn(u32) -> u32) -> Lanes<u32> {
        let a = self.get32(a);
        each_lane(|i| f(a[i]))
    }

    #[inline(always)]
    pub fn map2_32(&self, a: R32, b: R32, f: impl Fn(u32, u32) -> u32) -> Lanes<u32> {
        let (a, b) = (self.get32(a), self.get32(b));
        each_lane(|i| f(a[i], b[i]))
    }

    #[inline(always)]
    pub fn map3_32(&self, [a, b, c]: [R32; 3], f: impl Fn(u32, u32, u32) -> u32) -> Lanes<u32> {
        let (a, b, c) = (self.get32(a), self.get32(b), self.get32(c));
        each_lane(|i| f(a[i], b[i], c[i]))
    }

    #[inline(always)]
    pub fn map1_64(&self, a: R64, f: impl Fn(u64) -> u64) -> Lanes<u64> {
        let a = self.get64(a);
        each_lane(|i| f(a[i]))
    }

    #[inline(always)]
    pub fn map2_64(&self, a: R64, b: R64, f: impl Fn(u64, u64) -> u64) -> Lanes<u64> {
        let (a, b) = (self.get64(a), self.get64(b));
        each_lane(|i| f(a[i], b[i]))
    }

    #[inline(always)]
    pub fn map3_64(&self, [a, b, c]: [R64; 3], f: impl Fn(u64, u64, u64) -> u64) -> Lanes<u64> {
        let (a, b, c) = (self.get64(a), self.get64(b), self.get64(c));
        each_lane(|i| f(a[i], b[i], c[i]))
    }

    #[inline(always)]
    pub fn test2_32(&self, a: R32, b: R32, f: impl Fn(u32, u32) -> bool) -> u32 {
        let (a, b) = (self.get32(a), self.get32(b));
        ballot(|i| f(a[i], b[i]))
    }

    #[inline(always)]
    pub fn test2_64(&self, a: R64, b: R64, f: impl Fn(u64, u64) -> bool) -> u32 {
        let (a, b) = (self.get64(a), self.get64(b));
        ballot(|i| f(a[i], b[i]))
    }
}

/// `f` of every lane. A loop of our own, because the standard library's array constructors can stay
/// calls, and a call loses the vector extension that the caller is compiled for.
#[inline(always)]
pub(crate) fn each_lane<T: Copy + Default>(f: impl Fn(usize) -> T) -> Lanes<T> {
    let mut out = [T::default(); LANES];
    for (i, value) in out.iter_mut().enumerate() {
        *value = f(i);
    }
    out
}

/// Bit i of the result is `f(i)`.
#[inline(always)]
pub(crate) fn ballot(f: impl Fn(usize) -> bool) -> u32 {
    let mut bits = 0;
    for i in 0..LANES {
        bits |= u32::from(f(i)) << i;
    }
    bits
}

#[inline(always)]
fn blend<T: Copy>(mask: Mask, slot: &mut Lanes<T>, values: &Lanes<T>) {
    if mask.whole {
        *slot = *values;
    } else {
        for i in 0..LANES {
            slot[i] = if mask.lanes >> i & 1 != 0 {
                values[i]
            } else {
                slot[i]
            };
        }
    }
}
