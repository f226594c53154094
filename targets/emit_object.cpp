#include "targets/emit_object.h"

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Triple.h>

#include <memory>

#include "base/error.h"

namespace mattec::targets {
namespace {

std::unique_ptr<llvm::TargetMachine> machine_for(const Target& target) {
  static const bool initialised = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmParsers();
    llvm::InitializeAllAsmPrinters();
    return true;
  }();
  (void)initialised;
  std::string problem;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(target.llvm_triple, problem);
  if (!found) throw Error("target " + target.name + ": " + problem);
  return std::unique_ptr<llvm::TargetMachine>(found->createTargetMachine(
      target.llvm_triple, "", "", llvm::TargetOptions(), llvm::Reloc::PIC_));
}

}  // namespace

Bytes emit_object(llvm::Module& module, const Target& target) {
  const std::unique_ptr<llvm::TargetMachine> machine = machine_for(target);
  module.setTargetTriple(target.llvm_triple);
  module.setDataLayout(machine->createDataLayout());
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    throw Error("target " + target.name + ": this LLVM writes no object files for it");
  passes.run(module);
  return Bytes(object.begin(), object.end());
}

}  // namespace mattec::targets
