#include "tests/frontend_scripts.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/error.h"
#include "frontend/read_network.h"

namespace mattec::testing {

torch::jit::Module module_of(const std::string& script) {
  torch::manual_seed(5);
  torch::jit::Module module("Network");
  const auto weight = [&](const std::string& name, const std::vector<int64_t>& shape) {
    module.register_parameter(name, 0.5 * torch::randn(shape), false);
  };
  weight("stem", {8, 3, 3, 3});
  weight("depthwise", {8, 1, 3, 3});
  weight("gates", {8, 12, 3, 3});
  weight("candidate", {4, 12, 3, 3});
  weight("head", {4, 11, 3, 3});
  weight("alpha", {1, 3, 1, 1});
  module.register_buffer("mean", torch::tensor({0.5F, 0.4F, 0.3F}).reshape({3, 1, 1}));
  module.define(script);
  return module;
}

// A small recurrent network with the operators that exporters write in different ways.
const char* const matting = R"(
def cell(self, x, h: Optional[Tensor]):
    if h is None:
        state = torch.zeros([x.size(0), 4, x.size(2), x.size(3)], dtype=x.dtype)
    else:
        state = h
    gates = torch.sigmoid(torch.conv2d(torch.cat([x, state], 1), self.gates, None, [1, 1], [1, 1]))
    r, z = gates.chunk(2, 1)
    c = torch.tanh(torch.conv2d(torch.cat([x, r * state], 1), self.candidate, None, [1, 1], [1, 1]))
    return state + z * (c - state)

def forward(self, frame, memory: Optional[Tensor] = None, scale: float = 2.0):
    x = torch.conv2d((frame - self.mean) / 0.25, self.stem, None, [2, 2], [1, 1])
    x = torch.hardswish_(x)
    parts: List[Tensor] = []
    for i in range(2):
        x = x + torch.conv2d(torch.relu(x), self.depthwise, None, [1, 1], [1, 1], [1, 1], 8)
        parts.append(x)
    pooled = parts[-1].mean([2, 3], True)
    x = parts[1] * torch.sigmoid(pooled)
    state = self.cell(x, memory)
    up = torch.upsample_bilinear2d(torch.cat([x[:, 4:8], state], 1), None, False, [scale, scale])
    up = up[:, :, :frame.size(2), :frame.shape[-1]]
    y = torch.conv2d(torch.cat([up, frame], dim=1), self.head, None, [1, 1], [1, 1])
    fgr, pha = torch.split(y, [3, 1], 1)
    return (fgr + frame).clamp(0.0, 1.0), torch.clamp(pha, 0.0, 1.0), state
)";

std::string save(const ScratchFolder& folder, const std::string& script) {
  std::string file = folder.file("net.pt");
  module_of(script).save(file);
  return file;
}

std::string error_of(const std::string& file) {
  try {
    frontend::read_network(file);
  } catch (const Error& error) {
    std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(message.find(file), 0U) << message;
    return message;
  }
  return "no error";
}

void expect_refused(const std::string& script, const std::string& part) {
  ScratchFolder folder;
  const std::string message = error_of(save(folder, script));
  EXPECT_NE(message.find(part), std::string::npos) << message << "\n" << script;
}

std::string sized(const std::string& lines) {
  std::string script =
      "def twice(self, n: int) -> int:\n    return n * 2\n"
      "def forward(self, x):\n    y = torch.conv2d(x, self.alpha)\n"
      "    h = x.size(2)\n    w = x.size(3)\n";
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) script += "    " + line + "\n";
  return script + "    return y\n";
}

}  // namespace mattec::testing
