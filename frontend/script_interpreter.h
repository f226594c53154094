// Executes a TorchScript method node by node on concrete tensors, so that control flow disappears,
// and hands every operation on recorded tensors to a Recorder.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "frontend/script_limits.h"
#include "frontend/script_operators.h"
#include "frontend/script_recorder.h"
#include "frontend/script_value.h"

namespace mattec::frontend {

class ScriptInterpreter {
 public:
  // Only operators of a fixed list are executed: those that a Recorder knows and those on sizes,
  // numbers and constants.
  explicit ScriptInterpreter(Recorder& recorder) : recorder_(recorder) {}

  // arguments[0] is the module. Throws Error naming the script's line, the operation and the module
  // it stands in: also where a decision, or what is recorded, comes from a size (script_sizes.h).
  ScriptValue call(const torch::jit::Function& function, std::vector<ScriptValue> arguments);

 private:
  using Environment = std::unordered_map<const torch::jit::Value*, ScriptValue>;

  std::vector<ScriptValue> run(const torch::jit::Block& block, std::vector<ScriptValue> inputs,
                               Environment& environment);
  void execute(const torch::jit::Node& node, Environment& environment);
  void execute_any(const torch::jit::Node& node, Environment& environment);
  bool execute_control(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                       Environment& environment);
  void loop(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
            Environment& environment);
  bool execute_structure(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                         Environment& environment);
  bool execute_list(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                    Environment& environment);
  ScriptValue part_of_list(const torch::jit::Node& node, const std::vector<ScriptValue>& in);
  bool execute_size(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                    Environment& environment);
  void execute_operator(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                        Environment& environment);
  void check_operator(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
                      bool on_recorded) const;
  void record(const torch::jit::Node& node, const std::vector<ScriptValue>& in,
              const std::vector<c10::IValue>& outputs);
  bool is_on_recorded(const std::string& kind, const std::vector<ScriptValue>& in) const;
  // A decision of the script: the same at all sizes, or Error.
  void need_fixed(const torch::jit::Node& node, const ScriptValue& value, const char* what) const;
  // What `check` throws, with the name of the operation.
  template <typename Check>
  void within_limits(const torch::jit::Node& node, const Check& check) const {
    try {
      check();
    } catch (const Error& error) {
      refuse(node, error.what());
    }
  }
  [[noreturn]] void refuse(const torch::jit::Node& node, const std::string& why) const;
  // "operation <kind> in '<module>' "
  std::string name_of(const torch::jit::Node& node) const;

  Recorder& recorder_;
  ScriptLimits limits_;
  ConstantsInFloat constants_;
  std::vector<std::string> places_;             // module paths of the calls under way
  std::vector<const torch::jit::Node*> nodes_;  // nodes under way, the innermost last
};

}  // namespace mattec::frontend
