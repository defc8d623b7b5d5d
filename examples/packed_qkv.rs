//! Causal attention on a packed `[batch, seqlen, 3, heads, head_dim]` buffer, as a fused projection writes it: q, k and
//! v are views, nothing is copied.
//!
//! `cargo run --release --example packed_qkv`

use flash_attention::{Attention, Buffer, Device, Tensor, bf16};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (batch, seqlen, heads, head_dim) = (2, 100, 4, 64);
    let row = 3 * heads * head_dim;
    let packed: Vec<bf16> = (0..batch * seqlen * row)
        .map(|i| bf16::from_f32((i as f32 * 0.37).sin()))
        .collect();

    let device = Device::emulated();
    let buffer = Buffer::from_slice(&device, &packed)?;
    let strides = [seqlen * row, row, head_dim, 1].map(|stride| stride as i64);
    let part = |index| {
        Tensor::<bf16>::from_buffer(
            &buffer,
            index * heads * head_dim,
            [batch, seqlen, heads, head_dim],
            strides,
        )
    };
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);

    let result = Attention::new().causal().forward(&q, &k, &v)?;
    println!("kernel {:?}", result.variant.map(|variant| variant.entry()));
    println!(
        "out    {:?}, first row starts {:?}",
        result.out.shape(),
        &result.out.to_vec()?[..4]
    );
    println!(
        "lse    {:?}, first row {}",
        result.lse.shape(),
        result.lse.to_vec()?[0]
    );
    Ok(())
}
