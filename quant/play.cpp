#include "quant/play.h"

#include <utility>

#include "base/error.h"

namespace mattec::quant {
torch::Tensor network_input(const Frame& frame) {
  const torch::Tensor pixels = torch::from_blob(const_cast<uint8_t*>(frame.rgb.data()),
                                                {1, frame.height, frame.width, 3}, torch::kByte);
  return (pixels.permute({0, 3, 1, 2}).to(torch::kFloat) / 255)
      .contiguous(torch::MemoryFormat::ChannelsLast);
}

Executor channels_last_executor(const ir::Graph& graph) {
  Parameters parameters = parameters_of(graph);
  for (auto& [name, entry] : parameters.of)
    entry.weight = entry.weight.contiguous(torch::MemoryFormat::ChannelsLast);
  return Executor(graph, std::move(parameters));
}

size_t alpha_output(const ir::Graph& graph) {
  size_t found = graph.outputs.size();
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    if (graph.outputs[i].name == "pha") return i;
    if (graph.tensor(graph.outputs[i].tensor).channels == 1) found = i;
  }
  if (found == graph.outputs.size())
    throw Error("quantize: " + graph.name + " has no output \"pha\"; it is no matting network");
  return found;
}

}  // namespace mattec::quant
