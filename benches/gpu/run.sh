#!/usr/bin/env bash
# Runs every test and benchmark of this folder on cuda:0 (or $FLASH_ATTENTION_DEVICE) and writes one log each into
# results/ (or $OUT). A Hopper GPU has kernels of its own beside those of sm_80: there both are tested and measured.
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
paragraph=$here/data/minilm_layer3_paragraph.safetensors
devices=("$FLASH_ATTENTION_DEVICE")
if "$here/bin/flash-attention" attend "$paragraph" --device "$FLASH_ATTENTION_DEVICE:sm_90a" >/dev/null 2>&1; then
  devices+=("$FLASH_ATTENTION_DEVICE:sm_80")
fi
for device in "${devices[@]}"; do
  export FLASH_ATTENTION_DEVICE=$device
  suffix=
  skip=()
  if [[ $device != "${devices[0]}" ]]; then
    suffix=-${device##*:}
    # These always run on the emulated device: once is enough.
    skip=(--skip determinism --skip planted_bugs --skip profile:: --skip properties:: --skip hopper::)
  fi
  step "attend$suffix" "$here/bin/flash-attention" attend "$paragraph" \
    -o "$out/out$suffix.safetensors" --device "$device" --check
  for test in "$here"/tests/*; do step "test-$(basename "$test")$suffix" "$test" ${skip[@]+"${skip[@]}"}; done
  for bench in "$here"/benches/*; do step "bench-$(basename "$bench")$suffix" "$bench" --bench; done
done
exit $failed
