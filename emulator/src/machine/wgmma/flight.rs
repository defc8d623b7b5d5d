//! The products of one warp that have not been waited for, and what they forbid in the meantime.
//!
//! The decoder has found out which instructions can meet a register in flight on some path at all
//! (`decode/flight.rs`), so that the others need no check; what is found here did happen.

use std::collections::VecDeque;

use crate::fault::{FaultKind, Outcome, warp_fault};
use crate::ir::{Kernel, Op, R32, Wgmma, WgmmaA};
use crate::machine::context::Context;
use crate::machine::descriptor::Operand;
use crate::machine::warp::Warp;

/// A product that has been issued.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    /// Where.
    pub pc: u32,
    /// Its number among all that the warpgroup has logged.
    pub sequence: u64,
    /// The warp's rows of A, unless they are in registers.
    pub a: Option<Operand>,
    pub b: Operand,
    pub accumulate: bool,
    /// Number of its group.
    group: u32,
}

impl Product {
    pub fn new(
        pc: u32,
        sequence: u64,
        (a, b): (Option<Operand>, Operand),
        accumulate: bool,
    ) -> Self {
        Self {
            pc,
            sequence,
            a,
            b,
            accumulate,
            group: 0,
        }
    }

    fn op<'k>(&self, kernel: &'k Kernel) -> Option<&'k Wgmma> {
        match &kernel.program[self.pc as usize].op {
            Op::Wgmma(op) => Some(op),
            _ => None,
        }
    }
}

/// Products in flight, oldest first.
#[derive(Default)]
pub(crate) struct Products {
    products: VecDeque<Product>,
    /// How many of them, from the oldest on, have been computed.
    computed: usize,
    /// Groups that have been committed.
    committed: u32,
    /// 32-bit slots of D, and of A, of the products.
    results: SlotSet,
    inputs: SlotSet,
    /// What has happened to each register that [`Touches::marks`](crate::ir::Touches::marks) counts since the last fence; empty
    /// when the decoder found no path on which a fence is missing.
    marks: Vec<Mark>,
}

/// Since the last `wgmma.fence`, a register has been ..
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// .. left alone,
    Clean,
    /// .. D of the product at this program counter, and of others of the same shape on the same D,
    Result(u32),
    /// .. read as A by products,
    Input,
    /// .. used by other instructions or in another way, or there was no fence yet.
    Dirty,
}

impl Products {
    /// The state before the first instruction of `kernel`.
    pub fn reset(&mut self, kernel: &Kernel) {
        self.products.clear();
        self.computed = 0;
        self.committed = 0;
        self.results.clear();
        self.inputs.clear();
        self.marks.clear();
        self.marks
            .resize(usize::from(kernel.product_marks), Mark::Dirty);
    }

    pub fn len(&self) -> usize {
        self.products.len()
    }

    /// The oldest product not computed yet, of the `count` oldest; it counts as computed from now on.
    pub fn next_to_compute(&mut self, count: usize) -> Option<Product> {
        let product = *self.products.get(self.computed)?;
        if self.computed >= count {
            return None;
        }
        self.computed += 1;
        Some(product)
    }

    /// Whether the registers of a product to be issued are free: of those of D, only products of the
    /// same shape with all of the same registers may be in flight.
    pub fn check_issue(&self, kernel: &Kernel, op: &Wgmma) -> Outcome {
        if self.products.is_empty() {
            return Ok(());
        }
        let continues = |product: &Product| {
            let other = product.op(kernel);
            other.is_some_and(|other| op.is_same_accumulation(other))
        };
        if !self.products.iter().rev().any(continues) {
            self.check(kernel, &op.d, true)?;
        }
        if let WgmmaA::Registers(a) = op.a {
            self.check(kernel, &a, false)?;
        }
        Ok(())
    }

    /// Refuses registers that are in flight: results in any case, inputs when they are to be written.
    fn check(&self, kernel: &Kernel, registers: &[R32], writes: bool) -> Outcome {
        let is_result = |r: &&R32| self.results.contains(**r);
        let is_input = |r: &&R32| writes && self.inputs.contains(**r);
        let Some(found) = registers.iter().find(|r| is_result(r) || is_input(r)) else {
            return Ok(());
        };
        let of = |op: &Wgmma| match op.a {
            _ if self.results.contains(*found) => op.d.contains(found),
            WgmmaA::Registers(a) => a.contains(found),
            WgmmaA::Shared(..) => false,
        };
        let culprit = |product: &&Product| product.op(kernel).is_some_and(of);
        let product = self.products.iter().rev().find(culprit);
        warp_fault(FaultKind::ProductRegister {
            operand: if self.results.contains(*found) {
                "D"
            } else {
                "A"
            },
            writes,
            line: product.map_or(0, |product| kernel.place(product.pc).0),
        })
    }

    pub fn issue(&mut self, product: Product, op: &Wgmma) {
        op.d.iter().for_each(|d| self.results.insert(*d));
        if let WgmmaA::Registers(a) = op.a {
            a.iter().for_each(|a| self.inputs.insert(*a));
        }
        self.products.push_back(Product {
            group: self.committed,
            ..product
        });
    }

    pub fn commit(&mut self) {
        self.committed += 1;
    }

    /// How many products a wait covers that leaves the `pending` youngest groups alone.
    pub fn due(&self, pending: u32) -> usize {
        let is_due = |product: &Product| {
            product.group < self.committed && self.committed - product.group > pending
        };
        self.products
            .iter()
            .take_while(|product| is_due(product))
            .count()
    }

    /// Takes out the `due` oldest products.
    pub fn complete(&mut self, kernel: &Kernel, due: usize) -> Vec<Product> {
        let done: Vec<Product> = self.products.drain(..due).collect();
        // At the end of a thread nobody will see results that have not been computed.
        self.computed = self.computed.saturating_sub(due);
        self.results.clear();
        self.inputs.clear();
        let mut last: Option<&Wgmma> = None;
        for op in self
            .products
            .iter()
            .filter_map(|product| product.op(kernel))
        {
            if last.is_none_or(|last| last.d != op.d) {
                op.d.iter().for_each(|d| self.results.insert(*d));
            }
            last = Some(op);
            if let WgmmaA::Registers(a) = op.a {
                a.iter().for_each(|a| self.inputs.insert(*a));
            }
        }
        done
    }

    /// PTX line of the oldest product in flight, and their number.
    pub fn in_flight(&self, kernel: &Kernel) -> Option<(u32, u32)> {
        let oldest = self.products.front()?;
        Some((kernel.place(oldest.pc).0, self.products.len() as u32))
    }

    pub fn fence(&mut self) {
        self.marks.fill(Mark::Clean);
    }
}

/// A set of 32-bit slots.
#[derive(Default)]
struct SlotSet(Vec<u64>);

impl SlotSet {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn contains(&self, r: R32) -> bool {
        let word = self.0.get(usize::from(r.0) / 64);
        word.is_some_and(|word| word >> (r.0 % 64) & 1 != 0)
    }

    fn insert(&mut self, r: R32) {
        let word = usize::from(r.0) / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (r.0 % 64);
    }
}

/// What an instruction at `pc` does to registers that may be in flight, or that need a fence before
/// the next product.
#[cold]
pub(crate) fn touch(warp: &mut Warp, context: &Context, pc: u32) -> Outcome {
    let kernel = context.kernel;
    let Some(touches) = kernel.touches.get(&pc) else {
        return Ok(());
    };
    let products = &mut warp.products;
    products.check(kernel, &touches.reads, false)?;
    products.check(kernel, &touches.writes, true)?;
    if products.marks.is_empty() {
        return Ok(());
    }
    match &kernel.program[pc as usize].op {
        Op::Wgmma(op) => products.fenced(kernel, op, pc, &touches.marks),
        _ => {
            for mark in &touches.marks {
                products.marks[usize::from(*mark)] = Mark::Dirty;
            }
            Ok(())
        }
    }
}

impl Products {
    /// A fence has to stand between other uses of a product's registers and the product, and before the
    /// first product. `marks` are the numbers of D's registers, then those of A's.
    fn fenced(&mut self, kernel: &Kernel, op: &Wgmma, pc: u32, marks: &[u16]) -> Outcome {
        let (d, a) = marks.split_at(op.d.len().min(marks.len()));
        let continues = |earlier: u32| match &kernel.program[earlier as usize].op {
            Op::Wgmma(earlier) => op.is_same_accumulation(earlier),
            _ => false,
        };
        let may_follow = |mark: Mark| match mark {
            Mark::Clean => true,
            Mark::Result(earlier) => continues(earlier),
            Mark::Input | Mark::Dirty => false,
        };
        let mark = |id: &u16| self.marks[usize::from(*id)];
        if d.iter().any(|id| !may_follow(mark(id))) {
            return warp_fault(FaultKind::ProductFence { operand: "D" });
        }
        if a.iter()
            .any(|id| !matches!(mark(id), Mark::Clean | Mark::Input))
        {
            return warp_fault(FaultKind::ProductFence { operand: "A" });
        }
        for id in d {
            self.marks[usize::from(*id)] = Mark::Result(pc);
        }
        for id in a {
            self.marks[usize::from(*id)] = Mark::Input;
        }
        Ok(())
    }
}
