"""run.sh with scripts in the place of the programs: `python3 -m unittest benches/gpu/test_run.py`."""

import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent

# Kernels for Hopper hang, those for sm_80 do not; neither do tests that launch none.
HANGING = 'if [[ $FLASH_ATTENTION_DEVICE != *:sm_80 ]]; then sleep 100; fi'
TESTS = f"""
case "$1 $2" in
--list*) for t in arguments::a backward::b determinism::c forward::d forward::e; do echo "$t: test"; done ;;
*arguments::a*) ;;
*) {HANGING} ;;
esac
echo "ran $*"
"""
COMMAND = 'if [[ $* == *:sm_90a* ]]; then sleep 100; fi; echo fine'
MEASURING = """while (($#)); do [[ $1 == --out ]] && echo '{"device": "cuda:0"}' >"$2"; shift; done"""


class Run(unittest.TestCase):
    def bundle(self):
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        (folder / "bin").mkdir()
        for name, script in [("test-attention", TESTS), ("flash-attention", COMMAND), ("gpu_attention", MEASURING),
                             ("gpu_fixtures", MEASURING)]:
            with gzip.open(folder / "bin" / (name + ".gz"), "wt") as file:
                file.write("#!/usr/bin/env bash\n" + script)
        with tarfile.open(folder / "fixtures.tar.gz", "w:gz"):
            pass
        for name in ["run.sh", "table.py"]:
            shutil.copy(HERE / name, folder)
        (folder / "rivals.py").write_text("print('no rivals')")
        return folder

    def run_bundle(self, folder):
        settings = dict(BUDGET="106", OUT=str(folder / "out"), ARCHIVE=str(folder / "back.tar.gz"),
                        PYTHON=sys.executable)
        done = subprocess.run(["bash", folder / "run.sh"], env=os.environ | settings, capture_output=True, text=True)
        return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if len(line.split()) > 1}

    def test_what_hangs_costs_its_share_and_everything_comes_back_in_one_file(self):
        folder = self.bundle()
        steps = self.run_bundle(folder)
        wanted = {"doctor": "ok", "test-forward": "FAILED", "test-backward": "FAILED", "test-arguments": "ok",
                  "ours": "ok", "rivals": "ok", "fixtures": "ok", "test-sm_80-forward": "ok", "test-sm_80-backward": "ok",
                  "ours-sm_80": "ok"}
        self.assertEqual({name: steps.get(name) for name in wanted}, wanted)
        self.assertNotIn("test-determinism", steps)
        with tarfile.open(folder / "back.tar.gz") as archive:
            log = archive.extractfile("./test-sm_80-forward.log").read().decode()
            self.assertIn("./table.txt", archive.getnames())
        self.assertEqual(log, "ran --exact forward::d forward::e\n")


if __name__ == "__main__":
    unittest.main()
