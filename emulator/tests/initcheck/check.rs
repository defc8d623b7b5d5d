//! Running bodies under initcheck and taking the report apart.

use ptx_emulator::{Fault, FaultKind, Options, Origin, Sanitizer, Sanitizers, Use};

use crate::common::{Run, kernel, run_with};

/// First PTX line of a body in the template kernel.
pub const BODY: u32 = 10;
/// What [`checked`] bodies can use.
pub const SHARED: &str = ".shared .align 16 .b8 buffer[1024];";

/// The given sanitizers alone.
pub fn options(initcheck: bool, synccheck: bool) -> Options<'static> {
    Options {
        sanitizers: Sanitizers {
            initcheck,
            synccheck,
            ..Sanitizers::NONE
        },
        ..Options::default()
    }
}

/// One warp under initcheck.
pub fn checked(body: &str) -> Run {
    run_with(&kernel(SHARED, body), 1, 32, &options(true, false))
}

/// What is found, where it comes from, and the first lane.
pub type Finding = (Origin, Use, u32);

/// The finding of a fault that is one.
pub fn finding(fault: &Fault) -> Finding {
    let FaultKind::Uninitialised { origin, used } = fault.kind else {
        panic!("another fault: {fault}");
    };
    (origin, used, fault.lane.expect("a lane"))
}

/// The finding of a body that has one.
#[track_caller]
pub fn found(body: &str) -> Finding {
    let fault = checked(body).result.expect_err(body);
    assert_eq!(
        fault.kind.sanitizer(),
        Some(Sanitizer::Initcheck),
        "{fault}"
    );
    finding(&fault)
}

/// A body in which there is nothing to find.
#[track_caller]
pub fn clean(body: &str) {
    if let Err(fault) = checked(body).result {
        panic!("{fault}\n{body}");
    }
}

/// A register that a line of the body, counted from 0, was the first to read.
pub fn register(line: u32) -> Origin {
    Origin::Register { line: BODY + line }
}

/// First shared address that a program may use on sm_90.
const FIRST_SHARED: u64 = 0x400;

/// Bytes that a line of the body read and nobody wrote; in shared memory, an offset in what the body declares.
pub fn unwritten(space: &'static str, address: u64, line: u32) -> Origin {
    let line = BODY + line;
    let first = if space == "shared" { FIRST_SHARED } else { 0 };
    let address = first + address;
    Origin::Memory {
        space,
        address,
        line,
    }
}
