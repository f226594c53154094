#!/usr/bin/env bash
# examples_test.sh CMAKE EXAMPLES LIBRARY HEADER MATTEC_H WORK: builds the example project against a
# hand-made library whose matte is the green channel, runs it, and compares every byte.
set -euo pipefail
cmake=$1 examples=$2 library=$3 header=$4 mattec_h=$5 work=$6
rm -rf "$work"
mkdir -p "$work/rvm"
cp "$library" "$work/rvm/librvm.a"
cp "$header" "$work/rvm/rvm.h"
cp "$mattec_h" "$work/rvm/mattec.h"

if "$cmake" -S "$examples" -B "$work/none" -DRVM_DIR="$work" > "$work/log" 2>&1; then
  echo "configured without a library"
  exit 1
fi
grep -q "no librvm.a and rvm.h" "$work/log"

"$cmake" -S "$examples" -B "$work/build" -DRVM_DIR="$work/rvm" \
  -DCMAKE_C_FLAGS="-Wall -Wextra -Werror" > "$work/log"
"$cmake" --build "$work/build" >> "$work/log"
matte=$work/build/matte

# Two frames of 128 pixels, ever brighter: 'aAa', then 'cCc'.
{ printf 'aAa%.0s' {1..128}; printf 'cCc%.0s' {1..128}; } > "$work/frames"
{ printf 'A%.0s' {1..128}; printf 'C%.0s' {1..128}; } > "$work/expected"
"$matte" < "$work/frames" | cmp - "$work/expected"
"$matte" 2 < "$work/frames" | cmp - "$work/expected"
"$matte" < /dev/null | cmp - /dev/null

refuses() { # refuses MESSAGE: the last command's input or output is bad
  if "$matte" < "$work/bad" > "${2:-/dev/null}" 2> "$work/error"; then
    echo "accepted: $1"
    exit 1
  fi
  grep -q "$1" "$work/error"
}
head -c 400 "$work/frames" > "$work/bad"
refuses "ends inside a frame"
cp "$work/frames" "$work/bad"
refuses "cannot write" /dev/full
echo "example: matte equals the library's"
