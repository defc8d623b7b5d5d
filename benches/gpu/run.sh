#!/usr/bin/env bash
# Runs every test and benchmark of this folder on cuda:0 and writes one log each into results/ (or $OUT).
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/results}
mkdir -p "$out"
export FLASH_ATTENTION_DEVICE=${FLASH_ATTENTION_DEVICE:-cuda:0}
nvidia-smi >"$out/nvidia-smi.txt" 2>&1 || echo "nvidia-smi is not there" >"$out/nvidia-smi.txt"

failed=0
step() { # step NAME COMMAND...: one log per step, the last line of each on the terminal
  local name=$1 log=$out/$1.log
  shift
  if "$@" >"$log" 2>&1; then state=ok; else state="FAILED ($?)"; failed=1; fi
  printf '%-28s %-12s %s\n' "$name" "$state" "$(grep -v '^$' "$log" | tail -n 1)"
}

gunzip -f "$here"/tests/*.gz "$here"/benches/*.gz "$here"/bin/*.gz 2>/dev/null # nothing to unpack the second time
chmod +x "$here"/tests/* "$here"/benches/* "$here"/bin/* 2>/dev/null
step doctor "$here/bin/flash-attention" doctor
step attend "$here/bin/flash-attention" attend "$here/data/minilm_layer3_paragraph.safetensors" \
  -o "$out/out.safetensors" --device "$FLASH_ATTENTION_DEVICE" --check
for test in "$here"/tests/*; do step "test-$(basename "$test")" "$test"; done
for bench in "$here"/benches/*; do step "bench-$(basename "$bench")" "$bench" --bench; done
exit $failed
