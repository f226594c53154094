// What TorchScript networks may do with sizes and precisions, and how much they may compute.
#include <gtest/gtest.h>
#include <torch/script.h>

#include <chrono>
#include <csignal>
#include <fstream>

#include "base/interrupt.h"
#include "frontend/read_network.h"
#include "frontend/torchscript.h"
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
using testing::sized;

TEST(TorchScript, DecisionsBySizeAreRefusedWithTheirLine) {
  const std::string why = "decides by a value computed from a size or ratio";
  expect_refused(sized("if x.size(2) > 200:\n    y = -y"), why);
  expect_refused(sized("if x.size(2) > 200:\n    y = -y"), ".py:");
  expect_refused(sized("if x.shape[-1] == 192:\n    y = -y"), why);
  expect_refused(sized("n, c, a, b = x.size()\nif a < b:\n    y = -y"), why);
  expect_refused(sized("if h % 2 == 0 and w % 2 == 0:\n    y = -y"), why);
  expect_refused(sized("if self.twice(h) > 300:\n    y = -y"), why);
  expect_refused(sized("z = y if min(h, w) > 500 else -y\ny = z"), why);
  expect_refused(sized("sides = [h, w]\nsides.append(7)\nif max(sides) > 5:\n    y = -y"), why);
  expect_refused(sized("if [h] + [w] == [128, 192]:\n    y = -y"), why);
  expect_refused(sized("if bool(torch.tensor(h) > 5):\n    y = -y"), why);
  expect_refused(sized("if bool(torch.zeros([h, 1]).size(0) > 5):\n    y = -y"), why);
  expect_refused(sized("if \"{}\".format(h) == \"128\":\n    y = -y"), why);
  expect_refused(sized("assert h % 4 == 0, \"size\""), why);
  expect_refused(sized("if torch.zeros_like(y).size(2) > 3:\n    y = -y"), why);
  expect_refused(sized("if y.mean([2, 3], True).size(3) == 1:\n    y = -y"), why);
  expect_refused(sized("for i in range(h):\n    y = -y"), "repeats by");
  expect_refused(sized("i = 0\nwhile i < h:\n    i = i + 50\n    y = -y"), "repeats by");
  expect_refused(sized("a = [1, 2, 3]\nif a[h // 64] == 3:\n    y = -y"), "a part of a list by");
  expect_refused(sized("a = [1] * h\nif len(a) == 3:\n    y = -y"), "repeats a list by");
}

TEST(TorchScript, ComputingWithSizesIsRefused) {
  const std::string why = "computed from a size or ratio as ";
  expect_refused(sized("y = y * (100 / float(x.size(2)))"), why + "other");
  expect_refused(sized("y = y * h"), why + "other");
  expect_refused(sized("y = y + torch.tensor(h)"), why + "other");
  expect_refused(sized("y = y + torch.tensor([float(h)])"), why + "other");
  expect_refused(sized("y = y / torch.full([1], h)"), why + "other");
  expect_refused(sized("y = y + torch.zeros([h, w])"), why + "other");
  expect_refused(sized("y = y * torch.zeros([h]).mean(0, True)"), why + "other");
  expect_refused(sized("y = y + torch.ones([1, 1, h, w]).mean([2, 3], True)"), why + "other");
  expect_refused(sized("y = torch.conv2d(y, torch.full([1, 1, 1, 1], 1.0 / h))"), why + "weight");
  expect_refused(sized("y = torch.upsample_bilinear2d(y, [h * 3 // 3, w], False)"),
                 why + "output_size");
  expect_refused(sized("y = torch.upsample_bilinear2d(y, None, False, [256.0 / h, 2.0])"),
                 why + "scale_factors");
  expect_refused(sized("y = y[:, :, :h // 2]"), why + "end");
  expect_refused(sized("y = torch.adaptive_avg_pool2d(y, [h, w])"), why + "output_size");
  expect_refused(sized("y = y[:, :w]"), "as many channels as a size says");
  expect_refused(sized("y = torch.arange(h) + y"), "aten::arange is not supported");
  expect_refused(sized("y = y.reshape([1, 1, h, w])"), "not supported on computed tensors");
  expect_refused(sized("if x.numel() > 5:\n    y = -y"), "aten::numel is not supported");
}

// All of them leave the traced frame as it is, but not every frame.
TEST(TorchScript, SlicesThatAreWholeByChanceAreRefused) {
  const std::string why = "crops to a fixed or computed number of pixels";
  expect_refused(sized("y = y[:, :, :256, :256]"), why);
  expect_refused(sized("y = y[:, :, :128]"), why);
  expect_refused(sized("y = y[:, :, 0:128, 0:192]"), why);
  expect_refused(sized("y = y.narrow(2, 0, 128)"), why);
  expect_refused(sized("y = y[:, :, :-1]"), why);
  expect_refused(sized("y = y[:, :, -300:]"), "does not begin at pixel 0");
  expect_refused(sized("y = y[:, :, ::2]"), "has a step");
  expect_refused(sized("y = y[:, :, 5]"), "aten::select is not supported");
  expect_refused(sized("a = torch.avg_pool2d(y, [2, 2], [2, 2], [0, 0], True, False)\n"
                       "y = y[:, :, :a.size(2)]"),
                 "crops what is not upsampled");
}

// An upsampling that the script uses both whole and cropped would be two sizes at odd ones.
TEST(TorchScript, UpsamplingsHaveOneSize) {
  const std::string start =
      "a = torch.avg_pool2d(x, [2, 2], [2, 2], [0, 0], True, False)\n"
      "u = torch.upsample_bilinear2d(a, None, False, [2.0, 2.0])\n";
  const std::string end = "\ny = y * torch.conv2d(v, self.alpha)";
  expect_refused(sized(start + "m = u.mean([2, 3], True)\nv = u[:, :, :h, :w] * m" + end),
                 "cropped in one place and used uncropped");
  expect_refused(sized(start + "v = u[:, :, :h]" + end), "cropped in one place and used uncropped");
  expect_refused(sized(start +
                       "v = u[:, :, :a.size(2), :a.size(3)]\n"
                       "v = torch.upsample_bilinear2d(v, [h, w], False)" +
                       end),
                 "more than the last row or column");
  expect_refused(sized(start + "v = u" + end), "neither cropped to nor concatenated");
}

TEST(TorchScript, WhatTheGraphExpressesIsAllowed) {
  const torch::NoGradGuard no_grad;
  const std::vector<std::string> allowed = {
      "u = torch.avg_pool2d(x, [2, 2], [2, 2], [0, 0], True, False)\n"
      "u = torch.upsample_bilinear2d(u, [u.size(2) * 2, 2 * u.size(3)], False)[:, :, :h, :w]\n"
      "y = y + torch.conv2d(u[:, :, :], self.alpha)",
      "u = torch.avg_pool2d(x, [2, 2], [2, 2], [0, 0], True, False)\n"
      "sides = x.shape[2:]\n"
      "y = y + torch.conv2d(torch.upsample_bilinear2d(u, sides, False), self.alpha)",
      "if x.dim() == 4 and x.size(1) == 3 and x.size(0) == 1 and len(x.shape) == 4:\n    y = -y",
      "y = y[:, :, :h, :y.size(3)] * 1.5\ny = y[0:1, 0:]",
      "if y.size(1) > 1:\n    assert False, \"got {}\".format(x.size())\ny = y * y.size(1)",
      "for i in range(x.dim()):\n    y = y * 0.5\ny = y.to(6).contiguous()",
  };
  for (const std::string& lines : allowed) {
    ScratchFolder folder;
    std::string adjusted = lines;
    const size_t own = adjusted.find("y[:, :, :h, ");
    if (own != std::string::npos) adjusted.replace(own, 12, "y[:, :, :y.size(2), ");
    const std::string file = save(folder, sized(adjusted));
    ASSERT_EQ(error_of(file), "no error") << adjusted;
    const ir::Graph graph = frontend::read_network(file);
    quant::Executor executor(graph);
    torch::jit::Module module = module_of(sized(adjusted));
    std::vector<torch::Tensor> states;
    for (const auto& [height, width] : {std::pair{37, 51}, {300, 40}}) {
      const torch::Tensor frame = testing::moving_picture(height, width, 0);
      EXPECT_LT(testing::largest_difference(executor.step(frame, states)[0],
                                            module.forward({frame}).toTensor()),
                1e-5)
          << adjusted;
    }
  }
}

// Recorded at one ratio, run at others.
TEST(TorchScript, DecisionsByDownsampleRatioAreRefused) {
  const auto script = [](const std::string& lines) {
    return "def forward(self, src, downsample_ratio: float = 1.0):\n"
           "    low = torch.upsample_bilinear2d(src, None, False, [downsample_ratio, "
           "downsample_ratio])\n"
           "    y = torch.conv2d(low, self.alpha)\n" +
           lines +
           "    if downsample_ratio != 1.0:\n"
           "        y = torch.upsample_bilinear2d(y, [src.size(2), src.size(3)], False)\n"
           "    return y\n";
  };
  ScratchFolder folder;
  EXPECT_EQ(error_of(save(folder, script("    assert downsample_ratio > 0\n"))), "no error");
  expect_refused(script("    if downsample_ratio < 0.7:\n        y = -y\n"), "decides by");
  expect_refused(script("    y = y * downsample_ratio\n"), "size or ratio as other");
  expect_refused(script("    y = torch.upsample_bilinear2d(y, None, False, [1 / downsample_ratio, "
                        "1 / downsample_ratio])\n"),
                 "size or ratio as scale_factors");
}

TEST(TorchScript, FirstFrameMustBeginWithZeros) {
  const auto script = [](const std::string& start) {
    return "def forward(self, x, r: Optional[Tensor] = None):\n    if r is None:\n        s = " +
           start +
           "\n    else:\n        s = r\n    y = torch.conv2d(x, self.alpha)\n"
           "    s = torch.sigmoid(y + s)\n    return y * s, s\n";
  };
  ScratchFolder folder;
  EXPECT_EQ(error_of(save(folder, script("torch.zeros([1, 1, x.size(2), x.size(3)])"))),
            "no error");
  expect_refused(script("torch.ones([1, 1, x.size(2), x.size(3)])"), "on its first frame");
  expect_refused(script("torch.zeros([1, 1, x.size(2), x.size(3)]) if x.size(2) < 300 else "
                        "torch.ones([1, 1, 1, 1])"),
                 "decides by");
}

// Weights of other types are the same numbers in float.
TEST(TorchScript, OtherPrecisionsAreReadAsFloat) {
  const torch::NoGradGuard no_grad;
  ScratchFolder folder;
  for (const auto type : {torch::kHalf, torch::kBFloat16, torch::kDouble}) {
    torch::jit::Module narrow = module_of(matting), plain = module_of(matting);
    narrow.to(type);
    plain.to(type);
    plain.to(torch::kFloat);
    narrow.save(folder.file("net.pt"));
    const ir::Graph graph = frontend::read_network(folder.file("net.pt"));
    plain.save(folder.file("net.pt"));
    EXPECT_EQ(ir::first_difference(graph, frontend::read_network(folder.file("net.pt")), 0), "");
    narrow.eval();
    torch::jit::freeze(narrow).save(folder.file("net.pt"));
    EXPECT_EQ(error_of(folder.file("net.pt")), "no error");
  }
}

// Types by their numbers: 5 is half, 6 float, 7 double.
TEST(TorchScript, CastsOfComputedTensorsAreRefused) {
  expect_refused(sized("y = y.half().float()"), "makes a computed tensor Half");
  expect_refused(sized("y = y.to(7)"), "makes a computed tensor Double");
  expect_refused(sized("y = y * torch.tensor([2.0], dtype=7)"), "tensor Double");
  expect_refused(sized("y = y.type_as(torch.zeros([1], dtype=5))"), "tensor Half");
  expect_refused(sized("y = torch.div(y, 0.01, rounding_mode=\"floor\")"), "rounds");
}

TEST(TorchScript, HugeComputationsAreRefused) {
  const auto started = std::chrono::steady_clock::now();
  expect_refused(sized("y = y + torch.zeros([1073741824])"), "too large");
  expect_refused(sized("y = y + torch.zeros([3000000, 1]) * torch.zeros([1, 3000000])"),
                 "too large");
  expect_refused(sized("y = torch.upsample_bilinear2d(y, None, False, [9000.0, 9000.0])"),
                 "too large");
  expect_refused(sized("y = torch.upsample_bilinear2d(y, [90000, 90000], False)"), "too large");
  expect_refused(sized("y = torch.adaptive_avg_pool2d(y, [90000, 90000])"), "too large");
  expect_refused(sized("y = torch.conv2d(y, self.depthwise, None, [1, 1], [90000, 90000])"),
                 "too large");
  expect_refused(sized("for i in range(99):\n    x = torch.cat([x, x], 1)"), "too large");
  expect_refused(sized("a = [torch.zeros([1])]\nfor i in range(999999):\n"
                       "    a.append(torch.zeros([4000000]))\ny = y * len(a)"),
                 "MB for constants");
  expect_refused(sized("y = y.repeat([999, 1, 99, 99])"), "not supported");
  expect_refused(sized("a = [1] * 1000000000\ny = y * len(a)"), "lists or texts");
  expect_refused(sized("a = [1]\nfor i in range(99):\n    a = a + a\ny = y * len(a)"),
                 "lists or texts");
  expect_refused(sized("a = [1]\nfor i in range(99):\n    a += a\ny = y * len(a)"),
                 "lists or texts");
  expect_refused(sized("a = \"ab\"\nfor i in range(99):\n    a = a + a\ny = y * len(a)"),
                 "lists or texts");
  expect_refused(sized("a = [1]\nfor i in range(9999999):\n    a.append(i)\ny = y * len(a)"),
                 "without end");
  expect_refused(sized("a = 0\nfor i in range(9999):\n    for j in range(9999):\n"
                       "        a = a + j\ny = y * a"),
                 "without end");
  expect_refused(sized("a = 7\nfor i in range(999):\n    a = int(pow(a, a))\ny = y * a"),
                 "");  // ends
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  EXPECT_LT(seconds.count(), 60) << "a few seconds for each";
#ifndef __SANITIZE_ADDRESS__  // which keeps what is freed
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) {
      EXPECT_LT(std::stol(line.substr(6)), 900 << 10) << line;
    }
#endif
}

TEST(TorchScript, ASignalEndsTheExecution) {
  ScratchFolder folder;
  const std::string file = save(folder, matting);
  const frontend::ZipArchive archive(testing::read_bytes(file), file);
  install_signal_handlers();
  const InterruptKeepsWork keeps;
  std::raise(SIGTERM);
  EXPECT_THROW(frontend::read_torchscript(archive), Interrupted);
  forget_interrupt();
}

TEST(TorchScript, DeepCallsAndBlocksAreRefused) {
  std::string nested = "def forward(self, x):\n    y = torch.conv2d(x, self.alpha)\n";
  std::string indent = "    ";
  for (int i = 0; i < 210; ++i) {
    nested += indent + "if x.dim() == 4:\n";
    indent += " ";
  }
  expect_refused(nested + indent + "y = -y\n    return y\n", "nested too deeply");
  std::string calls = "def f0(self, x):\n    return x\n";
  for (int i = 1; i < 150; ++i)
    calls += "def f" + std::to_string(i) + "(self, x):\n    return self.f" + std::to_string(i - 1) +
             "(x)\n";
  expect_refused(calls + "def forward(self, x):\n    return self.f149(x)\n", "without end");
}

TEST(TorchScript, WhatLibTorchRefusesNamesTheLine) {
  expect_refused(sized("y = torch.conv2d(y, self.stem)"), "torch.conv2d(y, stem): operation");
  expect_refused(sized("y = torch.conv2d(y, self.stem)"), "aten::conv2d fails in LibTorch: ");
}

TEST(TorchScript, ModulesStayAsTheyAre) {
  expect_refused(sized("self.mean.add_(1.0)\ny = y + 1.0"), "changes a constant in place");
}

}  // namespace
}  // namespace mattec
