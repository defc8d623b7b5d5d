#!/usr/bin/env bash
# Tests and measures everything of this folder on a machine with an NVIDIA driver and Python with PyTorch, in nine
# minutes at most, and ends with one table: ours beside PyTorch's attention, worst ratio first.
#
#   FLASH_ATTENTION_DEVICE  cuda:0
#   BUDGET                  seconds in all, 530; every step gets its share of them and is stopped when it is over
#   OUT                     folder for logs and JSON, results/
#   ARCHIVE                 file outside of OUT, .tar.gz, written anew after every step: all of OUT but the samples, for
#                           machines from which few files come back; none
#   PYTHON                  python3
#
# The most important steps come first; one that fails or is stopped does not keep the others from running, and every
# module of the tests is a process of its own, because a kernel that faults or never ends spoils what shares its CUDA
# context. A Hopper GPU has kernels of its own beside those of sm_80: there both are tested and measured, the old ones
# even where the new ones hang.
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

seconds() { # seconds SHARE: of 530, in the seconds of this run's budget
  echo $(($1 * budget / 530))
}

left() { # what is left of the budget, as a share of 530
  echo $(((budget - SECONDS) * 530 / budget))
}

pack() {
  [[ -n ${ARCHIVE:-} ]] || return
  tar czf "$ARCHIVE.part" -C "$out" --exclude=./samples --exclude='*.safetensors' . && mv "$ARCHIVE.part" "$ARCHIVE"
}

step() { # step NAME SHARE COMMAND...: one log per step, its last line on the terminal
  local name=$1 limit log=$out/$1.log state left=$((budget - SECONDS))
  limit=$(seconds "$2")
  shift 2
  limit=$((limit < left ? limit : left))
  if ((limit < 1)); then
    printf '%-26s %-12s\n' "$name" "NO TIME" && failed=1
    return
  fi
  if timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1; then state=ok; else state="FAILED ($?)"; failed=1; fi
  printf '%-26s %-12s %3ds of %3ds  %s\n' "$name" "$state" "$SECONDS" "$budget" "$(grep -v '^$' "$log" | tail -n 1)"
  pack
}

# These always run on the emulated device, and have.
emulated_only='^(determinism|planted_bugs|profile::|properties::|hopper::)'

tests() { # tests NAME SHARE SHARE-OF-A-MODULE: every module of the tests, the most telling ones first
  local name=$1 module names end all
  end=$((SECONDS + $(seconds "$2")))
  all=$("$work/test-attention" --list 2>/dev/null | sed -n 's/: test$//p' | grep -vE "$emulated_only")
  for module in $({ printf '%s\n' forward backward real_data masks varlen; sed 's/::.*//' <<<"$all"; } | awk '!seen[$0]++'); do
    # Without names the program would run everything.
    names=$(grep "^$module::" <<<"$all") || continue
    if ((SECONDS >= end)); then
      printf '%-26s %-12s\n' "$name-$module" "NO TIME" && failed=1
      continue
    fi
    # No test has a space in its name.
    # shellcheck disable=SC2086
    step "$name-$module" "$3" "$work/test-attention" --exact $names
  done
}

smi nvidia-smi.txt
smi machine.csv --query-gpu=name,driver_version,vbios_version,power.limit,clocks.max.sm,clocks.max.mem,memory.total --format=csv
smi state-before.txt -q -d POWER,CLOCK,PERFORMANCE,TEMPERATURE
for packed in "$here"/bin/*.gz; do
  program=$work/$(basename "$packed" .gz)
  gunzip -c "$packed" >"$program" && chmod +x "$program"
done
# Kernels that the driver has compiled once are found again by later processes, whatever the home folder is like.
export CUDA_CACHE_PATH=$work/cache
mkdir "$work/fixtures" && tar xzf "$here/fixtures.tar.gz" -C "$work/fixtures"

# The driver's own device names; the emulated device stands in for a GPU where there is none, and PyTorch's CPU for CUDA.
gpu=${first%:sm_*}
torch=$gpu
[[ $first == emulated* ]] && gpu=emulated && torch=cpu
paragraph=$here/data/minilm_layer3_paragraph.safetensors

export FLASH_ATTENTION_DEVICE=$first
step doctor 15 "$work/flash-attention" doctor
step attend 10 "$work/flash-attention" attend "$paragraph" -o "$out/out.safetensors" --device "$first" --check
tests test 115 25
CUDA_CACHE_DISABLE=1 step ours 110 "$work/gpu_attention" --out "$out/ours.jsonl" --samples "$out/samples" \
  --seconds "$(seconds 80)"
step rivals 130 "$python" "$here/rivals.py" --ours "$out/ours.jsonl" --samples "$out/samples" \
  --out "$out/rivals.jsonl" --device "$torch" --seconds "$(seconds 115)"
step fixtures 60 "$work/gpu_fixtures" --fixtures "$work/fixtures" --device "$gpu" --out "$out/fixtures.json" \
  --seconds "$(seconds 50)"
# Hung or wrong, kernels for Hopper are what a GPU has that does not say otherwise.
probe=$(timeout --kill-after=5 "$(seconds 15)" "$work/flash-attention" attend "$paragraph" --device "$gpu:sm_90a" 2>&1)
if [[ $probe != *"does not run kernels of"* ]]; then
  export FLASH_ATTENTION_DEVICE=$gpu:sm_80
  step attend-sm_80 10 "$work/flash-attention" attend "$paragraph" -o "$out/out-sm_80.safetensors" \
    --device "$FLASH_ATTENTION_DEVICE" --check
  # The last two share what is left: much, where kernels for Hopper hung and were stopped early.
  tests test-sm_80 "$(($(left) - 45))" 15
  step ours-sm_80 "$(left)" "$work/gpu_attention" --out "$out/ours-sm_80.jsonl" --seconds "$(seconds "$(($(left) - 20))")"
fi
smi state-after.txt -q -d POWER,CLOCK,PERFORMANCE,TEMPERATURE

"$python" "$here/table.py" "$out"/ours.jsonl "$out"/ours-sm_80.jsonl "$out"/rivals.jsonl --power "$out/power.csv" |
  tee "$out/table.txt"
pack
exit $failed
