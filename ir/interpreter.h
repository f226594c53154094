// The oracle: runs a quantized graph in plain integer code. Every kernel, schedule and target
// equals it bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"

namespace mattec::ir {

// Integers of one tensor, [row][column][channel].
struct IntegerTensor {
  Size size;
  int channels = 0;
  std::vector<int32_t> values;
  int32_t at(int y, int x, int c) const {
    return values[(static_cast<size_t>(y) * size.width + x) * channels + c];
  }
};

class Interpreter {
 public:
  // `graph` must be quantized and of one variant (see extract). Keeps a copy. Throws Error where
  // the graph is not sound or the frame size does not fit it.
  Interpreter(const Graph& graph, Size frame);

  // One frame: RGB, 8 bit, [row][column][3], no padding between rows. Updates the states.
  void step(const uint8_t* rgb);
  void reset();  // states to zero, as before the first frame

  // After a step: any tensor of the graph. A state's input is what the step read; the next step
  // replaces it by the state's output.
  const IntegerTensor& tensor(TensorId id) const { return values_[static_cast<size_t>(id)]; }
  // After a step: the output's bytes, [row][column][channels]. Throws Error for an unknown name.
  std::vector<uint8_t> output(const std::string& name) const;

 private:
  struct Prepared;  // repacked weights and epilogue constants

  Graph graph_;
  std::shared_ptr<const Prepared> prepared_;
  std::vector<IntegerTensor> values_;
  bool first_ = true;
};

}  // namespace mattec::ir
