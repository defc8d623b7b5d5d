//! q, k and v as a file holds them: three tensors, or packed into two or one.

use std::borrow::Cow;

use flash_attention::{AttentionElement, Device, Tensor, TensorError};

/// q, k and v: `q`, `k`, `v`, or `q`, `kv`, or `qkv`.
pub struct Qkv<T> {
    /// One, two or three tensors; together they hold q, k and v, in that order.
    pub groups: Vec<Group<T>>,
}

/// One tensor of the file, row-major.
pub struct Group<T> {
    /// As in `kv`.
    pub name: &'static str,
    /// As in the file.
    pub shape: Vec<usize>,
    /// `[batch, seqlen, parts, heads, head_dim]`; sequences of different lengths are one batch entry.
    pub extents: [usize; 5],
    pub data: Vec<T>,
}

impl<T: AttentionElement> Qkv<T> {
    /// Three tensors `[batch, seqlen, heads, head_dim]`.
    pub fn separate(tensors: [([usize; 4], Vec<T>); 3]) -> Qkv<T> {
        let groups = ["q", "k", "v"].into_iter().zip(tensors);
        Qkv {
            groups: groups
                .map(|(name, (shape, data))| {
                    let [batch, seqlen, heads, head_dim] = shape;
                    Group {
                        name,
                        shape: shape.to_vec(),
                        extents: [batch, seqlen, 1, heads, head_dim],
                        data,
                    }
                })
                .collect(),
        }
    }

    /// The shapes of q, k and v, `[batch, seqlen, heads, head_dim]`.
    pub fn shapes(&self) -> [[usize; 4]; 3] {
        self.places().map(|(group, _)| {
            let [batch, seqlen, _, heads, head_dim] = self.groups[group].extents;
            [batch, seqlen, heads, head_dim]
        })
    }

    /// Row-major q, k and v, copied where they are packed.
    pub fn split(&self) -> [Cow<'_, [T]>; 3] {
        self.places()
            .map(|(group, part)| self.groups[group].part(part))
    }

    /// Other numbers in the same tensors: the inverse of [`split`](Qkv::split).
    pub fn joined(&self, parts: [Vec<T>; 3]) -> Qkv<T> {
        let mut parts = parts.into_iter();
        let join = |group: &Group<T>| {
            let parts: Vec<Vec<T>> = parts.by_ref().take(group.extents[2]).collect();
            group.with_data(group.join(parts))
        };
        Qkv {
            groups: self.groups.iter().map(join).collect(),
        }
    }

    /// The tensors on a device.
    pub fn upload(&self, device: &Device) -> Result<Uploaded<T>, TensorError> {
        self.on_device(|group| Tensor::from_slice(device, group.extents, &group.data))
    }

    /// Room for as many numbers on a device.
    pub fn zeros_like(&self, device: &Device) -> Result<Uploaded<T>, TensorError> {
        self.on_device(|group| Tensor::zeros(device, group.extents))
    }

    /// Other numbers in the same tensors, from a device.
    pub fn download(&self, uploaded: &Uploaded<T>) -> Result<Qkv<T>, TensorError> {
        let pairs = self.groups.iter().zip(&uploaded.groups);
        let groups: Result<_, TensorError> = pairs
            .map(|(group, tensor)| Ok(group.with_data(tensor.to_vec()?)))
            .collect();
        Ok(Qkv { groups: groups? })
    }

    fn on_device(
        &self,
        tensor: impl Fn(&Group<T>) -> Result<Tensor<T, 5>, TensorError>,
    ) -> Result<Uploaded<T>, TensorError> {
        let groups: Result<Vec<_>, _> = self.groups.iter().map(tensor).collect();
        let groups = groups?;
        let [q, k, v] = self
            .places()
            .map(|(group, part)| groups[group].select(2, part));
        let views = [q?, k?, v?];
        Ok(Uploaded { groups, views })
    }

    /// For each of q, k and v: its tensor, and its index among the parts of that.
    fn places(&self) -> [(usize, usize); 3] {
        match self.groups.len() {
            1 => [(0, 0), (0, 1), (0, 2)],
            2 => [(0, 0), (1, 0), (1, 1)],
            _ => [(0, 0), (1, 0), (2, 0)],
        }
    }
}

impl<T: AttentionElement> Group<T> {
    fn part(&self, part: usize) -> Cow<'_, [T]> {
        let [_, _, parts, heads, head_dim] = self.extents;
        if parts == 1 {
            return Cow::Borrowed(&self.data);
        }
        let run = heads * head_dim;
        // Chunks cannot be empty; where runs are, there is no data either.
        let rows = self.data.chunks_exact((parts * run).max(1));
        Cow::Owned(
            rows.flat_map(|row| &row[part * run..][..run])
                .copied()
                .collect(),
        )
    }

    fn join(&self, mut parts: Vec<Vec<T>>) -> Vec<T> {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let [batch, seqlen, _, heads, head_dim] = self.extents;
        let run = heads * head_dim;
        (0..batch * seqlen)
            .flat_map(|row| parts.iter().flat_map(move |part| &part[row * run..][..run]))
            .copied()
            .collect()
    }

    fn with_data(&self, data: Vec<T>) -> Group<T> {
        Group {
            name: self.name,
            shape: self.shape.clone(),
            extents: self.extents,
            data,
        }
    }
}

/// [`Qkv`] on a device.
pub struct Uploaded<T: AttentionElement> {
    groups: Vec<Tensor<T, 5>>,
    /// q, k and v, `[batch, seqlen, heads, head_dim]`: views, nothing is copied.
    pub views: [Tensor<T>; 3],
}

#[cfg(test)]
mod tests {
    use super::*;
    use flash_attention::f16;

    fn numbers(range: std::ops::Range<u16>) -> Vec<f16> {
        range.map(f16::from_bits).collect()
    }

    /// batch 1, seqlen 2, heads 1, head_dim 2.
    fn group(name: &'static str, parts: usize, data: Vec<f16>) -> Group<f16> {
        Group {
            name,
            shape: Vec::new(),
            extents: [1, 2, parts, 1, 2],
            data,
        }
    }

    #[test]
    fn packed_tensors_split_and_join_row_by_row_on_host_and_device() {
        let packed = [
            vec![group("qkv", 3, numbers(0..12))],
            vec![group("q", 1, numbers(0..4)), group("kv", 2, numbers(4..12))],
        ];
        let bits = |x: &[f16]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let want = [
            [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]],
            [[0, 1, 2, 3], [4, 5, 8, 9], [6, 7, 10, 11]],
        ];
        for (groups, want) in packed.into_iter().zip(want) {
            let qkv = Qkv { groups };
            let parts = qkv.split();
            assert_eq!(parts.each_ref().map(|x| bits(x)), want.map(|x| x.to_vec()));
            let joined = qkv.joined(parts.each_ref().map(|x| x.to_vec()));
            let uploaded = qkv.upload(&Device::emulated()).unwrap();
            let downloaded = qkv.download(&uploaded).unwrap();
            for (i, group) in qkv.groups.iter().enumerate() {
                assert_eq!(joined.groups[i].data, group.data);
                assert_eq!(downloaded.groups[i].data, group.data);
            }
            for (view, want) in uploaded.views.iter().zip(want) {
                assert_eq!(bits(&view.to_vec().unwrap()), want);
            }
        }
    }
}
