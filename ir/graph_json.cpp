#include "ir/graph_json.h"

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ir/json_limits.h"
#include "ir/names.h"

namespace mattec::ir {
namespace {

using nlohmann::json;

constexpr int largest_int = std::numeric_limits<int>::max();
constexpr int smallest_int = std::numeric_limits<int>::min();

const char* name_of(Variant variant) {
  static const char* const names[] = {"both", "direct", "refined"};
  return names[static_cast<size_t>(variant)];
}

const char* name_of(Rounding rounding) {
  return rounding == Rounding::down ? "down" : "nearest_even";
}

// --- writing ---

json grid_json(const Grid& grid) {
  json made = {{"bits", grid.bits}, {"signed", grid.is_signed}};
  if (grid.per_channel()) {
    made["per_channel"] = true;
  } else {
    made["scale"] = grid.scale.at(0);
    made["zero_point"] = grid.zero_point.at(0);
  }
  return made;
}

json convolution_json(const Graph& graph, const Op& op) {
  const Convolution& conv = op.conv;
  json made = {{"kernel", conv.kernel},         {"stride", conv.stride},
               {"padding", conv.padding},       {"dilation", conv.dilation},
               {"depthwise", conv.depthwise},   {"output_channels", conv.output_channels},
               {"residual", conv.has_residual}, {"weight_shape", weight_shape(graph, op)}};
  if (!conv.pad_value.empty()) made["pad_value"] = conv.pad_value;
  if (graph.stage == Stage::quantized) {
    made["weight_bits"] = conv.weight_bits;
    made["segment_shift"] = conv.segment_shift;
  }
  return made;
}

json op_json(const Graph& graph, const Op& op) {
  json made = {{"name", op.name}, {"kind", ir::name_of(op.kind)}};
  made["output"] = graph.tensor(op.output).name;
  made["inputs"] = json::array();
  for (TensorId input : op.inputs) made["inputs"].push_back(graph.tensor(input).name);
  if (op.activation != Activation::none) made["activation"] = ir::name_of(op.activation);
  if (op.rounding != Rounding::nearest_even) made["rounding"] = name_of(op.rounding);
  if (op.kind == OpKind::slice) made["first_channel"] = op.first_channel;
  if (!op.channels.empty()) made["channels"] = op.channels;
  if (op.kind == OpKind::conv) made["conv"] = convolution_json(graph, op);
  return made;
}

// --- reading ---

// One JSON object of the graph, with its place for messages.
class Fields {
 public:
  Fields(const json& value, std::string place) : value_(value), place_(std::move(place)) {
    if (!value_.is_object()) fail("is not an object");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(place_ + ": " + what + "; the file is damaged or not made by mattec");
  }
  bool has(const char* key) const { return value_.contains(key); }
  const json& at(const char* key) const {
    if (!has(key)) fail(std::string(key) + " is missing");
    return value_.at(key);
  }
  const json& list(const char* key) const {
    if (!at(key).is_array()) fail(std::string(key) + " is not a list");
    return at(key);
  }
  std::string text(const char* key) const { return text(at(key), key); }
  std::string text(const json& value, const char* key) const {
    if (!value.is_string()) fail(std::string(key) + " is not a text");
    return value.get<std::string>();
  }
  bool flag(const char* key) const {
    if (!at(key).is_boolean()) fail(std::string(key) + " is neither true nor false");
    return at(key).get<bool>();
  }
  int integer(const char* key) const { return integer(at(key), key); }
  int integer(const json& value, const char* key) const {
    const bool fits = value.is_number_unsigned()
                          ? value.get<uint64_t>() <= static_cast<uint64_t>(largest_int)
                          : value.is_number_integer() && value.get<int64_t>() >= smallest_int;
    if (!fits) fail(std::string(key) + " is not a 32-bit integer");
    return value.get<int>();
  }
  float real(const json& value, const char* key) const {
    const double number = value.is_number() ? value.get<double>() : HUGE_VAL;
    if (!(std::fabs(number) <= std::numeric_limits<float>::max()))
      fail(std::string(key) + " is not a number of 32 bits");
    return static_cast<float>(number);
  }
  // The enumerator whose name the text is; the enumeration's last one closes the search.
  template <typename Enum, typename NameOf>
  Enum choice(const char* key, Enum last, const NameOf& name) const {
    const std::string wanted = text(key);
    for (int i = 0; i <= static_cast<int>(last); ++i)
      if (wanted == name(static_cast<Enum>(i))) return static_cast<Enum>(i);
    fail(std::string(key) + " " + shown_name(wanted) +
         " is unknown; use the mattec that wrote the file");
  }

 private:
  const json& value_;
  std::string place_;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  Graph read(const std::string& text) {
    const std::string excess = json_excess(text.data(), text.size());
    if (!excess.empty()) throw Error(path_ + ": graph: " + excess + "; the file is damaged");
    const json root = json::parse(text, nullptr, false);
    if (root.is_discarded()) throw Error(path_ + ": graph: is not JSON; the file is damaged");
    const Fields fields(root, path_ + ": graph");
    graph_.name = fields.text("name");
    graph_.stage =
        fields.choice("stage", Stage::quantized, [](Stage stage) { return ir::name_of(stage); });
    for (const json& each : fields.list("tensors")) tensor(each);
    graph_.frame = id_of(fields, fields.text("frame"));
    for (const json& each : fields.list("ops")) operation(each);
    for (const json& each : fields.list("states")) {
      const Fields state = item(each, "state", graph_.states.size());
      graph_.states.push_back({state.text("name"), id_of(state, state.text("input")),
                               id_of(state, state.text("output"))});
    }
    for (const json& each : fields.list("outputs")) {
      const Fields output = item(each, "output", graph_.outputs.size());
      graph_.outputs.push_back(
          {output.text("name"), id_of(output, output.text("tensor")),
           output.choice("variant", Variant::refined, [](Variant v) { return name_of(v); })});
    }
    return std::move(graph_);
  }

 private:
  // An element of a list; its place is its name if it has one, else its number.
  Fields item(const json& value, const char* what, size_t number) const {
    std::string name = std::to_string(number);
    if (value.is_object() && value.contains("name") && value["name"].is_string())
      name = shown_name(value["name"].get<std::string>());
    return {value, path_ + ": " + what + " " + name};
  }

  TensorId id_of(const Fields& fields, const std::string& name) const {
    const auto found = ids_.find(name);
    if (found == ids_.end()) fields.fail("tensor " + shown_name(name) + " does not exist");
    return found->second;
  }

  void tensor(const json& value) {
    const Fields fields = item(value, "tensor", graph_.tensors.size());
    const std::string name = fields.text("name");
    const TensorId id = graph_.add_tensor(name, fields.integer("channels"));
    if (!ids_.emplace(name, id).second) fields.fail("its name is not unique");
    if (!fields.has("grid")) return;
    const Fields from(fields.at("grid"), path_ + ": grid of tensor " + shown_name(name));
    Grid grid;
    grid.bits = from.integer("bits");
    grid.is_signed = from.flag("signed");
    if (!from.has("per_channel") || !from.flag("per_channel")) {
      grid.scale = {from.real(from.at("scale"), "scale")};
      grid.zero_point = {from.integer("zero_point")};
    }
    graph_.tensor(id).grid = grid;
  }

  void operation(const json& value) {
    const Fields fields = item(value, "operation", graph_.ops.size());
    Op op;
    op.name = fields.text("name");
    op.kind =
        fields.choice("kind", OpKind::channel_mean, [](OpKind kind) { return ir::name_of(kind); });
    op.output = id_of(fields, fields.text("output"));
    for (const json& input : fields.list("inputs"))
      op.inputs.push_back(id_of(fields, fields.text(input, "input")));
    if (fields.has("activation"))
      op.activation = fields.choice("activation", Activation::tanh,
                                    [](Activation a) { return ir::name_of(a); });
    if (fields.has("rounding"))
      op.rounding =
          fields.choice("rounding", Rounding::down, [](Rounding r) { return name_of(r); });
    if (op.kind == OpKind::slice) op.first_channel = fields.integer("first_channel");
    if (op.kind == OpKind::requantize && fields.has("channels"))
      for (const json& channel : fields.list("channels"))
        op.channels.push_back(fields.integer(channel, "channels"));
    if (op.kind == OpKind::conv)
      convolution(Fields(fields.at("conv"), path_ + ": operation " + shown_name(op.name)), op.conv);
    graph_.ops.push_back(std::move(op));
  }

  void convolution(const Fields& fields, Convolution& conv) const {
    conv.kernel = fields.integer("kernel");
    conv.stride = fields.integer("stride");
    conv.padding = fields.integer("padding");
    conv.dilation = fields.integer("dilation");
    conv.depthwise = fields.flag("depthwise");
    conv.output_channels = fields.integer("output_channels");
    conv.has_residual = fields.flag("residual");
    if (fields.has("pad_value"))
      for (const json& value : fields.list("pad_value"))
        conv.pad_value.push_back(fields.real(value, "pad_value"));
    if (graph_.stage != Stage::quantized) return;
    conv.weight_bits = fields.integer("weight_bits");
    for (const json& value : fields.list("segment_shift"))
      conv.segment_shift.push_back(fields.integer(value, "segment_shift"));
  }

  std::string path_;
  Graph graph_;
  std::map<std::string, TensorId> ids_;
};

}  // namespace

std::vector<int64_t> weight_shape(const Graph& graph, const Op& op) {
  int64_t inputs = 0;
  for (int s = 0; s < op.segment_count(); ++s)
    inputs += graph.tensor(op.inputs[static_cast<size_t>(s)]).channels;
  return {op.conv.output_channels, op.conv.depthwise ? 1 : inputs, op.conv.kernel, op.conv.kernel};
}

std::string graph_to_json(const Graph& graph) {
  json made = {{"name", graph.name},
               {"stage", ir::name_of(graph.stage)},
               {"frame", graph.tensor(graph.frame).name}};
  for (const char* key : {"tensors", "ops", "states", "outputs"}) made[key] = json::array();
  for (const Tensor& tensor : graph.tensors) {
    json each = {{"name", tensor.name}, {"channels", tensor.channels}};
    if (tensor.grid) each["grid"] = grid_json(*tensor.grid);
    made["tensors"].push_back(each);
  }
  for (const Op& op : graph.ops) made["ops"].push_back(op_json(graph, op));
  for (const State& state : graph.states)
    made["states"].push_back({{"name", state.name},
                              {"input", graph.tensor(state.input).name},
                              {"output", graph.tensor(state.output).name}});
  for (const Output& output : graph.outputs)
    made["outputs"].push_back({{"name", output.name},
                               {"tensor", graph.tensor(output.tensor).name},
                               {"variant", name_of(output.variant)}});
  try {
    return made.dump();
  } catch (const json::exception&) {
    throw Error("network " + graph.name + ": cannot write: a name in it is not UTF-8; rename it");
  }
}

Graph graph_from_json(const std::string& text, const std::string& path) {
  return Reader(path).read(text);
}

}  // namespace mattec::ir
