// The part of ScriptInterpreter that moves values and computes nothing: constants, attributes,
// lists and tuples, whose entries keep what is known about them.
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "frontend/script_interpreter.h"
#include "frontend/script_sizes.h"

namespace mattec::frontend {

namespace jit = torch::jit;

bool ScriptInterpreter::execute_structure(const jit::Node& node, const std::vector<ScriptValue>& in,
                                          Environment& environment) {
  const auto set = [&](ScriptValue value) {
    environment[node.output()] = std::move(value);
    return true;
  };
  switch (node.kind()) {
    case c10::prim::Constant: {
      const auto value = jit::toIValue(node.output());  // none for functions: see CallFunction
      return set(constants_.of(ScriptValue(value ? *value : c10::IValue())));
    }
    case c10::prim::GetAttr: {
      const std::string& name = node.s(c10::attr::name);
      const std::string path = in[0].path.empty() ? name : in[0].path + "." + name;
      return set(constants_.of(ScriptValue(in[0].concrete.toObjectRef().getAttr(name), path)));
    }
    case c10::prim::ListConstruct:
    case c10::prim::TupleConstruct:
      within_limits(node, [&] { limits_.count_entries(in.size()); });
      return set(ScriptValue::sequence(in, node.kind() == c10::prim::ListConstruct));
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
      return set(in[0]);
    default:
      return !in.empty() && in[0].items && execute_list(node, in, environment);
  }
}

// in[0] is a list or a tuple.
bool ScriptInterpreter::execute_list(const jit::Node& node, const std::vector<ScriptValue>& in,
                                     Environment& environment) {
  const std::string kind = node.kind().toQualString();
  const std::vector<ScriptValue>& items = *in[0].items;
  const auto set = [&](std::vector<ScriptValue> values) {
    environment[node.output()] = ScriptValue::sequence(std::move(values), true);
    return true;
  };
  const auto count = [&](size_t entries) {
    within_limits(node, [&] { limits_.count_entries(entries); });
  };
  if (kind == "aten::append" || (kind == "aten::add_" && in[1].items)) {
    // Attributes are read anew each time and would not have the entry.
    if (!in[0].path.empty()) refuse(node, "changes a list of the module; export a plain network");
    const std::vector<ScriptValue> added =
        kind == "aten::append" ? std::vector<ScriptValue>{in[1]} : *in[1].items;
    count(added.size());
    in[0].items->insert(in[0].items->end(), added.begin(), added.end());
    environment[node.output()] = in[0];
    return true;
  }
  if (kind == "aten::len") {
    environment[node.output()] = ScriptValue(c10::IValue(static_cast<int64_t>(items.size())));
    return true;
  }
  if (kind == "aten::list") {
    count(items.size());
    return set(items);
  }
  if (kind == "aten::add" && in[1].items) {
    std::vector<ScriptValue> joined = items;
    count(items.size() + in[1].items->size());
    joined.insert(joined.end(), in[1].items->begin(), in[1].items->end());
    return set(std::move(joined));
  }
  if (kind == "aten::mul" && in[1].concrete.isInt()) {
    need_fixed(node, in[1], "repeats a list by");
    // No list of so many copies passes the count, which must not overflow.
    const int64_t times =
        std::clamp<int64_t>(in[1].concrete.toInt(), 0, std::numeric_limits<int>::max());
    count(items.size() * static_cast<size_t>(times));
    std::vector<ScriptValue> repeated;
    for (int64_t i = 0; i < times && !items.empty(); ++i)
      repeated.insert(repeated.end(), items.begin(), items.end());
    return set(std::move(repeated));
  }
  if (kind == "aten::__getitem__" || kind == "prim::TupleIndex" || kind == "aten::slice" ||
      kind == "prim::TupleSlice") {
    environment[node.output()] = part_of_list(node, in);
    return true;
  }
  return false;
}

ScriptValue ScriptInterpreter::part_of_list(const jit::Node& node,
                                            const std::vector<ScriptValue>& in) {
  for (size_t i = 1; i < in.size(); ++i) need_fixed(node, in[i], "takes a part of a list by");
  const auto size = static_cast<int64_t>(in[0].items->size());
  if (node.kind() == c10::prim::TupleSlice)
    refuse(node, "is not supported; take the entries one by one");
  if (node.kind() != c10::aten::slice) {
    const int64_t given = in[1].concrete.toInt(), index = given < 0 ? given + size : given;
    if (index < 0 || index >= size) refuse(node, "reads beyond the end of a list");
    return (*in[0].items)[static_cast<size_t>(index)];
  }
  const auto bound = [&](const ScriptValue& value, int64_t absent) {
    if (value.is_none()) return absent;
    const int64_t given = value.concrete.toInt();
    return std::min(std::max<int64_t>(given < 0 ? given + size : given, 0), size);
  };
  const int64_t first = bound(in[1], 0), end = std::max(first, bound(in[2], size));
  if (in[3].concrete.toInt() != 1) refuse(node, "has a step");
  within_limits(node, [&] { limits_.count_entries(static_cast<size_t>(end - first)); });
  return ScriptValue::sequence({in[0].items->begin() + first, in[0].items->begin() + end},
                               in[0].is_list);
}

}  // namespace mattec::frontend
