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
    steps_over(strides.iter().copied().zip(shape.iter().copied()), 0)
}

/// Whether, sorted by size, each stride steps over all that the smaller ones and a run of `reached` elements reach.
fn steps_over(dimensions: impl Iterator<Item = (i64, usize)>, mut reached: u128) -> bool {
    let mut dimensions: Vec<(u64, usize)> = dimensions
        .filter(|&(_, extent)| extent > 1)
        .map(|(stride, extent)| (stride.unsigned_abs(), extent))
        .collect();
    dimensions.sort_unstable();
    for (stride, extent) in dimensions {
        if (stride as u128) <= reached {
            return false;
        }
        reached = reached.saturating_add((extent as u128 - 1).saturating_mul(stride as u128));
    }
    true
}

/// Whether the elements of two views, the second starting `distance` elements after the first, provably never meet:
/// both step alike along some outer dimensions, and within one step of those their runs lie beside each other.
pub(crate) fn views_interleave(
    (shape_a, strides_a): (&[usize], &[i64]),
    (shape_b, strides_b): (&[usize], &[i64]),
    distance: i128,
) -> bool {
    if shape_a.len() != shape_b.len() {
        return false;
    }
    let mut order: Vec<usize> = (0..shape_a.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(strides_a[i].unsigned_abs()));
    (0..order.len()).any(|outer| {
        let (outer, inner) = order.split_at(outer);
        let pick = |values: &[usize]| -> Vec<usize> { inner.iter().map(|&i| values[i]).collect() };
        let inner_strides =
            |values: &[i64]| -> Vec<i64> { inner.iter().map(|&i| values[i]).collect() };
        let (Some(a), Some(b)) = (
            span(&pick(shape_a), &inner_strides(strides_a)),
            span(&pick(shape_b), &inner_strides(strides_b)),
        ) else {
            return true;
        };
        let b = (b.0.saturating_add(distance), b.1.saturating_add(distance));
        let is_apart = a.1 < b.0 || b.1 < a.0;
        let reach = a.1.max(b.1).saturating_sub(a.0.min(b.0)) as u128;
        let steps = |&i: &usize| {
            let extent = shape_a[i].max(shape_b[i]);
            (extent > 1).then_some((strides_a[i], strides_b[i], extent))
        };
        let steps: Vec<_> = outer.iter().filter_map(steps).collect();
        is_apart
            && steps.iter().all(|(a, b, _)| a == b)
            && steps_over(
                steps.iter().map(|&(stride, _, extent)| (stride, extent)),
                reach,
            )
    })
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
    fn views_of_a_packed_buffer_interleave_and_shifted_ones_do_not() {
        // q, k and v of [batch 2, seqlen 5, 3, heads 4, head_dim 8].
        let (shape, strides) = ([2, 5, 4, 8], [480, 96, 8, 1]);
        let apart = |distance| views_interleave((&shape, &strides), (&shape, &strides), distance);
        assert!(apart(32) && apart(64) && apart(-32));
        assert!(!apart(0) && !apart(8) && !apart(31) && !apart(65));
        // Heads of q, then fewer heads of k, in one row.
        let (few, row) = ([2, 5, 2, 8], [320, 64, 8, 1]);
        let apart = |distance| views_interleave((&shape, &row), (&few, &row), distance);
        assert!(apart(32) && apart(48));
        assert!(!apart(24) && !apart(56));
        assert!(!views_interleave((&shape, &strides), (&shape, &row), 32));
    }

    #[test]
    fn contiguous_suffix_stops_at_the_first_gap() {
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[120, 24, 8, 1]), (4, 240));
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[360, 72, 8, 1]), (2, 24));
        assert_eq!(contiguous_suffix(&[2, 5, 3, 8], &[360, 72, 9, 1]), (1, 8));
    }
}
