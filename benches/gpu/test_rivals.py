"""The table, and the parts of rivals.py that need no PyTorch: `python3 -m unittest benches/gpu/test_rivals.py`."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import rivals
import table


def case(name, group="sweep", passes="forward", causal=False, seqlen_q=1024):
    shape = dict(batch=2, seqlen_q=seqlen_q, seqlen_k=1024, num_heads=8, num_heads_k=4, head_dim=128)
    return {"name": name, "group": group, "shape": shape, "dtype": "bf16", "causal": causal, "pass": passes,
            "sampled": True}


class Table(unittest.TestCase):
    def lines(self, *objects):
        file = tempfile.NamedTemporaryFile("w", suffix=".jsonl", delete=False)
        self.addCleanup(pathlib.Path(file.name).unlink)
        file.write("\n".join(o if isinstance(o, str) else json.dumps(o) for o in objects))
        file.close()
        return file.name

    def files(self):
        ours = self.lines(
            {"device": "cuda:0 (NVIDIA H100)", "implementation": "ours"},
            rivals.result(case("won"), "ours", [1.0, 2.0, 3.0], 3, 1),
            rivals.result(case("lost"), "ours", [4.0], 1, 1),
            rivals.failed(case("absent"), "ours", "no kernel"),
            {"jit": "flash_fwd", "ms": 321.0},
        )
        old = self.lines({"device": "cuda:0:sm_80 (NVIDIA H100)", "implementation": "ours"},
                         rivals.result(case("won"), "ours", [2.5], 1, 1))
        other = self.lines(
            {"device": "cuda:0", "torch": "2.11"},
            {"ceiling": "bf16 matrix product", "tflops": 700.0},
            rivals.result(case("won"), "flash", [6.0], 1, 1),
            rivals.result(case("won"), "cudnn", [3.0], 1, 1),
            rivals.result(case("lost"), "flash", [2.0], 1, 1),
            rivals.failed(case("lost"), "cudnn", "refused"),
            rivals.result(case("absent"), "flash", [2.0], 1, 1),
            {"name": "won", "implementation": "ours", "error": {"out": 0.001}},
            {"name": "won", "implementation": "cudnn", "error": {"out": 0.002}},
            '{"name": "cut of',
        )
        return [ours, old, other]

    def rows(self):
        with contextlib.redirect_stderr(io.StringIO()):
            shapes, errors, _ = table.merge(self.files())
        return table.rows(shapes, errors)

    def test_the_worst_ratio_comes_first_and_shapes_without_one_last(self):
        self.assertEqual([row["name"] for row in self.rows()], ["lost", "won", "absent"])
        self.assertEqual([row["ratio"] for row in self.rows()], [0.5, 1.5, None])

    def test_the_fastest_rival_counts_and_errors_stand_beside_times(self):
        won = self.rows()[1]
        self.assertEqual(won["rival"], ("cudnn", 3.0))
        self.assertEqual((won["error"], won["rival_error"]), (0.001, 0.002))
        self.assertEqual(won["others"], {"ours:sm_80": 2.5})

    def test_everything_is_printed(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            table.print_table(self.files())
        for text in ["NVIDIA H100", "700.0 TFLOP/s", "flash_fwd in 321 ms", "no kernel", "ours:sm_80 2.5000 ms",
                     "2 of 3 shapes measured, 2 compared", "0.866 geometric mean of 2, worst 0.500"]:
            self.assertIn(text, printed.getvalue())

    def test_a_time_that_is_the_hosts_is_marked(self):
        quick = rivals.result(case("won"), "flash", [0.05], 3, 20, host_ms=0.045)
        slow = rivals.result(case("won"), "ours", [1.0], 3, 1, host_ms=0.045)
        files = [self.lines(slow), self.lines(quick)]
        self.assertEqual(table.rows(*table.merge(files)[:2])[0]["host"], ["rival"])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            table.print_table(files)
        self.assertIn("(time of the host: rival)", printed.getvalue())

    def test_power_and_clocks_are_summed_up(self):
        file = self.lines("timestamp, power.draw [W], clocks.current.sm [MHz]", "2026/01/01 00:00:00, 300.5, 1980",
                          "2026/01/01 00:00:01, [N/A], 1500", "2026/01/01 00:0")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            table.print_power(file)
        self.assertEqual(printed.getvalue(), "power.draw [W]: median 300.5, 300.5 to 300.5\n"
                                             "clocks.current.sm [MHz]: median 1740, 1500 to 1980\n")


class Counting(unittest.TestCase):
    def test_work_is_counted_as_in_the_papers(self):
        forward = 4 * 2 * 8 * 1024 * 1024 * 128
        self.assertEqual(rivals.flops(case("x")), forward)
        self.assertEqual(rivals.flops(case("x", causal=True)), forward / 2)
        self.assertEqual(rivals.flops(case("x", passes="backward")), forward * 2.5)

    def test_inputs_and_outputs_move_once(self):
        q, k, lse = 2 * 1024 * 8 * 128, 2 * 1024 * 4 * 128, 2 * 8 * 1024
        self.assertEqual(rivals.moved_bytes(case("x")), 2 * (2 * q + 2 * k) + 4 * lse)
        self.assertEqual(rivals.moved_bytes(case("x", passes="backward")), 2 * (4 * q + 4 * k) + 4 * lse)

    def test_rounds_last_a_millisecond_and_there_are_enough(self):
        self.assertEqual(rivals.plan_rounds(0.01), (50, 100))
        self.assertEqual(rivals.plan_rounds(10.0), (15, 1))
        self.assertEqual(rivals.plan_rounds(1000.0), (3, 1))


if __name__ == "__main__":
    unittest.main()
