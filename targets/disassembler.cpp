#include "targets/disassembler.h"

#include <llvm/MC/MCInst.h>
#include <llvm/MC/MCTargetOptions.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <mutex>

#include "base/error.h"

namespace mattec::targets {

Disassembler::Disassembler(const llvm::Triple& triple) {
  static std::once_flag initialized;
  std::call_once(initialized, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllDisassemblers();
  });
  const std::string& name = triple.getTriple();
  std::string problem;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(name, problem);
  if (target == nullptr) throw Error("cannot disassemble " + name + ": " + problem);
  // x86 decodes every extension anyway; the others must be told.
  const char* features = triple.isAArch64() ? "+all" : "";
  registers_.reset(target->createMCRegInfo(name));
  if (registers_) assembly_.reset(target->createMCAsmInfo(*registers_, name, {}));
  subtarget_.reset(target->createMCSubtargetInfo(name, "", features));
  instructions_.reset(target->createMCInstrInfo());
  if (assembly_ && subtarget_ && instructions_) {
    context_ = std::make_unique<llvm::MCContext>(triple, assembly_.get(), registers_.get(),
                                                 subtarget_.get());
    disassembler_.reset(target->createMCDisassembler(*subtarget_, *context_));
    printer_.reset(target->createMCInstPrinter(triple, assembly_->getAssemblerDialect(), *assembly_,
                                               *instructions_, *registers_));
  }
  if (!disassembler_ || !printer_)
    throw Error("cannot disassemble " + name + ": this LLVM has no disassembler for it");
}

void Disassembler::walk(llvm::ArrayRef<uint8_t> code,
                        const std::function<void(const Instruction&)>& see) const {
  uint64_t address = 0;
  std::string text;
  while (address < code.size()) {
    llvm::MCInst decoded;
    uint64_t length = 0;
    const auto status =
        disassembler_->getInstruction(decoded, length, code.slice(address), address, llvm::nulls());
    if (status == llvm::MCDisassembler::Success) {
      text.clear();
      llvm::raw_string_ostream stream(text);
      printer_->printInst(&decoded, address, "", *subtarget_, stream);
      // "\tmnemonic\toperands", after "\t{vex}" where AVX-512 has the same mnemonic
      const size_t encoding = text.find("{vex}");
      const size_t start =
          text.find_first_not_of(" \t", encoding == std::string::npos ? 0 : encoding + 5);
      const size_t end = std::min(text.find_first_of(" \t", start), text.size());
      const size_t rest = text.find_first_not_of(" \t", end);
      if (start != std::string::npos)
        see({text.substr(start, end - start),
             rest == std::string::npos ? std::string() : text.substr(rest)});
    }
    address += std::max<uint64_t>(length, 1);
  }
}

}  // namespace mattec::targets
