#!/usr/bin/env bash
# Tests and measures everything of this folder on a machine with an NVIDIA driver and Python with PyTorch, in nine
# minutes at most, and ends with one table: ours beside PyTorch's attention, worst ratio first.
#
#   FLASH_ATTENTION_DEVICE  cuda:0
#   BUDGET                  seconds in all, 530; every step gets its share of them and is stopped when it is over
#   OUT                     folder for logs and JSON, results/
#   PYTHON                  python3
#
# The most important steps come first; one that fails or is stopped does not keep the others from running. A Hopper GPU
# has kernels of its own beside those of sm_80: there both are tested and measured.
#
# This script and all that it starts have run on the emulated device, with PyTorch on a CPU, and never on a GPU.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/results}
budget=${BUDGET:-530}
python=${PYTHON:-python3}
first=${FLASH_ATTENTION_DEVICE:-cuda:0}
work=$(mktemp -d) || exit 1
mkdir -p "$out"
failed=0

smi() { # smi FILE ARGUMENTS...: what nvidia-smi says, or that it is not there
  local file=$out/$1
  shift
  timeout 10 nvidia-smi "$@" >"$file" 2>&1 || echo "nvidia-smi $* failed" >>"$file"
}

# Power and clocks twice a second while the steps run.
monitor=
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=timestamp,power.draw,clocks.sm,clocks.mem,temperature.gpu,utilization.gpu \
    --format=csv,nounits -lms 500 >"$out/power.csv" 2>/dev/null &
  monitor=$!
fi
# The monitor would go on for ever, the unpacked programs would stay.
trap '[[ -n $monitor ]] && kill "$monitor" 2>/dev/null; rm -rf "$work"' EXIT

step() { # step NAME SECONDS-OF-530 COMMAND...: one log per step, its last line on the terminal
  local name=$1 share=$(($2 * budget / 530)) log=$out/$1.log state limit
  shift 2
  local left=$((budget - SECONDS))
  limit=$((share < left ? share : left))
  if ((limit < 1)); then
    printf '%-22s %-12s\n' "$name" "NO TIME" && failed=1
    return
  fi
  if timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1; then state=ok; else state="FAILED ($?)"; failed=1; fi
  printf '%-22s %-12s %3ds of %3ds  %s\n' "$name" "$state" "$SECONDS" "$budget" "$(grep -v '^$' "$log" | tail -n 1)"
}

seconds() { # seconds SHARE: what a program may take of a step, so that it ends by itself and says what it has
  echo $(($1 * budget / 530))
}

smi nvidia-smi.txt
smi machine.csv --query-gpu=name,driver_version,vbios_version,power.limit,clocks.max.sm,clocks.max.mem,memory.total --format=csv
smi state-before.txt -q -d POWER,CLOCK,PERFORMANCE,TEMPERATURE
for packed in "$here"/bin/*.gz; do
  program=$work/$(basename "$packed" .gz)
  gunzip -c "$packed" >"$program" && chmod +x "$program"
done
mkdir "$work/fixtures" && tar xzf "$here/fixtures.tar.gz" -C "$work/fixtures"

# The driver's own device names; the emulated device stands in for a GPU where there is none, and PyTorch's CPU for CUDA.
gpu=${first%:sm_*}
torch=$gpu
[[ $first == emulated* ]] && gpu=emulated && torch=cpu
paragraph=$here/data/minilm_layer3_paragraph.safetensors
# These always run on the emulated device, and have.
emulated_only=(--skip determinism --skip planted_bugs --skip profile:: --skip properties:: --skip hopper::)

export FLASH_ATTENTION_DEVICE=$first
step doctor 5 "$work/flash-attention" doctor
step attend 10 "$work/flash-attention" attend "$paragraph" -o "$out/out.safetensors" --device "$first" --check
step test 115 "$work/test-attention" "${emulated_only[@]}"
CUDA_CACHE_DISABLE=1 step ours 110 "$work/gpu_attention" --out "$out/ours.jsonl" --samples "$out/samples" \
  --seconds "$(seconds 80)"
step rivals 130 "$python" "$here/rivals.py" --ours "$out/ours.jsonl" --samples "$out/samples" \
  --out "$out/rivals.jsonl" --device "$torch" --seconds "$(seconds 115)"
step fixtures 60 "$work/gpu_fixtures" --fixtures "$work/fixtures" --device "$gpu" --out "$out/fixtures.json" \
  --seconds "$(seconds 50)"
if timeout 20 "$work/flash-attention" attend "$paragraph" --device "$gpu:sm_90a" >/dev/null 2>&1; then
  export FLASH_ATTENTION_DEVICE=$gpu:sm_80
  step attend-sm_80 10 "$work/flash-attention" attend "$paragraph" -o "$out/out-sm_80.safetensors" \
    --device "$FLASH_ATTENTION_DEVICE" --check
  step test-sm_80 55 "$work/test-attention" "${emulated_only[@]}"
  step ours-sm_80 35 "$work/gpu_attention" --out "$out/ours-sm_80.jsonl" --seconds "$(seconds 22)"
fi
smi state-after.txt -q -d POWER,CLOCK,PERFORMANCE,TEMPERATURE

"$python" "$here/table.py" "$out"/ours.jsonl "$out"/ours-sm_80.jsonl "$out"/rivals.jsonl --power "$out/power.csv" |
  tee "$out/table.txt"
exit $failed
