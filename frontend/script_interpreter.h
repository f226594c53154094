// Executes a TorchScript method node by node on concrete tensors, so that control flow disappears,
// and hands every operation on recorded tensors to a Recorder.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "frontend/script_recorder.h"
#include "frontend/script_value.h"

namespace mattec::frontend {

class ScriptInterpreter {
 public:
  // Without a recorder it only computes. Only operators of a fixed list are executed: those that
  // a Recorder knows and those on sizes, numbers and constants.
  explicit ScriptInterpreter(Recorder* recorder) : recorder_(recorder) {}

  // arguments[0] is the module. Throws Error naming the operation and the module it stands in.
  ScriptValue call(const torch::jit::Function& function, std::vector<ScriptValue> arguments);

 private:
  using Environment = std::unordered_map<const torch::jit::Value*, ScriptValue>;

  std::vector<ScriptValue> run(const torch::jit::Block& block, std::vector<ScriptValue> inputs,
                               Environment& environment);
  void execute(const torch::jit::Node& node, Environment& environment);
  bool execute_control(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                       Environment& environment);
  bool execute_structure(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                         Environment& environment);
  bool execute_size(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                    Environment& environment);
  void execute_operator(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                        Environment& environment);
  void record(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
              const std::vector<c10::IValue>& outputs);
  [[noreturn]] void refuse(const torch::jit::Node& node, const std::string& why) const;

  Recorder* recorder_;
  std::vector<std::string> places_;  // module paths of the calls under way
  int64_t executed_ = 0;
};

}  // namespace mattec::frontend
