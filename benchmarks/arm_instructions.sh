#!/usr/bin/env bash
# arm_instructions.sh PLUGIN.c FOLDER CPU [PROFILE]: instructions that one frame executes in the library rvm of
# FOLDER (out/arm-64), on qemu's CPU (cortex-a53), by kind, and the mattes' checksum. PLUGIN.c: the
# counting plugin for qemu's user mode, shared/probes/arm_count/insncount.c. PROFILE: what it writes of
# each block of code, for loop_peak.py.
set -euo pipefail
[ $# = 3 ] || [ $# = 4 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -shared -fPIC -o "$work/count.so" "$1"
aarch64-linux-gnu-gcc -O1 -static "-I$2" "$here/arm_frame.c" "$2/librvm.a" -lpthread -o "$work/frame"
qemu-aarch64 -cpu "$3" -plugin "$work/count.so,out=$work/counts${4:+,prof=$4}" "$work/frame"
grep '^mark 2 ' "$work/counts"
