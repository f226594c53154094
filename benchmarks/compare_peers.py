#!/usr/bin/env python3
"""Times compiled libraries beside OpenVINO on the same network, interleaved: rounds of both, the minimum of each.

usage: compare_peers.py MATTEC PEERS_DIR LIBRARY_DIR... [--threads 1] [--rounds 5]
MATTEC: build/bin/mattec.  PEERS_DIR: a folder with rvm_512x288.onnx and rvm_512x288.ov8.xml.
LIBRARY_DIR: what `mattec compile --size 512x288` wrote.  Needs the PyPI packages openvino and numpy.
"""
import argparse, json, subprocess, time
import numpy, openvino

MODELS = {"OpenVINO FP32": "rvm_512x288.onnx", "OpenVINO INT8": "rvm_512x288.ov8.xml"}


def load(path, threads):
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()
    inputs = {i.get_any_name(): numpy.random.rand(*i.shape).astype(numpy.float32) for i in request.model_inputs}
    return lambda: request.infer(inputs)


def milliseconds(run, repeats):
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mattec"); parser.add_argument("peers"); parser.add_argument("libraries", nargs="+")
    parser.add_argument("--threads", type=int, default=1); parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    peers = {name: load(f"{arguments.peers}/{file}", arguments.threads) for name, file in MODELS.items()}
    best = {}
    for _ in range(arguments.rounds):
        for name, run in peers.items():
            best[name] = min(best.get(name, float("inf")), milliseconds(run, 10))
        command = [arguments.mattec, "bench", *arguments.libraries, "--threads", str(arguments.threads), "--json"]
        for result in json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["results"]:
            name = "mattec " + result["target"]
            best[name] = min(best.get(name, float("inf")), result["ms_min"])
    for name, time_ms in sorted(best.items(), key=lambda item: item[1]):
        print(f"{name:28} {time_ms:8.2f} ms")


if __name__ == "__main__":
    main()
