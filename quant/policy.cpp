#include "quant/policy.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/read_file.h"
#include "ir/json_limits.h"
#include "quant/copies.h"

namespace mattec::quant {
namespace {

using Json = nlohmann::json;

std::string entry_of(const std::string& place, const std::string& key) {
  return place + " \"" + key + "\"";
}

int bits_from(const Json& value, const std::string& place) {
  if (!value.is_number_integer() || (value != 4 && value != 8))
    throw Error(place + " must be 4 or 8");
  return value.get<int>();
}

std::map<std::string, int> map_from(const Json& value, const std::string& place) {
  if (!value.is_object()) throw Error(place + " must be an object of names and bits");
  std::map<std::string, int> bits;
  for (const auto& [name, entry] : value.items())
    bits[name] = bits_from(entry, entry_of(place, name));
  return bits;
}

std::map<std::string, std::vector<int>> channels_from(const Json& value, const std::string& place) {
  if (!value.is_object()) throw Error(place + " must be an object of names and lists of channels");
  std::map<std::string, std::vector<int>> channels;
  for (const auto& [name, list] : value.items()) {
    const auto is_channel = [](const Json& channel) {
      return channel.is_number_unsigned() && channel <= std::numeric_limits<int>::max();
    };
    if (!list.is_array() || list.empty() || !std::all_of(list.begin(), list.end(), is_channel))
      throw Error(entry_of(place, name) + " must be a list of channels");
    channels[name] = list.get<std::vector<int>>();
  }
  return channels;
}

}  // namespace

int BitPolicy::of_weights(const std::string& convolution) const {
  const auto found = weight_bits.find(convolution);
  return found == weight_bits.end() ? weights : found->second;
}

int BitPolicy::of_input(const std::string& tensor, const std::string& convolution) const {
  auto found = activation_bits.find(tensor + " > " + convolution);
  if (found == activation_bits.end()) found = activation_bits.find(tensor);
  return found == activation_bits.end() ? activations : found->second;
}

BitPolicy read_policy(const std::string& file) {
  const std::string text = read_file(file, ir::most_json_bytes);
  const std::string excess = ir::json_excess(text.data(), text.size());
  if (!excess.empty()) throw Error(file + ": " + excess + "; give a bit policy as a .json file");
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw Error(file + ": is not JSON: " + error.what());
  }
  if (!json.is_object()) throw Error(file + ": a bit policy is a JSON object");
  BitPolicy policy;
  for (const auto& [key, value] : json.items()) {
    const std::string place = entry_of(file + ":", key);
    if (key == "weights")
      policy.weights = bits_from(value, place);
    else if (key == "activations")
      policy.activations = bits_from(value, place);
    else if (key == "weight_bits")
      policy.weight_bits = map_from(value, place);
    else if (key == "activation_bits")
      policy.activation_bits = map_from(value, place);
    else if (key == "high_channels")
      policy.high_channels = channels_from(value, place);
    else
      throw Error(place +
                  " is unknown; a bit policy has weights, activations, weight_bits, "
                  "activation_bits and high_channels");
  }
  return policy;
}

std::string policy_json(const BitPolicy& policy) {
  return Json({{"weights", policy.weights},
               {"activations", policy.activations},
               {"weight_bits", policy.weight_bits},
               {"activation_bits", policy.activation_bits},
               {"high_channels", policy.high_channels}})
      .dump(2);
}

void check_policy(const BitPolicy& policy, const ir::Graph& fused) {
  std::set<std::string> convolutions, names;
  for (const ir::Tensor& tensor : fused.tensors) names.insert(tensor.name);
  for (const ir::Op& op : fused.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    convolutions.insert(op.name);
    for (const ir::TensorId input : op.inputs)
      names.insert(fused.tensor(input).name + " > " + op.name);
  }
  const std::set<std::string> keys = activation_keys(fused);
  names.insert(keys.begin(), keys.end());
  for (const auto& [name, bits] : policy.weight_bits)
    if (convolutions.count(name) == 0)
      throw Error("bit policy: " + fused.name + " has no convolution \"" + name +
                  "\"; mattec inspect lists them");
  for (const auto& [name, bits] : policy.activation_bits) {
    if (names.count(name) == 0)
      throw Error("bit policy: " + fused.name + " has no tensor, or tensor > convolution, \"" +
                  name + "\"; mattec inspect lists them");
    if (keys.count(name) == 0)
      throw Error("bit policy: \"" + name + "\" of " + fused.name +
                  " leaves no choice; choose for what convolutions read, by the name of what it is "
                  "a slice or resampling of, not for frames, gates, pooled vectors or outputs");
  }
}

double segment_macs(const ir::Graph& graph, const ir::Op& op, int j, ir::Size size) {
  const int outputs = op.conv.depthwise ? 1 : op.conv.output_channels;
  const int inputs = graph.tensor(op.inputs[static_cast<size_t>(j)]).channels;
  return static_cast<double>(op.conv.kernel) * op.conv.kernel * size.height * size.width * outputs *
         inputs;
}

LowBitShare low_bit_share(const ir::Graph& graph, ir::Size frame) {
  const std::vector<ir::Size> sizes = ir::infer_sizes(graph, frame);
  LowBitShare result;
  for (const ir::Op& op : graph.ops) {
    if (op.kind != ir::OpKind::conv) continue;
    for (int j = 0; j < op.segment_count(); ++j) {
      const double macs = segment_macs(graph, op, j, sizes[static_cast<size_t>(op.output)]);
      const ir::Tensor& input = graph.tensor(op.inputs[static_cast<size_t>(j)]);
      result.macs += macs;
      if (op.conv.weight_bits == 4 && input.grid->bits == 4) result.share += macs;
    }
  }
  if (result.macs > 0) result.share /= result.macs;
  return result;
}

}  // namespace mattec::quant
