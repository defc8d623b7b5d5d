//! A process that watches another one measure. A kernel that faults takes its CUDA context along, and one that never
//! ends its process; so shapes are measured by a process of its own, which is replaced when it ends or falls silent.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{self, Report};
use crate::shapes::Case;
use crate::{Arguments, Error};

/// A process that writes nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(20);
/// How long one that was killed may take to be gone.
const DEATH: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// How a worker ended.
enum End {
    /// By itself, and it has written why where that was early.
    InOrder,
    Died(ExitStatus),
    /// It was ended, because the file did not grow for [`SILENCE`].
    Silent,
}

/// Has all cases measured and returns how many were; the file has a line for each.
pub fn run(arguments: &Arguments, cases: &[Case]) -> Result<usize, Error> {
    let until = Instant::now() + Duration::try_from_secs_f64(arguments.seconds)?;
    let mut report = Report::create(&arguments.out)?;
    let mut hung = Vec::new();
    loop {
        let before = report::read(&arguments.out)?;
        let mut worker = start(arguments, before.shapes, &hung, until)?;
        let end = watch(&mut worker, &arguments.out)?;
        let after = report::read(&arguments.out)?;
        if !after.has_device {
            return Err("the device could not be opened".into());
        }
        let Some(case) = cases.get(after.shapes) else {
            return Ok(after.measured);
        };
        match end {
            End::InOrder if after.shapes > before.shapes => {}
            End::InOrder => report.failed(case, "its process measured nothing")?,
            End::Died(status) => report.failed(case, &format!("its process died: {status}"))?,
            End::Silent => {
                hung.push(after.shapes);
                let silence = SILENCE.as_secs();
                report.failed(case, &format!("no result in {silence} s"))?;
            }
        }
    }
}

/// A process that measures from the case `from` on, but for what would hang as those in `hung` did.
fn start(
    arguments: &Arguments,
    from: usize,
    hung: &[usize],
    until: Instant,
) -> Result<Child, Error> {
    let seconds = until.saturating_duration_since(Instant::now());
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--out")
        .arg(&arguments.out)
        .args(["--seconds", &seconds.as_secs_f64().to_string()])
        .args(["--from", &from.to_string()]);
    for index in hung {
        command.args(["--hung", &index.to_string()]);
    }
    if let Some(samples) = &arguments.samples {
        command.arg("--samples").arg(samples);
    }
    Ok(command.spawn()?)
}

/// Waits until the worker ends, or ends it when the file does not grow for too long.
fn watch(worker: &mut Child, out: &Path) -> Result<End, Error> {
    let (mut length, mut grown) = (0, Instant::now());
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok(match status.success() {
                true => End::InOrder,
                false => End::Died(status),
            });
        }
        let now = std::fs::metadata(out)?.len();
        if now != length {
            (length, grown) = (now, Instant::now());
        }
        if grown.elapsed() > SILENCE {
            kill(worker)?;
            return Ok(End::Silent);
        }
        thread::sleep(POLL);
    }
}

/// A driver that is stuck can keep a process from going: it is not waited for without end.
fn kill(worker: &mut Child) -> Result<(), Error> {
    worker.kill()?;
    let killed = Instant::now();
    while worker.try_wait()?.is_none() && killed.elapsed() < DEATH {
        thread::sleep(POLL);
    }
    Ok(())
}
