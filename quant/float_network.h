// A float network played frame by frame on 8-bit images: the reference that quantized and compiled
// forms are compared with.
#pragma once

#include <cstdint>
#include <memory>

#include "ir/graph.h"
#include "ir/sizes.h"

namespace mattec::quant {

class FloatNetwork {
 public:
  // `graph`: an imported graph (its refined variant is played if `downsample_ratio` is not 1, else
  // its direct one) or a fused one of one variant. Throws Error for a quantized graph, a network
  // without the wanted variant, or without an output "pha".
  FloatNetwork(const ir::Graph& graph, double downsample_ratio, int threads);
  ~FloatNetwork();

  // One frame, rows without padding: `rgb` [row][column][3]; `alpha` [row][column]; `foreground`
  // [row][column][3], or null. Real values become 8 bits by truncation, as RVM's own evaluation
  // writes them. States are carried over; a frame of another size starts a new clip.
  // Throws Error where the network cannot take this size.
  void step(const uint8_t* rgb, ir::Size size, uint8_t* alpha, uint8_t* foreground);
  // A new clip begins with the next frame.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mattec::quant
