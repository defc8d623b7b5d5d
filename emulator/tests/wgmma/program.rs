//! A kernel that multiplies two matrices with `wgmma`, for every form of the instruction.
//!
//! The images of A and B in shared memory are computed here, by the formulas of the ISA ("Canonical
//! layouts", "Swizzling Modes") and not by the emulator's; the kernel copies them from device memory,
//! multiplies, and stores D element by element.

use half::{bf16, f16};
use ptx_emulator::{Fault, GlobalMemory, Launch, LaunchReport, Module, Options};

use crate::common::record::{self, Buffer, Launched};

/// Where the operands start in shared memory.
pub const A_START: u32 = 0x400;
pub const B_START: u32 = 0x5000;
/// Bytes of each image: 64 x 16 elements of A and 16 x 256 of B, and gaps.
const A_BYTES: u32 = 0x4000;
const B_BYTES: u32 = 0x10000;

/// One form of the instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Form {
    /// Columns.
    pub n: u32,
    /// bf16 operands, else f16.
    pub bf16: bool,
    /// D in f32, else f16.
    pub f32_accumulate: bool,
    /// Swizzle widths of A and B in bytes; 0 is none.
    pub swizzles: [u32; 2],
    /// Which of A and B are transposed.
    pub transposed: [bool; 2],
    /// A comes from registers.
    pub a_in_registers: bool,
    /// Signs of A and B.
    pub negated: [bool; 2],
    /// D is added to.
    pub accumulate: bool,
    /// Products one after the other on the same D; k is 16 times as large.
    pub steps: u32,
}

/// An operand: element (mn, k), and where it lies in shared memory.
struct Layout {
    start: u32,
    stride: u32,
    leading: u32,
    swizzle: u32,
    transposed: bool,
}

impl Layout {
    fn new(start: u32, swizzle: u32, transposed: bool) -> Self {
        let (stride, leading) = match (swizzle, transposed) {
            (0, false) => (256, 128),
            (0, true) => (256, 128),
            // Eight rows of a pattern, with a gap of one pattern; leading is not used.
            (width, false) => (16 * width, 16),
            // The next eight k, and the next columns after all sixteen.
            (width, true) => (8 * width, 16 * width),
        };
        Self {
            start,
            stride,
            leading,
            swizzle,
            transposed,
        }
    }

    /// Byte address of an element of 16 bits.
    fn address(&self, mn: u32, k: u32) -> u32 {
        let (width, start) = (self.swizzle, self.start);
        let linear = match (width, self.transposed) {
            (0, false) => {
                start + mn % 8 * 16 + mn / 8 * self.stride + k / 8 * self.leading + k % 8 * 2
            }
            (0, true) => {
                start + mn % 8 * 2 + mn / 8 * self.stride + k % 8 * 16 + k / 8 * self.leading
            }
            (_, false) => start + mn % 8 * width + mn / 8 * self.stride + 2 * k,
            (_, true) => {
                let chunks = width / 16;
                start
                    + mn % 8 * 2
                    + mn / 8 % chunks * 16
                    + mn / 8 / chunks * self.leading
                    + k % 8 * width
                    + k / 8 * self.stride
            }
        };
        match width {
            128 => linear ^ (linear >> 7 & 7) << 4,
            64 => linear ^ (linear >> 7 & 3) << 4,
            32 => linear ^ (linear >> 7 & 1) << 4,
            _ => linear,
        }
    }

    fn descriptor(&self) -> u64 {
        let mode = match self.swizzle {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => 0u64,
        };
        let field = |bytes: u32| u64::from(bytes >> 4);
        field(self.start) | field(self.leading) << 16 | field(self.stride) << 32 | mode << 62
    }

    /// The image of an operand, `start` at offset 0.
    fn image(&self, len: u32, elements: &[Vec<u16>]) -> Vec<u8> {
        let mut image = vec![0x5a; len as usize];
        for (mn, row) in elements.iter().enumerate() {
            for (k, bits) in row.iter().enumerate() {
                let at = (self.address(mn as u32, k as u32) - self.start) as usize;
                image[at..at + 2].copy_from_slice(&bits.to_le_bytes());
            }
        }
        image
    }
}

impl Form {
    fn layouts(&self) -> [Layout; 2] {
        [
            Layout::new(A_START, self.swizzles[0], self.transposed[0]),
            Layout::new(B_START, self.swizzles[1], self.transposed[1]),
        ]
    }

    fn bits(&self, x: f64) -> u16 {
        if self.bf16 {
            bf16::from_f64(x).to_bits()
        } else {
            f16::from_f64(x).to_bits()
        }
    }

    fn registers_of_d(&self) -> u32 {
        if self.f32_accumulate {
            self.n / 2
        } else {
            self.n / 4
        }
    }

    /// `wgmma.mma_async`.
    fn instruction(&self) -> String {
        let (n, count) = (self.n, self.registers_of_d());
        let input = if self.bf16 { "bf16" } else { "f16" };
        let (output, register) = if self.f32_accumulate {
            ("f32", "f")
        } else {
            ("f16", "d")
        };
        let d: Vec<String> = (0..count).map(|i| format!("%{register}{i}")).collect();
        let sign = |negated: bool| if negated { -1 } else { 1 };
        let transposed = self.transposed.map(u32::from);
        let (a, trans) = if self.a_in_registers {
            ("{%r20, %r21, %r22, %r23}", format!("{}", transposed[1]))
        } else {
            ("%rd10", format!("{}, {}", transposed[0], transposed[1]))
        };
        format!(
            "wgmma.mma_async.sync.aligned.m64n{n}k16.{output}.{input}.{input} {{{}}}, {a}, %rd11, %p1, {}, {}, {trans};\n",
            d.join(", "),
            sign(self.negated[0]),
            sign(self.negated[1]),
        )
    }

    /// The kernel: parameters A, B, D and A as fragments.
    fn text(&self) -> String {
        let [a, b] = self.layouts().map(|layout| layout.descriptor());
        let count = self.registers_of_d();
        let register = if self.f32_accumulate { "f" } else { "d" };
        let initial: String = (0..count)
            .map(|i| format!("ld.global.b32 %{register}{i}, [%rd3+{}];\n", 512 * i))
            .collect();
        let stores: String = (0..count)
            .map(|i| format!("st.global.b32 [%rd3+{}], %{register}{i};\n", 512 * i))
            .collect();
        let products = self.instruction().repeat(self.steps as usize);
        let accumulate = u32::from(self.accumulate);
        let [copy_a, copy_b] = [("%rd1", A_START, A_BYTES), ("%rd2", B_START, B_BYTES)].map(
            |(source, start, bytes)| {
                format!(
                    "shl.b32 %r2, %r0, 4; cvt.u64.u32 %rd5, %r2; add.u64 %rd5, {source}, %rd5;
                     add.u32 %r2, %r2, {start}; add.u32 %r3, %r2, {bytes};
                     COPY_{start}: ld.global.v4.b32 {{%r4, %r5, %r6, %r7}}, [%rd5];
                     st.shared.v4.b32 [%r2], {{%r4, %r5, %r6, %r7}};
                     add.u32 %r2, %r2, 2048; add.u64 %rd5, %rd5, 2048;
                     setp.lt.u32 %p2, %r2, %r3; @%p2 bra COPY_{start};\n"
                )
            },
        );
        format!(
            ".version 8.0\n.target sm_90a\n.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 d, .param .u64 fragments)
{{
    .reg .pred %p<4>; .reg .b32 %r<30>; .reg .f32 %f<128>; .reg .b32 %d<64>; .reg .b64 %rd<20>;
    .shared .align 1024 .b8 memory[{total}];
    ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [d];
    ld.param.u64 %rd4, [fragments];
    mov.u32 %r0, %tid.x;
    {copy_a}
    {copy_b}
    fence.proxy.async;
    bar.sync 0;
    mul.wide.u32 %rd5, %r0, 16; add.u64 %rd4, %rd4, %rd5;
    ld.global.v4.b32 {{%r20, %r21, %r22, %r23}}, [%rd4];
    mul.wide.u32 %rd5, %r0, 4; add.u64 %rd3, %rd3, %rd5;
    {initial}
    mov.u64 %rd10, {a}; mov.u64 %rd11, {b};
    setp.ne.u32 %p1, {accumulate}, 0;
    wgmma.fence.sync.aligned;
    {products}
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
    {stores}
    ret;
}}",
            total = B_START + B_BYTES,
        )
    }
}

/// The matrices of a product: A 64 x 16, B 16 x n by columns, D 64 x n.
pub struct Matrices {
    pub a: Vec<Vec<f64>>,
    pub b: Vec<Vec<f64>>,
    pub d: Vec<Vec<f64>>,
}

/// Row and column of element i of a thread's part of D.
fn place_in_d(thread: usize, i: usize) -> (usize, usize) {
    let (warp, g, t) = (thread / 32, thread % 32 / 4, thread % 4);
    (16 * warp + g + 8 * (i / 2 % 2), 8 * (i / 4) + 2 * t + i % 2)
}

/// Runs the form on the matrices; D by row and column, and what the launch did.
pub fn multiply(
    form: &Form,
    matrices: &Matrices,
    options: &Options,
) -> Result<(Vec<Vec<f64>>, LaunchReport), Fault> {
    let text = form.text();
    let module = Module::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let memory = GlobalMemory::new();
    let mut buffers = Vec::new();
    let mut upload = |bytes: &[u8]| {
        let address = memory.alloc(bytes.len()).expect("room");
        memory.write(address, bytes).expect("in bounds");
        buffers.push(Buffer::new(address, bytes.len()));
        address
    };
    let [a_layout, b_layout] = form.layouts();
    let bits = |rows: &[Vec<f64>]| -> Vec<Vec<u16>> {
        rows.iter()
            .map(|row| row.iter().map(|x| form.bits(*x)).collect())
            .collect()
    };
    let (a, b) = (bits(&matrices.a), bits(&matrices.b));
    let d = upload(&initial_d(form, matrices));
    let params = [
        upload(&a_layout.image(A_BYTES, &a)),
        upload(&b_layout.image(B_BYTES, &b)),
        d,
        upload(&fragments(&a)),
    ];
    let params: Vec<u8> = params.iter().flat_map(|p| p.to_le_bytes()).collect();
    let launched = Launched {
        text: &text,
        entry: "k",
        kernel: module.kernel("k").expect("the entry"),
        memory: &memory,
        shape: Launch {
            grid: [1, 1, 1],
            block: [128, 1, 1],
            cluster: None,
            dynamic_shared_bytes: 0,
            params: &params,
        },
        buffers: &buffers,
        maps: &[],
    };
    let report = record::run(&launched, options)?;
    let mut bytes = vec![0; 512 * form.registers_of_d() as usize];
    memory.read(d, &mut bytes).expect("in bounds");
    let mut out = vec![vec![0.0; form.n as usize]; 64];
    for thread in 0..128 {
        for i in 0..form.n as usize / 2 {
            let (row, column) = place_in_d(thread, i);
            out[row][column] = element_of_d(form, &bytes, thread, i);
        }
    }
    Ok((out, report))
}

/// Byte offset of element i of a thread's part of D: register by register, 128 threads each.
fn offset_in_d(form: &Form, thread: usize, i: usize) -> usize {
    if form.f32_accumulate {
        512 * i + 4 * thread
    } else {
        512 * (i / 2) + 4 * thread + 2 * (i % 2)
    }
}

fn initial_d(form: &Form, matrices: &Matrices) -> Vec<u8> {
    let mut bytes = vec![0; 512 * form.registers_of_d() as usize];
    for thread in 0..128 {
        for i in 0..form.n as usize / 2 {
            let (row, column) = place_in_d(thread, i);
            let (at, x) = (offset_in_d(form, thread, i), matrices.d[row][column]);
            if form.f32_accumulate {
                bytes[at..at + 4].copy_from_slice(&(x as f32).to_le_bytes());
            } else {
                bytes[at..at + 2].copy_from_slice(&f16::from_f64(x).to_bits().to_le_bytes());
            }
        }
    }
    bytes
}

fn element_of_d(form: &Form, bytes: &[u8], thread: usize, i: usize) -> f64 {
    let at = offset_in_d(form, thread, i);
    if form.f32_accumulate {
        f32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")).into()
    } else {
        f16::from_bits(u16::from_le_bytes(
            bytes[at..at + 2].try_into().expect("two"),
        ))
        .into()
    }
}

/// A as each thread's four registers: register h + 2j, half v holds row 16w + g + 8h, k 2t + v + 8j.
fn fragments(a: &[Vec<u16>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for thread in 0..128 {
        let (warp, g, t) = (thread / 32, thread % 32 / 4, thread % 4);
        for register in 0..4 {
            let (h, j) = (register % 2, register / 2);
            for v in 0..2 {
                let bits = a[16 * warp + g + 8 * h][2 * t + v + 8 * j];
                bytes.extend_from_slice(&bits.to_le_bytes());
            }
        }
    }
    bytes
}
