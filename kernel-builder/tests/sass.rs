//! The real tools on a small kernel; skipped visibly where they are not installed.

use std::io::Write as _;

use kernel_builder::sass::{Class, SassError, assemble, hottest_loop, ptxas_version};
use kernel_builder::tools::find;

/// Four products a trip, from registers, until the counter is zero.
const PTX: &str = "
.version 7.1
.target sm_80
.address_size 64
.visible .entry products(.param .u64 out, .param .u32 count)
{
    .reg .b64 %rd<3>;
    .reg .b32 %r<8>;
    .reg .f32 %f<5>;
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [count];
    mov.u32 %r2, %tid.x;
    mov.f32 %f1, 0f00000000;
    mov.f32 %f2, 0f00000000;
    mov.f32 %f3, 0f00000000;
    mov.f32 %f4, 0f00000000;
LOOP:
    MMA MMA MMA MMA
    sub.u32 %r1, %r1, 1;
    setp.ne.u32 %p1, %r1, 0;
    bar.sync 0;
    @%p1 bra LOOP;
    st.global.v4.f32 [%rd1], {%f1, %f2, %f3, %f4};
    ret;
}
";
const MMA: &str = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r2, %r2, %r2, %r2}, \
                   {%r2, %r2}, {%f1, %f2, %f3, %f4};";

/// Says past the capture of the test harness that a proof was skipped.
fn tools_are_missing() -> bool {
    let missing = ["ptxas", "nvdisasm"]
        .iter()
        .find(|tool| find(tool).is_none());
    if let Some(tool) = missing {
        writeln!(
            std::io::stderr(),
            "SKIPPED: no {tool}; `cargo xtask setup` installs it"
        )
        .expect("stderr is open");
    }
    missing.is_some()
}

#[test]
fn a_loop_of_products_is_found_in_the_machine_code() {
    if tools_are_missing() {
        return;
    }
    for machine in ["sm_80", "sm_90"] {
        let code = assemble(&PTX.replace("MMA", MMA), machine).unwrap();
        assert_eq!(code.kernels.len(), 1);
        let kernel = &code.kernels[0];
        assert_eq!(kernel.function.name, "products");
        assert!(
            (8..=64).contains(&kernel.usage.registers),
            "{:?}",
            kernel.usage
        );
        assert_eq!((kernel.usage.stack_bytes, kernel.usage.barriers), (0, 1));
        let figures = hottest_loop(&kernel.function).unwrap().unwrap();
        // ptxas may unroll the loop: products and barriers stay in proportion.
        let trips = figures.count(Class::Tensor) / 4;
        assert!(trips >= 1, "{figures:?}");
        assert_eq!(figures.count(Class::Tensor), 4 * trips);
        assert_eq!(figures.tensor_flop, u64::from(4 * trips) * 4096);
        assert!(figures.count(Class::Sync) >= trips, "{figures:?}");
        assert!(
            figures.stall_cycles >= figures.instructions(),
            "{figures:?}"
        );
        assert!(figures.other_instructions_per_mflop() > 0.0);
    }
}

#[test]
fn refused_ptx_shows_what_ptxas_says() {
    if tools_are_missing() {
        return;
    }
    let error = assemble("nonsense", "sm_80").unwrap_err();
    assert!(
        matches!(error, SassError::Tool { tool: "ptxas", .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Missing .version"), "{error}");
}

#[test]
fn the_version_of_ptxas_is_one_line_with_a_release() {
    if tools_are_missing() {
        return;
    }
    let version = ptxas_version().unwrap();
    assert!(
        version.contains("release") && version.lines().count() == 1,
        "{version}"
    );
}
