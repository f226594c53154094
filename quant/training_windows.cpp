#include "quant/training_windows.h"

#include <cmath>
#include <sstream>
#include <string>
#include <utility>

#include "quant/jitter.h"

namespace mattec::quant {

bool is_validation_clip(size_t index) { return index % 4 == 1; }

Windows::Windows(const std::vector<Clip>& clips, int length, int warm_up, uint64_t seed)
    : clips_(clips), length_(length), warm_up_(warm_up), engine_(seed) {
  for (size_t i = 0; i < clips.size(); ++i)
    if (!is_validation_clip(i)) of_training_.push_back(i);
}

size_t Windows::next_clip() {
  if (order_.empty()) {
    order_ = of_training_;
    for (size_t i = order_.size() - 1; i > 0; --i) std::swap(order_[i], order_[below(i + 1)]);
  }
  const size_t clip = order_.back();
  order_.pop_back();
  return clip;
}

Clip Windows::part_of(const Clip& clip, size_t count) {
  const size_t first = below(clip.size() - count + 1);
  const ColourJitter jitter(engine_());
  const bool altered = below(3) != 0;
  Clip part;
  for (size_t t = first; t < first + count; ++t)
    part.push_back(altered ? jitter(clip[t]) : clip[t]);
  return part;
}

Window Windows::next() {
  const size_t index = next_clip(), other = of_training_[below(of_training_.size())];
  const Clip &clip = clips_[index], &behind = clips_[other];
  Window window;
  window.warm_up = below(2) == 0 ? 0 : 1 + static_cast<int>(below(warm_up_));
  const size_t count = static_cast<size_t>(window.warm_up) + static_cast<size_t>(length_);
  window.frames = part_of(clip, count);
  if (below(2) == 0 && other != index && is_like(behind, clip))
    window.behind = part_of(behind, count);
  return window;
}

void Windows::write(torch::serialize::OutputArchive& archive) const {
  std::ostringstream engine;
  engine << engine_;
  archive.write("engine", c10::IValue(engine.str()));
  archive.write("order", torch::tensor(std::vector<int64_t>(order_.begin(), order_.end())));
}

void Windows::read(torch::serialize::InputArchive& archive) {
  c10::IValue text;
  archive.read("engine", text);
  std::istringstream(text.toStringRef()) >> engine_;
  torch::Tensor order;
  archive.read("order", order);
  TORCH_CHECK(order.numel() == 0 || (order.min().item<int64_t>() >= 0 &&
                                     order.max().item<int64_t>() < int64_t(clips_.size())),
              "order names a clip that there is not");
  order_.assign(order.data_ptr<int64_t>(), order.data_ptr<int64_t>() + order.numel());
}

bool is_like(const Clip& a, const Clip& b) {
  return a[0].width == b[0].width && a[0].height == b[0].height;
}

Frame composed(const Frame& frame, const torch::Tensor& alpha, const Frame& behind) {
  const torch::Tensor matte = alpha.contiguous();
  const float* share = matte.data_ptr<float>();
  Frame result = frame;
  for (size_t i = 0; i < result.rgb.size(); ++i) {
    const float a = share[i / 3];
    const float mixed =
        a * static_cast<float>(frame.rgb[i]) + (1 - a) * static_cast<float>(behind.rgb[i]);
    result.rgb[i] = static_cast<uint8_t>(std::lround(mixed));
  }
  return result;
}

}  // namespace mattec::quant
