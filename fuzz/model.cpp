// .mattec files: the bytes as they are, and the graph's JSON alone in a file whose arrays are
// sound. What is accepted must also run.
#include "base/error.h"
#include "fuzz/fuzz.h"
#include "ir/graph_json.h"
#include "ir/interpreter.h"
#include "ir/model_file.h"
#include "ir/sizes.h"

namespace {

using namespace mattec::ir;  // NOLINT

// The first byte of an input says which of the two follows.
constexpr char whole_file = 'f', graph_alone = 'g';

Grid unit_grid() { return {8, false, {1.0F / 255.0F}, {0}}; }

TensorId convolution(Graph& graph, const std::string& name, TensorId input, int out, int kernel) {
  Op op;
  op.name = name;
  op.inputs = {input};
  Convolution& conv = op.conv;
  conv.kernel = kernel;
  conv.padding = kernel / 2;
  conv.output_channels = out;
  const auto weights = static_cast<size_t>(out * graph.tensor(input).channels * kernel * kernel);
  conv.quantized_weight.assign(weights, 1);
  conv.quantized_bias.assign(static_cast<size_t>(out), 0);
  conv.accumulator_scale.assign(static_cast<size_t>(out), 1e-3F);
  conv.segment_shift = {0};
  const TensorId made = graph.add_op(op, out);
  graph.tensor(made).grid = unit_grid();
  return made;
}

Graph small_graph() {
  Graph graph;
  graph.name = "small";
  graph.stage = Stage::quantized;
  graph.frame = graph.add_tensor("frame", 3);
  graph.tensor(graph.frame).grid = unit_grid();
  const TensorId hidden = convolution(graph, "stem", graph.frame, 4, 3);
  graph.outputs.push_back({"fgr", convolution(graph, "fgr", hidden, 3, 1), Variant::both});
  graph.outputs.push_back({"pha", convolution(graph, "pha", hidden, 1, 1), Variant::both});
  return graph;
}

// Graphs that ask for much memory at run time are `mattec compile`'s and `run`'s to refuse.
bool is_small(const Graph& graph) {
  int64_t channels = 0;
  for (const Tensor& tensor : graph.tensors) channels += tensor.channels;
  return graph.ops.size() < 64 && channels < 4096;
}

void run(const Graph& graph) {
  if (graph.stage != Stage::quantized || !is_small(graph)) return;
  Interpreter interpreter(graph, {5, 7});
  interpreter.step(std::vector<uint8_t>(105, 99).data());
}

void read(const Container& container) {
  try {
    run(from_container(container, "file"));
  } catch (const mattec::Error&) {
    // One clear error.
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const Graph graph = small_graph();
  const std::vector<uint8_t> bytes = model_bytes(graph, "seed");
  return {whole_file + std::string(bytes.begin(), bytes.end()),
          graph_alone + to_container(graph).metadata.at("graph")};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const Container sound = to_container(small_graph());
  if (*data == graph_alone) {
    Container container = sound;
    container.metadata["graph"].assign(reinterpret_cast<const char*>(data) + 1, size - 1);
    read(container);
    return 0;
  }
  Container container;
  try {
    container = parse_safetensors({data + 1, data + size}, "file");
  } catch (const mattec::Error&) {
    return 0;
  }
  read(container);
  return 0;
}
