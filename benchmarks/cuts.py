#!/usr/bin/env python3
"""What starting anew at scene cuts is worth, and that it is not done elsewhere.

    benchmarks/cuts.py MATTEC LIBRARY SMALL_LIBRARY --truth CLIP... [--films VIDEO...] --work FOLDER

Splices every pair of truth clips of one size (the end of one, the first twenty frames of the other), mattes
them with --reset-at-cuts on and off, and prints how often the cut was found and the error (MAD) of
the ten frames behind it. Then mattes all clips as they are and as flashing, blinking, shaking,
panning and fading ones, where no cut may be found; there the mattes do not matter, and the small
library (the demo's network, for the same size) saves time. Needs ffmpeg, numpy, OpenCV's Python module.
"""
import argparse
import itertools
import pathlib
import re
import subprocess

import cv2
import numpy

BEFORE, AFTER, MEASURED = 24, 20, 10

# What looks like a cut and is none: FFmpeg's filters on a clip of 25 frames a second.
HARMLESS = {
    "as it is": "null",
    "white flash of 1 frame a second": "drawbox=c=white:t=fill:enable='eq(mod(n,25),12)'",
    "white flash of 3 frames": "drawbox=c=white:t=fill:enable='between(mod(n,25),10,12)'",
    "bright flash of 2 frames": "eq=brightness=0.5:enable='between(mod(n,25),10,11)'",
    "blackout of half a second": "drawbox=c=black:t=fill:enable='between(mod(n,40),10,21)'",
    "half of the picture blinks": "negate,format=yuv420p,split[a][b];[a]negate[c];[b]crop=iw/2:ih:0:0[d];"
                                  "[c][d]overlay=0:0:enable='lt(mod(n,6),3)'",
    "screen of three fifths toggles": "drawbox=x=iw*0.3:y=0:w=iw*0.6:h=ih:c=0x3060c0:t=fill:"
                                      "enable='lt(mod(n,10),5)'",
    "exposure jumps by half": "eq=contrast=0.6:brightness=-0.15:enable='lt(mod(n,20),10)'",
    "pan, an eighth of the width a frame":
        "scale=iw*3:ih*3,crop=iw/3:ih/3:'abs(mod(n*iw/24,iw*4/3)-iw*2/3)':ih/3",
    "whip pan with blur": "scale=iw*3:ih*3,crop=iw/3:ih/3:'abs(mod(n*iw/24,iw*4/3)-iw*2/3)':ih/3,"
                          "boxblur=lr=12:lp=1",
    "shake": "scale=iw*1.2:ih*1.2,crop=iw/1.2:ih/1.2:'iw*0.08*(1+sin(n*2.1))':'ih*0.08*(1+sin(n*1.7))'",
    "zoom, 4 % a frame": "zoompan=z='1+0.04*mod(in,20)':d=1:x='iw/2-iw/zoom/2':y='ih/2-ih/zoom/2':s=512x288",
    "fade to black and back": "fade=out:10:10,fade=in:22:10",
    "noise": "noise=alls=40:allf=t",
    "turned into 8 frames a second": "fps=8",
}


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], check=True, capture_output=True,
                          text=True).stdout


def matte(options, library, source, output, cuts):
    text = run(options.mattec, "run", library, source, "-o", output, "--reset-at-cuts", cuts)
    found = re.search(r"started anew: (\d+)", text)
    return int(found.group(1)) if found else 0


def error(folder, truth, first):
    """MAD of MEASURED mattes from number `first` on."""
    mattes = sorted(folder.glob("*.png"))[first:first + MEASURED]
    exact = sorted((truth / "pha").iterdir())[:MEASURED]
    return numpy.mean([numpy.abs(cv2.imread(str(a), 0).astype(float) - cv2.imread(str(b), 0)).mean()
                       for a, b in zip(mattes, exact)]) / 255 * 1e3


def size(clip):
    return cv2.imread(str(next((clip / "src").iterdir()))).shape


def splices(options):
    ratios, found = [], 0
    pairs = [(a, b) for a, b in itertools.permutations(options.truth, 2) if size(a) == size(b)]
    for a, b in pairs:
        folder = options.work / f"{a.name}-{b.name}"
        (folder / "src").mkdir(parents=True)
        frames = sorted((a / "src").iterdir())[-BEFORE:] + sorted((b / "src").iterdir())[:AFTER]
        for i, frame in enumerate(frames):
            (folder / "src" / f"{i:04}{frame.suffix}").symlink_to(frame.resolve())
        cuts = matte(options, options.library, folder / "src", folder / "on", "on")
        matte(options, options.library, folder / "src", folder / "off", "off")
        with_reset, without = (error(folder / way, b, BEFORE) for way in ("on", "off"))
        ratios.append(with_reset / without)
        found += cuts == 1
        print(f"{a.name} -> {b.name}: {cuts} cut(s), MAD {with_reset:.2f} with, {without:.2f} without",
              flush=True)
    print(f"\n{found} of {len(pairs)} cuts found; MAD of the {MEASURED} frames behind them, with over "
          f"without: geometric mean {numpy.exp(numpy.mean(numpy.log(ratios))):.3f}, "
          f"best {min(ratios):.2f}, worst {max(ratios):.2f}\n")


def harmless(options):
    films = [(clip.name, ["-framerate", "25", "-pattern_type", "glob", "-i",
                          clip / "src" / ("*" + next((clip / "src").iterdir()).suffix)])
             for clip in options.truth] + [(film.stem, ["-i", film]) for film in options.films]
    total = {}
    for name, (film, source) in itertools.product(HARMLESS, films):
        clip = options.work / "clip.mkv"
        run("ffmpeg", "-v", "error", "-y", *source, "-frames:v", "75", "-filter_complex",
            "scale=512:-2," + HARMLESS[name], "-c:v", "ffv1", clip)
        cuts = matte(options, options.small_library, clip, options.work / "matte.mkv", "on")
        total[name] = total.get(name, 0) + cuts
        if cuts:
            print(f"WRONG: {name}, {film}: {cuts}", flush=True)
    for name, cuts in total.items():
        print(f"{name}: {cuts} in {len(films)} clips")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mattec")
    parser.add_argument("library")
    parser.add_argument("small_library")
    parser.add_argument("--truth", nargs="+", type=pathlib.Path, required=True)
    parser.add_argument("--films", nargs="*", type=pathlib.Path, default=[])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    splices(options)
    harmless(options)


if __name__ == "__main__":
    main()
