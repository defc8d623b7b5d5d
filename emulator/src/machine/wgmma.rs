//! `wgmma` (PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions").
//!
//! Each warp computes its own 16 rows of the 64; that the four warps of a warpgroup do the same is
//! checked by their log (`warpgroup.rs`). A product may read its operands at any time between its
//! issue and the wait that covers it: it does so as late as allowed, or under a seed sometimes at
//! once. In between, nobody may touch the registers of D, or write the registers or the shared memory
//! of its operands; all of that is a fault, so that it does not matter when D is written.
//!
//! ```text
//! flight.rs      the products of a warp that have not been waited for, and the rules of their registers
//! tiles.rs       operands as f32
//! multiply.rs    the arithmetic
//! ```

mod flight;
mod multiply;
mod tiles;

use crate::fault::{FaultKind, Outcome, Trouble, warp_fault};
use crate::ir::{Op, Pred, R64, Space, Wgmma, WgmmaA};
use crate::observe::{AsyncRead, Observers};

use super::address::out_of_bounds;
use super::context::Context;
use super::descriptor::{ADDRESS_BITS, CHUNK, Descriptor, Operand};
use super::registers::LANES;
use super::warp::Warp;
use super::warpgroup::Event;

pub(crate) use flight::{Product, Products, touch};
pub(crate) use tiles::Tiles;

/// Rows of A that one warp multiplies.
const ROWS: u32 = 16;

/// Operands of a product as they are at its issue.
struct Operands {
    /// `None` when A is in registers.
    a: Option<(u64, Operand)>,
    b: (u64, Operand),
    accumulate: bool,
}

/// `wgmma.mma_async` by all lanes of a warp, up to its arithmetic.
#[inline(never)]
pub(crate) fn issue(warp: &mut Warp, context: &mut Context, pc: u32, op: &Wgmma) -> Outcome {
    let operands = read_operands(warp, context, op)?;
    let event = Event {
        pc,
        a: operands.a.map_or(0, |(bits, _)| bits),
        b: operands.b.0,
        accumulate: operands.accumulate,
    };
    let sequence = context.log(warp.index, event)?;
    let a = operands.a.map(|(_, operand)| operand);
    let b = operands.b.1;
    for operand in a.iter().chain([&b]) {
        check_operand(context, operand)?;
    }
    warp.products.check_issue(context.kernel, op)?;
    let line = context.kernel.place(pc).0;
    for operand in a.iter().chain([&b]) {
        context
            .block_mut()
            .shared
            .begin_operand((warp.index, sequence), line, *operand);
    }
    let accumulate = operands.accumulate;
    let product = Product::new(pc, sequence, (a, b), accumulate);
    tell_of(&product, context, |observers, context, read| {
        observers.async_read(warp, context, read)
    })?;
    warp.products.issue(product, op);
    Ok(())
}

/// Tells the observers something about each operand that a product reads from shared memory.
fn tell_of(
    product: &Product,
    context: &mut Context,
    mut tell: impl FnMut(&mut Observers, &mut Context, &AsyncRead) -> Outcome,
) -> Outcome {
    if context.observers.is_none() {
        return Ok(());
    }
    for operand in product.a.iter().chain([&product.b]) {
        let runs = context.block_mut().warpgroups.runs(operand);
        let read = AsyncRead {
            pc: product.pc,
            lanes: u32::MAX,
            rank: context.rank,
            ranges: &runs,
        };
        context.observe(|observers, context| tell(observers, context, &read))?;
    }
    Ok(())
}

fn read_operands(warp: &Warp, context: &Context, op: &Wgmma) -> Outcome<Operands> {
    let operand = |register: R64, major, first, count| {
        let bits = uniform(warp, register)?;
        let descriptor = Descriptor::new(bits).or_else(|rule| {
            warp_fault(FaultKind::MatrixDescriptor {
                descriptor: bits,
                rule,
            })
        })?;
        // The fields of a descriptor have no room for a rank.
        let begin = context.block().shared.base() as u32 & ADDRESS_BITS;
        let Some(descriptor) = descriptor.counted_from(begin) else {
            return warp_fault(out_of_bounds(0, CHUNK, Space::Shared));
        };
        let operand = Operand {
            descriptor,
            major,
            first,
            count,
        };
        Outcome::Ok((bits, operand))
    };
    Ok(Operands {
        a: match op.a {
            WgmmaA::Registers(_) => None,
            WgmmaA::Shared(a, major) => Some(operand(a, major, ROWS * (warp.index % 4), ROWS)?),
        },
        b: operand(op.b, op.b_major, 0, op.n.into())?,
        accumulate: op.accumulate.map_or(Ok(false), |p| uniform_pred(warp, p))?,
    })
}

/// The value that all lanes of a descriptor hold.
fn uniform(warp: &Warp, register: R64) -> Outcome<u64> {
    let values = warp.regs.get64(register);
    if *values == [values[0]; LANES] {
        return Ok(values[0]);
    }
    let operand = "matrix descriptor";
    warp_fault(FaultKind::NonUniformOperand { operand })
}

fn uniform_pred(warp: &Warp, p: Pred) -> Outcome<bool> {
    match warp.regs.get_pred(p) {
        0 => Ok(false),
        u32::MAX => Ok(true),
        _ => warp_fault(FaultKind::NonUniformOperand {
            operand: "scale-d predicate",
        }),
    }
}

/// Bounds, and copies on their way to the operand.
fn check_operand(context: &Context, operand: &Operand) -> Outcome {
    let shared = &context.block().shared;
    let len = shared.bytes().len() as u32;
    let (start, end) = operand.range();
    if end > len {
        let outside = |at: &u32| *at > len || len - *at < CHUNK;
        if let Some(at) = operand.addresses().find(outside) {
            let address = shared.base() + u64::from(at);
            return warp_fault(out_of_bounds(address, CHUNK, Space::Shared));
        }
    }
    if !shared.has_landed(start as usize, end.min(len) as usize) {
        for at in operand.addresses() {
            let landed = shared.check_landed(at as usize, CHUNK as usize);
            landed.or_else(warp_fault)?;
        }
    }
    Ok(())
}

/// The arithmetic of a product that was issued just now, when it is not left to its wait.
#[inline(always)]
pub(crate) fn after_issue<const FUSED: bool>(warp: &mut Warp, context: &mut Context) {
    if context.chance.copies_at_once() & 1 != 0 {
        let all = warp.products.len();
        compute::<FUSED>(warp, context, all);
    }
}

/// Computes the `count` oldest products, as far as they have not been.
#[inline(always)]
fn compute<const FUSED: bool>(warp: &mut Warp, context: &mut Context, count: usize) {
    while let Some(product) = warp.products.next_to_compute(count) {
        let kernel = context.kernel;
        if let Op::Wgmma(op) = &kernel.program[product.pc as usize].op {
            multiply::multiply::<FUSED>(warp, context, op, &product);
        }
    }
}

/// `wgmma.fence`.
pub(crate) fn fence(warp: &mut Warp, context: &mut Context, pc: u32) -> Outcome {
    context.log(warp.index, Event::at(pc))?;
    warp.products.fence();
    Ok(())
}

/// `wgmma.commit_group`.
pub(crate) fn commit(warp: &mut Warp, context: &mut Context, pc: u32) -> Outcome {
    context.log(warp.index, Event::at(pc))?;
    warp.products.commit();
    Ok(())
}

/// `wgmma.wait_group pending`.
#[inline(always)]
pub(crate) fn wait<const FUSED: bool>(
    warp: &mut Warp,
    context: &mut Context,
    pending: u32,
) -> Outcome {
    context.synchronised();
    if context.block().warpgroups.is_far_ahead(warp.index) {
        context.gives_way();
    }
    let due = warp.products.due(pending);
    compute::<FUSED>(warp, context, due);
    complete(warp, context, due)
}

/// The `due` oldest products have been waited for.
#[inline(never)]
fn complete(warp: &mut Warp, context: &mut Context, due: usize) -> Outcome {
    let kernel = context.kernel;
    for product in warp.products.complete(kernel, due) {
        context
            .block_mut()
            .shared
            .end_operands((warp.index, product.sequence));
        tell_of(&product, context, |observers, _, read| {
            observers.async_read_done(warp, read);
            Ok(())
        })?;
    }
    Ok(())
}

/// All lanes of a warp have exited, which waits for nothing.
pub(crate) fn exit(warp: &mut Warp, context: &mut Context) -> Outcome {
    let kernel = context.kernel;
    if context.sanitizers.synccheck
        && let Some((line, products)) = warp.products.in_flight(kernel)
    {
        return warp_fault(FaultKind::ProductsPending { products, line });
    }
    let all = warp.products.len();
    complete(warp, context, all)?;
    context
        .block_mut()
        .warpgroups
        .exit(kernel, warp.index)
        .or_else(warp_fault)
}

impl Context<'_> {
    /// Compares what a warp does with what the others of its warpgroup do. Returns its number in their
    /// common sequence.
    pub fn log(&mut self, warp: u32, event: Event) -> Outcome<u64> {
        let kernel = self.kernel;
        self.block_mut()
            .warpgroups
            .execute(kernel, warp, event)
            .map_err(|kind| {
                Box::new(Trouble {
                    kind,
                    lane: None,
                    pc: event.pc,
                })
            })
    }
}
