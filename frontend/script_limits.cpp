#include "frontend/script_limits.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "frontend/script_operators.h"

namespace mattec::frontend {
namespace {

// A network executes some thousands, lists with some hundreds of entries.
constexpr int64_t most_operations = 200000;
constexpr int64_t most_bytes = int64_t{1} << 30, most_constant_bytes = int64_t{1} << 27;
constexpr size_t most_entries = 300000;
constexpr int64_t most_parts = 4096;  // of a split
// Elements of one tensor: computed from the frame, or constant.
constexpr double largest_tensor = 1 << 25, largest_constant = 1 << 22;

// Entries of `value`, a list of numbers, multiplied; one number stands for a square.
double product(const ScriptValue& value) {
  double count = 1;
  if (!value.items) return value.concrete.isInt() ? std::pow(value.concrete.toInt(), 2) : 1;
  for (const ScriptValue& item : *value.items)
    if (item.concrete.isScalar()) count *= item.concrete.toScalar().toDouble();
  return count;
}

// Elements of what operators make of these tensors by broadcasting.
double broadcast(const std::vector<at::Tensor>& tensors) {
  std::vector<int64_t> extents;
  for (const at::Tensor& tensor : tensors)
    for (int64_t i = 0; i < tensor.dim(); ++i) {
      if (extents.size() <= static_cast<size_t>(i)) extents.push_back(0);
      int64_t& extent = extents[static_cast<size_t>(i)];
      extent = std::max(extent, tensor.size(tensor.dim() - 1 - i));
    }
  double count = 1;
  for (int64_t extent : extents) count *= static_cast<double>(extent);
  return count;
}

// At most so many elements: stride and dilation only make it smaller.
double convolved(const at::Tensor& x, const at::Tensor& weight, const ScriptValue& padding) {
  if (x.dim() != 4 || weight.dim() != 4) return 0;  // LibTorch refuses, or the recorder does
  double pixels = static_cast<double>(x.size(0) * weight.size(0));
  for (size_t i = 0; i < 2; ++i) {
    int64_t added = 0;
    if (padding.items && !padding.items->empty()) {
      const ScriptValue& value = (*padding.items)[std::min(i, padding.items->size() - 1)];
      added = value.concrete.isInt() ? value.concrete.toInt() : 0;
    }
    pixels *= static_cast<double>(x.size(static_cast<int64_t>(2 + i))) + 2.0 * double(added);
  }
  return pixels;
}

double resized(const std::vector<ScriptValue>& in, const at::Tensor& x) {
  double largest = 0;
  const double images = x.dim() < 2 ? 1 : static_cast<double>(x.size(0) * x.size(1));
  if (in.size() > 1 && in[1].items) largest = images * product(in[1]);
  // The factors: one list, or two numbers.
  if (in.size() > 3 && in[3].items)
    largest = std::max(largest, static_cast<double>(x.numel()) * product(in[3]));
  return largest;
}

// Elements of the largest tensor that the operator makes.
double elements(const std::string& kind, const std::vector<ScriptValue>& in,
                const std::vector<at::Tensor>& tensors) {
  if (kind == "aten::zeros" || kind == "aten::ones" || kind == "aten::full") return product(in[0]);
  if (tensors.empty()) return 0;
  if (kind == "aten::cat") {
    double count = 0;
    for (const at::Tensor& tensor : tensors) count += static_cast<double>(tensor.numel());
    return count;
  }
  if (kind.rfind("aten::upsample", 0) == 0) return resized(in, tensors[0]);
  if (kind == "aten::adaptive_avg_pool2d" && tensors[0].dim() >= 2)
    return static_cast<double>(tensors[0].size(0) * tensors[0].size(1)) * product(in[1]);
  if (tensors.size() > 1 && in.size() > 4 && kind.find("conv") != std::string::npos)
    return convolved(tensors[0], tensors[1], in[4]);
  if (kind == "aten::batch_norm") return static_cast<double>(tensors[0].numel());
  return broadcast(tensors);
}

}  // namespace

void ScriptLimits::count_operation() {
  stop_if_interrupted();
  if (++operations_ > most_operations)
    throw Error("is in a loop without end, or executes more than " +
                std::to_string(most_operations) + " operations; export a plain network");
}

void ScriptLimits::check_operator(const std::string& kind,
                                  const std::vector<ScriptValue>& in) const {
  const std::vector<at::Tensor> tensors = tensors_in(in);
  if (kind == "aten::format" && !tensors.empty()) throw Error("writes a tensor as text");
  const double made = elements(kind, in, tensors);
  if (!(made <= (tensors.empty() ? largest_constant : largest_tensor)))
    throw Error("makes a tensor that is too large; export a network without it");
  if (kind.find("convolution") != std::string::npos && in.size() > 6 && in[6].concrete.isBool() &&
      in[6].concrete.toBool())
    throw Error("is transposed; use an upsampling by 2 and a convolution");
  if ((kind == "aten::split" || kind == "aten::chunk") && !tensors.empty() &&
      in[2].concrete.isInt()) {
    const at::Tensor& x = tensors[0];
    const int64_t axis = in[2].concrete.toInt();
    if (axis < x.dim() && axis >= -x.dim() && x.size(axis) > most_parts)
      throw Error("may make more than " + std::to_string(most_parts) + " parts");
  }
}

void ScriptLimits::count_tensors(const std::vector<at::Tensor>& outputs, bool constant) {
  int64_t& bytes = constant ? constant_bytes_ : bytes_;
  const int64_t most = constant ? most_constant_bytes : most_bytes;
  for (const at::Tensor& tensor : outputs)
    bytes += tensor.defined() ? tensor.numel() * static_cast<int64_t>(tensor.itemsize()) + 256 : 0;
  if (bytes > most)
    throw Error("needs more than " + std::to_string(most >> 20) + " MB for " +
                (constant ? "constants" : "a small frame") + "; export a smaller network");
}

void ScriptLimits::count_entries(size_t entries) {
  entries_ += entries;
  if (entries > most_entries || entries_ > most_entries)
    throw Error("makes lists or texts of more than " + std::to_string(most_entries) +
                " entries; export a plain network");
}

}  // namespace mattec::frontend
