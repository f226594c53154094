#include "ir/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace mattec::ir {
namespace {

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return buffer;
}

std::string compare(const char* what, double a, double b) {
  return a == b ? "" : std::string(what) + ": " + text(a) + " and " + text(b);
}

template <typename T>
std::string compare(const char* what, const std::vector<T>& a, const std::vector<T>& b,
                    double tolerance) {
  if (a.size() != b.size())
    return std::string(what) + ": " + std::to_string(a.size()) + " and " +
           std::to_string(b.size()) + " entries";
  if (a == b) return "";
  double largest = 0;
  for (const T& value : a) largest = std::max(largest, std::fabs(double(value)));
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = std::fabs(double(a[i]) - double(b[i])) <= tolerance * largest;
    if (!same)
      return compare((std::string(what) + "[" + std::to_string(i) + "]").c_str(), double(a[i]),
                     double(b[i]));
  }
  return "";
}

std::string convolution_difference(const Convolution& a, const Convolution& b, double tolerance) {
  std::string found;
  const auto differs = [&](std::string difference) {
    found = std::move(difference);
    return !found.empty();
  };
  if (differs(compare("kernel", a.kernel, b.kernel)) ||
      differs(compare("stride", a.stride, b.stride)) ||
      differs(compare("padding", a.padding, b.padding)) ||
      differs(compare("dilation", a.dilation, b.dilation)) ||
      differs(compare("depthwise", a.depthwise, b.depthwise)) ||
      differs(compare("output channels", a.output_channels, b.output_channels)) ||
      differs(compare("residual", a.has_residual, b.has_residual)) ||
      differs(compare("pad value", a.pad_value, b.pad_value, tolerance)) ||
      differs(compare("weight", a.weight, b.weight, tolerance)) ||
      differs(compare("bias", a.bias, b.bias, tolerance)) ||
      differs(compare("weight bits", a.weight_bits, b.weight_bits)) ||
      differs(compare("quantized weight", a.quantized_weight, b.quantized_weight, 0)) ||
      differs(compare("quantized bias", a.quantized_bias, b.quantized_bias, 0)) ||
      differs(compare("accumulator scale", a.accumulator_scale, b.accumulator_scale, tolerance)) ||
      differs(compare("segment shift", a.segment_shift, b.segment_shift, 0)))
    return found;
  return "";
}

}  // namespace

std::string attribute_difference(const Op& a, const Op& b, double tolerance) {
  if (a.kind != b.kind) return std::string("kind: ") + name_of(a.kind) + " and " + name_of(b.kind);
  if (a.activation != b.activation)
    return std::string("activation: ") + name_of(a.activation) + " and " + name_of(b.activation);
  if (a.rounding != b.rounding) return "rounding";
  std::string found;
  const auto differs = [&](std::string difference) {
    found = std::move(difference);
    return !found.empty();
  };
  if (differs(compare("first channel", a.first_channel, b.first_channel)) ||
      differs(compare("channels", a.channels, b.channels, 0)) ||
      differs(convolution_difference(a.conv, b.conv, tolerance)) ||
      differs(compare("factor", a.factor, b.factor, tolerance)) ||
      differs(compare("offset", a.offset, b.offset, tolerance)) ||
      differs(compare("mean", a.mean, b.mean, tolerance)) ||
      differs(compare("variance", a.variance, b.variance, tolerance)) ||
      differs(compare("gamma", a.gamma, b.gamma, tolerance)) ||
      differs(compare("beta", a.beta, b.beta, tolerance)) ||
      differs(compare("epsilon", a.epsilon, b.epsilon)))
    return found;
  return "";
}

std::string first_difference(const Graph& a, const Graph& b, double tolerance) {
  const size_t ops = std::min(a.ops.size(), b.ops.size());
  for (size_t i = 0; i < ops; ++i) {
    const Op &x = a.ops[i], &y = b.ops[i];
    const std::string place = "operation " + std::to_string(i) + " '" + x.name + "': ";
    if (x.name != y.name) return place + "the other's name is '" + y.name + "'";
    const std::string difference = attribute_difference(x, y, tolerance);
    if (!difference.empty()) return place + difference;
    if (x.inputs != y.inputs) return place + "inputs differ";
    if (x.output != y.output) return place + "outputs differ";
  }
  if (a.ops.size() != b.ops.size())
    return std::to_string(a.ops.size()) + " and " + std::to_string(b.ops.size()) + " operations";
  if (a.tensors.size() != b.tensors.size())
    return std::to_string(a.tensors.size()) + " and " + std::to_string(b.tensors.size()) +
           " tensors";
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    const Tensor &x = a.tensors[i], &y = b.tensors[i];
    if (x.name != y.name || x.channels != y.channels || !(x.grid == y.grid))
      return "tensor " + std::to_string(i) + " '" + x.name + "': name, channels or grid differ";
  }
  if (a.states.size() != b.states.size()) return "number of states";
  for (size_t i = 0; i < a.states.size(); ++i)
    if (a.states[i].name != b.states[i].name || a.states[i].input != b.states[i].input ||
        a.states[i].output != b.states[i].output)
      return "state '" + a.states[i].name + "'";
  if (a.outputs.size() != b.outputs.size()) return "number of outputs";
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].name != b.outputs[i].name || a.outputs[i].tensor != b.outputs[i].tensor ||
        a.outputs[i].variant != b.outputs[i].variant)
      return "output '" + a.outputs[i].name + "'";
  if (a.name != b.name) return "names '" + a.name + "' and '" + b.name + "'";
  if (a.frame != b.frame || a.stage != b.stage) return "frame or stage";
  return "";
}

}  // namespace mattec::ir
