#!/usr/bin/env python3
"""How far a part of a film (run --from) is from the same frames of the whole, by its warm-up.

    benchmarks/parts.py MATTEC LIBRARY FILM... --work FOLDER [--from 4.5]

Prints for each length of --warm-up the mean and largest difference of alpha (in steps of 255) over
the part's first frame and its first ten, over all films. Needs numpy and OpenCV's Python module.
"""
import argparse
import pathlib
import subprocess

import cv2
import numpy

WARM_UPS = [0, 0.2, 0.5, 1, 2, 4]
FRAMES = 10


def mattes(options, film, name, *more):
    folder = options.work / f"{film.stem}-{name}"
    subprocess.run([options.mattec, "run", options.library, film, "-o", folder, *map(str, more)],
                   check=True, capture_output=True)
    return {p.name: cv2.imread(str(p), 0).astype(float) for p in sorted(folder.glob("*.png"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mattec")
    parser.add_argument("library")
    parser.add_argument("films", nargs="+", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--from", dest="begin", type=float, default=4.5)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    end = options.begin + 0.5
    first, ten = {w: [] for w in WARM_UPS}, {w: [] for w in WARM_UPS}
    for film in options.films:
        whole = mattes(options, film, "whole", "--to", end)
        for warm_up in WARM_UPS:
            part = mattes(options, film, f"part{warm_up}".replace(".", "_"), "--from", options.begin, "--to", end,
                          "--warm-up", warm_up)
            apart = [numpy.abs(part[name] - whole[name]) for name in sorted(part)[:FRAMES]]
            first[warm_up].append(apart[0])
            ten[warm_up].append(numpy.mean([a.mean() for a in apart]))
    print("warm-up, s | first frame: mean, largest mean of a film | first ten: mean")
    for warm_up in WARM_UPS:
        means = [a.mean() for a in first[warm_up]]
        print(f"{warm_up:>10} | {numpy.mean(means):.3f}, {max(means):.3f} | "
              f"{numpy.mean(ten[warm_up]):.3f}")


if __name__ == "__main__":
    main()
