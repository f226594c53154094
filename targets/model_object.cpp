// Tables and weights as an object file, by LLVM.
#include <llvm/IR/Constants.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include "base/error.h"
#include "runtime/model.h"
#include "targets/emit_object.h"
#include "targets/objects.h"

namespace mattec::targets {
namespace {

using llvm::Constant;
using Fields = std::vector<Constant*>;

// Emits records whose fields are 8 bytes each: integers and addresses.
class Emitter {
 public:
  Emitter(const lower::Plan& plan, const std::string& prefix, uint64_t stack_bytes,
          const Target& target);
  void emit_plan(const std::vector<std::string>& kernel_symbols);
  llvm::Module& module() { return module_; }

 private:
  Constant* number(int64_t value);
  Constant* external(const std::string& symbol);
  Constant* record(const Fields& fields);
  // A private constant array of records; null if empty.
  Constant* array(const std::string& name, const std::vector<Constant*>& records);
  Constant* bytes(const std::string& name, const std::vector<uint8_t>& data);
  int64_t pattern(const std::vector<uint8_t>& pixel);
  int64_t place(const lower::Storage& storage) const;
  Constant* halo(const lower::Storage& storage);
  Constant* step(size_t index, const std::string& symbol);
  Constant* states();
  Constant* frames();

  const lower::Plan& plan_;
  std::string prefix_;
  int64_t stack_bytes_, cpu_features_;
  llvm::LLVMContext context_;
  llvm::Module module_;
  std::vector<uint8_t> constants_;
};

Emitter::Emitter(const lower::Plan& plan, const std::string& prefix, uint64_t stack_bytes,
                 const Target& target)
    : plan_(plan),
      prefix_(prefix),
      stack_bytes_(static_cast<int64_t>(stack_bytes)),
      cpu_features_(target.cpu_features),
      module_(prefix, context_),
      constants_(plan.constants) {}

Constant* Emitter::number(int64_t value) {
  return llvm::ConstantInt::get(llvm::Type::getInt64Ty(context_), static_cast<uint64_t>(value));
}

Constant* Emitter::external(const std::string& symbol) {
  if (llvm::GlobalVariable* known = module_.getNamedGlobal(symbol)) return known;
  return new llvm::GlobalVariable(module_, llvm::Type::getInt8Ty(context_), true,
                                  llvm::GlobalValue::ExternalLinkage, nullptr, symbol);
}

Constant* Emitter::record(const Fields& fields) {
  return llvm::ConstantStruct::getAnon(context_, fields);
}

Constant* Emitter::array(const std::string& name, const std::vector<Constant*>& records) {
  if (records.empty())
    return llvm::ConstantPointerNull::get(llvm::PointerType::getUnqual(context_));
  auto* type = llvm::ArrayType::get(records[0]->getType(), records.size());
  auto* global = new llvm::GlobalVariable(module_, type, true, llvm::GlobalValue::PrivateLinkage,
                                          llvm::ConstantArray::get(type, records), name);
  global->setAlignment(llvm::Align(8));
  return global;
}

Constant* Emitter::bytes(const std::string& name, const std::vector<uint8_t>& data) {
  Constant* value = llvm::ConstantDataArray::get(context_, llvm::ArrayRef<uint8_t>(data));
  auto* global = new llvm::GlobalVariable(module_, value->getType(), true,
                                          llvm::GlobalValue::PrivateLinkage, value, name);
  global->setAlignment(llvm::Align(64));
  return global;
}

int64_t Emitter::pattern(const std::vector<uint8_t>& pixel) {
  const auto at = static_cast<int64_t>(constants_.size());
  constants_.insert(constants_.end(), pixel.begin(), pixel.end());
  return at;
}

int64_t Emitter::place(const lower::Storage& storage) const {
  return storage.offset + storage.position(0, 0);
}

Constant* Emitter::halo(const lower::Storage& storage) {
  return record({number(place(storage)), number(storage.size.width), number(storage.size.height),
                 number(storage.halo), number(storage.pixel_bytes()), number(storage.row_bytes()),
                 number(pattern(storage.pattern))});
}

static_assert(int{lower::wanted_by_states} == MATTEC_FOR_STATES &&
              int{lower::wanted_by_alpha} == MATTEC_FOR_ALPHA &&
              int{lower::wanted_by_foreground} == MATTEC_FOR_FOREGROUND);

int64_t base_of(lower::Buffer buffer) {
  switch (buffer) {
    case lower::Buffer::arena:
      return MATTEC_IN_ARENA;
    case lower::Buffer::constants:
      return MATTEC_IN_CONSTANTS;
    case lower::Buffer::scratch:
      return MATTEC_IN_SCRATCH;
  }
  throw Error("an operand of no known buffer");
}

Constant* Emitter::step(size_t index, const std::string& symbol) {
  const lower::Step& step = plan_.steps[index];
  const std::string name = prefix_ + "_step" + std::to_string(index);
  std::vector<Constant*> operands, halos;
  for (const lower::Operand& operand : step.operands) {
    const bool stored = operand.buffer == lower::Buffer::arena;
    const int64_t start = stored ? plan_.storages[size_t(operand.storage)].offset : 0;
    operands.push_back(record({number(base_of(operand.buffer)), number(start + operand.offset),
                               number(operand.row_advance)}));
  }
  for (const int storage : step.written) halos.push_back(halo(plan_.storages[size_t(storage)]));
  if (operands.size() > MATTEC_MAX_OPERANDS)
    throw Error(plan_.name + ": " + step.name + " convolves more tensors than a kernel takes");
  return record({external(symbol + "_argv"), array(name + "_operands", operands),
                 number(int64_t(operands.size())), number(step.rows), number(step.rows_per_task),
                 array(name + "_halos", halos), number(int64_t(halos.size())),
                 number(step.wanted)});
}

Constant* Emitter::states() {
  std::vector<Constant*> records;
  for (const int id : plan_.states) {
    const lower::Storage& storage = plan_.storages[size_t(id)];
    records.push_back(record({number(storage.offset), number(storage.bytes()),
                              number(pattern(storage.pattern)), number(storage.pixel_bytes())}));
  }
  return array(prefix_ + "_states", records);
}

Constant* Emitter::frames() {
  std::vector<Constant*> records;
  for (const int id : plan_.frames) records.push_back(record({halo(plan_.storages[size_t(id)])}));
  return array(prefix_ + "_frames", records);
}

void Emitter::emit_plan(const std::vector<std::string>& kernel_symbols) {
  std::vector<Constant*> steps;
  for (size_t i = 0; i < plan_.steps.size(); ++i) steps.push_back(step(i, kernel_symbols[i]));
  const auto output = [&](const lower::PlanOutput& of) {
    if (of.storage < 0) return record({number(0), number(0), number(0)});
    const lower::Storage& from = plan_.storages[size_t(of.storage)];
    return record({number(place(from) + of.first_channel), number(from.row_bytes()),
                   number(from.pixel_bytes())});
  };
  Constant* const states_array = states();
  Constant* const frames_array = frames();
  // The order of mattec_plan.
  Constant* plan = record({external(prefix_ + "_functions"),
                           number(MATTEC_ABI_VERSION),
                           number(plan_.size.width),
                           number(plan_.size.height),
                           number(plan_arena_bytes(plan_)),
                           number(64),
                           number(MATTEC_SESSION_BYTES),
                           number(plan_.is_signed ? 0x80 : 0),
                           number(plan_.scratch_bytes),
                           number(stack_bytes_),
                           number(cpu_features_),
                           bytes(prefix_ + "_constants", constants_),
                           frames_array,
                           number(int64_t(plan_.frames.size())),
                           array(prefix_ + "_steps", steps),
                           number(int64_t(steps.size())),
                           states_array,
                           number(int64_t(plan_.states.size())),
                           output(plan_.alpha),
                           output(plan_.foreground)});
  auto* global = new llvm::GlobalVariable(
      module_, plan->getType(), true, llvm::GlobalValue::ExternalLinkage, plan, prefix_ + "_model");
  global->setAlignment(llvm::Align(8));
}

}  // namespace

Bytes emit_model(const lower::Plan& plan, const std::string& prefix,
                 const std::vector<std::string>& kernel_symbols, uint64_t stack_bytes,
                 const Target& target) {
  Emitter emitter(plan, prefix, stack_bytes, target);
  emitter.emit_plan(kernel_symbols);
  return emit_object(emitter.module(), target);
}

}  // namespace mattec::targets
