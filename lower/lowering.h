// The state of one lowering, shared by its parts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/arithmetic.h"
#include "lower/pack.h"
#include "lower/patterns.h"
#include "lower/plan.h"

namespace mattec::lower {

// Where a tensor is: some channels of a storage.
struct View {
  int storage = -1;
  int first_channel = 0;
  // Of the storage from first_channel on; empty: all that follow. Only dense convolutions read a
  // tensor with gaps: weights of what is between are 0.
  std::vector<int> channels = {};
};

// A storage with a tensor's integers on other grids, written by the tensor's own kernel: what
// `requantize` of it, or of slices of it, makes. Channels that nobody asked for hold 0.
struct Copy {
  struct Part {
    int op = -1;            // index of the requantize
    int first_channel = 0;  // of the tensor
  };
  std::vector<Part> parts;
  int storage = -1;
};

// What a kernel writes for one tensor.
struct Outputs {
  int whole = -1;  // storage of the tensor itself; -1: only copies are read
  std::vector<Copy> copies;
  std::vector<int> storages() const;  // in the order of the kernel's arguments
};

// What Kernel::fits_16_bits and fills_bytes say, channel by channel.
struct Ranges {
  bool fits_16_bits = true, fills_bytes = true;
  // Values of at most `largest` steps, clamped to `bounds` of the grid.
  void add(double largest, ir::Bounds bounds, const ir::Grid& grid);
  // Of a convolution's channel, whose sums are at most `sum`.
  void add(ir::Activation activation, double sum, const ir::EpilogueConstants& made,
           const ir::Grid& grid, int channel);
  void set(Kernel& kernel) const;
};

class Lowering {
 public:
  Lowering(const ir::Graph& graph, ir::Size frame, const Options& options);
  Plan run();

 private:
  // --- storages.cpp: what is stored ---
  void make_frames();
  void make_states();
  // A storage for a tensor of an operation at the current step, with the halo its readers want.
  int make_storage(const std::string& name, ir::TensorId like, int channels, int element_bytes,
                   int halo, std::vector<uint8_t> pattern);
  int store(ir::TensorId id);
  int halo_of(ir::TensorId id) const;
  std::vector<uint8_t> pattern_of(const ir::Grid& grid, int channels) const;
  int frame_copy(const ir::Op& reader) const;
  const Storage& read(int storage);  // extends its lifetime to the current step

  // --- copies.cpp: tensors on several grids ---
  // Stores up to two copies of a tensor that has these names (a state has two).
  std::vector<Copy> make_copies(const std::vector<ir::TensorId>& names);
  void find_parts(ir::TensorId id, int first_channel, std::vector<Copy::Part>& parts) const;
  bool fits(const Copy& copy, const Copy::Part& part) const;
  // Whether a requantize of some channels stores these alone, by a kernel of its own.
  bool gathers(const ir::Op& op) const;
  // Of the tensor that is copied, from the part's channel.
  int source_channel(const Copy::Part& part, int channel) const;
  void store_copy(ir::TensorId id, Copy& copy);
  bool is_output(ir::TensorId id) const;
  bool is_read(ir::TensorId id) const;  // by more than what `fused_` operations make of it
  Outputs make_outputs(ir::TensorId id);
  void set_layouts(const Outputs& outputs, Kernel& kernel) const;
  void set_copies(const std::vector<Copy>& copies, const ir::Grid& from, Kernel& kernel,
                  Constants& to) const;
  void add_outputs(const Outputs& outputs, Step& step) const;  // operands

  // --- lower.cpp: one step per kernel ---
  void lower_op(int index);
  void lower_conv(const ir::Op& op);
  void lower_gates(const Gru& gru);
  void lower_update(const Gru& gru);
  void lower_pool(const ir::Op& op);
  void lower_gate(const ir::Op& op);
  void lower_move(int index);
  void lower_gather(const ir::Op& op);
  void check_supported() const;
  PlanOutput find_output(const char* name);
  void keep_all();

  // --- parts of a convolution's step ---
  // Kernel, inputs and weights of a dense or depthwise convolution that computes `padded` channels;
  // `segments` in the order of the kernel's inputs.
  Step convolution_step(const ir::Op& op, int padded, std::vector<Segment>& segments);
  // How the kernel makes its sums, and wants its weights.
  WeightOrder choose_products(const ir::Op& op, const std::vector<Segment>& segments,
                              Kernel& kernel) const;
  std::vector<int> short_steps_of(const ir::Op& op, const std::vector<Segment>& segments) const;
  // Bias, multipliers and output grid of its channels.
  Constants convolution_constants(const ir::Op& op, const std::vector<Segment>& segments,
                                  Kernel& kernel) const;
  // Weights in the kernel's order: constants, or what a step makes of constants.
  Operand add_weights(const ir::Op& op, const Kernel& kernel, std::vector<int8_t> weights);
  Step new_step(const std::string& name, KernelKind kind) const;
  // Of an unsigned grid as it is stored.
  int32_t stored_zero(const ir::Grid& grid, int channel) const;
  Operand add_constants(const void* data, size_t bytes);
  Operand add_constants(const Constants& constants);
  Operand operand(const View& view, int row, int column,
                  int rows_per_row) const;  // input rows per output row
  Layout layout(const View& view, int channels) const;
  void finish(Step step, ir::Size output, const std::vector<int>& written);

  ir::Graph graph_;
  Options options_;
  std::vector<ir::Size> sizes_;
  std::vector<Gru> grus_;
  std::map<int, const Gru*> gates_of_, update_of_;  // by operation index
  std::vector<bool> fused_;                         // operations that another one's kernel computes
  std::vector<int> wanted_;                         // by tensor: bits of Wanted
  int wanted_now_ = 0;                              // of the operation that is being lowered
  std::vector<View> views_;                         // by tensor
  std::map<ir::TensorId, std::vector<Copy>> state_copies_;  // by state input
  std::map<std::vector<uint8_t>, int> frame_copies_;
  Plan plan_;
};

}  // namespace mattec::lower
