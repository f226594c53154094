// The part of Recorder that deals with heights and widths: resizing and cropping.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "frontend/script_recorder.h"
#include "frontend/script_sizes.h"

namespace mattec::frontend {
namespace {

using ir::Op;
using ir::OpKind;

constexpr int both_axes = 1 << 2 | 1 << 3;

bool is_slice(const ScriptCall& call) {
  return call.kind == "aten::slice" || call.kind == "aten::narrow";
}

// The tensor of which `size` is the height and the width, `times` as large; no_tensor = of none.
ir::TensorId size_giver(const ScriptValue& size, int64_t times) {
  if (!size.items || size.items->size() != 2) return ir::no_tensor;
  const ScriptValue &height = (*size.items)[0], &width = (*size.items)[1];
  const bool whole = height.axis == 2 && width.axis == 3 && height.times == times &&
                     width.times == times && !height.derived && !width.derived;
  return whole && height.size_of == width.size_of ? height.size_of : ir::no_tensor;
}

// Whether a slice that ends here leaves nothing out, whatever the size.
bool is_open_end(const ScriptCall& call, const ScriptValue& end) {
  if (call.kind == "aten::narrow" || end.items) return false;
  return end.is_none() || (!end.varies() && end.concrete.isInt() &&
                           end.concrete.toInt() == std::numeric_limits<int64_t>::max());
}

}  // namespace

// Sizes may stand only where they become "the size of that tensor".
void Recorder::check_sizes(const ScriptCall& call) const {
  const bool resizes = call.kind == "aten::upsample_bilinear2d";
  for (const auto& [name, value] : call.arguments) {
    const bool size = (resizes && name == "output_size") ||
                      (is_slice(call) && (name == "end" || name == "length"));
    const bool factor = resizes && (name == "scale_factors" || name.rfind("scales_", 0) == 0);
    std::vector<ScriptValue> parts = {value};
    if (value.items) parts = *value.items;
    for (const ScriptValue& part : parts) {
      const bool exact =
          (size && part.size_of != ir::no_tensor) || (factor && part.is_downsample_ratio);
      if (part.varies() && (part.derived || !exact))
        refuse(call, "has a value computed from a size or ratio as " + name + depends_on_size);
    }
  }
}

void Recorder::note_use(const at::Tensor& tensor) {
  const auto upsampling = upsamplings_.find(find(tensor));
  if (upsampling == upsamplings_.end()) return;
  const auto cropped = cropped_.find(tensor.unsafeGetTensorImpl());
  if (cropped == cropped_.end() || cropped->second != both_axes)
    upsampling->second.used_uncropped = true;
}

void Recorder::note_uses(const ScriptCall& call) {
  // These hand the tensor on: what they give is used later, or not.
  static const std::vector<std::string> passing = {
      "aten::slice", "aten::narrow", "aten::contiguous", "aten::detach",
      "aten::clone", "aten::to",     "aten::type_as"};
  if (std::find(passing.begin(), passing.end(), call.kind) != passing.end()) return;
  for (const auto& entry : call.arguments) {
    const ScriptValue& value = entry.second;
    if (value.is_tensor()) note_use(value.concrete.toTensor());
    if (value.items)
      for (const ScriptValue& item : *value.items)
        if (item.is_tensor()) note_use(item.concrete.toTensor());
  }
}

void Recorder::resize(const ScriptCall& call) {
  const at::Tensor& x = first_tensor(call);
  const ir::TensorId id = find(x);
  if (boolean(call, "align_corners")) refuse(call, "aligns corners");
  const ScriptValue& size = argument(call, "output_size");
  std::vector<ScriptValue> factors;
  const bool sized = !size.is_none();
  if (call.arguments.count("scale_factors")) {
    const ScriptValue& given = argument(call, "scale_factors");
    if (given.items) factors = *given.items;
  } else if (!argument(call, "scales_h").is_none() && !argument(call, "scales_w").is_none()) {
    factors = {argument(call, "scales_h"), argument(call, "scales_w")};
  }
  const bool ratio =
      factors.size() == 2 && factors[0].is_downsample_ratio && factors[1].is_downsample_ratio;
  const bool twice = factors.size() == 2 && !factors[0].varies() && !factors[1].varies() &&
                     factors[0].concrete.toDouble() == 2 && factors[1].concrete.toDouble() == 2;
  Op op;
  if (ratio && !sized) {
    op.kind = OpKind::downsample;
    op.inputs = {id};
  } else if ((twice && !sized) || ((twice || factors.empty()) && size_giver(size, 2) == id)) {
    op.kind = OpKind::upsample2;
    op.inputs = {id, ir::no_tensor};
  } else if (factors.empty() && size_giver(size, 1) != ir::no_tensor) {
    op.kind = OpKind::resize_to;
    op.inputs = {id, size_giver(size, 1)};
  } else {
    refuse(call, std::string("has another size than twice its input's, another tensor's or "
                             "downsample_ratio") +
                     depends_on_size);
  }
  const bool upsamples = op.kind == OpKind::upsample2;
  append(call, std::move(op), call.outputs[0]);
  if (upsamples) upsamplings_[find(call.outputs[0])].op = graph_.ops.size() - 1;
}

void Recorder::crop(const ScriptCall& call, int64_t axis, const ScriptValue& end) {
  const at::Tensor &x = first_tensor(call), &output = call.outputs[0];
  const ir::TensorId id = find(x);
  int axes = 0;
  const auto known = cropped_.find(x.unsafeGetTensorImpl());
  if (known != cropped_.end()) axes = known->second;
  const bool batch = axis == 0 && output.size(0) == x.size(0);
  const bool own = end.is_exact_size() && end.size_of == id && end.axis == axis;
  if (own && upsamplings_.count(id) > 0) refuse(call, "crops an upsampling to its own size");
  if (!batch && !own && !is_open_end(call, end)) {
    if (!end.is_exact_size() || end.derived || end.axis != axis)
      refuse(call, std::string("crops to a fixed or computed number of pixels, not to another "
                               "tensor's size") +
                       depends_on_size);
    const auto upsampling = upsamplings_.find(id);
    if (upsampling == upsamplings_.end())
      refuse(call, std::string("crops what is not upsampled by 2") + depends_on_size);
    const int64_t pixels = end.concrete.toInt();
    if (x.size(axis) != pixels && x.size(axis) != pixels + 1)
      refuse(call, "crops more than the last row or column of an upsampling by 2");
    ir::TensorId& like = graph_.ops[upsampling->second.op].inputs[1];
    if (like != ir::no_tensor && like != end.size_of)
      refuse(call, "crops height and width to different tensors");
    like = end.size_of;
    upsampling->second.cropped = true;
    axes |= 1 << axis;
  }
  bind(output, id);
  cropped_[output.unsafeGetTensorImpl()] = axes;
}

void Recorder::slice(const ScriptCall& call) {
  const at::Tensor& x = tensor_argument(call, "self");
  const int64_t axis = axis_of(call, integer(call, argument(call, "dim")));
  const bool narrow = call.arguments.count("length") > 0;
  const ScriptValue &start = argument(call, "start"),
                    &end = argument(call, narrow ? "length" : "end");
  const int64_t given = start.is_none() ? 0 : integer(call, start);
  const int64_t first = std::max<int64_t>(given < 0 ? given + x.size(axis) : given, 0);
  if (!narrow && integer(call, argument(call, "step")) != 1) refuse(call, "has a step");
  if (axis != 1) {
    if (given != 0) refuse(call, std::string("does not begin at pixel 0") + depends_on_size);
    return crop(call, axis, end);
  }
  if (end.varies())
    refuse(call, std::string("takes as many channels as a size says") + depends_on_size);
  if (call.outputs[0].size(1) < 1) refuse(call, "takes no channels");
  Op op;
  op.kind = OpKind::slice;
  op.inputs = {input_of(call, "self")};
  op.first_channel = static_cast<int>(first);
  if (call.outputs[0].size(1) == x.size(1)) return crop(call, axis, ScriptValue());
  note_use(x);
  append(call, std::move(op), call.outputs[0]);
}

ir::Graph Recorder::finish() {
  for (const auto& entry : upsamplings_) {
    const Upsampling& upsampling = entry.second;
    const Op& op = graph_.ops[upsampling.op];
    const std::string name = "operation aten::upsample_bilinear2d '" + op.name + "' is ";
    if (op.inputs[1] == ir::no_tensor)
      throw Error(name + "neither cropped to nor concatenated with a tensor of its size");
    if (upsampling.cropped && upsampling.used_uncropped)
      throw Error(name +
                  "cropped in one place and used uncropped (or cropped along one axis) in "
                  "another; crop it to the size of one tensor first");
  }
  return std::move(graph_);
}

}  // namespace mattec::frontend
