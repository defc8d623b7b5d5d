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

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails in one way, always.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_left_is_no_error() {
        let mut left = Printer::new(Broken(ErrorKind::BrokenPipe));
        assert!(writeln!(left, "text").is_ok() && left.flush().is_ok());
        let mut full = Printer::new(Broken(ErrorKind::StorageFull));
        for result in [writeln!(full, "text"), full.flush()] {
            let error = result.expect_err("a full disk");
            assert_eq!(error.kind(), ErrorKind::StorageFull);
            assert!(
                error
                    .to_string()
                    .starts_with("cannot write to standard output: ")
            );
        }
    }
}
