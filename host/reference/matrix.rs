//! Row-major f64 matrices and their three products.

use std::ops::Range;

/// Vectors that are multiplied at once: 4 x 4 inner products have room in the registers of any x86-64.
const PANEL: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub data: Vec<f64>,
}

impl Matrix {
    pub fn zeros(rows: usize, columns: usize) -> Matrix {
        Matrix {
            rows,
            columns,
            data: vec![0.0; rows * columns],
        }
    }

    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.columns..][..self.columns]
    }

    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.columns..][..self.columns]
    }

    pub fn map(mut self, f: impl Fn(f64) -> f64) -> Matrix {
        self.data.iter_mut().for_each(|x| *x = f(*x));
        self
    }

    /// Replaces every element by `f(row, column, element)`.
    pub fn update(&mut self, f: impl Fn(usize, usize, f64) -> f64) {
        for i in 0..self.rows {
            for (j, x) in self.row_mut(i).iter_mut().enumerate() {
                *x = f(i, j, *x);
            }
        }
    }

    /// A·B.
    pub fn times(&self, b: &Matrix) -> Matrix {
        inner_products(&self.row_vectors(), &b.column_vectors())
    }

    /// A·Bᵀ.
    pub fn times_transposed(&self, b: &Matrix) -> Matrix {
        inner_products(&self.row_vectors(), &b.row_vectors())
    }

    /// Aᵀ·B.
    pub fn transposed_times(&self, b: &Matrix) -> Matrix {
        inner_products(&self.column_vectors(), &b.column_vectors())
    }

    fn row_vectors(&self) -> Vectors {
        Vectors::new(self.rows, self.columns, |i, k| {
            self.data[i * self.columns + k]
        })
    }

    fn column_vectors(&self) -> Vectors {
        Vectors::new(self.columns, self.rows, |j, k| {
            self.data[k * self.columns + j]
        })
    }
}

/// Vectors of equal length, their elements interleaved in panels of [`PANEL`] vectors; the last panel is filled up
/// with zeros.
struct Vectors {
    count: usize,
    length: usize,
    elements: Vec<[f64; PANEL]>,
}

impl Vectors {
    fn new(count: usize, length: usize, element: impl Fn(usize, usize) -> f64) -> Vectors {
        let mut elements = Vec::with_capacity(count.div_ceil(PANEL) * length);
        for first in (0..count).step_by(PANEL) {
            elements.extend((0..length).map(|k| {
                std::array::from_fn(|i| match first + i < count {
                    true => element(first + i, k),
                    false => 0.0,
                })
            }));
        }
        Vectors {
            count,
            length,
            elements,
        }
    }

    /// The panels, each with the range of vectors that it holds.
    fn panels(&self) -> impl Iterator<Item = (Range<usize>, &[[f64; PANEL]])> {
        (0..self.count).step_by(PANEL).map(|first| {
            (
                first..(first + PANEL).min(self.count),
                &self.elements[first / PANEL * self.length..][..self.length],
            )
        })
    }
}

/// The inner product of every vector of `a` (rows of the result) and every vector of `b` (columns). Each is summed from
/// the first element to the last.
fn inner_products(a: &Vectors, b: &Vectors) -> Matrix {
    let mut product = Matrix::zeros(a.count, b.count);
    for (columns, b) in b.panels() {
        for (rows, a) in a.panels() {
            let mut sums = [[0.0; PANEL]; PANEL];
            for (a, b) in a.iter().zip(b) {
                for (sums, a) in sums.iter_mut().zip(a) {
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum += a * b;
                    }
                }
            }
            for (i, sums) in rows.zip(&sums) {
                product.row_mut(i)[columns.clone()].copy_from_slice(&sums[..columns.len()]);
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, columns: usize, seed: usize) -> Matrix {
        let data = (0..rows * columns).map(|i| ((i * 7 + seed) % 11) as f64 - 4.0);
        Matrix {
            rows,
            columns,
            data: data.collect(),
        }
    }

    #[test]
    fn products_are_those_of_the_definition_at_ragged_and_empty_extents() {
        for (m, n, k) in [
            (4, 8, 3),
            (5, 6, 7),
            (1, 9, 1),
            (3, 2, 0),
            (0, 4, 2),
            (4, 0, 2),
        ] {
            let (a, b) = (matrix(m, k, 1), matrix(k, n, 5));
            let mut want = Matrix::zeros(m, n);
            want.update(|i, j, _| (0..k).map(|l| a.row(i)[l] * b.row(l)[j]).sum());
            let transposed = |x: &Matrix| {
                let mut t = Matrix::zeros(x.columns, x.rows);
                t.update(|i, j, _| x.row(j)[i]);
                t
            };
            assert_eq!(a.times(&b), want);
            assert_eq!(a.times_transposed(&transposed(&b)), want);
            assert_eq!(transposed(&a).transposed_times(&b), want);
        }
    }
}
