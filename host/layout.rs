//! Arithmetic on shapes and strides: where the elements of a strided tensor lie. Pure; never overflows.

/// Lowest and highest element offset of a tensor, both included; `None` when it has no element.
///
/// Saturates at the ends of `i128`, far outside any memory, so that a bounds check afterwards refuses it.
pub(crate) fn span(shape: &[usize], strides: &[i64]) -> Option<(i128, i128)> {
    if shape.contains(&0) {
        return None;
    }
    let reach =
        |(&extent, &stride): (&usize, &i64)| (extent as i128 - 1).saturating_mul(stride as i128);
    let (mut low, mut high) = (0i128, 0i128);
    for step in shape.iter().zip(strides).map(reach) {
        if step < 0 {
            low = low.saturating_add(step);
        } else {
            high = high.saturating_add(step);
        }
    }
    Some((low, high))
}

/// Whether strides provably keep all elements apart: sorted by size, each one steps over all that the smaller
/// ones reach. Views cut out of a packed buffer satisfy it; a few exotic interleavings do not.
pub(crate) fn elements_are_distinct(shape: &[usize], strides: &[i64]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut dimensions: Vec<(u64, usize)> = strides
        .iter()
        .zip(shape)
        .filter(|&(_, &extent)| extent > 1)
        .map(|(&stride, &extent)| (stride.unsigned_abs(), extent))
        .collect();
    dimensions.sort_unstable();
    let mut reached = 0u128;
    for (stride, extent) in dimensions {
        if (stride as u128) <= reached {
            return false;
        }
        reached = reached.saturating_add((extent as u128 - 1).saturating_mul(stride as u128));
    }
    true
}

/// Strides of a row-major tensor without gaps. Saturating: a product too large for `i64` is refused by [`span`].
pub(crate) fn contiguous_strides<const N: usize>(shape: &[usize; N]) -> [i64; N] {
    let mut strides = [1i64; N];
    for i in (1..N).rev() {
        strides[i - 1] = strides[i].saturating_mul(i64::try_from(shape[i]).unwrap_or(i64::MAX));
    }
    strides
}

/// Elements of a tensor, or `None` beyond `usize`.
pub(crate) fn num_elements(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent))
}

/// How many of the last dimensions lie in memory as one run, and the elements of that run.
pub(crate) fn contiguous_suffix(shape: &[usize], strides: &[i64]) -> (usize, usize) {
    let mut run = 1usize;
    for (dimensions, (&extent, &stride)) in shape.iter().zip(strides).rev().enumerate() {
        if extent != 1 && stride != run as i64 {
            return (dimensions, run);
        }
        run *= extent;
    }
    (shape.len(), run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_covers_every_element() {
        assert_eq!(span(&[2, 3, 4], &[12, 4, 1]), Some((0, 23)));
        assert_eq!(span(&[2, 3, 4], &[-12, 4, 1]), Some((-12, 11)));
        assert_eq!(span(&[2, 0, 4], &[12, 4, 1]), None);
    }

    #[test]
    fn span_of_absurd_strides_saturates_instead_of_wrapping() {
        let (low, high) = span(&[usize::MAX; 4], &[i64::MAX; 4]).unwrap();
        assert_eq!((low, high), (0, i128::MAX));
    }

    #[test]
    fn packed_views_are_distinct_and_broadcasts_are_not() {
        assert!(elements_are_distinct(&[2, 5, 3, 8], &[5 * 72, 72, 8, 1]));
        assert!(elements_are_distinct(&[2, 5, 3, 8], &[5 * 72, -72, 8, 1]));
        assert!(elements_are_distinct(&[1, 5, 3, 8], &[0, 24, 8, 1]));
        assert!(elements_are_distinct(&[2, 0, 3, 8], &[0, 24, 8, 1]));
        assert!(!elements_are_distinct(&[2, 5, 3, 8], &[0, 24, 8, 1]));
        assert!(!elements_are_distinct(&[2, 5, 3, 8], &[119, 24, 8, 1]));
    }

    #[test]
    fn contiguous_suffix_stops_at_the_first_gap() {
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[120, 24, 8, 1]), (4, 240));
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[360, 72, 8, 1]), (2, 24));
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[360, 72, 9, 1]), (1, 8));
    }
}
