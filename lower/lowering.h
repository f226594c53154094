// The state of one lowering, shared by its parts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lower/pack.h"
#include "lower/patterns.h"
#include "lower/plan.h"

namespace mattec::lower {

// Where a tensor is: some channels of a storage.
struct View {
  int storage = -1;
  int first_channel = 0;
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

  // --- lower.cpp: one step per kernel ---
  void lower_op(int index);
  void lower_conv(const ir::Op& op);
  void lower_gates(const Gru& gru);
  void lower_update(const Gru& gru);
  void lower_pool(const ir::Op& op);
  void lower_gate(const ir::Op& op);
  void lower_resample(const ir::Op& op);
  void check_supported() const;

  // --- parts of a convolution's step ---
  // Kernel, inputs and weights of a dense or depthwise convolution that computes `padded` channels;
  // `segments` in the order of the kernel's inputs.
  Step convolution_step(const ir::Op& op, int padded, std::vector<Segment>& segments);
  // Bias, multipliers and output grid of its channels.
  Constants convolution_constants(const ir::Op& op, const std::vector<Segment>& segments,
                                  int padded) const;
  Operand add_constants(const void* data, size_t bytes);
  Operand operand(const View& view, int row, int column,
                  int rows_per_row) const;  // input rows per output row
  Layout layout(const View& view, int channels) const;
  void finish(Step step, ir::Size output, const std::vector<int>& written);

  ir::TensorId matte_ = ir::no_tensor;  // before graph_, whose making sets it
  ir::Graph graph_;
  Options options_;
  std::vector<ir::Size> sizes_;
  std::vector<Gru> grus_;
  std::map<int, const Gru*> gates_of_, update_of_;  // by operation index
  std::vector<bool> fused_;                         // operations that another one's kernel computes
  std::vector<View> views_;                         // by tensor
  std::map<ir::TensorId, int> state_copy_;          // state input or output -> 8-bit storage
  std::map<std::vector<uint8_t>, int> frame_copies_;
  Plan plan_;
};

}  // namespace mattec::lower
