#include "ir/sizes.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "ir/operations.h"

namespace mattec::ir {
namespace {

constexpr int largest_extent = 32768;
const Size unknown{};

// Sizes as known so far; unknown until the loop through the states is closed.
class Inference {
 public:
  Inference(const Graph& graph, double ratio)
      : graph_(graph), ratio_(ratio), sizes_(graph.tensors.size()) {}

  std::vector<Size> run(Size frame) {
    at(graph_.frame) = frame;
    // A state's size comes from its output, whose size may come from another state's: at most one
    // round per state, and one to see that nothing changes.
    for (bool changed = true; changed;) {
      for (const Op& op : graph_.ops) at(op.output) = output_size(op);
      changed = false;
      for (const State& state : graph_.states)
        if (at(state.input) == unknown && at(state.output) != unknown) {
          at(state.input) = at(state.output);
          changed = true;
        }
    }
    for (const Op& op : graph_.ops) check(op);
    for (const State& state : graph_.states)
      if (at(state.input) != at(state.output))
        throw Error("state " + state.name + ": its input is " + size_text(at(state.input)) +
                    " pixels, its output " + size_text(at(state.output)));
    return sizes_;
  }

 private:
  Size& at(TensorId id) { return sizes_[static_cast<size_t>(id)]; }

  Size first_known(const Op& op, int count) {
    for (int i = 0; i < count; ++i)
      if (at(op.inputs[static_cast<size_t>(i)]) != unknown)
        return at(op.inputs[static_cast<size_t>(i)]);
    return unknown;
  }

  // `unknown` where the inputs known so far do not tell.
  Size output_size(const Op& op) {
    const Size x = at(op.inputs[0]);
    switch (operation_of(op.kind).size) {
      case SizeRule::convolved: {
        const Size in = first_known(op, op.segment_count());
        if (in == unknown) return unknown;
        return {convolution_extent(op.conv, in.height), convolution_extent(op.conv, in.width)};
      }
      case SizeRule::halved:
        return x == unknown ? unknown : Size{(x.height + 1) / 2, (x.width + 1) / 2};
      case SizeRule::one_pixel:
        return {1, 1};
      case SizeRule::second_of_2:
      case SizeRule::second:
        return at(op.inputs[1]);
      case SizeRule::equal:
        return first_known(op, static_cast<int>(op.inputs.size()));
      case SizeRule::scaled:
        return x == unknown ? unknown : Size{scaled(x.height), scaled(x.width)};
      case SizeRule::first:
      case SizeRule::gated:
        break;
    }
    return x;
  }

  int scaled(int extent) const { return static_cast<int>(std::floor(extent * ratio_)); }

  [[noreturn]] void fail(const Op& op, const std::string& why) {
    throw Error("operation " + op.name + " (" + name_of(op.kind) + "): " + why);
  }

  void check(const Op& op) {
    for (TensorId id : op.inputs)
      if (at(id) == unknown)
        fail(op, "the size of " + graph_.tensor(id).name + " does not follow from the frame's");
    const Size out = at(op.output);
    if (out.height < 1 || out.width < 1)
      fail(op, "nothing is left of its input of " + size_text(at(op.inputs[0])) +
                   " pixels; use a larger frame");
    const Size x = at(op.inputs[0]);
    const Size y = op.inputs.size() > 1 ? at(op.inputs[1]) : x;
    switch (operation_of(op.kind).size) {
      case SizeRule::convolved:
        for (int i = 1; i < op.segment_count(); ++i) same(op, static_cast<size_t>(i), x);
        if (op.conv.has_residual) same(op, op.inputs.size() - 1, out);
        break;
      case SizeRule::gated:
        if (y != Size{1, 1}) same(op, 1, x);
        break;
      case SizeRule::equal:
        for (size_t i = 1; i < op.inputs.size(); ++i) same(op, i, x);
        break;
      case SizeRule::second_of_2:
        if (y.height > 2 * x.height || y.width > 2 * x.width)
          fail(op, "twice " + size_text(x) + " does not cover " + size_text(y) + " pixels");
        break;
      default:
        break;
    }
  }

  void same(const Op& op, size_t input, Size expected) {
    const Size found = at(op.inputs[input]);
    if (found != expected)
      fail(op, "input " + graph_.tensor(op.inputs[input]).name + " is " + size_text(found) +
                   " pixels instead of " + size_text(expected));
  }

  const Graph& graph_;
  double ratio_;
  std::vector<Size> sizes_;
};

}  // namespace

std::string size_text(Size size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

int convolution_extent(const Convolution& conv, int input_extent) {
  const int reach = conv.dilation * (conv.kernel - 1) + 1;
  const int padded = input_extent + 2 * conv.padding;
  return padded < reach ? 0 : (padded - reach) / conv.stride + 1;
}

std::vector<Size> infer_sizes(const Graph& graph, Size frame, double downsample_ratio) {
  if (frame.height < 1 || frame.width < 1 || frame.height > largest_extent ||
      frame.width > largest_extent)
    throw Error("frame size " + size_text(frame) + ": width and height must be 1 to " +
                std::to_string(largest_extent));
  if (!(downsample_ratio > 0 && downsample_ratio <= 1))
    throw Error("downsample ratio " + std::to_string(downsample_ratio) +
                ": must be above 0 and at most 1");
  return Inference(graph, downsample_ratio).run(frame);
}

}  // namespace mattec::ir
