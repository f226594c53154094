#include "frontend/script_operators.h"

#include <set>

#include "base/error.h"

namespace mattec::frontend {

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

namespace {
void find_tensors(const ScriptValue& value, std::vector<at::Tensor>& found) {
  if (value.is_tensor()) found.push_back(value.concrete.toTensor());
  if (value.items)
    for (const ScriptValue& item : *value.items) find_tensors(item, found);
}
}  // namespace

std::vector<at::Tensor> tensors_in(const std::vector<ScriptValue>& values) {
  std::vector<at::Tensor> found;
  for (const ScriptValue& value : values) find_tensors(value, found);
  return found;
}

bool is_in_place(const std::string& kind) {
  const size_t size = kind.size();
  return size > 2 && kind[size - 1] == '_' && kind[size - 2] != '_';
}

ScriptValue ConstantsInFloat::of(ScriptValue value) {
  if (value.items)
    for (ScriptValue& item : *value.items) item = of(item);
  if (!value.is_tensor() || !value.concrete.toTensor().defined()) return value;
  const at::Tensor tensor = value.concrete.toTensor();
  if (tensor.layout() != at::kStrided ||
      static_cast<size_t>(tensor.numel()) > tensor.storage().nbytes() / tensor.itemsize())
    throw Error("tensor '" + value.path + "' is not stored element by element; export it again");
  if (!tensor.is_floating_point() || tensor.scalar_type() == at::kFloat) return value;
  at::Tensor& converted = converted_[tensor.unsafeGetTensorImpl()];
  if (!converted.defined()) converted = tensor.to(at::kFloat);
  value.concrete = converted;
  return value;
}

}  // namespace mattec::frontend
