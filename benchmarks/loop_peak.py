#!/usr/bin/env python3
"""loop_peak.py PROFILE CPU...: how near the inner loops that a frame spends its multiply-adds in come
to each processor's peak, by LLVM's scheduling model (llvm-mca), and whether they touch the stack.
PROFILE: of arm_instructions.sh. Peak: the same multiply-adds alone, independent of each other."""
import re
import struct
import subprocess
import sys

MULTIPLY = re.compile(r"^(sdot|smmla|smlal2?|smull2?)\b")


def disassemble(words):
    text = " ".join("0x%02x" % byte for word in words for byte in struct.pack("<I", word))
    out = subprocess.run(["llvm-mc-19", "--disassemble", "-triple=aarch64", "-mattr=+v8.6a"],
                         input=text, capture_output=True, text=True, check=True).stdout
    return [" ".join(line.split("//")[0].split()) for line in out.splitlines()
            if line.strip() and ".text" not in line]


def cycles(code, cpu, iterations=100):
    out = subprocess.run(["llvm-mca-19", "-mtriple=aarch64", "-mcpu=" + cpu, "-mattr=+v8.6a",
                          "-iterations=%d" % iterations],
                         input="\n".join(code), capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", out).group(1)) / iterations


def peak(code, cpu):
    """Cycles of the loop's multiply-adds alone, each with sums of its own."""
    kinds, alone = [line for line in code if MULTIPLY.match(line)], []
    for i, line in enumerate(kinds):
        alone.append(re.sub(r"v\d+", "v%d" % (8 + i % 24), line, count=1))
    return cycles([re.sub(r"(, v)\d+", r"\g<1>%d" % (i % 8), line)
                   for i, line in enumerate(alone)], cpu)


def loops(profile):
    """Bodies of loops of one block, with how often they ran, by the address of their branch."""
    found = {}
    for line in open(profile):
        fields = line.split()
        runs, start, words = int(fields[1]), int(fields[3], 16), [int(w, 16) for w in fields[4:]]
        if words[-1] >> 24 != 0x54:  # b.cond
            continue
        offset = (words[-1] >> 5 & 0x7FFFF) - (0x80000 if words[-1] & 0x800000 else 0)
        end = start + 4 * (len(words) - 1)
        target = end + 4 * offset
        if start <= target <= end:
            body = words[(target - start) // 4:]
            total = found.get(end, (body, 0))[1]
            found[end] = (body, total + runs)
    return found.values()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    bodies = [(disassemble(words), runs) for words, runs in loops(sys.argv[1])]
    bodies = [(code, runs, sum(1 for line in code if MULTIPLY.match(line))) for code, runs in bodies]
    bodies = sorted((b for b in bodies if b[2] >= 8), key=lambda b: -b[1] * b[2])
    every = sum(runs * count for _, runs, count in bodies)
    bodies = bodies[:40]
    covered = sum(runs * count for _, runs, count in bodies)
    print("loops %d, multiply-adds in them %.1f M (of %.1f M in loops of one block)"
          % (len(bodies), covered / 1e6, every / 1e6))
    touching = sum(1 for code, _, _ in bodies if any("[sp" in line for line in code))
    print("that touch the stack: %d" % touching)
    for cpu in sys.argv[2:]:
        spent = ideal = 0
        worst = 1.0
        for code, runs, _ in bodies:
            took, best = cycles(code, cpu), peak(code, cpu)
            spent += took * runs
            ideal += best * runs
            worst = min(worst, best / took)
        print("%-14s %5.1f %% of peak, the worst loop %5.1f %%" % (cpu, 100 * ideal / spent, 100 * worst))


main()
