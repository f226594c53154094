// mattec inspect: what is in a model or a compiled library.
#include <fmt/core.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "frontend/read_network.h"
#include "ir/graph.h"
#include "ir/model_file.h"
#include "tools/engine.h"
#include "tools/inspect_library.h"
#include "tools/json_text.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

using Json = nlohmann::ordered_json;

struct InspectArguments {
  std::string path;
  bool json = false;
};

struct WeightCount {
  size_t parameters = 0;  // weights and biases
  size_t bytes = 0;       // of the weights as the engine stores them
};

WeightCount count_weights(const ir::Graph& graph) {
  WeightCount count;
  for (const ir::Op& op : graph.ops) {
    const ir::Convolution& conv = op.conv;
    if (graph.stage == ir::Stage::quantized) {
      count.parameters += conv.quantized_weight.size() + conv.quantized_bias.size();
      count.bytes += (conv.quantized_weight.size() * static_cast<size_t>(conv.weight_bits) + 7) / 8;
    } else {
      count.parameters += conv.weight.size() + conv.bias.size();
      count.bytes += conv.weight.size() * sizeof(float);
    }
  }
  return count;
}

Json names_of(const std::vector<ir::State>& states) {
  Json names = Json::array();
  for (const ir::State& state : states) names.push_back(state.name);
  return names;
}

bool has_foreground(const ir::Graph& graph) {
  return graph.find_output("fgr", ir::Variant::direct) != nullptr;
}

Json to_json(const std::string& path, const ir::Graph& graph) {
  const WeightCount weights = count_weights(graph);
  Json operations = Json::array();
  for (const ir::Op& op : graph.ops)
    operations.push_back({{"name", op.name},
                          {"kind", ir::name_of(op.kind)},
                          {"channels", graph.tensor(op.output).channels}});
  Json outputs = Json::array();
  for (const ir::Output& output : graph.outputs) outputs.push_back(output.name);
  return {{"file", path},
          {"network", graph.name},
          {"stage", ir::name_of(graph.stage)},
          {"parameters", weights.parameters},
          {"weight_bytes", weights.bytes},
          {"states", names_of(graph.states)},
          {"outputs", outputs},
          {"foreground", has_foreground(graph)},
          {"operations", operations}};
}

void print_graph(const std::string& path, const ir::Graph& graph) {
  const WeightCount weights = count_weights(graph);
  std::map<std::string, int> kinds;
  for (const ir::Op& op : graph.ops) ++kinds[ir::name_of(op.kind)];
  std::string counts;
  for (const auto& [kind, count] : kinds)
    counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, kind);
  fmt::print("{}: {}, {} graph of {} operations ({})\n", printable(path), printable(graph.name),
             ir::name_of(graph.stage), graph.ops.size(), counts);
  fmt::print("{} parameters, weights {:.2f} MB, {} recurrent states\n", weights.parameters,
             static_cast<double>(weights.bytes) / 1e6, graph.states.size());
  if (!has_foreground(graph))
    fmt::print("no foreground: composites take the frame's own colours\n");
  fmt::print("\n{}", ir::dump(graph));
}

void inspect(const InspectArguments& arguments) {
  if (names_libraries(arguments.path)) return inspect_libraries(arguments.path, arguments.json);
  const bool is_model = std::filesystem::path(arguments.path).extension() == ".mattec";
  const ir::Graph graph =
      is_model ? ir::read_model(arguments.path) : frontend::read_network(arguments.path);
  if (arguments.json)
    fmt::print("{}\n", json_text(to_json(arguments.path, graph)));
  else
    print_graph(arguments.path, graph);
}

}  // namespace

void add_inspect(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("inspect", "Show what is in a model or library");
  const auto arguments = std::make_shared<InspectArguments>();
  verb->add_option("FILE", arguments->path,
                   "A .mattec file, a float network, a compiled library (.a) or a folder of those")
      ->required();
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { inspect(*arguments); });
}

}  // namespace mattec::tools
