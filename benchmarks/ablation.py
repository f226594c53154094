#!/usr/bin/env python3
"""Quantizes a network by every method at every bit width, and compares the results with it on clips whose mattes are known.

Prints two markdown tables: each result's MAD and dtSSD over the float network's with its cost, and the metrics as the papers
print them. The first tells of clips whose frames are PNG files its distance from the float network, too: mean |alpha - float alpha|
x1e3 and dtSSD x1e2 of that difference, geometric means. A row takes minutes; what the output folder already holds is not run
again, so the script may be interrupted.

    benchmarks/ablation.py build/bin/mattec rvm_mobilenetv3.safetensors --calibration clips/calibration --truth clips/truth/* -o out

A truth clip whose frames are PNG files is played by a library compiled for `host` and its size (the same bits as the
interpreter's, half a second a frame faster), any other by the interpreter. Another build of mattec wants another output folder.
"""
import argparse, itertools, json, math, os, pathlib, re, shutil, struct, subprocess, sys, time

METRICS = ("mad", "mse", "grad", "conn", "dtssd")


class Failed(Exception):
    pass


def run(command, log):
    """Standard output, wall seconds and peak resident bytes of a command; its standard error goes to the file `log`."""
    start = time.monotonic()
    with open(log, "w") as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=errors)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = pathlib.Path(log).read_text(errors="replace").strip().splitlines()
        raise Failed(lines[-1] if lines else f"{command[0]} {command[1]}: exit code {process.returncode}")
    return output, time.monotonic() - start, usage.ru_maxrss * 1024


def png_size(clip):
    """WIDTHxHEIGHT of a clip's frames, or None where they are no PNG files."""
    for picture in sorted(pathlib.Path(clip, "src").glob("*.png")):
        header = picture.open("rb").read(24)
        return "%dx%d" % struct.unpack(">II", header[16:24]) if header[12:16] == b"IHDR" else None
    return None


def write_json(path, value):
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    partial.rename(path)


def kept(path, settings):
    """What an earlier run with the same settings wrote to `path`, or None."""
    if not path.exists():
        return None
    result = json.loads(path.read_text())
    return result if result["settings"] == settings else None


def float_copies(arguments):
    """NAME-float of each clip NAME whose frames are PNG files: the same with the float network's mattes as the exact ones."""
    copies = []
    for clip in map(pathlib.Path, arguments.truth):
        if png_size(clip) is None:
            continue
        copy = arguments.output / pathlib.Path(arguments.model).stem / f"{clip.name}-float"
        settings = {"model": str(pathlib.Path(arguments.model).resolve()), "clip": str(clip.resolve())}
        if kept(copy / "made_of.json", settings) is None:
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir(parents=True)
            (copy / "src").symlink_to((clip / "src").resolve())
            run([arguments.mattec, "run", arguments.model, copy / "src", "-o", copy / "pha"], copy / "run.log")
            write_json(copy / "made_of.json", {"settings": settings})
        copies.append(copy)
    return copies


def evaluate(arguments, clips, network, folder, compiled):
    """The clips' scores by name."""
    groups = {}
    for clip in clips:
        groups.setdefault(png_size(clip) if compiled else None, []).append(clip)
    scores = {}
    for size, clips in groups.items():
        player = network
        if size is not None:
            player = folder / size
            run([arguments.mattec, "compile", network, "--target", "host", "--size", size, "-o", player], folder / "compile.log")
        command = [arguments.mattec, "eval", player, *clips, "--json"]
        if arguments.frames:
            command += ["--frames", arguments.frames]
        for clip in json.loads(run(command, folder / "eval.log")[0])["clips"]:
            scores[clip["name"]] = clip
    return scores


def float_scores(arguments, settings):
    path = arguments.output / "float.json"
    result = kept(path, settings)
    if result is None:
        scores = evaluate(arguments, arguments.truth, arguments.model, arguments.output, compiled=False)
        result = {"settings": settings, "clips": scores}
        write_json(path, result)
    return result["clips"]


def variant_result(arguments, settings, copies, method, bits, gac, ofa):
    """One row: quantized and evaluated, or as an earlier run left it. Raises Failed."""
    folder = arguments.output / "-".join([method, pathlib.Path(bits).stem, "gac", gac, "ofa", ofa])
    folder.mkdir(exist_ok=True)
    settings = dict(settings, method=method, bits=bits, gac=gac, ofa=ofa, calibration=arguments.calibration,
                    size=arguments.size, seed=arguments.seed)
    result = kept(folder / "result.json", settings)
    if result is not None:
        return result
    network = folder / "network.mattec"
    command = [arguments.mattec, "quantize", arguments.model, "--calibration", *arguments.calibration, "--method", method,
               "--size", arguments.size, "--seed", arguments.seed, "-o", network]
    command += ["--bits" if bits in ("w8a8", "w4a8", "w4a4") else "--policy", bits]
    command += [word for name, value in (("--gac", gac), ("--ofa", ofa)) if value != "default" for word in (name, value)]
    _, seconds, peak = run(command, folder / "quantize.log")
    report = json.loads((folder / "network.report.json").read_text())
    scores = evaluate(arguments, [*arguments.truth, *copies], network, folder, compiled=True)
    result = {"settings": settings, "seconds": seconds, "peak_bytes": peak, "weight_bytes": report["weight_bytes"],
              "share_4x4": report["multiplications"]["share_4x4"], "applied": report["settings"],
              "distances": {copy.name: scores.pop(copy.name) for copy in copies}, "clips": scores}
    write_json(folder / "result.json", result)
    return result


def ratios(result, reference, metric):
    """Over the float network's, of the clips where that is not 0."""
    return [clip[metric] / reference[name][metric] for name, clip in result["clips"].items() if reference[name][metric]]


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values and min(values) > 0 else math.nan


def print_table(heads, rows):
    for row in [heads, ["---"] * len(heads), *rows]:
        print("| " + " | ".join(row) + " |")
    print()


def ratio_row(label, result, reference):
    mad, dtssd = ratios(result, reference, "mad"), ratios(result, reference, "dtssd")
    distance = [geometric_mean([clip[metric] for clip in result["distances"].values()]) for metric in ("mad", "dtssd")]
    return [*label, f"{geometric_mean(mad):.4f}", f"{max(mad, default=math.nan):.4f}", f"{geometric_mean(dtssd):.4f}",
            f"{distance[0]:.3f}, {distance[1]:.3f}", f"{100 * result['share_4x4']:.1f} %",
            f"{result['weight_bytes'] / 1e6:.2f} MB", f"{result['seconds']:.0f} s", f"{result['peak_bytes'] / 2**30:.2f} GiB"]


def paper_row(label, clips):
    means = {metric: sum(clip[metric] for clip in clips.values()) / len(clips) for metric in METRICS}
    return [label] + [f"{means[metric]:.3f}" for metric in METRICS]


def known_methods(mattec):
    text = subprocess.run([mattec, "quantize", "--help"], check=True, capture_output=True, text=True).stdout
    return re.search(r"--method \S*?\{([^}]*)\}", text).group(1).split(",")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mattec", help="the command, build/bin/mattec")
    parser.add_argument("model", help="a float network")
    parser.add_argument("--calibration", nargs="+", required=True, metavar="PATH")
    parser.add_argument("--truth", nargs="+", required=True, metavar="CLIP", help="folders with src/ and pha/")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--methods", nargs="+", help="default: all that mattec quantize knows")
    parser.add_argument("--bits", nargs="+", default=["w8a8", "w4a8", "w4a4", "w4a4-96"], help="or policies: .json files")
    choices = {"nargs": "+", "default": ["default"], "choices": ["on", "off", "default"]}
    parser.add_argument("--gac", **choices, help="default: as the method itself has it")
    parser.add_argument("--ofa", **choices, help="likewise")
    parser.add_argument("--size", default="512x288", help="of calibration frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="of each truth clip, at most")
    arguments = parser.parse_args()
    names = [pathlib.Path(clip).name for clip in arguments.truth]
    if len(set(names)) < len(names):
        parser.error("--truth: two clips have one name; results go by it")
    return arguments


def main():
    arguments = parse()
    arguments.output.mkdir(parents=True, exist_ok=True)
    settings = {"model": arguments.model, "truth": arguments.truth, "frames": arguments.frames}
    reference, copies = float_scores(arguments, settings), float_copies(arguments)
    methods = arguments.methods or known_methods(arguments.mattec)
    rows, paper = [], [paper_row("float", reference)]
    for bits, method, gac, ofa in itertools.product(arguments.bits, methods, arguments.gac, arguments.ofa):
        print(f"{method} {bits}, GAC {gac}, OFA {ofa} ...", file=sys.stderr, flush=True)
        try:
            result = variant_result(arguments, settings, copies, method, bits, gac, ofa)
        except Failed as failure:
            print(f"  left out: {failure}", file=sys.stderr)
            continue
        label = [method, bits, result["applied"]["gac"], result["applied"]["ofa"]]
        rows.append(ratio_row(label, result, reference))
        paper.append(paper_row(f"{method} {bits}" + " + GAC" * (label[2] == "on") + " + OFA" * (label[3] == "on"), result["clips"]))
    print_table(["method", "bits", "GAC", "OFA", "MAD over float", "worst clip", "dtSSD over float", "distance, its dtSSD", "4 x 4 bit",
                 "weights", "time", "peak memory"], rows)
    print_table(["network", "MAD e-3", "MSE e-3", "Grad", "Conn", "dtSSD e-2"], paper)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"ablation.py: {failure}")
    except KeyboardInterrupt:
        sys.exit("ablation.py: interrupted; the same command goes on from here")
