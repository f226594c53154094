// The real network: three files, one graph, the outputs of LibTorch's own interpreter.
#include <gtest/gtest.h>
#include <torch/script.h>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "frontend/torchscript.h"
#include "ir/compare.h"
#include "quant/executor.h"
#include "tests/frontend_networks.h"
#include "tests/shared_data.h"

namespace mattec {
namespace {

const char* const torchscript = "models/rvm_mobilenetv3.torchscript";
const char* const state_dict = "models/rvm_mobilenetv3.pth";
const char* const safetensors = "models/rvm_mobilenetv3.safetensors";
const char* const clip = "clips/truth/dancer_gbike/src";

struct Case {
  int height, width;
  double ratio;
};

// The middle of a real clip's frame at another size, RGB, 0..1, [1, 3, height, width].
torch::Tensor real_frame(int time, int height, int width) {
  const std::string file = shared_file(clip) + "/000" + std::to_string(time) + ".png";
  cv::Mat image = cv::imread(file), scaled;
  if (image.empty()) throw std::runtime_error("cannot read " + file);
  cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
  const double scale = std::max(double(height) / image.rows, double(width) / image.cols);
  cv::resize(image, scaled, {}, scale, scale, cv::INTER_AREA);
  const cv::Rect middle((scaled.cols - width) / 2, (scaled.rows - height) / 2, width, height);
  scaled = scaled(middle).clone();
  return torch::from_blob(scaled.data, {1, height, width, 3}, torch::kUInt8)
             .permute({0, 3, 1, 2})
             .to(torch::kFloat) /
         255;
}

quant::Parameters in_double(quant::Parameters parameters) {
  for (auto& [name, entry] : parameters.of)
    entry = {entry.weight.to(torch::kDouble), entry.bias.to(torch::kDouble)};
  return parameters;
}

struct Difference {
  double outputs = 0, states = 0;
};

// Largest differences over a recurrent sequence, computed in `type`.
Difference difference_to_libtorch(const ir::Graph& graph, torch::jit::Module reference, Case size,
                                  torch::ScalarType type, quant::Hooks hooks = {}) {
  const torch::NoGradGuard no_grad;
  reference.to(type);
  quant::Parameters parameters = quant::parameters_of(graph);
  quant::Executor executor(graph,
                           type == torch::kDouble ? in_double(std::move(parameters)) : parameters);
  executor.hooks = std::move(hooks);
  std::vector<torch::Tensor> states;
  std::vector<c10::IValue> expected_states(4);
  Difference largest;
  for (int time = 0; time < 5; ++time) {
    const torch::Tensor frame = real_frame(time, size.height, size.width).to(type);
    std::vector<c10::IValue> arguments = {frame};
    arguments.insert(arguments.end(), expected_states.begin(), expected_states.end());
    arguments.emplace_back(size.ratio);
    const std::vector<torch::Tensor> expected = reference.forward(arguments).toTensorVector();
    const std::vector<torch::Tensor> outputs = executor.step(frame, states, size.ratio);
    for (size_t i = 0; i < 2; ++i)
      largest.outputs =
          std::max(largest.outputs, testing::largest_difference(outputs[i], expected[i]));
    for (size_t i = 0; i < 4; ++i) {
      largest.states =
          std::max(largest.states, testing::largest_difference(states[i], expected[2 + i]));
      expected_states[i] = expected[2 + i];
    }
  }
  return largest;
}

int filter_count(const ir::Graph& graph) {
  int count = 0;
  for (const ir::Op& op : graph.ops)
    count += op.kind == ir::OpKind::conv ? op.conv.output_channels : 0;
  return count;
}

// In float, LibTorch itself is 1.4e-5 away from its own states in double after a few frames, and
// 1.1e-5 from the refiner's outputs (quotients of small variances); folding changes the order of
// its sums, so the folded graph is as far away in another direction (states 1.9e-5, outputs 8e-6,
// refined 1.3e-5; without AVX-512, where LibTorch sums in another order again, outputs 1.6e-5). So
// everything is compared in double too, where only the rounding of folded weights remains; and
// without folding, bit for bit.
void expect_equal(const ir::Graph& graph, const torch::jit::Module& reference, Case size,
                  const std::string& what) {
  const std::string place = what + " at " + std::to_string(size.width) + "x" +
                            std::to_string(size.height) + ", ratio " + std::to_string(size.ratio);
  const Difference in_float =
      difference_to_libtorch(graph, reference.deepcopy(), size, torch::kFloat);
  EXPECT_LT(in_float.outputs, 2e-5) << place;
  EXPECT_LT(in_float.states, 5e-5) << place;
  const Difference in_double =
      difference_to_libtorch(graph, reference.deepcopy(), size, torch::kDouble);
  EXPECT_LT(in_double.outputs, 1e-5) << place;
  EXPECT_LT(in_double.states, 1e-5) << place;
}

TEST(Rvm, ThreeReadersGiveEqualGraphs) {
  MATTEC_NEED_SHARED(torchscript);
  MATTEC_NEED_SHARED(state_dict);
  MATTEC_NEED_SHARED(safetensors);
  const ir::Graph script = frontend::read_network(shared_file(torchscript));
  const ir::Graph dict = frontend::read_network(shared_file(state_dict));
  const ir::Graph folded = frontend::read_network(shared_file(safetensors));
  EXPECT_EQ(ir::first_difference(script, dict, 0), "");
  EXPECT_EQ(ir::first_difference(script, folded, 1e-6), "");
  EXPECT_EQ(script.name, "rvm-mobilenetv3");
}

TEST(Rvm, EqualsLibTorch) {
  MATTEC_NEED_SHARED(torchscript);
  MATTEC_NEED_SHARED(safetensors);
  MATTEC_NEED_SHARED(clip);
  torch::jit::Module reference = torch::jit::load(shared_file(torchscript));
  reference.eval();
  // The state dict's graph equals the script's exactly (see above).
  for (const char* file : {torchscript, safetensors}) {
    const ir::Graph network = frontend::read_network(shared_file(file));
    const ir::Graph direct = ir::extract(network, ir::Variant::direct);
    const ir::Graph refined = ir::extract(network, ir::Variant::refined);
    // Odd, and with the refiner; of the script even and portrait, too.
    std::vector<Case> sizes = {{67, 101, 1}, {135, 201, 0.375}};
    if (file == torchscript)
      for (const Case& more : {Case{96, 160, 1}, Case{160, 96, 1}, Case{144, 256, 0.5}})
        sizes.push_back(more);
    for (const Case& size : sizes)
      expect_equal(size.ratio == 1 ? direct : refined, reference, size, file);
  }
}

// The script divides by the standard deviations; the graph multiplies by their rounded reciprocals.
// This puts the division back.
quant::Hooks with_division(const ir::Graph& graph) {
  ir::TensorId input = ir::no_tensor, output = ir::no_tensor;
  for (const ir::Op& op : graph.ops)
    if (op.kind == ir::OpKind::scale_shift && op.factor.size() == 3 && op.factor[0] != 1) {
      EXPECT_EQ(op.factor, (std::vector<float>{1 / 0.229F, 1 / 0.224F, 1 / 0.225F}));
      EXPECT_EQ(output, ir::no_tensor) << "two divisions";
      input = op.inputs[0];
      output = op.output;
    }
  quant::Hooks hooks;
  hooks.on_store = [=, dividend = torch::Tensor()](ir::TensorId id,
                                                   const torch::Tensor& value) mutable {
    if (id == input) dividend = value;
    if (id != output) return value;
    return dividend / torch::tensor({0.229F, 0.224F, 0.225F}).reshape({1, 3, 1, 1});
  };
  return hooks;
}

TEST(Rvm, UnfoldedIsLibTorchBitForBit) {
  MATTEC_NEED_SHARED(torchscript);
  MATTEC_NEED_SHARED(clip);
  torch::jit::Module reference = torch::jit::load(shared_file(torchscript));
  reference.eval();
  const frontend::ZipArchive archive(testing::read_bytes(shared_file(torchscript)), torchscript);
  const ir::Graph network = frontend::read_torchscript(archive, /*fold=*/false);
  const ir::Graph direct = ir::extract(network, ir::Variant::direct);
  const ir::Graph refined = ir::extract(network, ir::Variant::refined);
  for (const Case& size : {Case{96, 160, 1}, Case{67, 101, 1}, Case{160, 96, 1},
                           Case{144, 256, 0.5}, Case{135, 201, 0.375}}) {
    const ir::Graph& graph = size.ratio == 1 ? direct : refined;
    const Difference difference = difference_to_libtorch(graph, reference.deepcopy(), size,
                                                         torch::kFloat, with_division(graph));
    EXPECT_EQ(difference.outputs, 0) << size.width << "x" << size.height;
    EXPECT_EQ(difference.states, 0) << size.width << "x" << size.height;
  }
}

TEST(Rvm, FusedEqualsLibTorch) {
  MATTEC_NEED_SHARED(torchscript);
  MATTEC_NEED_SHARED(safetensors);
  MATTEC_NEED_SHARED(clip);
  torch::jit::Module reference = torch::jit::load(shared_file(torchscript));
  reference.eval();
  ir::Graph fused = frontend::fuse(
      ir::extract(frontend::read_network(shared_file(safetensors)), ir::Variant::direct));
  for (const Case& size : {Case{96, 160, 1}, Case{67, 101, 1}, Case{160, 96, 1}})
    expect_equal(fused, reference, size, "fused");
  const int filters = filter_count(fused);
  EXPECT_GT(frontend::remove_dead_channels(fused), 700);
  EXPECT_EQ(filters - filter_count(fused), 716);
  EXPECT_EQ(frontend::remove_dead_channels(fused), 0);  // nothing is left to do
  for (const Case& size : {Case{96, 160, 1}, Case{67, 101, 1}})
    expect_equal(fused, reference, size, "dead channels removed");
}

// torch.jit.freeze, the form that is published: inlined, constants without names.
TEST(Rvm, FrozenScriptEqualsLibTorch) {
  MATTEC_NEED_SHARED(torchscript);
  MATTEC_NEED_SHARED(clip);
  torch::jit::Module reference = torch::jit::load(shared_file(torchscript));
  reference.eval();
  const testing::ScratchFolder folder;
  torch::jit::freeze(reference.deepcopy()).save(folder.file("frozen.pt"));
  const ir::Graph network = frontend::read_network(folder.file("frozen.pt"));
  EXPECT_EQ(network.states.size(), 4U);
  expect_equal(frontend::fuse(ir::extract(network, ir::Variant::direct)), reference, {67, 101, 1},
               "frozen");
  expect_equal(ir::extract(network, ir::Variant::refined), reference, {134, 202, 0.5}, "frozen");
}

// The operations that the integer engine is built for, and no others.
TEST(Rvm, FusedOperations) {
  MATTEC_NEED_SHARED(safetensors);
  const ir::Graph fused = frontend::fuse(
      ir::extract(frontend::read_network(shared_file(safetensors)), ir::Variant::direct));
  std::map<ir::OpKind, int> count;
  for (const ir::Op& op : fused.ops) ++count[op.kind];
  EXPECT_EQ(count[ir::OpKind::conv], 79);  // 78 of the file, project_mat in two
  EXPECT_EQ(count[ir::OpKind::global_avg_pool], 9);
  EXPECT_EQ(count[ir::OpKind::mul], 13);
  EXPECT_EQ(count[ir::OpKind::blend], 4);
  EXPECT_EQ(count[ir::OpKind::avg_pool2], 3);
  EXPECT_EQ(count[ir::OpKind::upsample2], 8);
  EXPECT_EQ(count[ir::OpKind::slice], 16);
  const ir::Op& stem = fused.ops.front();
  ASSERT_EQ(stem.conv.pad_value.size(), 3U);
  EXPECT_NEAR(stem.conv.pad_value[0], 0.485, 1e-6);
  EXPECT_NEAR(stem.conv.pad_value[2], 0.406, 1e-6);
  for (const ir::Output& output : fused.outputs) {
    const ir::Op& op = fused.ops[static_cast<size_t>(fused.producer(output.tensor))];
    EXPECT_EQ(op.rounding, ir::Rounding::down);
    EXPECT_EQ(op.activation, ir::Activation::clamp01);
    EXPECT_EQ(op.residual(), output.name == "fgr" ? fused.frame : ir::no_tensor);
  }
}

}  // namespace
}  // namespace mattec
