#!/usr/bin/env python3
"""Composes clips to compare settings by: the subjects of some videos, cut out by a float network's mattes, before still pictures.

    benchmarks/compose_clips.py build/bin/mattec rvm_mobilenetv3.safetensors --clips clips/calibration/* --backgrounds pictures/* -o dev
    build/bin/mattec eval out/host dev/clips/*

Writes recorded clips: src/ with the frames and pha/ with the mattes that the float network makes of them. So `mattec eval` prints
how far another network is from the float one: MAD is mean |alpha - float alpha|, dtSSD how that changes in time. Each video gives
two clips of the same frames: in place, and at 0.65 of the size at the lower edge; pictures take turns and move slowly. Every
video shows what follows its first 72 frames, which calibration never plays, or where it is shorter its last frames. Wants numpy and
opencv-python.
"""
import argparse, pathlib, subprocess, sys

import cv2
import numpy

SMALL = 0.65


class Failed(Exception):
    pass


def cover(picture, width, height):
    """Scaled to cover width x height and cut in the middle."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    y, x = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[y:y + height, x:x + width]


def read_frames(path, first, count):
    video, frames = cv2.VideoCapture(str(path)), []
    while len(frames) < first + count:
        there, frame = video.read()
        if not there:
            break
        frames.append(frame)
    if len(frames) < count:
        raise Failed(f"{path}: {len(frames)} frames; {count} are needed")
    return frames[-count:]


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i:04d}.png"), frame)


def matte(arguments, clip):
    """The float network's mattes of clip/src, written to clip/pha."""
    command = [arguments.mattec, "run", arguments.model, clip / "src", "-o", clip / "pha", "--threads", "2"]
    result = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        raise Failed(result.stderr.strip().splitlines()[-1])
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted((clip / "pha").iterdir())]


def shrunk(picture, small):
    """At SMALL of its size at the lower edge of an otherwise black picture of the same size."""
    if not small:
        return picture
    height, width = picture.shape[:2]
    w, h = int(width * SMALL), int(height * SMALL)
    result = numpy.zeros_like(picture)
    x = (width - w) // 2
    result[height - h:, x:x + w] = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    return result


def composed(frames, mattes, background, small):
    height, width = frames[0].shape[:2]
    count = len(frames)
    wide = cover(background, width + 2 * count, height + 9 * count // 8)
    result = []
    for i, (frame, alpha) in enumerate(zip(frames, mattes)):
        y, x = 9 * i // 8, 2 * i
        behind = wide[y:y + height, x:x + width]
        share = shrunk(alpha, small)[..., None].astype(numpy.float32) / 255
        result.append(numpy.rint(share * shrunk(frame, small) + (1 - share) * behind).astype(numpy.uint8))
    return result


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mattec", help="the command, build/bin/mattec")
    parser.add_argument("model", help="a float network")
    parser.add_argument("--clips", nargs="+", required=True, type=pathlib.Path, metavar="VIDEO")
    parser.add_argument("--backgrounds", nargs="+", required=True, type=pathlib.Path, metavar="PICTURE", help="without people")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    return parser.parse_args()


def main():
    arguments = parse()
    width, height = map(int, arguments.size.split("x"))
    backgrounds = [(path.stem, cv2.imread(str(path))) for path in arguments.backgrounds]
    for path, (_, picture) in zip(arguments.backgrounds, backgrounds):
        if picture is None:
            raise Failed(f"{path}: no picture")
    for i, path in enumerate(arguments.clips):
        print(f"{path.stem} ...", file=sys.stderr, flush=True)
        frames = [cover(frame, width, height) for frame in read_frames(path, 72, arguments.frames)]
        subject = arguments.output / "subjects" / path.stem
        write_frames(subject / "src", frames)
        mattes = matte(arguments, subject)
        for small in (False, True):
            name, background = backgrounds[(2 * i + 7 * small) % len(backgrounds)]
            clip = arguments.output / "clips" / f"{path.stem}-{name}"
            write_frames(clip / "src", composed(frames, mattes, background, small))
            matte(arguments, clip)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"compose_clips.py: {failure}")
    except FileExistsError as failure:
        sys.exit(f"compose_clips.py: {failure.filename} exists; name another folder")
