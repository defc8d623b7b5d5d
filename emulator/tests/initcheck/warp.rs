//! What lanes of a warp get from each other.

use ptx_emulator::{Origin, Sanitizer, Use};

use crate::check::{BODY, SHARED, clean, finding, found, options, register};
use crate::common::{kernel, run_with};

/// Leaves lane 5 of `%r1` undefined.
const LANE_5: &str = "setp.ne.u32 %p1, %r0, 5; @%p1 mov.u32 %r1, 7;";

#[test]
fn a_shuffle_hands_on_what_its_source_lane_has() {
    let body = format!("{LANE_5}\nshfl.sync.down.b32 %r2|%p2, %r1, 1, 31, -1; SINK");
    let shuffled = body.replace("SINK", "st.shared.b32 [buffer], %r2;");
    // Lane 4 reads from lane 5; line 1 is the first to read the register.
    assert_eq!(found(&shuffled), (register(1), Use::Store, 4));
    clean(&body.replace(
        "SINK",
        "setp.ne.u32 %p3, %r0, 4; @%p3 st.shared.b32 [buffer], %r2;",
    ));
    // Whether the source is in range does not depend on its value.
    clean(&body.replace("SINK", "@%p2 st.shared.b32 [buffer], 1;"));
    // Lanes at other program counters bring their own registers.
    let apart = format!(
        "{LANE_5} setp.lt.u32 %p2, %r0, 16; @%p2 bra LOW;
         shfl.sync.bfly.b32 %r2, %r0, 16, 31, -1; st.shared.b32 [buffer], %r2; bra DONE;
         LOW: shfl.sync.bfly.b32 %r2, %r1, 16, 31, -1; DONE:"
    );
    assert_eq!((found(&apart).1, found(&apart).2), (Use::Store, 21));
    clean(&apart.replace("%r1, 16", "%r0, 16"));
}

#[test]
fn what_a_warp_agrees_on_depends_on_every_lane_of_the_mask() {
    let store = "st.shared.b32 [buffer], %r2;";
    for exchange in [
        "setp.eq.u32 %p2, %r1, 0; vote.sync.ballot.b32 %r2, %p2, MASK;",
        "setp.eq.u32 %p2, %r1, 0; vote.sync.any.pred %p3, %p2, MASK; selp.b32 %r2, 1, 0, %p3;",
        "match.any.sync.b32 %r2, %r1, MASK;",
        "match.all.sync.b32 %r2|%p2, %r1, MASK;",
        "redux.sync.add.u32 %r2, %r1, MASK;",
    ] {
        let body = |mask: &str| {
            let exchange = exchange.replace("MASK", mask);
            format!(
                "{LANE_5} setp.gt.u32 %p4, %r0, 7; @%p4 exit; setp.eq.u32 %p5, %r0, 5; MORE {exchange} {store}"
            )
        };
        let (origin, used, lane) = found(&body("0xff").replace("MORE", ""));
        assert_eq!(
            (origin, used, lane),
            (register(0), Use::Store, 0),
            "{exchange}"
        );
        clean(&body("0xdf").replace("MORE", "@%p5 exit;"));
    }
}

#[test]
fn shuffles_from_lanes_that_take_no_part_are_synccheck_s_business() {
    let body = "setp.gt.u32 %p1, %r0, 7; @%p1 exit;\n\
                shfl.sync.down.b32 %r2, %r0, 4, 31, 0xff; SINK";
    let text = |sink: &str| kernel(SHARED, &body.replace("SINK", sink));
    let find = |text: &str, initcheck, synccheck| {
        let run = run_with(text, 1, 32, &options(initcheck, synccheck));
        run.result.err()
    };
    let store = text("st.global.b32 [%rd0], %r2;");
    let fault = find(&store, false, true).expect("a finding");
    assert_eq!(fault.kind.sanitizer(), Some(Sanitizer::Synccheck));
    let (lane, line) = (8, BODY + 1);
    let expected = (Origin::Shuffle { lane, line }, Use::Store, 4);
    assert_eq!(finding(&fault), expected);
    assert_eq!(find(&store, true, false), None);
    let used = text("setp.lt.u32 %p2, %r0, 4; @%p2 st.global.b32 [%rd0], %r2;");
    assert_eq!(find(&used, true, true), None);
    // Alone, synccheck takes registers and memory as they are.
    let load = "ld.shared.b32 %r2, [buffer]; add.u32 %r1, %r1, %r2; st.global.b32 [%rd0], %r1;";
    assert_eq!(find(&kernel(SHARED, load), false, true), None);
}
