#include "ir/operations.h"

#include <array>

namespace mattec::ir {
namespace {

constexpr size_t most_segments = 64;

constexpr Operation describe(OpKind kind) {
  using Size = SizeRule;
  using Channels = ChannelRule;
  switch (kind) {
    case OpKind::conv:
      return {"conv",
              1,
              most_segments,
              Stages::all,
              Size::convolved,
              Channels::convolution,
              check_convolution,
              nullptr};
    case OpKind::avg_pool2:
      return {"avg_pool2",        1, 1, Stages::all, Size::halved, Channels::equal, check_kept_grid,
              interpret_avg_pool2};
    case OpKind::global_avg_pool:
      return {"global_avg_pool",
              1,
              1,
              Stages::all,
              Size::one_pixel,
              Channels::equal,
              check_multipliers,
              interpret_global_avg_pool};
    case OpKind::upsample2:
      return {"upsample2",
              2,
              2,
              Stages::all,
              Size::second_of_2,
              Channels::of_first,
              check_kept_grid,
              interpret_upsample2};
    case OpKind::slice:
      return {"slice",        1, 1, Stages::all, Size::first, Channels::part, check_slice,
              interpret_slice};
    case OpKind::mul:
      return {"mul",        2, 2, Stages::all, Size::gated, Channels::equal, check_multipliers,
              interpret_mul};
    case OpKind::blend:
      return {"blend",        3, 3, Stages::all, Size::equal, Channels::equal, check_blend,
              interpret_blend};
    case OpKind::requantize:
      return {"requantize",
              1,
              1,
              Stages::after_fusion,
              Size::first,
              Channels::listed,
              check_multipliers,
              interpret_requantize};
    case OpKind::batch_norm:
      return {"batch_norm", 1, 1, Stages::imported, Size::first, Channels::equal, nullptr, nullptr};
    case OpKind::scale_shift:
      return {"scale_shift",   1,       1,      Stages::imported, Size::first,
              Channels::equal, nullptr, nullptr};
    case OpKind::activation:
      return {"activation", 1, 1, Stages::imported, Size::first, Channels::equal, nullptr, nullptr};
    case OpKind::add:
      return {"add", 2, 2, Stages::imported, Size::equal, Channels::equal, nullptr, nullptr};
    case OpKind::sub:
      return {"sub", 2, 2, Stages::imported, Size::equal, Channels::equal, nullptr, nullptr};
    case OpKind::concat:
      return {"concat",         1,       most_segments, Stages::imported, Size::equal,
              Channels::summed, nullptr, nullptr};
    case OpKind::downsample:
      return {"downsample",    1,       1,      Stages::imported, Size::scaled,
              Channels::equal, nullptr, nullptr};
    case OpKind::resize_to:
      return {"resize_to",        2,       2,      Stages::imported, Size::second,
              Channels::of_first, nullptr, nullptr};
    case OpKind::channel_mean:
      return {"channel_mean", 1, 1, Stages::imported, Size::first, Channels::one, nullptr, nullptr};
  }
  return {};
}

constexpr size_t count = static_cast<size_t>(OpKind::channel_mean) + 1;

constexpr std::array<Operation, count> describe_all() {
  std::array<Operation, count> all = {};
  for (size_t i = 0; i < count; ++i) all[i] = describe(static_cast<OpKind>(i));
  return all;
}

constexpr std::array<Operation, count> table = describe_all();

}  // namespace

const Operation& operation_of(OpKind kind) { return table[static_cast<size_t>(kind)]; }

}  // namespace mattec::ir
