#include "frontend/script_interpreter.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>

#include <set>

#include "base/error.h"

namespace mattec::frontend {
namespace {

namespace jit = torch::jit;

// A network executes some thousands; a loop without end must not.
constexpr int64_t most_operations = 1000000;
constexpr size_t deepest_call = 100;
constexpr int64_t largest_constant = int64_t{1} << 26;  // elements

// Operators on sizes, numbers, text and constant tensors: free of side effects.
bool is_harmless(const std::string& kind) {
  static const std::set<std::string> kinds = {"aten::__is__",
                                              "aten::__isnot__",
                                              "aten::__not__",
                                              "aten::__contains__",
                                              "aten::eq",
                                              "aten::ne",
                                              "aten::lt",
                                              "aten::le",
                                              "aten::gt",
                                              "aten::ge",
                                              "aten::__and__",
                                              "aten::__or__",
                                              "aten::floordiv",
                                              "aten::remainder",
                                              "aten::floor",
                                              "aten::ceil",
                                              "aten::Float",
                                              "aten::Int",
                                              "aten::Bool",
                                              "aten::dim",
                                              "aten::is_floating_point",
                                              "aten::format",
                                              "prim::dtype",
                                              "prim::device",
                                              "prim::layout",
                                              "prim::min",
                                              "prim::max",
                                              "aten::zeros",
                                              "aten::ones",
                                              "aten::full",
                                              "aten::tensor",
                                              "aten::view",
                                              "aten::reshape",
                                              "aten::unsqueeze",
                                              "aten::to",
                                              "aten::type_as",
                                              "aten::zeros_like",
                                              "aten::add",
                                              "aten::sub",
                                              "aten::mul",
                                              "aten::div",
                                              "aten::neg",
                                              "aten::sqrt",
                                              "aten::as_tensor",
                                              "aten::any",
                                              "aten::is_complex",
                                              "aten::__range_length",
                                              "aten::__derive_index",
                                              "aten::pow"};
  return kinds.count(kind) > 0;
}

// What may be asked about a recorded tensor without the answer depending on its values.
bool asks_about_form(const std::string& kind) {
  static const std::set<std::string> kinds = {"aten::dim",
                                              "prim::dtype",
                                              "prim::device",
                                              "prim::layout",
                                              "aten::__is__",
                                              "aten::__isnot__",
                                              "aten::is_floating_point",
                                              "aten::zeros_like"};
  return kinds.count(kind) > 0;
}

c10::IValue to_ivalue(const ScriptValue& value, const c10::TypePtr& type) {
  if (!value.items) return value.concrete;
  if (const auto optional = type->cast<c10::OptionalType>())
    return to_ivalue(value, optional->getElementType());
  if (const auto list = type->cast<c10::ListType>()) {
    c10::impl::GenericList made(list->getElementType());
    for (const ScriptValue& item : *value.items)
      made.push_back(to_ivalue(item, list->getElementType()));
    return made;
  }
  std::vector<c10::IValue> elements;
  const auto tuple = type->cast<c10::TupleType>();
  for (size_t i = 0; i < value.items->size(); ++i) {
    const bool known = tuple && i < tuple->elements().size();
    elements.push_back(
        to_ivalue((*value.items)[i], known ? tuple->elements()[i] : c10::AnyType::get()));
  }
  return c10::ivalue::Tuple::create(std::move(elements));
}

std::vector<at::Tensor> tensors_in(const std::vector<c10::IValue>& values) {
  std::vector<at::Tensor> found;
  for (const c10::IValue& value : values) {
    if (value.isTensor()) found.push_back(value.toTensor());
    if (value.isTensorList())
      for (const at::Tensor& tensor : value.toTensorVector()) found.push_back(tensor);
  }
  return found;
}

int64_t extent_limit(const std::vector<ScriptValue>& in) {
  int64_t count = 1;
  if (in.empty() || !in[0].items) return 0;
  for (const ScriptValue& item : *in[0].items) {
    if (!item.concrete.isInt()) return 0;
    const int64_t extent = item.concrete.toInt();
    if (extent < 0 || extent > largest_constant) return largest_constant + 1;
    count *= extent;
    if (count > largest_constant) return count;
  }
  return count;
}

}  // namespace

void ScriptInterpreter::refuse(const jit::Node& node, const std::string& why) const {
  const std::string place = places_.empty() ? "" : places_.back();
  throw Error(std::string("operation ") + node.kind().toQualString() +
              (place.empty() ? "" : " in '" + place + "'") + " " + why);
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

void ScriptInterpreter::execute(const jit::Node& node, Environment& environment) {
  if (++executed_ > most_operations) refuse(node, "is in a loop without end");
  std::vector<ScriptValue> in;
  for (const jit::Value* input : node.inputs()) in.push_back(environment.at(input));
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
  const auto set_all = [&](std::vector<ScriptValue> values) {
    for (size_t i = 0; i < values.size(); ++i) set(i, std::move(values[i]));
  };
  switch (node.kind()) {
    case c10::prim::If:
      set_all(run(*node.blocks()[in[0].concrete.toBool() ? 0 : 1], {}, environment));
      return true;
    case c10::prim::Loop: {
      std::vector<ScriptValue> carried(in.begin() + 2, in.end());
      bool more = in[1].concrete.toBool();
      for (int64_t i = 0; more && i < in[0].concrete.toInt(); ++i) {
        if (++executed_ > most_operations) refuse(node, "is a loop without end");
        carried.insert(carried.begin(), ScriptValue(c10::IValue(i)));
        carried = run(*node.blocks()[0], std::move(carried), environment);
        more = carried[0].concrete.toBool();
        carried.erase(carried.begin());
      }
      set_all(std::move(carried));
      return true;
    }
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
                 (in[0].concrete.isString() ? " (" + in[0].concrete.toStringRef() + ")" : ""));
    default:
      return false;
  }
}

bool ScriptInterpreter::execute_structure(const jit::Node& node, const std::vector<ScriptValue>& in,
                                          Environment& environment) {
  const auto set = [&](ScriptValue value) {
    environment[node.output()] = std::move(value);
    return true;
  };
  switch (node.kind()) {
    case c10::prim::Constant: {
      const auto value = jit::toIValue(node.output());
      return set(ScriptValue(value ? *value : c10::IValue()));  // functions: see CallFunction
    }
    case c10::prim::GetAttr: {
      const std::string& name = node.s(c10::attr::name);
      const std::string path = in[0].path.empty() ? name : in[0].path + "." + name;
      return set(ScriptValue(in[0].concrete.toObjectRef().getAttr(name), path));
    }
    case c10::prim::ListConstruct:
      return set(ScriptValue::sequence(in, true));
    case c10::prim::TupleConstruct:
      return set(ScriptValue::sequence(in, false));
    case c10::prim::ListUnpack:
    case c10::prim::TupleUnpack:
      if (!in[0].items || in[0].items->size() != node.outputs().size())
        refuse(node, "has the wrong number of values");
      for (size_t i = 0; i < node.outputs().size(); ++i)
        environment[node.outputs()[i]] = (*in[0].items)[i];
      return true;
    case c10::prim::Uninitialized:
      return set(ScriptValue());
    case c10::prim::unchecked_cast:
    case c10::prim::NumToTensor:
      return set(in[0]);
    default:
      break;
  }
  const std::string kind = node.kind().toQualString();
  if (kind == "aten::append" && in[0].items) {
    in[0].items->push_back(in[1]);
    return set(in[0]);
  }
  if (kind == "aten::list" && in[0].items) return set(ScriptValue::sequence(*in[0].items, true));
  if (kind == "aten::len" && in[0].items)
    return set(ScriptValue(c10::IValue(static_cast<int64_t>(in[0].items->size()))));
  if ((kind == "aten::__getitem__" || kind == "prim::TupleIndex") && in[0].items) {
    const auto size = static_cast<int64_t>(in[0].items->size());
    const int64_t given = in[1].concrete.toInt(), index = given < 0 ? given + size : given;
    if (index < 0 || index >= size) refuse(node, "reads beyond the end of a list");
    return set((*in[0].items)[static_cast<size_t>(index)]);
  }
  if (kind == "aten::slice" && in[0].items) {
    const auto size = static_cast<int64_t>(in[0].items->size());
    const auto bound = [&](const ScriptValue& value, int64_t absent) {
      if (value.is_none()) return absent;
      const int64_t given = value.concrete.toInt();
      return std::min(std::max<int64_t>(given < 0 ? given + size : given, 0), size);
    };
    const int64_t first = bound(in[1], 0), end = std::max(first, bound(in[2], size));
    if (in[3].concrete.toInt() != 1) refuse(node, "has a step");
    return set(ScriptValue::sequence({in[0].items->begin() + first, in[0].items->begin() + end},
                                     in[0].is_list));
  }
  return false;
}

bool ScriptInterpreter::execute_size(const jit::Node& node, const std::vector<ScriptValue>& in,
                                     Environment& environment) {
  const std::string kind = node.kind().toQualString();
  if (kind == "aten::Int" && in[0].size_of != ir::no_tensor) {
    environment[node.output()] = in[0];
    return true;
  }
  if (kind != "aten::size" || !in[0].is_tensor()) return false;
  const at::Tensor& tensor = in[0].concrete.toTensor();
  const ir::TensorId id = recorder_ ? recorder_->find(tensor) : ir::no_tensor;
  const auto extent = [&](int64_t axis) {
    ScriptValue value(c10::IValue(tensor.size(axis)));
    // Only heights and widths vary; batch and channels are constants of the network.
    if (axis >= 2) {
      value.size_of = id;
      value.axis = axis;
    }
    return value;
  };
  if (in.size() > 1) {
    const int64_t axis = in[1].concrete.toInt();
    environment[node.output()] = extent(axis < 0 ? axis + tensor.dim() : axis);
    return true;
  }
  std::vector<ScriptValue> extents;
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) extents.push_back(extent(axis));
  environment[node.output()] = ScriptValue::sequence(std::move(extents), true);
  return true;
}

void ScriptInterpreter::execute_operator(const jit::Node& node, const std::vector<ScriptValue>& in,
                                         Environment& environment) {
  const std::string kind = node.kind().toQualString();
  bool on_recorded = false;
  const auto look = [&](const ScriptValue& value) {
    if (recorder_ && value.is_tensor() && recorder_->find(value.concrete.toTensor()) >= 0)
      on_recorded = true;
  };
  for (const ScriptValue& value : in) {
    look(value);
    if (value.items)
      for (const ScriptValue& item : *value.items) look(item);
  }
  // aten::to between equal types and the like: harmless, but on recorded tensors not recordable.
  if (!is_harmless(kind) && !Recorder::supports(kind)) refuse(node, "is not supported");
  if (on_recorded && !Recorder::supports(kind) && !asks_about_form(kind))
    refuse(node, "is not supported on computed tensors");
  if ((kind == "aten::zeros" || kind == "aten::ones" || kind == "aten::full") &&
      extent_limit(in) > largest_constant)
    refuse(node, "makes a constant that is too large");

  jit::Stack stack;
  for (size_t i = 0; i < in.size(); ++i)
    stack.push_back(to_ivalue(in[i], node.inputs()[i]->type()));
  node.getOperation()(stack);
  if (on_recorded && Recorder::supports(kind)) record(node, in, stack);
  for (size_t i = 0; i < node.outputs().size(); ++i)
    environment[node.outputs()[i]] = ScriptValue(stack.at(i));
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
  recorder_->record(call);
}

}  // namespace mattec::frontend
