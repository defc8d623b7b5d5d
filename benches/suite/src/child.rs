//! Running a program to its end, with what that took.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use crate::SuiteError;

/// What a program took.
pub(crate) struct Usage {
    /// Wall time.
    pub seconds: f64,
    /// Time on processors, of the program and all that it started and waited for. `None` where the system is not Linux.
    pub cpu_seconds: Option<f64>,
    /// Most memory that one process held at a time, of the program and all that it started and waited for. `None` where
    /// the system is not Linux.
    pub peak_bytes: Option<u64>,
}

/// Runs a program that has to succeed. Its output goes where `command` says.
pub(crate) fn run(command: &mut Command) -> Result<Usage, SuiteError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let ended = command.spawn().and_then(wait);
    let seconds = start.elapsed().as_secs_f64();
    match ended {
        Ok((status, taken)) if status.success() => Ok(Usage {
            seconds,
            cpu_seconds: taken.cpu_seconds,
            peak_bytes: taken.peak_bytes,
        }),
        Ok((status, _)) => Err(SuiteError::Failed { program, status }),
        Err(source) => Err(SuiteError::NotStarted { program, source }),
    }
}

/// What only the system knows of a program.
#[derive(Default)]
struct Taken {
    cpu_seconds: Option<f64>,
    peak_bytes: Option<u64>,
}

/// The first line that a program prints, if it succeeds.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.to_owned();
    output.status.success().then_some(line)
}

/// Waits with wait4(2), which tells what this child took; std has no such call.
#[cfg(target_os = "linux")]
fn wait(child: Child) -> io::Result<(ExitStatus, Taken)> {
    use std::mem::MaybeUninit;
    use std::os::unix::process::ExitStatusExt;

    let pid = child.id().cast_signed();
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live values of the types that wait4 writes, and `child`, which nobody has waited
        // for, keeps the id from being used again.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all of its fields are integers, for which zeros, as it began with, are values too.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    let taken = Taken {
        cpu_seconds: Some(seconds(usage.ru_utime) + seconds(usage.ru_stime)),
        // Linux counts in KiB.
        peak_bytes: u64::try_from(usage.ru_maxrss).ok().map(|kib| kib * 1024),
    };
    Ok((ExitStatus::from_raw(status), taken))
}

#[cfg(not(target_os = "linux"))]
fn wait(mut child: Child) -> io::Result<(ExitStatus, Taken)> {
    Ok((child.wait()?, Taken::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_that_of_the_largest_process_below() {
        let shell = |script: &str| run(Command::new("sh").args(["-c", script])).unwrap();
        let small = shell("true").peak_bytes.unwrap();
        // dd holds one block; the shell waits for it.
        let large = shell("dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; true");
        assert!(small < 32 << 20, "{small}");
        assert!(large.peak_bytes.unwrap() > 64 << 20);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn waiting_takes_time_and_no_processor() {
        let usage = run(Command::new("sleep").arg("0.2")).unwrap();
        assert!(usage.seconds >= 0.2, "{}", usage.seconds);
        assert!(usage.cpu_seconds.unwrap() < 0.2);
        let busy =
            run(Command::new("sh").args(["-c", "head -c 400000000 /dev/zero | cksum >/dev/null"]));
        assert!(busy.unwrap().cpu_seconds.unwrap() > 0.0);
    }

    #[test]
    #[cfg(unix)]
    fn failure_and_absence_are_told_apart() {
        let failed = run(&mut Command::new("false"));
        assert!(matches!(failed, Err(SuiteError::Failed { .. })));
        let absent = run(&mut Command::new("no-such-program"));
        assert!(matches!(absent, Err(SuiteError::NotStarted { .. })));
    }
}
