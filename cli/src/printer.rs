//! Standard output, which can fail: the reader of a pipe leaves, the disk is full.

use std::io::{self, ErrorKind, Write};

/// Discards what is written after the reader has left, as that is no failure: `flash-attention kernels | head -1` has
/// done its work, and files are still to be written. Other errors say where they come from.
pub struct Printer<W> {
    inner: W,
    has_reader: bool,
}

impl<W: Write> Printer<W> {
    pub fn new(inner: W) -> Printer<W> {
        Printer {
            inner,
            has_reader: true,
        }
    }

    fn settle<T>(&mut self, result: io::Result<T>, discarded: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.has_reader = false;
                Ok(discarded)
            }
            // Callers such as write_all repeat an interrupted call.
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(io::Error::new(
                error.kind(),
                format!("cannot write to standard output: {error}"),
            )),
            other => other,
        }
    }
}

impl<W: Write> Write for Printer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_reader {
            return Ok(bytes.len());
        }
        let result = self.inner.write(bytes);
        self.settle(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.has_reader {
            return Ok(());
        }
        let result = self.inner.flush();
        self.settle(result, ())
    }
}
