#include "frontend/script_sizes.h"

#include <set>

#include "frontend/script_operators.h"

namespace mattec::frontend {

const char* const depends_on_size =
    "; a compiled network runs at any size and ratio, so scripts may only crop and resize to the "
    "size of another tensor, double a size and scale by downsample_ratio: export the network "
    "without this";

namespace {

// Whether all ratios between 0 and 1 compare with `bound` alike.
bool no_ratio_passes(const ScriptValue& bound) {
  if (bound.varies() || bound.items || !bound.concrete.isScalar()) return false;
  const double value = bound.concrete.toScalar().toDouble();
  return value <= 0 || value >= 1;
}

}  // namespace

bool is_same_at_all_sizes(const std::string& kind, const std::vector<ScriptValue>& in) {
  static const std::set<std::string> comparisons = {"aten::eq", "aten::ne", "aten::lt",
                                                    "aten::le", "aten::gt", "aten::ge"};
  if (kind == "aten::__is__" || kind == "aten::__isnot__")
    return in[0].is_none() || in[1].is_none();
  if (kind != "aten::zeros_like" && asks_about_form(kind)) return true;
  if (comparisons.count(kind) == 0 || in.size() != 2) return false;
  return (in[0].is_downsample_ratio && no_ratio_passes(in[1])) ||
         (in[1].is_downsample_ratio && no_ratio_passes(in[0]));
}

ScriptValue multiple_of_size(const std::string& kind, const std::vector<ScriptValue>& in) {
  if (kind != "aten::mul" || in.size() != 2) return {};
  for (size_t i = 0; i < 2; ++i) {
    const ScriptValue &size = in[i], &factor = in[1 - i];
    if (size.size_of == ir::no_tensor || size.derived || factor.varies() || factor.items) continue;
    // Small, so that products stay far from overflow.
    if (!size.concrete.isInt() || !factor.concrete.isInt() || size.times > 1000) continue;
    const int64_t times = factor.concrete.toInt();
    if (times < 1 || times > 1000) continue;
    ScriptValue multiple = size;
    multiple.times *= times;
    multiple.concrete = c10::IValue(size.concrete.toInt() * times);
    return multiple;
  }
  return {};
}

ScriptValue derived(ScriptValue value) {
  value.derived = true;
  if (value.items)
    for (ScriptValue& item : *value.items) item = derived(std::move(item));
  return value;
}

}  // namespace mattec::frontend
