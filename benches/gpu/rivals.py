#!/usr/bin/env python3
"""PyTorch's attention on the shapes that we were measured on.

    rivals.py --ours ours.jsonl --samples samples/ --out rivals.jsonl --seconds 120

It takes its shapes from the JSON lines that `benches/gpu/attention` wrote, in their order, and times
scaled_dot_product_attention with each of its fused backends the way that program times our kernels: CUDA events around
rounds of about a millisecond, all rounds enqueued before the first is waited for, after a warm-up, over copies of the
inputs that are together larger than L2; the median counts. The backward pass is timed alone. Inputs are the same numbers.
"host_ms" is what the host needs to enqueue a call: where it is not below the time measured, the GPU waited for PyTorch.
For sampled shapes it compares the rivals and our samples with attention in f64. It also takes the machine's ceilings: the
best bf16 matrix product, and a copy in device memory.

The lines are those of `benches/gpu/attention/report.rs`, with "implementation" flash, cudnn, efficient or math, and
{"name", "implementation", "error": {tensor: largest absolute error}} and {"ceiling", "tflops" | "gb_s"}.

Run on a CPU only so far, with `--device cpu` and PyTorch's own kernels for it: the fused CUDA backends and the events
have never been met.
"""

import argparse
import gc
import json
import math
import os
import pathlib
import statistics
import time

from table import OURS, read_lines

ROTATED_BYTES = 100e6
MAX_SETS = 32
ROUND_MS = 1.0
TOTAL_MS = 150.0
ROUNDS = (3, 50)


# --- lines -----------------------------------------------------------------------------------------------------------


def flops(case):
    s = case["shape"]
    scores = s["batch"] * s["num_heads"] * s["seqlen_q"] * s["seqlen_k"]
    products = 2 if case["pass"] == "forward" else 5
    return products * 2.0 * scores * s["head_dim"] * (0.5 if case["causal"] else 1.0)


def moved_bytes(case):
    """Every input and output once."""
    s = case["shape"]
    q = s["batch"] * s["seqlen_q"] * s["num_heads"] * s["head_dim"]
    k = s["batch"] * s["seqlen_k"] * s["num_heads_k"] * s["head_dim"]
    tensors = 2 * q + 2 * k if case["pass"] == "forward" else 4 * q + 4 * k
    return 2 * tensors + 4 * s["batch"] * s["num_heads"] * s["seqlen_q"]


DESCRIBING = ("name", "group", "shape", "dtype", "causal", "pass", "sampled")


def result(case, implementation, times, rounds, calls, host_ms=None):
    """One line: times are of rounds, in milliseconds per call; the host enqueues a call in `host_ms`."""
    line = {key: case[key] for key in DESCRIBING}
    median = statistics.median(times)
    line.update(
        implementation=implementation,
        ms={"median": median, "min": min(times), "max": max(times)},
        rounds=rounds,
        calls=calls,
        host_ms=host_ms,
        tflops=flops(case) / median / 1e9,
        gb_s=moved_bytes(case) / median / 1e6,
        failure=None,
    )
    return line


def failed(case, implementation, failure):
    line = {key: case[key] for key in DESCRIBING}
    line.update(implementation=implementation, ms=None, tflops=None, gb_s=None, failure=failure)
    return line


# --- measuring --------------------------------------------------------------------------------------------------------


def plan_rounds(estimate_ms):
    """(rounds, calls in each) for calls of about so many milliseconds."""
    estimate_ms = max(estimate_ms, 1e-3)
    calls = math.ceil(ROUND_MS / estimate_ms)
    rounds = int(min(max(TOTAL_MS / (calls * estimate_ms), ROUNDS[0]), ROUNDS[1]))
    return rounds, calls


class Clock:
    """Milliseconds of rounds, by CUDA events on the current stream, or by the host's clock on a CPU."""

    def __init__(self, torch, device):
        self.torch, self.on_gpu = torch, device.type == "cuda"

    def time(self, rounds, work):
        if not self.on_gpu:
            return [self.host_ms(work) for _ in range(rounds)]
        events = [self.torch.cuda.Event(enable_timing=True) for _ in range(rounds + 1)]
        events[0].record()
        for event in events[1:]:
            work()
            event.record()
        events[-1].synchronize()
        return [a.elapsed_time(b) for a, b in zip(events, events[1:])]

    @staticmethod
    def host_ms(work):
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3

    def enqueue_ms(self, call, count):
        """What the host needs for a call, if it does not wait for the device: few enough to fit in the queue."""
        if not self.on_gpu:
            return None
        self.torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            call(0)
        return (time.perf_counter() - start) * 1e3 / count

    def measure(self, call, sets):
        """(milliseconds per call of each round, rounds, calls, those of the host), going round over the sets."""
        call(0)
        rounds, calls = plan_rounds(min(self.time(3, lambda: call(0))))
        state = [0]

        def one_round():
            for _ in range(calls):
                call(state[0])
                state[0] = (state[0] + 1) % sets

        self.time(math.ceil(rounds / 5), one_round)
        host_ms = self.enqueue_ms(call, min(calls, 20))
        return [ms / calls for ms in self.time(rounds, one_round)], rounds, calls, host_ms


def values(torch, device, shape, seed, dtype):
    """The numbers of `benches/gpu/attention/inputs.rs`, row-major."""
    mask = 0xFFFFFFFF
    x = torch.arange(math.prod(shape), dtype=torch.int64, device=device)
    x = (x * 0x9E3779B1 + (seed * 0x85EBCA77 & mask)) & mask
    x = ((x ^ (x >> 15)) * 0x2C1B3C6D) & mask
    x = ((x ^ (x >> 12)) * 0x297A2D39) & mask
    x ^= x >> 15
    uniform = (x >> 8).to(torch.float32) / (1 << 23) - 1.0
    return (uniform * torch.tensor(1.7320508, dtype=torch.float32, device=device)).to(dtype).view(shape)


class Rival:
    """One shape: tensors [batch, heads, seqlen, head_dim], which lie as ours do. The caller has chosen a backend."""

    def __init__(self, torch, device, case):
        self.torch, self.case = torch, case
        s = case["shape"]
        self.dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[case["dtype"]]
        self.is_backward = case["pass"] != "forward"
        q = (s["batch"], s["seqlen_q"], s["num_heads"], s["head_dim"])
        k = (s["batch"], s["seqlen_k"], s["num_heads_k"], s["head_dim"])
        first = [values(torch, device, shape, seed, self.dtype) for shape, seed in [(q, 1), (k, 2), (k, 3), (q, 4)]]
        count = 1
        if device.type == "cuda":
            count = min(max(math.ceil(ROTATED_BYTES / moved_bytes(case)), 1), MAX_SETS)
        copies = [first] + [[x.clone() for x in first] for _ in range(count - 1)]
        # [batch, seqlen, heads, head_dim] in memory, as ours.
        self.sets = [[x.transpose(1, 2) for x in tensors] for tensors in copies]
        self.outputs = []
        if self.is_backward:
            for tensors in self.sets:
                for x in tensors[:3]:
                    x.requires_grad_()
            self.outputs = [self.forward(index) for index in range(count)]

    def forward(self, index):
        s, (q, k, v, _) = self.case["shape"], self.sets[index]
        grouped = {"enable_gqa": True} if s["num_heads"] != s["num_heads_k"] else {}
        attention = self.torch.nn.functional.scaled_dot_product_attention
        return attention(q, k, v, is_causal=self.case["causal"], **grouped)

    def call(self, index):
        if not self.is_backward:
            return (self.forward(index),)
        *inputs, d_out = self.sets[index]
        return self.torch.autograd.grad(self.outputs[index], inputs, d_out, retain_graph=True)

    def sample(self):
        """Results for batch entry 0, key head 0 and its query heads, [seqlen, heads, head_dim]."""
        results = self.call(0)
        names = ["d_q", "d_k", "d_v"] if self.is_backward else ["out"]
        group = self.case["shape"]["num_heads"] // self.case["shape"]["num_heads_k"]
        heads = [group, 1, 1]
        return {
            name: x[0, :count].transpose(0, 1).detach().double()
            for name, x, count in zip(names, results, heads)
        }


def truth(torch, device, case):
    """The same part of the result, in f64: plain softmax(q·kᵀ/√d)·v and its derivatives by autograd."""
    s = case["shape"]
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}[case["dtype"]]
    group = s["num_heads"] // s["num_heads_k"]

    def heads(length, all_heads, seed, kept):
        # Batch entry 0 comes first in memory, so its numbers are those of the first indices.
        x = values(torch, device, (length, all_heads, s["head_dim"]), seed, dtype)
        return x[:, :kept].double().transpose(0, 1).contiguous()

    q = heads(s["seqlen_q"], s["num_heads"], 1, group).requires_grad_()
    k = heads(s["seqlen_k"], s["num_heads_k"], 2, 1).requires_grad_()
    v = heads(s["seqlen_k"], s["num_heads_k"], 3, 1).requires_grad_()
    scores = q @ k.transpose(1, 2) / math.sqrt(s["head_dim"])
    if case["causal"]:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    out = scores.softmax(-1) @ v
    if case["pass"] == "forward":
        return {"out": out.detach().transpose(0, 1)}
    d_out = heads(s["seqlen_q"], s["num_heads"], 4, group)
    gradients = torch.autograd.grad(out, (q, k, v), d_out)
    return {name: x.transpose(0, 1) for name, x in zip(["d_q", "d_k", "d_v"], gradients)}


def read_sample(torch, device, path):
    """The tensors of a safetensors file of 16-bit floats, as f64."""
    data = pathlib.Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = {"BF16": torch.bfloat16, "F16": torch.float16}[entry["dtype"]]
        begin, end = (8 + length + at for at in entry["data_offsets"])
        bits = torch.frombuffer(bytearray(data[begin:end]), dtype=dtype)
        tensors[name] = bits.view(entry["shape"]).to(device).double()
    return tensors


def largest_errors(found, exact):
    """By tensor; NaN where the result has one."""
    return {name: (found[name] - exact[name]).abs().max().item() for name in exact}


class Session:
    def __init__(self, arguments):
        # Deterministic algorithms must not spoil the truth, which is a product of cuBLAS, nor fill what they allocate.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        import torch

        torch.utils.deterministic.fill_uninitialized_memory = False
        self.torch = torch
        self.device = torch.device(arguments.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # events and streams are those of the current one
        self.clock = Clock(torch, self.device)
        self.samples = pathlib.Path(arguments.samples) if arguments.samples else None
        self.until = time.monotonic() + arguments.seconds
        self.out = open(arguments.out, "w")
        backend = torch.nn.attention.SDPBackend
        if self.device.type == "cuda":
            self.backends = {
                "flash": backend.FLASH_ATTENTION,
                "cudnn": backend.CUDNN_ATTENTION,
                "efficient": backend.EFFICIENT_ATTENTION,
            }
        else:
            self.backends = {"flash": backend.FLASH_ATTENTION, "math": backend.MATH}

    def write(self, line):
        print(json.dumps(line), file=self.out, flush=True)

    def ceilings(self):
        """The best matrix product in bf16, and a copy in device memory."""
        torch, on_gpu = self.torch, self.device.type == "cuda"
        best = 0.0
        for size in [4096, 8192, 12288] if on_gpu else [256]:
            a, b = (torch.randn(size, size, device=self.device).to(torch.bfloat16) for _ in range(2))
            times, *_ = self.clock.measure(lambda _: a @ b, 1)
            best = max(best, 2.0 * size**3 / statistics.median(times) / 1e9)
        self.write({"ceiling": "bf16 matrix product", "tflops": best})
        source = torch.zeros(1 << 28 if on_gpu else 1 << 20, dtype=torch.int32, device=self.device)
        target = torch.empty_like(source)
        times, *_ = self.clock.measure(lambda _: target.copy_(source), 1)
        self.write({"ceiling": "copy in device memory", "gb_s": 8 * source.numel() / statistics.median(times) / 1e6})

    def case(self, case):
        """Every backend, and the errors of all of them."""
        self.torch.use_deterministic_algorithms(False)
        exact = truth(self.torch, self.device, case) if case["sampled"] else None
        if exact and self.samples:
            path = self.samples / (case["name"] + ".safetensors")
            if path.exists():
                self.error(case, OURS, read_sample(self.torch, self.device, path), exact)
        self.torch.use_deterministic_algorithms(case["pass"] == "backward_deterministic")
        for name, backend in self.backends.items():
            try:
                # Once for all calls: choosing takes the host longer than a small shape the GPU.
                with self.torch.nn.attention.sdpa_kernel(backend):
                    rival = Rival(self.torch, self.device, case)
                    self.write(result(case, name, *self.clock.measure(rival.call, len(rival.sets))))
                    if exact:
                        self.error(case, name, rival.sample(), exact)
            except RuntimeError as error:  # the backend does not take the shape
                self.write(failed(case, name, str(error).splitlines()[0]))
            rival = None
            gc.collect()

    def error(self, case, implementation, found, exact):
        errors = largest_errors(found, exact)
        self.write({"name": case["name"], "implementation": implementation, "error": errors})


def measure(arguments):
    cases = [line for line in read_lines(arguments.ours) if "shape" in line]
    session = Session(arguments)
    session.write({"device": str(session.device), "torch": session.torch.__version__})
    session.ceilings()
    for done, case in enumerate(cases):
        if time.monotonic() >= session.until:
            print(f"the time was up after {done} of {len(cases)} shapes")
            return
        try:
            session.case(case)
        except RuntimeError as error:  # no room for the truth, or a lost device
            print(f"{case['name']}: {error}")
    print(f"all {len(cases)} shapes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the file of our program")
    parser.add_argument("--samples", help="folder of our results for sampled shapes")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=150.0, help="no shape is begun after so many")
    parser.add_argument("--device", default="cuda:0")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
