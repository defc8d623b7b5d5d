//! Numbers as people read them.

/// Three digits that count, and the unit.
pub(super) fn seconds(seconds: f64) -> String {
    format!("{} s", three_digits(seconds))
}

/// How many times longer.
pub(super) fn ratio(ratio: f64) -> String {
    format!("{} x", three_digits(ratio))
}

/// In powers of ten, as traffic is counted.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", three_digits(bytes as f64 / 1e6))
}

/// In powers of two, as memory is sold.
pub(super) fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Two decimals, or a dash.
pub(super) fn exponent(exponent: Option<f64>) -> String {
    exponent.map_or_else(|| "-".to_owned(), |exponent| format!("{exponent:.2}"))
}

fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 => 0,
        size => (2 - size.log10().floor() as i32).clamp(0, 6) as usize,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let numbers = [1234.0, 123.4, 12.34, 1.234, 0.1234, 0.012_34, 0.0];
        let shown = numbers.map(three_digits);
        assert_eq!(
            shown,
            ["1234", "123", "12.3", "1.23", "0.123", "0.0123", "0"]
        );
    }

    #[test]
    fn units_are_named() {
        assert_eq!(seconds(0.0275), "0.0275 s");
        assert_eq!(ratio(26.04), "26.0 x");
        assert_eq!(megabytes(36_100_000), "36.1 MB");
        assert_eq!(gibibytes(3 << 29), "1.50 GiB");
        assert_eq!(exponent(Some(1.998)), "2.00");
        assert_eq!(exponent(None), "-");
    }
}
