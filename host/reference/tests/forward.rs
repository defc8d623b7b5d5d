//! Forward against the definition, one element at a time.

use super::*;
use half::bf16;

/// Whether row i sees key j, said of one pair at a time.
fn sees(spec: &Spec, i: usize, j: usize) -> bool {
    let shift = spec.seqlen_k as f64 - spec.seqlen_q as f64;
    let diagonal = i as f64 + if spec.mask.is_top_left { 0.0 } else { shift };
    let ahead = j as f64 - diagonal;
    let Window { left, right } = spec.mask.window;
    let not_causal = !spec.mask.is_causal;
    (not_causal || ahead <= 0.0)
        && left.is_none_or(|left| -ahead <= left as f64)
        && right.is_none_or(|right| ahead <= right as f64)
}

/// The score of one pair, before the mask.
fn score(spec: &Spec, [b, h, i, j]: [usize; 4], dot: f64, round: &dyn Fn(f64) -> f64) -> f64 {
    let mut x = dot;
    if let Some(softcap) = spec.softcap {
        x = round(softcap * (x / softcap).tanh());
    }
    if let Some(slopes) = &spec.alibi_slopes {
        let slope = slopes[if slopes.len() > spec.num_heads {
            b * spec.num_heads + h
        } else {
            h
        }];
        let shift = spec.seqlen_k as f64 - spec.seqlen_q as f64;
        let diagonal = i as f64 + if spec.mask.is_top_left { 0.0 } else { shift };
        x = round(x - slope * (diagonal - j as f64).abs());
    }
    if let Some(Bias { shape, data }) = &spec.bias {
        let b = if shape[0] == 1 { 0 } else { b };
        let h = if shape[1] == 1 { 0 } else { h };
        x = round(x + data[((b * shape[1] + h) * shape[2] + i) * shape[3] + j]);
    }
    x
}

/// Attention by the definition: one element at a time, exponentials of scores as they are.
fn by_definition(spec: &Spec, [q, k, v]: [&[f64]; 3], round: &dyn Fn(f64) -> f64) -> Reference {
    let (heads, heads_k, d) = (spec.num_heads, spec.num_heads_k, spec.head_dim);
    let scale = spec.softmax_scale.unwrap_or((d as f64).powf(-0.5));
    let (mut out, mut lse) = (vec![f64::NAN; q.len()], Vec::new());
    for (b, h, i) in (0..spec.batch)
        .flat_map(|b| (0..heads).flat_map(move |h| (0..spec.seqlen_q).map(move |i| (b, h, i))))
    {
        let q_at = |c| ((b * spec.seqlen_q + i) * heads + h) * d + c;
        let k_at = |j, c| ((b * spec.seqlen_k + j) * heads_k + h * heads_k / heads) * d + c;
        let exps: Vec<f64> = (0..spec.seqlen_k)
            .map(|j| {
                let dot: f64 = (0..d)
                    .map(|c| q[q_at(c)] * round(k[k_at(j, c)] * scale))
                    .sum();
                let is_visible = sees(spec, i, j);
                f64::from(u8::from(is_visible)) * score(spec, [b, h, i, j], round(dot), round).exp()
            })
            .collect();
        let sum: f64 = exps.iter().sum();
        lse.push(sum.ln());
        let kept = |j| match spec.dropout {
            None => 1.0,
            Some(Dropout {
                seed,
                offset,
                threshold,
            }) => {
                let subsequence = offset + ((spec.first_batch + b) * heads + h) as u64;
                let is_kept =
                    abi::dropout::is_kept(seed, subsequence, i as u32, j as u32, threshold);
                f64::from(u8::from(is_kept)) * 65536.0 / f64::from(threshold)
            }
        };
        for c in 0..d {
            let terms = exps.iter().enumerate().map(|(j, e)| {
                round(round(e / if sum == 0.0 { 1.0 } else { sum }) * kept(j)) * v[k_at(j, c)]
            });
            out[q_at(c)] = round(terms.sum());
        }
    }
    Reference { out, lse }
}

#[test]
fn forward_is_the_definition() {
    for (name, spec) in specs() {
        let [q, k, v, _] = inputs(&spec);
        let got = attend(&spec, [&q, &k, &v], &|x| x).unwrap();
        let want = by_definition(&spec, [&q, &k, &v], &|x| x);
        assert_close(name, &got.out, &want.out, 1e-13);
        assert_close(name, &got.lse, &want.lse, 1e-13);
        let is_empty = |i| (0..spec.seqlen_k).all(|j| !sees(&spec, i, j));
        let has_empty_rows = (0..spec.seqlen_q).any(is_empty);
        assert_eq!(
            got.lse.contains(&f64::NEG_INFINITY),
            has_empty_rows,
            "{name}"
        );
        assert_eq!(
            name.contains("empty rows") || name == "everything",
            has_empty_rows,
            "{name}"
        );
    }
}

#[test]
fn the_plain_method_rounds_every_step_to_the_type() {
    for (name, spec) in specs() {
        let inputs = inputs(&spec).map(|x| x.into_iter().map(bf16::from_f64).collect::<Vec<_>>());
        let [q, k, v, _] = &inputs;
        let got = forward_low_precision(&spec, q, k, v).unwrap();
        let wide = [widen(q), widen(k), widen(v)];
        let round = |x: f64| bf16::from_f64(x).to_f64();
        let want = by_definition(&spec, wide.each_ref().map(|x| &x[..]), &round);
        // The order of a sum decides now and then which way a tie is rounded.
        let differing = got
            .out
            .iter()
            .zip(&want.out)
            .filter(|(a, b)| a != b)
            .count();
        assert!(
            differing * 50 <= got.out.len(),
            "{name}: {differing} of {}",
            got.out.len()
        );
        assert_close(name, &got.lse, &want.lse, 1e-13);
    }
}
