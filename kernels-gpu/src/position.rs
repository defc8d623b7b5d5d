//! Where the accumulator of a lane stands in S: which query and which key an element belongs to.
//!
//! The forward kernels compute S, so the rows of their accumulators are queries. The backward kernels compute Sᵀ.

use crate::fragment::ROW_HALF;

/// The queries and keys of one lane's accumulator.
///
/// Elements are told by `half` and `column` as in [`Acc::map`](crate::fragment::Acc::map).
pub trait Position: Copy {
    /// Query of an element.
    fn query(&self, half: usize, column: u32) -> u32;

    /// Key of an element.
    fn key(&self, half: usize, column: u32) -> u32;

    /// Query minus key of an element, relative to the first one.
    fn distance(half: usize, column: u32) -> i32;
}

/// Rows are queries, columns are keys.
#[derive(Clone, Copy)]
pub struct QueryRows {
    /// Query of the lane's first element.
    pub query: u32,
    /// Key of the lane's first element.
    pub key: u32,
}

impl QueryRows {
    /// The same, `rows` further down.
    #[inline(always)]
    pub const fn below(self, rows: u32) -> Self {
        QueryRows {
            query: self.query + rows,
            key: self.key,
        }
    }
}

impl Position for QueryRows {
    #[inline(always)]
    fn query(&self, half: usize, _: u32) -> u32 {
        self.query + ROW_HALF * half as u32
    }

    #[inline(always)]
    fn key(&self, _: usize, column: u32) -> u32 {
        self.key + column
    }

    #[inline(always)]
    fn distance(half: usize, column: u32) -> i32 {
        ROW_HALF as i32 * half as i32 - column as i32
    }
}

/// Rows are keys, columns are queries.
#[derive(Clone, Copy)]
pub struct KeyRows {
    /// Query of the lane's first element.
    pub query: u32,
    /// Key of the lane's first element.
    pub key: u32,
}

impl Position for KeyRows {
    #[inline(always)]
    fn query(&self, _: usize, column: u32) -> u32 {
        self.query + column
    }

    #[inline(always)]
    fn key(&self, half: usize, _: u32) -> u32 {
        self.key + ROW_HALF * half as u32
    }

    #[inline(always)]
    fn distance(half: usize, column: u32) -> i32 {
        column as i32 - ROW_HALF as i32 * half as i32
    }
}
