// Tensors on several grids: which requantize operations a tensor's own kernel computes.
#include <algorithm>
#include <map>

#include "ir/arithmetic.h"
#include "lower/lowering.h"

namespace mattec::lower {

using ir::Op;
using ir::OpKind;
using ir::TensorId;

namespace {

// More tensors at once cost registers: RVM wants a copy for the next block and one for the decoder.
constexpr size_t most_copies = 2;

}  // namespace

std::vector<int> Outputs::storages() const {
  std::vector<int> all;
  if (whole >= 0) all.push_back(whole);
  for (const Copy& copy : copies) all.push_back(copy.storage);
  return all;
}

void Lowering::find_parts(TensorId id, int first_channel, std::vector<Copy::Part>& parts) const {
  for (const int reader : graph_.consumers(id)) {
    const Op& op = graph_.ops[size_t(reader)];
    if (op.kind == OpKind::requantize && !gathers(op)) parts.push_back({reader, first_channel});
    if (op.kind == OpKind::slice) find_parts(op.output, first_channel + op.first_channel, parts);
  }
}

// Half of the channels or fewer: as a whole copy they would cost their convolution more products
// than a kernel that moves them. Others than dense convolutions read no gaps, and outputs have
// none.
bool Lowering::gathers(const Op& op) const {
  if (op.channels.empty()) return false;
  if (is_output(op.output)) return true;
  if (2 * op.channels.size() <= size_t(graph_.tensor(op.inputs[0]).channels)) return true;
  const std::vector<int> readers = graph_.consumers(op.output);
  return !std::all_of(readers.begin(), readers.end(), [&](int reader) {
    const Op& conv = graph_.ops[size_t(reader)];
    return conv.kind == OpKind::conv && !conv.conv.depthwise && conv.residual() != op.output;
  });
}

int Lowering::source_channel(const Copy::Part& part, int channel) const {
  return part.first_channel + graph_.ops[size_t(part.op)].source_channel(channel);
}

// Where the part and another one of the copy meet, their grids must be one.
bool Lowering::fits(const Copy& copy, const Copy::Part& part) const {
  const auto made = [&](const Copy::Part& of) -> const ir::Tensor& {
    return graph_.tensor(graph_.ops[size_t(of.op)].output);
  };
  const ir::Tensor& mine = made(part);
  std::map<int, int> channels;
  for (int c = 0; c < mine.channels; ++c) channels[source_channel(part, c)] = c;
  return std::all_of(copy.parts.begin(), copy.parts.end(), [&](const Copy::Part& other) {
    const ir::Tensor& theirs = made(other);
    for (int b = 0; b < theirs.channels; ++b) {
      const auto found = channels.find(source_channel(other, b));
      if (found == channels.end()) continue;
      const int a = found->second;
      if (mine.grid->bits != theirs.grid->bits ||
          mine.grid->scale_of(a) != theirs.grid->scale_of(b) ||
          mine.grid->zero_point_of(a) != theirs.grid->zero_point_of(b))
        return false;
    }
    return true;
  });
}

void Lowering::store_copy(TensorId id, Copy& copy) {
  const int channels = graph_.tensor(id).channels;
  std::vector<uint8_t> pattern(size_t(channels), 0);
  int halo = 0;
  for (const Copy::Part& part : copy.parts) {
    const TensorId made = graph_.ops[size_t(part.op)].output;
    const std::vector<uint8_t> own =
        pattern_of(*graph_.tensor(made).grid, graph_.tensor(made).channels);
    for (size_t c = 0; c < own.size(); ++c)
      pattern[size_t(source_channel(part, static_cast<int>(c)))] = own[c];
    halo = std::max(halo, halo_of(made));
  }
  // The last part's name: of a state's copies that is the one of the new state.
  const std::string& name = graph_.tensor(graph_.ops[size_t(copy.parts.back().op)].output).name;
  copy.storage = make_storage(name, id, channels, 1, halo, std::move(pattern));
  for (const Copy::Part& part : copy.parts) {
    const Op& op = graph_.ops[size_t(part.op)];
    fused_[size_t(part.op)] = true;
    views_[size_t(op.output)] = {copy.storage, part.first_channel, op.channels};
  }
}

std::vector<Copy> Lowering::make_copies(const std::vector<TensorId>& names) {
  std::vector<Copy::Part> parts;
  for (const TensorId id : names) find_parts(id, 0, parts);
  std::vector<Copy> copies;
  for (const Copy::Part& part : parts) {
    // 16-bit copies have no kernel: lower_move says so.
    if (graph_.tensor(graph_.ops[size_t(part.op)].output).grid->is_signed) continue;
    auto copy = std::find_if(copies.begin(), copies.end(),
                             [&](const Copy& each) { return fits(each, part); });
    if (copy == copies.end()) {
      if (copies.size() == most_copies) continue;
      copy = copies.emplace(copy);
    }
    copy->parts.push_back(part);
  }
  for (Copy& copy : copies) store_copy(names[0], copy);
  return copies;
}

bool Lowering::is_output(TensorId id) const {
  return std::any_of(graph_.outputs.begin(), graph_.outputs.end(),
                     [id](const ir::Output& output) { return output.tensor == id; });
}

bool Lowering::is_read(TensorId id) const {
  const std::vector<int> readers = graph_.consumers(id);
  return is_output(id) || std::any_of(readers.begin(), readers.end(), [&](int reader) {
           const Op& op = graph_.ops[size_t(reader)];
           if (op.kind == OpKind::slice) return is_read(op.output);
           const bool for_its_size = op.kind == OpKind::upsample2 && op.inputs[0] != id;
           return !for_its_size && !fused_[size_t(reader)];
         });
}

Outputs Lowering::make_outputs(TensorId id) {
  Outputs outputs;
  // Rounding down is the outputs' alone: no kernel copies them.
  if (graph_.ops[size_t(graph_.producer(id))].rounding == ir::Rounding::nearest_even)
    outputs.copies = make_copies({id});
  if (outputs.copies.empty() || is_read(id)) outputs.whole = store(id);
  return outputs;
}

void Lowering::set_layouts(const Outputs& outputs, Kernel& kernel) const {
  kernel.only_copies = outputs.whole < 0;
  const std::vector<int> storages = outputs.storages();
  const int channels = plan_.storages[size_t(storages[0])].pixel_stride;
  kernel.output = layout({storages[0], 0}, channels);
  for (size_t i = 1; i < storages.size(); ++i)
    kernel.copies.push_back(layout({storages[i], 0}, channels));
}

void Lowering::set_copies(const std::vector<Copy>& copies, const ir::Grid& from, Kernel& kernel,
                          Constants& to) const {
  Ranges ranges;
  const double largest = from.is_signed ? 32768 : 255;
  for (size_t i = 0; i < copies.size(); ++i)
    for (const Copy::Part& part : copies[i].parts) {
      const ir::Tensor& made = graph_.tensor(graph_.ops[size_t(part.op)].output);
      for (int c = 0; c < made.channels; ++c) {
        const int channel = source_channel(part, c);
        to.set_copy(static_cast<int>(i), channel, from.scale_of(channel), *made.grid, c);
        ranges.add(largest * double{ir::requantize_multiplier(from.scale_of(channel),
                                                              made.grid->scale_of(c))},
                   {}, *made.grid);
      }
    }
  kernel.copies_fit_16_bits =
      kernel.clamps_in_16_bits && kernel.copy_count() > 0 && ranges.fits_16_bits;
}

void Lowering::add_outputs(const Outputs& outputs, Step& step) const {
  for (const int storage : outputs.storages())
    step.operands.push_back(operand({storage, 0}, 0, 0, 1));
}

}  // namespace mattec::lower
