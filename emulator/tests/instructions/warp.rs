//! What the lanes of a warp do together.

use ptx_emulator::{Options, Schedule};

use crate::check::per_lane;
use crate::common::{kernel, run_with};

#[test]
fn shuffles_read_the_lane_that_the_isa_formula_names() {
    let shuffle = |mode: &str, b: u32, c: u32| {
        per_lane(&format!(
            "shfl.sync.{mode}.b32 %r2|%p1, %r0, {b}, {c:#x}, 0xffffffff;
             selp.b32 %r3, 256, 0, %p1; or.b32 %r1, %r2, %r3;"
        ))
    };
    let lanes = [0, 1, 7, 8, 9, 27, 31];
    let yes = |lane: u32| lane | 256;
    for (mode, b, c, expected) in [
        (
            "up",
            1,
            0,
            [0, yes(0), yes(6), yes(7), yes(8), yes(26), yes(30)],
        ),
        ("up", 2, 0x1800, [0, 1, yes(5), 8, 9, yes(25), yes(29)]),
        (
            "down",
            4,
            0x1f,
            [yes(4), yes(5), yes(11), yes(12), yes(13), yes(31), 31],
        ),
        (
            "down",
            3,
            0x181f,
            [yes(3), yes(4), 7, yes(11), yes(12), yes(30), 31],
        ),
        (
            "bfly",
            16,
            0x1f,
            [
                yes(16),
                yes(17),
                yes(23),
                yes(24),
                yes(25),
                yes(11),
                yes(15),
            ],
        ),
        ("bfly", 4, 0x1c1f, [0, 1, yes(3), 8, 9, 27, yes(27)]),
        (
            "idx",
            1,
            0x181f,
            [yes(1), yes(1), yes(1), yes(9), yes(9), yes(25), yes(25)],
        ),
    ] {
        let got = shuffle(mode, b, c);
        for (lane, expected) in lanes.into_iter().zip(expected) {
            assert_eq!(got[lane], expected, "{mode} b={b} c={c:#x} lane {lane}");
        }
    }
}

#[test]
fn votes_and_matches_see_the_lanes_of_their_mask() {
    assert_eq!(
        per_lane("setp.lt.u32 %p1, %r0, 5; vote.sync.ballot.b32 %r1, %p1, 0xffffffff;")[9],
        0x1f
    );
    let all = "setp.lt.u32 %p1, %r0, 5; vote.sync.all.pred %p2, %p1, -1; selp.b32 %r1, 1, 0, %p2;";
    assert_eq!(per_lane(all)[0], 0);
    assert_eq!(per_lane(&all.replace(".all", ".any"))[31], 1);
    assert_eq!(
        per_lane("and.b32 %r2, %r0, 1; match.any.sync.b32 %r1, %r2, -1;")[3],
        0xaaaa_aaaa
    );
    assert_eq!(per_lane("match.all.sync.b32 %r1|%p1, %r0, -1;")[3], 0);
    assert_eq!(per_lane("redux.sync.add.u32 %r1, %r0, -1;")[3], 496);
    assert_eq!(per_lane("redux.sync.max.s32 %r1, %r0, -1;")[30], 31);
    assert_eq!(per_lane("activemask.b32 %r1;")[0], u32::MAX);
}

#[test]
fn lanes_of_one_mask_meet_at_different_program_counters() {
    let got = per_lane(
        "and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 0;
         @%p1 bra EVEN;
         shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, 0xffffffff; bra DONE;
         EVEN: shfl.sync.bfly.b32 %r1, %r0, 1, 0x1f, 0xffffffff;
         DONE: bar.warp.sync 0xffffffff;",
    );
    assert_eq!(got, (0..32).map(|lane| lane ^ 1).collect::<Vec<u32>>());
}

#[test]
fn halves_of_a_warp_shuffle_among_themselves() {
    let got = per_lane(
        "setp.lt.u32 %p1, %r0, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p1;
         shfl.sync.idx.b32 %r1, %r0, 16, 0x1f, %r2; @%p1 mov.b32 %r1, 7;",
    );
    assert_eq!((got[0], got[16], got[31]), (7, 16, 16));
}

#[test]
fn divergent_lanes_reconverge_after_a_loop() {
    let got = per_lane(
        "mov.b32 %r1, 0; mov.b32 %r2, %r0;
         LOOP: setp.eq.u32 %p1, %r2, 0; @%p1 bra DONE;
         add.u32 %r1, %r1, %r2; sub.u32 %r2, %r2, 1; bra LOOP;
         DONE: activemask.b32 %r3; and.b32 %r3, %r3, 0x80000000; setp.eq.u32 %p2, %r3, 0;
         @%p2 mov.b32 %r1, 0xdead;",
    );
    assert_eq!(got, (0..32).map(|n| n * (n + 1) / 2).collect::<Vec<u32>>());
}

#[test]
fn one_lane_of_a_mask_is_elected_and_all_agree_on_it() {
    let got = per_lane(
        "elect.sync %r2|%p1, 0xffffffff; selp.b32 %r3, 256, 0, %p1; or.b32 %r1, %r2, %r3;",
    );
    let leader = got[0] & 31;
    let expected = |lane| leader | if lane == leader { 256 } else { 0 };
    assert_eq!(got, (0..32).map(expected).collect::<Vec<u32>>());
    // The upper half of a warp elects one of its own.
    let halves = per_lane(
        "setp.lt.u32 %p1, %r0, 16; selp.b32 %r2, 0xffff, 0xffff0000, %p1;
         elect.sync %r1|%p2, %r2;",
    );
    assert!(halves[3] < 16 && halves[20] >= 16, "{halves:?}");
}

#[test]
fn which_lane_is_elected_is_up_to_the_schedule() {
    let text = kernel("", "elect.sync _|%p1, -1; @%p1 st.global.u32 [%rd0], %r0;");
    let mut leaders: Vec<u32> = (0..16)
        .map(|seed| {
            let options = Options {
                schedule: Schedule::Seeded(seed),
                ..Options::default()
            };
            let run = run_with(&text, 1, 32, &options);
            run.result.clone().unwrap_or_else(|fault| panic!("{fault}"));
            run.word(0)
        })
        .collect();
    leaders.sort_unstable();
    leaders.dedup();
    assert!(leaders.len() > 1, "always lane {leaders:?}");
}
