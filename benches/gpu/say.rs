//! Printing, for the programs of the GPU bundle.

/// Prints a line. A reader who has left does not end a run whose files count.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($arguments)*);
    }};
}
