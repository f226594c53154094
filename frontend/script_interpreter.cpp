#include "frontend/script_interpreter.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>

#include "base/error.h"
#include "frontend/script_operators.h"
#include "frontend/script_place.h"
#include "frontend/script_sizes.h"

namespace mattec::frontend {
namespace {

namespace jit = torch::jit;

constexpr size_t deepest_call = 100;
constexpr size_t deepest_node = 200;  // calls, branches and loops within each other

}  // namespace

std::string ScriptInterpreter::name_of(const jit::Node& node) const {
  const std::string place = places_.empty() ? "" : places_.back();
  return std::string("operation ") + node.kind().toQualString() +
         (place.empty() ? "" : " in '" + place + "'") + " ";
}

void ScriptInterpreter::refuse(const jit::Node& node, const std::string& why) const {
  throw Error(name_of(node) + why);
}

void ScriptInterpreter::need_fixed(const jit::Node& node, const ScriptValue& value,
                                   const char* what) const {
  if (value.varies())
    refuse(node, std::string(what) + " a value computed from a size or ratio" + depends_on_size);
}

ScriptValue ScriptInterpreter::call(const jit::Function& function,
                                    std::vector<ScriptValue> arguments) {
  const jit::GraphFunction* scripted =
      jit::tryToGraphFunction(const_cast<jit::Function&>(function));
  if (!scripted) throw Error("function '" + function.name() + "' is not TorchScript");
  if (places_.size() >= deepest_call)
    throw Error("function '" + function.name() + "' calls itself without end");
  const bool method = !arguments.empty() && !arguments[0].items && arguments[0].concrete.isObject();
  const std::string outer = places_.empty() ? "" : places_.back();
  places_.push_back(method ? arguments[0].path : outer);
  Environment environment;
  const std::vector<ScriptValue> results =
      run(*scripted->graph()->block(), std::move(arguments), environment);
  places_.pop_back();
  return results.at(0);
}

std::vector<ScriptValue> ScriptInterpreter::run(const jit::Block& block,
                                                std::vector<ScriptValue> inputs,
                                                Environment& environment) {
  if (inputs.size() != block.inputs().size()) throw Error("a block has the wrong argument count");
  for (size_t i = 0; i < inputs.size(); ++i) environment[block.inputs()[i]] = std::move(inputs[i]);
  for (const jit::Node* node : block.nodes()) execute(*node, environment);
  std::vector<ScriptValue> results;
  for (const jit::Value* output : block.outputs()) results.push_back(environment.at(output));
  return results;
}

// Every error of a node, LibTorch's own too, becomes one that names its line.
void ScriptInterpreter::execute(const jit::Node& node, Environment& environment) {
  nodes_.push_back(&node);
  const auto placed = [&](const std::string& message) {
    const std::string line = line_of(nodes_);
    return PlacedError(line.empty() ? message : line + ": " + message);
  };
  try {
    execute_any(node, environment);
  } catch (const PlacedError&) {
    throw;
  } catch (const Error& error) {
    throw placed(error.what());
  } catch (const c10::Error& error) {
    throw placed(name_of(node) + "fails in LibTorch: " +
                 first_line(error.what_without_backtrace()) + "; export it again");
  } catch (const std::exception& error) {
    throw placed(name_of(node) + "fails in LibTorch: " + first_line(error.what()) +
                 "; export it again");
  }
  nodes_.pop_back();
}

void ScriptInterpreter::execute_any(const jit::Node& node, Environment& environment) {
  if (nodes_.size() > deepest_node) refuse(node, "is nested too deeply; export a plain network");
  std::vector<ScriptValue> in;
  for (const jit::Value* input : node.inputs()) in.push_back(environment.at(input));
  within_limits(node, [&] { limits_.count_operation(); });
  if (execute_control(node, in, environment)) return;
  if (execute_structure(node, in, environment)) return;
  if (execute_size(node, in, environment)) return;
  execute_operator(node, in, environment);
}

bool ScriptInterpreter::execute_control(const jit::Node& node, const std::vector<ScriptValue>& in,
                                        Environment& environment) {
  const auto set = [&](size_t i, ScriptValue value) {
    environment[node.outputs()[i]] = std::move(value);
  };
  switch (node.kind()) {
    case c10::prim::If: {
      need_fixed(node, in[0], "decides by");
      const jit::Block& taken = *node.blocks()[in[0].concrete.toBool() ? 0 : 1];
      std::vector<ScriptValue> results = run(taken, {}, environment);
      for (size_t i = 0; i < results.size(); ++i) set(i, std::move(results[i]));
      return true;
    }
    case c10::prim::Loop:
      loop(node, in, environment);
      return true;
    case c10::prim::CallMethod: {
      const auto& object = in[0].concrete.toObjectRef();
      set(0, call(object.type()->getMethod(node.s(c10::attr::name)), in));
      return true;
    }
    case c10::prim::CallFunction: {
      const auto type = node.inputs()[0]->type()->expect<c10::FunctionType>();
      set(0, call(*type->function(), {in.begin() + 1, in.end()}));
      return true;
    }
    case c10::prim::RaiseException:
      refuse(node,
             "is reached: the network refuses its input" +
                 (in[0].concrete.isString() ? " (" + first_line(in[0].concrete.toStringRef()) + ")"
                                            : ""));
    default:
      return false;
  }
}

void ScriptInterpreter::loop(const jit::Node& node, const std::vector<ScriptValue>& in,
                             Environment& environment) {
  need_fixed(node, in[0], "repeats by");
  std::vector<ScriptValue> carried(in.begin() + 2, in.end());
  ScriptValue more = in[1];
  for (int64_t i = 0; i < in[0].concrete.toInt(); ++i) {
    need_fixed(node, more, "repeats by");
    if (!more.concrete.toBool()) break;
    within_limits(node, [&] { limits_.count_operation(); });
    carried.insert(carried.begin(), ScriptValue(c10::IValue(i)));
    carried = run(*node.blocks()[0], std::move(carried), environment);
    more = carried.at(0);
    carried.erase(carried.begin());
  }
  for (size_t i = 0; i < carried.size(); ++i)
    environment[node.outputs()[i]] = std::move(carried[i]);
}

bool ScriptInterpreter::execute_size(const jit::Node& node, const std::vector<ScriptValue>& in,
                                     Environment& environment) {
  const std::string kind = node.kind().toQualString();
  const auto set = [&](ScriptValue value) {
    environment[node.output()] = std::move(value);
    return true;
  };
  // A traced network keeps sizes in tensors of one number.
  if (kind == "prim::NumToTensor" && !in[0].is_tensor()) {
    ScriptValue value = in[0];
    const at::Scalar number = value.concrete.toScalar();
    value.concrete = c10::IValue(at::scalar_tensor(number, number.type()));
    return set(std::move(value));
  }
  if (kind == "aten::Int" && in[0].size_of != ir::no_tensor) {
    ScriptValue value = in[0];
    if (value.is_tensor()) value.concrete = c10::IValue(value.concrete.toTensor().item<int64_t>());
    return set(std::move(value));
  }
  if (kind == "aten::Float" && in[0].is_downsample_ratio && in[0].concrete.isDouble())
    return set(in[0]);
  const ScriptValue multiple = multiple_of_size(kind, in);
  if (multiple.size_of != ir::no_tensor) return set(multiple);
  if (kind != "aten::size" || !in[0].is_tensor()) return false;
  const at::Tensor& tensor = in[0].concrete.toTensor();
  const ir::TensorId id = recorder_.find(tensor);
  recorder_.note_use(tensor);
  const auto extent = [&](int64_t axis) {
    ScriptValue value(c10::IValue(tensor.size(axis)));
    if (id == ir::no_tensor) return in[0].derived ? derived(std::move(value)) : value;
    // Only heights and widths vary; batch and channels are constants of the network.
    if (axis >= 2) {
      value.size_of = id;
      value.axis = axis;
    }
    return value;
  };
  if (in.size() > 1) {
    need_fixed(node, in[1], "asks for a dimension by");
    const int64_t axis = in[1].concrete.toInt();
    return set(extent(axis < 0 ? axis + tensor.dim() : axis));
  }
  std::vector<ScriptValue> extents;
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) extents.push_back(extent(axis));
  return set(ScriptValue::sequence(std::move(extents), true));
}

bool ScriptInterpreter::is_on_recorded(const std::string& kind,
                                       const std::vector<ScriptValue>& in) const {
  // "constant.type_as(x)" asks x for its type only.
  const bool first_only = kind == "aten::to" || kind == "aten::type_as";
  const std::vector<at::Tensor> tensors =
      first_only ? tensors_in(std::vector<ScriptValue>{in.at(0)}) : tensors_in(in);
  return std::any_of(tensors.begin(), tensors.end(), [&](const at::Tensor& tensor) {
    return recorder_.find(tensor) != ir::no_tensor;
  });
}

void ScriptInterpreter::check_operator(const jit::Node& node, const std::vector<ScriptValue>& in,
                                       bool on_recorded) const {
  const std::string kind = node.kind().toQualString();
  if (!is_harmless(kind) && !Recorder::supports(kind)) refuse(node, "is not supported");
  if (on_recorded && !Recorder::supports(kind) && !asks_about_form(kind))
    refuse(node, "is not supported on computed tensors");
  // The constant may be one of the module, which is executed more than once.
  if (is_in_place(kind) &&
      (!in.at(0).is_tensor() || recorder_.find(in[0].concrete.toTensor()) == ir::no_tensor))
    refuse(node, "changes a constant in place; export a network that keeps its constants");
  within_limits(node, [&] { limits_.check_operator(kind, in); });
}

void ScriptInterpreter::execute_operator(const jit::Node& node, const std::vector<ScriptValue>& in,
                                         Environment& environment) {
  const std::string kind = node.kind().toQualString();
  const bool on_recorded = is_on_recorded(kind, in);
  check_operator(node, in, on_recorded);
  jit::Stack stack;
  for (size_t i = 0; i < in.size(); ++i)
    stack.push_back(to_ivalue(in[i], node.inputs()[i]->type()));
  if (node.schema().is_vararg()) stack.emplace_back(static_cast<int64_t>(in.size()));
  node.getOperation()(stack);
  const bool recorded = on_recorded && Recorder::supports(kind);
  within_limits(node, [&] {
    limits_.count_tensors(tensors_in(stack), !on_recorded);
    for (const c10::IValue& value : stack)
      limits_.count_entries(value.isString() ? value.toStringRef().size()
                            : value.isList() ? value.toListRef().size()
                                             : 0);
  });
  if (recorded) record(node, in, stack);
  bool varies = on_recorded && kind == "aten::zeros_like";
  for (const ScriptValue& value : in) varies = varies || value.varies();
  varies = varies && !recorded && !is_same_at_all_sizes(kind, in);
  for (size_t i = 0; i < node.outputs().size(); ++i) {
    ScriptValue value(stack.at(i));
    if (varies && value.is_list) need_fixed(node, derived(value), "makes a list from");
    environment[node.outputs()[i]] = varies ? derived(std::move(value)) : std::move(value);
  }
}

void ScriptInterpreter::record(const jit::Node& node, const std::vector<ScriptValue>& in,
                               const std::vector<c10::IValue>& outputs) {
  ScriptCall call;
  call.kind = node.kind().toQualString();
  call.place = places_.empty() ? "" : places_.back();
  const std::vector<c10::Argument>& arguments = node.schema().arguments();
  for (size_t i = 0; i < arguments.size() && i < in.size(); ++i)
    call.arguments[arguments[i].name()] = in[i];
  call.outputs = tensors_in(outputs);
  recorder_.record(call);
}

}  // namespace mattec::frontend
