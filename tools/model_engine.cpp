#include "tools/model_engine.h"

#include <filesystem>

#include "base/error.h"
#include "frontend/read_network.h"
#include "ir/graph.h"
#include "ir/interpreter.h"
#include "ir/model_file.h"
#include "quant/float_network.h"
#include "tools/library_engine.h"

namespace mattec::tools {
namespace {

class InterpreterEngine : public Engine {
 public:
  InterpreterEngine(const ir::Graph& graph, ir::Size size)
      : interpreter_(graph, size),
        has_foreground_(graph.find_output("fgr", ir::Variant::direct) != nullptr) {}

  void step(const media::Image& frame, media::Image& alpha, media::Image* foreground) override {
    interpreter_.step(frame.pixels.data());
    alpha.reset(frame.size, 1);
    alpha.pixels = interpreter_.output("pha");
    if (foreground == nullptr) return;
    *foreground = frame;
    if (has_foreground_) foreground->pixels = interpreter_.output("fgr");
  }
  void reset() override { interpreter_.reset(); }

 private:
  ir::Interpreter interpreter_;
  bool has_foreground_;
};

class FloatEngine : public Engine {
 public:
  FloatEngine(const ir::Graph& graph, const ModelOptions& options)
      : network_(graph, options.downsample_ratio, options.threads) {}

  void step(const media::Image& frame, media::Image& alpha, media::Image* foreground) override {
    alpha.reset(frame.size, 1);
    if (foreground != nullptr) foreground->reset(frame.size, 3);
    network_.step(frame.pixels.data(), frame.size, alpha.pixels.data(),
                  foreground != nullptr ? foreground->pixels.data() : nullptr);
  }
  void reset() override { network_.reset(); }

 private:
  quant::FloatNetwork network_;
};

class GraphModel : public Model {
 public:
  GraphModel(ir::Graph graph, const ModelOptions& options)
      : graph_(std::move(graph)), options_(options) {}

  ir::Size size_for(ir::Size clip) const override { return options_.size.value_or(clip); }
  bool has_foreground() const override {
    const bool is_direct = options_.downsample_ratio == 1;
    return graph_.find_output("fgr", is_direct ? ir::Variant::direct : ir::Variant::refined) !=
           nullptr;
  }
  std::unique_ptr<Engine> start(ir::Size size) const override {
    if (graph_.stage == ir::Stage::quantized)
      return std::make_unique<InterpreterEngine>(graph_, size);
    return std::make_unique<FloatEngine>(graph_, options_);
  }

 private:
  ir::Graph graph_;
  ModelOptions options_;
};

}  // namespace

std::unique_ptr<Model> open_quantized_model(const std::string& path, const ModelOptions& options) {
  ir::Graph graph = ir::read_model(path);
  if (graph.stage == ir::Stage::quantized && options.downsample_ratio != 1)
    throw Error(path + ": its refiner is not quantized; only --downsample-ratio 1 can be run");
  if (graph.find_output("pha", ir::Variant::direct) == nullptr)
    throw Error(path + ": has no output \"pha\"; it is no matting network");
  return std::make_unique<GraphModel>(std::move(graph), options);
}

std::unique_ptr<Model> open_float_model(const std::string& path, const ModelOptions& options) {
  return std::make_unique<GraphModel>(frontend::read_network(path), options);
}

std::unique_ptr<Model> open_model(const std::string& path, const ModelOptions& options) {
  if (names_libraries(path)) return open_libraries(path, options);
  if (std::filesystem::path(path).extension() == ".mattec")
    return open_quantized_model(path, options);
  return open_float_model(path, options);
}

}  // namespace mattec::tools
