//! What the machine code of the kernels for Hopper must be like: its products are the ones that the tile asks for and read
//! their operands where they were meant to, and its main loop touches nothing slow.

use flash_attention::{HopperScores, Kernel, KernelVariant, kernels};
use kernel_builder::sass::model::{Demand, Tile, Trip};
use kernel_builder::sass::{
    Class, Control, Function, Instruction, SassError, class_of, hottest_trip,
};

use crate::count;

/// Memory that no main loop may touch: by addresses of unknown space, and local.
const SLOW: [&str; 4] = ["LD", "ST", "LDL", "STL"];
/// Exponentials of a thread beyond one for each score: the correction of the maximum, or its decision to skip it.
const MORE_EXPONENTIALS: u32 = 4;
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65536;

/// The tile of a kernel for Hopper; `None` for others.
pub(crate) fn tile(variant: &KernelVariant) -> Option<Tile> {
    match variant {
        KernelVariant::HopperForward(v) => Some(Tile::forward(v.head_dim, v.block_m, v.block_n)),
        KernelVariant::HopperBackward(v) if v.is_wide() => {
            Some(Tile::backward_wide(v.head_dim, v.block_m, v.block_n))
        }
        KernelVariant::HopperBackward(v) => Some(Tile::backward(v.head_dim, v.block_m, v.block_n)),
        _ => None,
    }
}

/// Whether a kernel for Hopper computes nothing on scores but the scale.
pub(crate) fn is_plain(variant: &KernelVariant) -> bool {
    let scores = match variant {
        KernelVariant::HopperForward(v) => v.scores,
        KernelVariant::HopperBackward(v) => v.scores,
        _ => return false,
    };
    scores == HopperScores::Plain
}

/// The main loop of a kernel for Hopper, and everything that is wrong with the kernel.
pub(crate) fn examine(
    kernel: &Kernel,
    function: &Function,
) -> Result<(Option<Trip>, Vec<String>), SassError> {
    let Some(tile) = tile(&kernel.variant) else {
        return Ok((None, Vec::new()));
    };
    let instructions = hottest_trip(function)?.unwrap_or_default();
    let demand = Demand::of(&instructions)?;
    let trip = Trip::new(demand, tile);
    let mut faults = match &trip {
        Some(trip) => faults_of_trip(trip, is_plain(&kernel.variant)),
        None => vec![format!(
            "{} products of {} tensor cycles are no whole number of steps of {tile:?}",
            demand.products, demand.tensor_cycles
        )],
    };
    faults.extend(faults_of_instructions(&instructions));
    faults.extend(faults_of_kernel(kernel, function));
    Ok((trip, faults))
}

fn faults_of_trip(trip: &Trip, is_plain: bool) -> Vec<String> {
    let (found, step) = (trip.demand, trip.tile.demand());
    let mut faults = Vec::new();
    let expected = trip.steps * step.product_bytes;
    if found.product_bytes != expected {
        let bytes = found.product_bytes;
        faults.push(format!(
            "products read {bytes} bytes of shared memory, {expected} when first operands are where they belong"
        ));
    }
    let exponentials = found.mufu_cycles / 8;
    let least = trip.steps * trip.tile.scores_of_thread();
    let most = least + trip.steps * MORE_EXPONENTIALS;
    if is_plain && !(least..=most).contains(&exponentials) {
        faults.push(format!(
            "{exponentials} special functions, {least} to {most} expected"
        ));
    }
    faults
}

fn faults_of_instructions(trip: &[&Instruction]) -> Vec<String> {
    let slow = trip
        .iter()
        .filter(|it| SLOW.contains(&it.base_opcode()))
        .map(|it| format!("slow access in the main loop: {}", it.text));
    slow.collect()
}

fn faults_of_kernel(kernel: &Kernel, function: &Function) -> Vec<String> {
    let in_machine_code = |is: &dyn Fn(&str) -> bool| {
        let opcodes = function.instructions.iter().map(Instruction::opcode);
        opcodes.filter(|opcode| is(opcode)).count()
    };
    let mut faults = Vec::new();
    for (what, compiled, assembled) in [
        (
            "products",
            count(kernel, "wgmma.mma_async"),
            in_machine_code(&|opcode| class_of(opcode) == Class::Tensor),
        ),
        (
            "changes of the number of registers",
            count(kernel, "setmaxnreg"),
            in_machine_code(&|opcode| opcode.starts_with("USETMAXREG")),
        ),
    ] {
        if compiled != assembled {
            faults.push(format!(
                "{compiled} {what} in PTX, {assembled} in machine code"
            ));
        }
    }
    faults.extend(fault_of_registers(kernel));
    faults
}

/// What warpgroups that compute take and the one that copies keeps must not be more than there is.
fn fault_of_registers(kernel: &Kernel) -> Option<String> {
    let (copying, computing) = (registers(kernel.ptx, "dec"), registers(kernel.ptx, "inc"));
    let (Some(copying), Some(computing)) = (copying, computing) else {
        return Some("no setmaxnreg for each role".to_owned());
    };
    let all = 128 * copying + (kernel.spec.threads - 128) * computing;
    (all > REGISTERS)
        .then(|| format!("{copying} and {computing} registers a thread are {all} in all"))
}

/// The most registers that a `setmaxnreg` of one kind names.
fn registers(ptx: &str, kind: &str) -> Option<u32> {
    let prefix = format!("setmaxnreg.{kind}.sync.aligned.u32");
    let named = ptx.lines().filter_map(|line| {
        let operand = line.trim().strip_prefix(&prefix)?;
        operand.trim().trim_end_matches(';').parse().ok()
    });
    named.max()
}

/// What is compiled how often in a kernel for Hopper.
struct Compiled {
    products: u32,
    /// Boxes that are stored.
    stores: u32,
    /// Barriers of copies.
    barriers: u32,
    /// Boxes of a tile of queries, and forward of any tile.
    pages: u32,
    /// Places at which a barrier is told to expect copies; the compiler may unroll the loop that starts them.
    least_fills: u32,
    /// Boxes that are loaded at these places, beyond a tile each.
    more_loads: u32,
}

impl Compiled {
    fn of(variant: &KernelVariant) -> Option<Compiled> {
        let products = tile(variant)?.demand().products;
        Some(match variant {
            KernelVariant::HopperForward(v) => Compiled {
                // The first S, the step with and without a mask, the last P·V.
                products: 3 * products,
                stores: v.head_dim / v.page_cols(),
                // Full and empty, for Q and each stage of K and of V.
                barriers: 2 * (1 + 2 * v.stages),
                pages: v.head_dim / v.page_cols(),
                // Q; the first K, the last V, and those of the loop.
                least_fills: 1 + 2 * 2,
                // Q has a tile for each warpgroup.
                more_loads: (v.consumers() - 1) * (v.head_dim / v.page_cols()),
            },
            KernelVariant::HopperBackward(v) => Compiled {
                // The step with and without a mask.
                products: 2 * products,
                stores: 0,
                // Full and empty, for K with V and each stage of queries, whose dO has a full one of its own.
                barriers: 2 * (1 + v.stages) + v.stages,
                pages: v.head_dim / v.page_cols(),
                // K with V; Q; dO.
                least_fills: 3,
                // Two tiles of keys instead of one of queries.
                more_loads: 2 * (v.head_dim / v.key_page_cols()) - v.head_dim / v.page_cols(),
            },
            _ => return None,
        })
    }
}

#[test]
fn products_copies_and_their_barriers_are_compiled_as_often_as_written() {
    for kernel in kernels() {
        let Some(expected) = Compiled::of(&kernel.variant) else {
            continue;
        };
        let entry = kernel.spec.entry;
        let fills = count(&kernel, "mbarrier.arrive.expect_tx") as u32;
        assert!(fills >= expected.least_fills, "{entry}: {fills} fills");
        let loads = fills * expected.pages + expected.more_loads;
        for (opcode, expected) in [
            ("wgmma.mma_async", expected.products),
            ("cp.async.bulk.tensor.4d.shared::cluster", loads),
            ("cp.async.bulk.tensor.4d.global", expected.stores),
            ("mbarrier.init", expected.barriers),
            ("setmaxnreg.dec", 1),
            ("setmaxnreg.inc", 1),
        ] {
            let compiled = count(&kernel, opcode);
            assert_eq!(compiled, expected as usize, "{entry}: {opcode}");
        }
    }
}

#[test]
fn products_from_the_wrong_place_and_too_many_exponentials_are_faults() {
    let tile = Tile::forward(128, 128, 128);
    let trip = |change: fn(&mut Demand)| {
        let mut demand = tile.demand();
        change(&mut demand);
        Trip::new(demand, tile).expect("the products are those of one step")
    };
    let faults = |change, is_plain| faults_of_trip(&trip(change), is_plain).len();
    assert_eq!(faults(|_| (), true), 0);
    assert_eq!(faults(|demand| demand.mufu_cycles += 8 * 4, true), 0);
    assert_eq!(faults(|demand| demand.mufu_cycles += 8 * 5, true), 1);
    assert_eq!(faults(|demand| demand.mufu_cycles -= 8, true), 1);
    assert_eq!(faults(|demand| demand.mufu_cycles *= 3, false), 0);
    assert_eq!(faults(|demand| demand.product_bytes += 2048, true), 1);
}

#[test]
fn only_accesses_of_known_fast_memory_belong_in_the_main_loop() {
    let instruction = |text: &str| Instruction {
        address: 0,
        text: text.to_owned(),
        control: Control::from_upper_word(0),
    };
    let fast = [
        "LDS.64 R2, [R4]",
        "@P0 STS.128 [R4], R8",
        "REDG.E.ADD.F32x4 desc[UR4][R2], R8",
    ];
    let slow = [
        "LD.E.128 R8, desc[UR4][R2]",
        "@P0 ST.E [R2], R8",
        "LDL R1, [R2]",
        "STL.64 [R1], R2",
    ];
    for (texts, faults) in [(&fast[..], 0), (&slow[..], slow.len())] {
        let trip: Vec<Instruction> = texts.iter().map(|text| instruction(text)).collect();
        let trip: Vec<&Instruction> = trip.iter().collect();
        assert_eq!(faults_of_instructions(&trip).len(), faults, "{texts:?}");
    }
}

#[test]
fn registers_are_read_from_the_text() {
    let ptx = "{\n setmaxnreg.dec.sync.aligned.u32 24;\n\tsetmaxnreg.inc.sync.aligned.u32 240;\n";
    assert_eq!(
        [registers(ptx, "dec"), registers(ptx, "inc")],
        [Some(24), Some(240)]
    );
    assert_eq!(registers("{\n}", "inc"), None);
}
