// TorchScript networks made here: what is imported, and what is refused with which words.
#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>
#include <torch/script.h>

#include <random>

#include "base/error.h"
#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "frontend/zip.h"
#include "ir/compare.h"
#include "quant/executor.h"
#include "tests/frontend_scripts.h"

namespace mattec {
namespace {

using testing::error_of;
using testing::expect_refused;
using testing::matting;
using testing::module_of;
using testing::save;
using testing::ScratchFolder;

TEST(TorchScript, AnyNetworkOfSupportedOperatorsIsImported) {
  const torch::NoGradGuard no_grad;
  ScratchFolder folder;
  const ir::Graph graph = frontend::read_network(save(folder, matting));
  EXPECT_EQ(graph.name, "net");
  ASSERT_EQ(graph.states.size(), 1U);
  EXPECT_EQ(graph.states[0].name, "memory");
  EXPECT_EQ(graph.tensor(graph.states[0].input).channels, 4);
  EXPECT_EQ(graph.ops[1].name, "stem");
  torch::jit::Module module = module_of(matting);
  for (const auto& [height, width] : {std::pair{48, 32}, {37, 51}}) {
    quant::Executor executor(graph);
    std::vector<torch::Tensor> states;
    c10::IValue memory;
    for (int time = 0; time < 4; ++time) {
      const torch::Tensor frame = testing::moving_picture(height, width, time);
      const auto expected = module.forward({frame, memory}).toTuple()->elements();
      const auto outputs = executor.step(frame, states);
      EXPECT_LT(testing::largest_difference(outputs[0], expected[0].toTensor()), 1e-5);
      EXPECT_LT(testing::largest_difference(outputs[1], expected[1].toTensor()), 1e-5);
      EXPECT_LT(testing::largest_difference(states[0], expected[2].toTensor()), 1e-5);
      memory = expected[2];
    }
  }
}

// A network with a downsample_ratio that scales in its own way: always, and back by size.
TEST(TorchScript, DownsamplingGivesTwoVariants) {
  const torch::NoGradGuard no_grad;
  ScratchFolder folder;
  const std::string script = R"(
def forward(self, src, downsample_ratio: float = 1.0, verbose: bool = False):
    low = torch.upsample_bilinear2d(src, None, False, [downsample_ratio, downsample_ratio])
    y = torch.conv2d(torch.sub(low, self.mean), self.alpha)
    if downsample_ratio != 1.0:
        y = torch.upsample_bilinear2d(y, [src.size(2), src.size(3)], False)
    return torch.clamp(y, 0.0, 1.0)
)";
  const ir::Graph graph = frontend::read_network(save(folder, script));
  torch::jit::Module module = module_of(script);
  const torch::Tensor frame = testing::moving_picture(30, 46, 0);
  for (double ratio : {1.0, 0.5, 0.3}) {
    const ir::Graph variant =
        ir::extract(graph, ratio == 1 ? ir::Variant::direct : ir::Variant::refined);
    quant::Executor executor(variant);
    std::vector<torch::Tensor> states;
    const torch::Tensor expected = module.forward({frame, ratio}).toTensor();
    EXPECT_LT(testing::largest_difference(executor.step(frame, states, ratio)[0], expected), 1e-6);
  }
}

TEST(TorchScript, WhatIsNoMattingNetworkIsRefused) {
  expect_refused("def forward(self, a: int):\n    return a\n", "takes no frame");
  expect_refused("def forward(self, x):\n    return 1\n", "gives no tensors");
  expect_refused("def other(self, x):\n    return x\n", "no forward()");
  expect_refused("def forward(self, x):\n    return torch.conv2d(x, self.stem)\n", "shape");
  expect_refused(
      "def forward(self, x):\n    y = torch.conv2d(x, self.stem, None, [1, 1], [1, 1])\n"
      "    return y.mean([2, 3], True)\n",
      "gives an output of shape [1, 8, 1, 1] for a 128x192 frame");
  expect_refused("def forward(self, x):\n    return torch.relu(x)\n", "gives no alpha");
  expect_refused("def forward(self, x, y):\n    return x\n", "argument 'y'");
  expect_refused("def forward(self, x, n: int):\n    return x\n", "argument 'n'");
  expect_refused("def forward(self, x, r: Optional[Tensor] = None):\n    return x\n",
                 "gives 1 tensors for 1 states");
  expect_refused("def forward(self, x):\n    return torch.zeros([1, 1, x.size(2), x.size(3)])\n",
                 "does not depend on the frame");
}

TEST(TorchScript, UnsupportedOperationsAreNamed) {
  const auto alpha = [](const std::string& expression) {
    return "def forward(self, x):\n    y = torch.conv2d(x, self.alpha)\n    return " + expression +
           "\n";
  };
  expect_refused(alpha("torch.softmax(y, 1)"), "aten::softmax is not supported");
  expect_refused(alpha("torch.clamp(y, 0.0, 2.0)"), "aten::clamp has other bounds");
  expect_refused(alpha("y.transpose(2, 3)"), "aten::transpose is not supported");
  expect_refused(alpha("y if bool(y.sum() > 0) else -y"), "not supported");
  expect_refused(alpha("y.view([1, 1, 128, 192])"), "is not supported on computed tensors");
  expect_refused(alpha("torch.upsample_bilinear2d(y, [128, 192], True)"), "aligns corners");
  expect_refused(alpha("torch.upsample_bilinear2d(y, [128, 192], False)"), "has another size");
  expect_refused(alpha("y[:, :, :100]"), "crops to a fixed or computed number of pixels");
  expect_refused(alpha("y[:, :, 1:]"), "does not begin at pixel 0");
  expect_refused(alpha("torch.avg_pool2d(y, [2, 2])"), "aten::avg_pool2d is another");
  expect_refused(alpha("y / y"), "divides by a computed tensor");
  expect_refused(alpha("torch.conv2d(x, x)"), "computed weights");
}

TEST(TorchScript, ExecutionEnds) {
  const std::string head =
      "def forward(self, x):\n    y = torch.conv2d(x, self.alpha)\n    i = 0\n";
  expect_refused(head + "    while i >= 0:\n        i = i + 1\n    return y\n", "without end");
  expect_refused(head + "    while i >= 0:\n        pass\n    return y\n", "without end");
  expect_refused("def forward(self, x):\n    assert x.size(1) < 0, \"not today\"\n    return x\n",
                 "refuses its input");
  expect_refused("def forward(self, x):\n    return torch.zeros([1000000, 1000000]) + x\n",
                 "too large");
}

// A view of a tensor that is then changed in place would change too.
TEST(TorchScript, ChangesInPlaceOfViewedTensorsAreRefused) {
  expect_refused(
      "def forward(self, x):\n    y = torch.conv2d(x, self.stem, None, [1, 1], [1, 1])\n"
      "    a = y[:, 0:1]\n    b = torch.relu_(y)\n    return a + b[:, 0:1]\n",
      "in place");
}

// The file again, sound as an archive, but with `word` in its code replaced.
std::string edited(const ScratchFolder& folder, const std::string& word, const std::string& by) {
  const std::string file = save(folder, matting);
  std::string result = folder.file("edited.pt");
  const frontend::ZipArchive archive(testing::read_bytes(file), file);
  caffe2::serialize::PyTorchStreamWriter writer(result);
  int places = 0;
  for (const std::string& name : archive.names()) {
    const std::string inside = name.substr(archive.root().size() + 1);
    std::string content = archive.content(name);
    const size_t at = content.find(word);
    const bool code =
        inside.compare(inside.size() - std::min<size_t>(3, inside.size()), 3, ".py") == 0;
    if (code && at != std::string::npos) {
      content.replace(at, word.size(), by);
      ++places;
    }
    if (inside != "version") writer.writeRecord(inside, content.data(), content.size());
  }
  writer.writeEndOfFile();
  EXPECT_EQ(places, 1) << word;
  return result;
}

// Traced networks keep sizes in tensors.
TEST(TorchScript, SizesInTensorsAreFollowed) {
  ScratchFolder folder;
  const std::string height = "torch.size(frame, 2)",
                    tensor = "ops.prim.NumToTensor(" + height + ")";
  EXPECT_EQ(error_of(edited(folder, height, "int(" + tensor + ")")), "no error");
  const std::string error = error_of(edited(folder, height, "int(torch.mul(" + tensor + ", 1))"));
  EXPECT_NE(error.find("computed from a size or ratio as end"), std::string::npos) << error;
}

TEST(TorchScript, CodeThatLibTorchRefusesIsOneLineWithARemedy) {
  ScratchFolder folder;
  EXPECT_EQ(error_of(edited(folder, "def forward", "def  forward")), "no error");
  const std::string prefix = folder.file("edited.pt") + ": LibTorch cannot ";
  EXPECT_EQ(error_of(edited(folder, "def forward", "def )forward")),
            prefix + "read it: expected ident but found ')' here; export it again");
  // LibTorch begins this message with an empty line.
  EXPECT_EQ(error_of(edited(folder, "torch.cat(", "torch.cut(")),
            prefix + "read it: Unknown builtin op: aten::cut; export it again");
}

// An error, or the same network: there are bytes (times, sizes of padding) that mean nothing here.
TEST(TorchScript, CorruptFiles) {
  ScratchFolder folder;
  const std::string good = testing::read_bytes(save(folder, matting));
  const std::string file = folder.file("bad.pt");
  testing::write_bytes(file, good);
  const ir::Graph expected = frontend::read_network(file);
  std::mt19937 random(23);
  int errors = 0;
  for (int round = 0; round < 120; ++round) {
    std::string bad = good;
    if (round % 2 == 0) bad.resize(random() % good.size());
    for (int i = 0; round % 2 && i < 4; ++i)
      bad[random() % bad.size()] = static_cast<char>(random());
    testing::write_bytes(file, bad);
    try {
      EXPECT_EQ(ir::first_difference(expected, frontend::read_network(file), 0), "");
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
      ++errors;
    }
  }
  EXPECT_GT(errors, 60) << "at least the files that were cut off";
}

}  // namespace
}  // namespace mattec
