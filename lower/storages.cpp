// What is stored: the frame, the states, and every tensor that an operation leaves for another.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "ir/arithmetic.h"
#include "lower/lowering.h"

namespace mattec::lower {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

namespace {

constexpr int frame_pixel_stride = 4;  // R, G, B, 0: one dot-product group

// Bytes of the frame's halo as this convolution wants it.
std::vector<uint8_t> frame_pattern(const ir::Grid& grid, const std::vector<float>& pad_value,
                                   bool is_signed) {
  std::vector<uint8_t> pattern(frame_pixel_stride, 0);
  for (size_t c = 0; c < 3; ++c)
    pattern[c] = static_cast<uint8_t>(
        ir::halo_value(grid, static_cast<int>(c), pad_value.empty() ? 0.0F : pad_value[c]) -
        stored_offset(grid, is_signed));
  return pattern;
}

bool convolves(const Op& op, TensorId id) {
  const auto end = op.inputs.begin() + op.segment_count();
  return op.kind == OpKind::conv && std::find(op.inputs.begin(), end, id) != end;
}

}  // namespace

int Lowering::make_storage(const std::string& name, TensorId like, int channels, int element_bytes,
                           int halo, std::vector<uint8_t> pattern) {
  Storage made;
  made.name = name;
  made.size = sizes_[size_t(like)];
  made.channels = channels;
  // Whole vectors of accumulators.
  made.pixel_stride = channels <= 4 ? 4 : round_up(channels, options_.isa.vector_bytes / 4);
  made.element_bytes = element_bytes;
  made.halo = halo;
  // Kernels count elements in 32 bits.
  if (made.bytes() > std::numeric_limits<int32_t>::max())
    throw Error(graph_.name + ": " + name + " needs more than 2 GiB at " +
                std::to_string(made.size.width) + "x" + std::to_string(made.size.height) +
                " pixels; compile for a smaller size");
  pattern.resize(size_t(made.pixel_bytes()), 0);
  made.pattern = std::move(pattern);
  made.first_step = made.last_step = static_cast<int>(plan_.steps.size());
  plan_.storages.push_back(std::move(made));
  return static_cast<int>(plan_.storages.size()) - 1;
}

int Lowering::store(TensorId id) {
  const ir::Tensor& tensor = graph_.tensor(id);
  const int storage = make_storage(tensor.name, id, tensor.channels, 1, halo_of(id),
                                   pattern_of(*tensor.grid, tensor.channels));
  views_[size_t(id)] = {storage, 0};
  return storage;
}

int Lowering::halo_of(TensorId id) const {
  int halo = 0;
  for (const int reader : graph_.consumers(id)) {
    const Op& op = graph_.ops[size_t(reader)];
    if (op.kind == OpKind::slice) halo = std::max(halo, halo_of(op.output));
    if (convolves(op, id)) halo = std::max(halo, op.conv.padding);
  }
  return halo;
}

std::vector<uint8_t> Lowering::pattern_of(const ir::Grid& grid, int channels) const {
  std::vector<uint8_t> pattern(static_cast<size_t>(channels));
  for (int c = 0; c < channels; ++c)
    pattern[static_cast<size_t>(c)] =
        static_cast<uint8_t>(ir::halo_value(grid, c, 0.0F) - stored_offset(grid, plan_.is_signed));
  return pattern;
}

// One copy of the frame per halo that its readers want (the stem pads with the mean colour, the
// decoder with 0).
void Lowering::make_frames() {
  const TensorId frame = graph_.frame;
  const ir::Grid& grid = *graph_.tensor(frame).grid;
  std::map<std::vector<uint8_t>, int> halos;
  for (const int reader : graph_.consumers(frame)) {
    const Op& op = graph_.ops[size_t(reader)];
    const bool is_slice = op.kind == OpKind::slice;
    if (!convolves(op, frame) && !is_slice) continue;
    int& halo = halos[frame_pattern(grid, op.conv.pad_value, plan_.is_signed)];
    halo = std::max(halo, is_slice ? halo_of(op.output) : op.conv.padding);
  }
  if (halos.empty()) halos[frame_pattern(grid, {}, plan_.is_signed)] = 0;
  for (const auto& [pattern, halo] : halos) {
    const int storage = make_storage("frame", frame, 3, 1, halo, pattern);
    frame_copies_[pattern] = storage;
    plan_.frames.push_back(storage);
  }
  // For readers of pixels alone any copy would do; slices want the halo of zeros.
  const auto plain = frame_copies_.find(frame_pattern(grid, {}, plan_.is_signed));
  views_[size_t(frame)] = {plain != frame_copies_.end() ? plain->second : plan_.frames.back(), 0};
}

int Lowering::frame_copy(const Op& reader) const {
  const ir::Grid& grid = *graph_.tensor(graph_.frame).grid;
  return frame_copies_.at(frame_pattern(grid, reader.conv.pad_value, plan_.is_signed));
}

// A state is stored in 16 bits, and in 8 or 4 for the convolutions and upsampling that read it.
void Lowering::make_states() {
  for (const ir::State& state : graph_.states) {
    const int channels = graph_.tensor(state.input).channels;
    const int wide =
        make_storage(graph_.tensor(state.output).name, state.input, channels, 2, 0, {});
    views_[size_t(state.input)] = views_[size_t(state.output)] = {wide, 0};
    plan_.states.push_back(wide);

    const std::vector<Copy> copies = make_copies({state.input, state.output});
    if (copies.empty())
      throw Error(graph_.name + ": state " + state.name + " has no copy in 8 or 4 bits");
    for (const Copy& copy : copies) plan_.states.push_back(copy.storage);
    state_copies_[state.input] = copies;
  }
}

const Storage& Lowering::read(int storage) {
  Storage& found = plan_.storages[size_t(storage)];
  found.last_step = std::max(found.last_step, static_cast<int>(plan_.steps.size()));
  return found;
}

}  // namespace mattec::lower
