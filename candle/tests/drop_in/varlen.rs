//! Packed sequences against each sequence for itself.

use candle_core::{DType, Device, Result, Tensor, Var};
use flash_attention::Arch;
use flash_attention_candle::Sequences;

use crate::case::{CAUSAL, Case, PLAIN};
use crate::{assert_close, bits, distance, epsilon, random};

const SEQLENS_Q: [u32; 5] = [0, 13, 13, 60, 61];
const SEQLENS_K: [u32; 5] = [0, 25, 30, 30, 71];

fn sequences() -> Result<Sequences> {
    let seqlens = |seqlens: [u32; 5]| Tensor::new(&seqlens, &Device::Cpu);
    Ok(Sequences::new(&seqlens(SEQLENS_Q)?, &seqlens(SEQLENS_K)?)?)
}

/// q, k and v `[total, heads, head_dim]`, f32, with `spare` rows of no sequence behind them.
fn packed(case: &Case, spare: usize) -> Result<[Tensor; 3]> {
    let shape = |total: u32, heads| [total as usize + spare, heads, case.head_dim];
    let [num_heads, num_heads_k] = case.heads;
    let k = shape(SEQLENS_K[4], num_heads_k);
    Ok([
        random(1, &shape(SEQLENS_Q[4], num_heads), case.dtype)?,
        random(2, &k, case.dtype)?,
        random(3, &k, case.dtype)?,
    ])
}

/// Each sequence of packed tensors, `[1, seqlen, heads, head_dim]`, by the plain formula, packed again.
fn plain(case: &Case, [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
    let mut outs = Vec::new();
    for b in 0..4 {
        let part = |x: &Tensor, seqlens: [u32; 5]| {
            let (begin, end) = (seqlens[b] as usize, seqlens[b + 1] as usize);
            x.narrow(0, begin, end - begin)?.unsqueeze(0)
        };
        let (q, k, v) = (
            part(q, SEQLENS_Q)?,
            part(k, SEQLENS_K)?,
            part(v, SEQLENS_K)?,
        );
        match k.dim(1)? {
            _ if q.dim(1)? == 0 => continue,
            0 => outs.push(q.zeros_like()?),
            _ => outs.push(case.plain([&q, &k, &v])?[0].clone()),
        }
    }
    Tensor::cat(&outs, 1)?.squeeze(0)
}

#[test]
fn each_sequence_is_for_itself() -> Result<()> {
    let case = Case {
        heads: [4, 2],
        ..PLAIN
    };
    for case in [
        case,
        Case {
            arch: Arch::Sm90a,
            dtype: DType::BF16,
            head_dim: 64,
            window: CAUSAL,
            ..case
        },
        Case {
            window: [Some(6), Some(1)],
            softcap: 0.8,
            alibi: true,
            ..case
        },
    ] {
        let inputs = packed(&case, 0)?;
        let [q, k, v] = &case.in_dtype(&inputs)?;
        let out = case.attention()?.forward_varlen(q, k, v, &sequences()?)?;
        assert_eq!((out.dtype(), out.dims()), (case.dtype, q.dims()));
        let want = plain(&case, inputs.each_ref())?;
        assert_close(&format!("{case:?}"), &out, &want, 2. * epsilon(case.dtype));
    }
    Ok(())
}

#[test]
fn gradients_of_packed_sequences() -> Result<()> {
    let case = Case {
        heads: [2, 1],
        window: CAUSAL,
        ..PLAIN
    };
    let inputs = packed(&case, 0)?;
    let weights = random(4, inputs[0].dims(), DType::F32)?;
    let loss = |out: Tensor| (out.to_dtype(DType::F32)? * &weights)?.sum_all();
    let [q, k, v] = inputs.each_ref().map(Var::from_tensor);
    let vars = [q?, k?, v?];
    let [q, k, v] = case.in_dtype(&vars.each_ref().map(|x| x.as_tensor().clone()))?;
    let out = case
        .attention()?
        .forward_varlen(&q, &k, &v, &sequences()?)?;
    let got = loss(out)?.backward()?;
    let want = loss(plain(&case, vars.each_ref().map(|x| x.as_tensor()))?)?.backward()?;
    for (name, x) in ["d_q", "d_k", "d_v"].into_iter().zip(&vars) {
        let (got, want) = (got.get(x).unwrap(), want.get(x).unwrap());
        assert_close(name, got, want, 4. * epsilon(case.dtype));
    }
    Ok(())
}

#[test]
fn rows_of_no_sequence_are_zero_and_get_no_gradient() -> Result<()> {
    let inputs = packed(&PLAIN, 3)?;
    let [q, k, v] = inputs.each_ref().map(Var::from_tensor);
    let vars = [q?, k?, v?];
    let [q, k, v] = PLAIN.in_dtype(&vars.each_ref().map(|x| x.as_tensor().clone()))?;
    let output = PLAIN
        .attention()?
        .forward_varlen_with_lse(&q, &k, &v, &sequences()?)?;
    let spare = |x: &Tensor| x.narrow(0, x.dim(0)? - 3, 3);
    let is_zero = |x: &Tensor| Ok::<_, candle_core::Error>(distance(x, &x.zeros_like()?)? == 0.);
    assert!(is_zero(&spare(&output.out)?)?);
    let lse = output.lse.t()?.narrow(0, 61, 3)?;
    assert!(bits(&lse).iter().all(|&x| x == f32::NEG_INFINITY.to_bits()));
    let gradients = output
        .out
        .to_dtype(DType::F32)?
        .sqr()?
        .sum_all()?
        .backward()?;
    for x in &vars {
        let gradient = gradients.get(x).unwrap();
        assert!(is_zero(&spare(gradient)?)?);
        assert!(!is_zero(gradient)?);
    }
    Ok(())
}

#[test]
fn offsets_cannot_change_behind_the_back() -> Result<()> {
    let seqlens_q = Tensor::new(&SEQLENS_Q, &Device::Cpu)?;
    let seqlens_k = Tensor::new(&SEQLENS_K, &Device::Cpu)?;
    let sequences = Sequences::new(&seqlens_q, &seqlens_k)?;
    seqlens_q.slice_set(&Tensor::new(&[7u32, 99, 99, 99, 99], &Device::Cpu)?, 0, 0)?;
    let [q, k, v] = &PLAIN.in_dtype(&packed(&PLAIN, 0)?)?;
    let out = PLAIN.attention()?.forward_varlen(q, k, v, &sequences)?;
    let want = PLAIN
        .attention()?
        .forward_varlen(q, k, v, &self::sequences()?)?;
    assert_eq!(bits(&out), bits(&want));
    Ok(())
}
