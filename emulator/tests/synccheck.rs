//! What synccheck must not accuse: exited lanes that nobody needs.

#[allow(dead_code, reason = "a test takes from the common part what it needs")]
mod common;

use common::{kernel, run_with};
use ptx_emulator::{Options, Sanitizers};

/// Fails when a block of `threads` threads is accused.
fn is_clean(body: &str, threads: u32) {
    let options = Options {
        sanitizers: Sanitizers {
            synccheck: true,
            ..Sanitizers::NONE
        },
        ..Options::default()
    };
    if let Err(fault) = run_with(&kernel("", body), 1, threads, &options).result {
        panic!("{body}\n{}", fault.report());
    }
}

#[test]
fn warps_that_exit_as_a_whole_miss_no_barrier() {
    is_clean("setp.ge.u32 %p1, %r0, 64; @%p1 exit; bar.sync 0;", 128);
}

#[test]
fn lanes_beyond_the_size_of_the_block_have_not_exited() {
    is_clean("bar.sync 0; bar.warp.sync -1;", 40);
}

#[test]
fn a_barrier_that_is_not_aligned_counts_the_lanes_that_are_left() {
    is_clean("setp.ge.u32 %p1, %r0, 40; @%p1 exit; barrier.sync 0;", 64);
}

#[test]
fn shuffles_and_votes_may_name_lanes_that_have_exited() {
    is_clean(
        "setp.ge.u32 %p1, %r0, 16; @%p1 exit; shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, -1;
         vote.sync.any.pred %p2, %p1, -1; match.any.sync.b32 %r2, %r1, -1; redux.sync.add.u32 %r3, %r1, -1;",
        32,
    );
}
